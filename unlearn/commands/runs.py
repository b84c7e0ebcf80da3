"""Holds commands about single runs: carry out, resume, show, list, report and import."""

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

from unlearn.commands import knowing, sequence, sweep, tune, where
from unlearn.commands.find import kind_of, record_named, run_named, store_of
from unlearn.commands.options import EVERYWHERE, RUN, add_run_options, check_out, config_of
from unlearn.commands.parser import Command
from unlearn.commands.printing import listing, print_run, progress_bar
from unlearn.engines import processes
from unlearn.engines.elsewhere import follow, last_place
from unlearn.engines.place import Place
from unlearn.report import numbers
from unlearn.results.cost import check as check_training_tokens
from unlearn.results.cost import enter, of_run
from unlearn.results.search.record import SearchRecord
from unlearn.store import upkeep
from unlearn.store.config import RunConfig
from unlearn.store.engine import Engine
from unlearn.store.redaction import holds_rows
from unlearn.store.runs import Record, Run, RunStore
from unlearn.store.transfer import import_run
from unlearn.work.checks import check
from unlearn.work.execute import execute
from unlearn.work.identity import check_resume
from unlearn.work.preflight import Preflight, preflight


def add(command: Command) -> None:
    """Declare the commands run, cost, resume, runs, show, report and import."""
    once = command("run", run, "carry out one unlearning run", store=True)
    add_run_options(once)
    knowing.add(once)
    where.add(once)
    add_training_tokens(once)
    add_processes(once)
    spent = command("cost", cost, "show what a run cost, and retraining beside it", store=True)
    spent.add_argument("run", help=RUN)
    add_training_tokens(spent)
    again = command("resume", resume, "go on with an interrupted or stopped run or study", store=True)
    again.add_argument("run", help=f"{RUN} Or a sequence, a sweep or a search.")
    add_processes(again)
    where.add(again)
    text = "add what each run and its weights take on the disk, in bytes"
    command("runs", runs, "list the runs", store=True).add_argument("--sizes", action="store_true", help=text)
    shown = command("show", show, "show a run, or what a study came to", store=True)
    shown.add_argument("run", help=f"{RUN} Or a sequence, a sweep or a search.")
    text = "write runs as one HTML file for reading offline"
    told = command("report", report, text, store=True, as_json=False)
    told.add_argument("run", nargs="+", help=f"{RUN} Several are compared.")
    told.add_argument("--out", type=Path, default=Path("report.html"), help="The file to write.")
    text = "Leave out the rows and the answers to them. Without this the report shows them."
    told.add_argument("--without-rows", action="store_true", help=text)
    back = command("import", import_, "bring a run back from its zip file", store=True)
    back.add_argument("archive", type=Path, help="The zip file that export wrote.")


def run(args: argparse.Namespace) -> int:
    """Carry out the run that was asked for. With --check only say what the model knows."""
    place = where.place_of(args)
    alone(place, args.processes)
    config, told = checked(args)
    if processes.launched() > 1 and not args.check:
        return beside_others(args, config, told)
    if knowing.asked_first(args, config):
        return 0
    with where.engine_at(place, args.runs) as engine:
        return carry_out(made(args, config, told), args.json, args.processes, engine, place.store)


def beside_others(args: argparse.Namespace, config: RunConfig, told: Preflight) -> int:
    """Carry out the run as one of the processes that torchrun or accelerate has started."""

    def find() -> Run:
        knowing.asked_first(args, config)
        return made(args, config, told)

    with progress_bar(18) as progress:
        found = processes.take_part(find, EVERYWHERE, progress)
    if found is None:
        processes.leave(0)
    print_run(found, args.json)
    processes.leave(0 if found.state == "done" else 1)


def checked(args: argparse.Namespace) -> tuple[RunConfig, Preflight]:
    """Read what is asked for, and check it before a run folder exists, so that bad input leaves nothing behind."""
    config = config_of(args)
    check(config, EVERYWHERE, RunStore(args.runs))
    asked = getattr(args, "processes", 1)
    processes.check(config, processes.launched() or asked)
    processes.check_room(asked)
    if args.training_tokens is not None:
        check_training_tokens(config.model, args.training_tokens)
    return config, preflight(config, roots=EVERYWHERE)


def made(args: argparse.Namespace, config: RunConfig, told: Preflight) -> Run:
    """Make the run's folder, and say what was noticed."""
    found = RunStore(args.runs).create(config)
    for text in (*told.notes, *told.warnings):
        print(text, file=sys.stderr)
    if args.training_tokens is not None:
        enter(found, args.training_tokens)
    return found


def add_training_tokens(p: argparse.ArgumentParser) -> None:
    """Add --training-tokens, the number of tokens that the model was trained on."""
    text = "tokens that the model was trained on, where it is not known: gives the ratio to retraining"
    p.add_argument("--training-tokens", type=float, help=text)


def add_processes(p: argparse.ArgumentParser) -> None:
    """Add --processes, the number of processes that hold one model together."""
    text = (
        "Processes that hold the model in parts and share each step's texts, on GPUs or the CPU (default: 1)."
    )
    p.add_argument("--processes", "--gpus", type=int, default=1, metavar="N", help=text)


def cost(args: argparse.Namespace) -> int:
    """Print time, tokens, FLOPs and memory of the run, and the ratio of retraining to it with its formula."""
    found = run_named(args.run, args.runs)
    if args.training_tokens is not None:
        enter(found, args.training_tokens)
    lines = numbers.cost(found)
    if args.json:
        print(json.dumps({"cost": dict(lines), "retraining": of_run(found)}))
        return 0
    for name, value in lines:
        print(f"{name:32} {value}")
    if not of_run(found):
        print("What retraining would take is not known; say it with --training-tokens.")
    return 0


def resume(args: argparse.Namespace) -> int:
    """Continue an interrupted, stopped or failed run or study."""
    found = record_named(args.run, args.runs)
    if found.state in ("done", "queued", "running"):
        kind = kind_of(found)
        raise ValueError(
            f"{kind}: {found.id} is {found.state}; only an interrupted, stopped or failed {kind} can be resumed."
        )
    if isinstance(found, Run):
        processes.check(found.config, args.processes)
        processes.check_room(args.processes)
        check_resume(found, EVERYWHERE)
    if args.processes > 1 and not isinstance(found, Run):
        raise ValueError(f"--processes: {found.id} holds several runs, each of one process; leave it out.")
    place = where.place_of(args, last_place(found))
    if isinstance(found, SearchRecord):
        tune.checked_place(place)
    alone(place, args.processes)
    with where.engine_at(place, store_of(found).root) as engine:
        if isinstance(found, Run):
            return carry_out(found, args.json, args.processes, engine, place.store)
        return int(command_of(found).go_on(found, args.json, engine))


def command_of(study: Record) -> ModuleType:
    """Return the module of the command that carries out studies of this kind."""
    return {"sequences": sequence, "sweeps": sweep, "searches": tune}[study.path.parent.name]


def alone(place: Place, count: int) -> None:
    """Raise ValueError where several processes are to hold one model and it should be somewhere else too."""
    if count > 1 and not (place.here and not place.store):
        raise ValueError(
            "--processes: they hold one model together here; leave --on and --store out with them."
        )


def carry_out(
    found: Run, as_json: bool, count: int = 1, engine: Engine | None = None, weights_to: str = ""
) -> int:
    """Carry out a run with a progress bar on stderr. The last line of stdout is the outcome.

    count: the number of processes that hold the model together. engine: who carries it out; None: this process, which
    moves the weights to that address.
    """
    if count > 1:
        with found.held():
            processes.carry_out(found, count)
        print_run(found, as_json)
        return 0 if found.state == "done" else 1
    with progress_bar(18) as progress:
        if engine is None:
            with found.held():
                execute(found, on_progress=progress, roots=EVERYWHERE, weights_to=weights_to)
        else:
            engine.submit(found)
            follow(engine, found, progress)
    print_run(found, as_json)
    return 0 if found.state == "done" else 1


def show(args: argparse.Namespace) -> int:
    """Print the outcome of a run and the command line that repeats it, or what a study came to."""
    found = record_named(args.run, args.runs)
    if not isinstance(found, Run):
        command_of(found).tell(found, args.json)
        return 0
    print_run(found, args.json)
    if not args.json:
        print(f"  {found.config.command()}")
    return 0


def runs(args: argparse.Namespace) -> int:
    """Print the runs of the store, and on stderr the folders that cannot be read."""
    store = RunStore(args.runs)
    if store.root.exists() and not store.root.is_dir():
        raise ValueError(f"--runs: {store.root} is no folder; name the folder of the runs.")
    found = store.summaries()
    for name, reason in store.passed_over().items():
        print(f"left out: {name} ({reason})", file=sys.stderr)
    rows = [upkeep.facts(run) | (upkeep.sizes(run) if args.sizes else {}) for run in found]
    if not rows:
        print(f"no runs in {store.root}", file=sys.stderr)
    columns = ("run", "state", "model", "method", *(("bytes", "weights") if args.sizes else ()), "title")
    # A run without a title of its own bears its id, which the first column shows already.
    shown = [row | {"title": "" if row["title"] == row["run"] else row["title"]} for row in rows]
    return listing(rows if args.json else shown, args.json, columns, "runs")


def report(args: argparse.Namespace) -> int:
    """Write the report of the runs and print its path."""
    from unlearn.report.build import report as write

    check_out("--out", args.out)
    rows, found = not args.without_rows, [run_named(name, args.runs) for name in args.run]
    print(write(found, args.out, rows))
    if rows and any(holds_rows(run.path) for run in found):
        print("It shows rows that were to be forgotten; --without-rows leaves them out.", file=sys.stderr)
    return 0


def import_(args: argparse.Namespace) -> int:
    """Bring a run back from its zip file and print its outcome."""
    if not args.archive.is_file():
        raise ValueError(f"import: {args.archive} is no file; check the path.")
    print_run(import_run(args.archive, RunStore(args.runs)), args.json)
    return 0
