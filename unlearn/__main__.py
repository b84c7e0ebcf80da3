"""The command line: everything the app can do, without it. `python -m unlearn --help` lists the commands.

Runs land in the same store as the app's. Exit status: 0 done, 1 the run failed, 2 bad input.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from unlearn.memory import prefer_passive_threads

prefer_passive_threads()

from unlearn.runs import TUNINGS, Run, RunConfig, RunStore  # noqa: E402  (after the thread policy)

EVERYWHERE = [Path("/")]  # whoever types a command owns the machine; the app allows a few folders only


def main(words: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        args = parser().parse_args(words)
        return args.do(args)
    except (ValueError, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class Parser(argparse.ArgumentParser):
    """Its errors are ValueErrors, so that every bad input ends in the same single line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (`{self.prog} --help` tells more)")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m unlearn", description="See a language model forget.")
    sub = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Any, text: str, *, store: bool = False, as_json: bool = True) -> Any:
        p = sub.add_parser(name, help=text, description=text)
        p.set_defaults(do=do)
        if as_json:
            p.add_argument("--json", action="store_true", help="print JSON")
        if store:
            p.add_argument("--runs", type=Path, default=default_store(), help="folder of the runs")
        return p

    command("models", models, "list the models")
    command("data", data, "list the datasets and their roles")
    command("methods", methods, "list the methods with knobs and tuned settings")
    command("runs", runs, "list the runs", store=True)
    add_run_options(command("run", run, "carry out one unlearning run", store=True))
    many = command("sequence", sequence, "carry out deletion requests one after the other", store=True)
    add_run_options(many)
    many.add_argument("--mode", default="chain", help="chain, fuse, average or joint")
    many.add_argument("--order", help="requests in the order in which they arrive, such as 3,1,2")
    add_sweep_options(command("sweep", sweep, "carry out a grid of runs, and the tuning guide", store=True))
    command("show", show, "show a run", store=True).add_argument("run")
    judged = command("evaluate", evaluate, "compute the metrics of a finished run", store=True)
    judged.add_argument("run")
    judged.add_argument("--metrics", default="all", help="names with commas between them, or all")
    told = command(
        "report", report, "write runs as one HTML file for reading offline", store=True, as_json=False
    )
    told.add_argument("run", nargs="+")
    told.add_argument("--out", type=Path, default=Path("report.html"))
    tried = command("attack", attack, "try to bring the forgotten answers of a finished run back", store=True)
    tried.add_argument("run")
    tried.add_argument("name", help="an attack, several with commas between them, or all")
    out = command("export", export, "write a run as one zip file", store=True, as_json=False)
    out.add_argument("run")
    out.add_argument("out", type=Path)
    command("import", import_, "bring a run back from its zip file", store=True).add_argument(
        "archive", type=Path
    )
    again = command("resume", resume, "go on with an interrupted or stopped run", store=True)
    again.add_argument("run")
    command("get", get, "bring a model to this machine", as_json=False).add_argument("model")
    bundled = command(
        "train-bundled", train_bundled, "train the bundled models again (ten minutes)", as_json=False
    )
    bundled.add_argument("--out", type=Path, default=Path("assets/models"))
    return top


def add_run_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--model", required=True, help="catalogue name, hub id or local folder")
    p.add_argument("--method", required=True)
    add_data_options(p)
    p.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="a knob of the method")
    p.add_argument("--tuning", choices=TUNINGS)
    p.add_argument("--lr", type=float)
    for name in ("epochs", "batch-size", "accumulation", "seed", "lora-rank", "max-length", "probes"):
        p.add_argument(f"--{name}", type=int)
    p.add_argument("--lora-alpha", type=float)
    p.add_argument("--start", default="", help="id of a run whose weights this one goes on from")
    p.add_argument("--title", default="")


def add_sweep_options(p: argparse.ArgumentParser) -> None:
    """What the grid varies as lists; what it does not vary as for a run."""
    p.add_argument("--model", help="catalogue name, hub id or local folder")
    p.add_argument("--methods", help="such as gd,npo")
    p.add_argument("--lrs", help="learning rates such as 1e-4,3e-4,1e-3")
    p.add_argument("--epochs", help="such as 2,5 (default: each method's tuned ones)")
    p.add_argument("--batch-sizes", help="such as 8,16 (default: each method's tuned one)")
    p.add_argument("--seeds", default="0", help="such as 0,1,2 or 0..2")
    p.add_argument("--guide", action="store_true", help="follow the tuning guide too, and say its regret")
    p.add_argument("--keep-weights", action="store_true", help="keep each cell's weights")
    p.add_argument("--resume", metavar="ID", help="go on with a sweep; with --guide, add the guide to it")
    add_data_options(p)
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="for every method that has it, or METHOD.KNOB=VALUE",
    )
    p.add_argument("--tuning", choices=TUNINGS)
    for name in ("accumulation", "lora-rank", "max-length"):
        p.add_argument(f"--{name}", type=int)
    p.add_argument("--lora-alpha", type=float)
    p.add_argument("--start", default="", help="id of a run whose weights every cell goes on from")
    p.add_argument("--title", default="")
    p.set_defaults(lr=None, batch_size=None, seed=None, probes=0)


def add_data_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--data", help="bundled dataset (default: the model's own)")
    p.add_argument("--requests", help="only these deletion requests, such as 1,2")
    p.add_argument("--forget", help="file to forget: CSV, JSONL, TXT or Parquet")
    p.add_argument("--retain", help="file to keep")
    p.add_argument("--hub", help="forget set by hub id")
    p.add_argument("--config", help="hub configuration")
    p.add_argument("--split", help="hub split")
    p.add_argument("--limit", type=int, help="at most so many rows from the hub")
    for key in data_keys():
        flag = "--" + key.replace("_", "-")
        if flag not in p._option_string_actions:
            p.add_argument(flag, help=argparse.SUPPRESS if "_" in key and "column" not in key else None)


def data_keys() -> list[str]:
    """Every key of a run's data field but "name", so that each run can be repeated from the command line."""
    from unlearn.data.catalogue import KEYS

    known = dict.fromkeys(key for keys in KEYS.values() for key in keys)
    return [key for key in known if key not in ("name", "requests")]


def default_store() -> Path:
    return Path(os.environ.get("UNLEARN_RUNS", "runs"))


def config_of(args: argparse.Namespace) -> RunConfig:
    """RunConfig from the command line; what is not said is the method's tuned setting for the model's size."""
    from unlearn.methods import method_named
    from unlearn.models import CATALOGUE
    from unlearn.preflight import default_tuning, model_size

    method = method_named(args.method)
    tuning = args.tuning or method.tuning_for(default_tuning(args.model))
    settings = method.settings(model_size(args.model), tuning)
    knobs = dict(settings.pop("knobs"))
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set: must be KNOB=VALUE, got {pair!r}.")
        knobs[name] = value
    knobs = method.from_knobs(knobs).to_json()
    given = {
        name: value
        for name in (
            "lr",
            "epochs",
            "batch_size",
            "accumulation",
            "seed",
            "lora_rank",
            "lora_alpha",
            "max_length",
            "probes",
        )
        if (value := getattr(args, name)) is not None
    }
    entry = CATALOGUE.get(args.model)
    data: dict[str, Any] = {}
    if args.data or not (args.forget or args.hub):
        name = args.data or (entry.data if entry else None)
        if name is None:
            raise ValueError("data: give --data NAME, --forget FILE or --hub ID for this model.")
        data["name"] = name
    for key in data_keys():
        if (value := getattr(args, key)) is not None:
            data[key] = value
    if args.requests:
        data["requests"] = request_numbers("--requests", args.requests)
    return RunConfig(
        model=args.model,
        data=data,
        method=args.method,
        knobs=knobs,
        tuning=tuning,
        title=args.title,
        start=args.start,
        **(settings | given),
    )


def request_numbers(flag: str, text: str) -> list[int]:
    """ "1,2,3" or "1..3" → [1, 2, 3]; ValueError names the flag."""
    first, dots, last = text.partition("..")
    if dots and first.strip().isdecimal() and last.strip().isdecimal():
        return list(range(int(first), int(last) + 1))
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"{flag}: must be whole numbers such as 1,2 or 1..5, got {text!r}.")
    return [int(part) for part in parts]


def sequence(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from unlearn import sequence as seq
    from unlearn.data.catalogue import from_config
    from unlearn.runner import check

    config = config_of(args)
    check(config, EVERYWHERE)
    found = from_config(dict(config.data), roots=EVERYWHERE).requests()
    order = request_numbers("--order", args.order) if args.order else config.data.get("requests") or found
    asked = seq.SequenceConfig(run=config, mode=args.mode, order=tuple(order))
    record = seq.create(asked, RunStore(args.runs), title=args.title)
    lock = record.hold()
    try:
        with tqdm(total=100, unit="%", bar_format="{desc:28} {bar} {n:3.0f} %  {elapsed}") as bar:
            seq.perform(record, on_progress=progress_on(bar), roots=EVERYWHERE)
    finally:
        lock.release()
    rows = seq.summary(record)
    outcome = {"sequence": str(record.path), "state": record.state, "reason": record.reason, "after": rows}
    if args.json:
        print(json.dumps(outcome | {"runs": [event["run"] for event in record.scores() if event["run"]]}))
    else:
        print(f"{record.path}: {record.state}" + (f" ({record.reason})" if record.reason else ""))
        listing(
            [{k: _number(v) for k, v in row.items()} for row in rows], False, tuple(rows[0]) if rows else ()
        )
    return 0 if record.state == "done" else 1


def sweep(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from unlearn import sweep_record, sweep_table
    from unlearn.sweep import perform

    store = RunStore(args.runs)
    record = resumed_sweep(args, store) if args.resume else None
    record = record or sweep_record.create(sweep_of(args), store, title=args.title)
    lock = record.hold()
    try:
        with tqdm(total=100, unit="%", bar_format="{desc:60} {bar} {n:3.0f} %  {elapsed}<{remaining}") as bar:
            perform(record, on_progress=progress_on(bar), roots=EVERYWHERE)
    finally:
        lock.release()
    outcome = {"sweep": str(record.path), "state": record.state, "reason": record.reason}
    if args.json:
        print(json.dumps(outcome | sweep_table.everything(record)))
    else:
        print(f"{record.path}: {record.state}" + (f" ({record.reason})" if record.reason else ""))
        print(sweep_table.text(record))
    return 0 if record.state == "done" else 1


def resumed_sweep(args: argparse.Namespace, store: RunStore) -> Any:
    """The sweep to go on with. ValueError when there is none, or nothing is left to do."""
    from unlearn import sweep_record

    name = Path(args.resume).name
    record = next((one for one in sweep_record.sweeps(store) if one.id == name), None)
    if record is None:
        raise ValueError(f"sweep: no sweep {name[:80]!r} in {store.root}.")
    if record.state == "done" and (not args.guide or record.config.guide):
        raise ValueError(f"sweep: {name} is done; add --guide to follow the tuning guide too.")
    if args.guide and not record.config.guide:
        sweep_record.ask_guide(record)
    return record


def sweep_of(args: argparse.Namespace) -> Any:
    """SweepConfig from the command line: one template a method, each checked before a folder is made."""
    from unlearn.methods import method_named
    from unlearn.runner import check
    from unlearn.sweep_record import SweepConfig

    for name in ("model", "methods", "lrs"):
        if not getattr(args, name):
            raise ValueError(f"--{name}: give it, or --resume ID to go on with a sweep.")
    names = [name.strip() for name in args.methods.split(",")]
    knobs = {name: {knob.name for knob in method_named(name).knobs()} for name in names}
    runs = []
    for pair in args.set:
        if not any(knob_for(name, pair)[0] in knobs[name] for name in names):
            raise ValueError(f"--set: no method of {args.methods} has the knob of {pair!r}.")
    for name in names:
        told = [knob_for(name, pair) for pair in args.set]
        mine = [pair for knob, pair in told if knob in knobs[name]]
        asked = {"method": name, "set": mine, "epochs": None, "title": "", "requests": args.requests}
        runs.append(config_of(argparse.Namespace(**(vars(args) | asked))))
        check(runs[-1], EVERYWHERE)
    return SweepConfig(
        runs=tuple(runs),
        lrs=tuple(fractions("--lrs", args.lrs)),
        epochs=tuple(request_numbers("--epochs", args.epochs)) if args.epochs else (),
        batch_sizes=tuple(request_numbers("--batch-sizes", args.batch_sizes)) if args.batch_sizes else (),
        seeds=tuple(request_numbers("--seeds", args.seeds)),
        guide=args.guide,
        keep_weights=args.keep_weights,
    )


def knob_for(method: str, pair: str) -> tuple[str, str]:
    """(knob, "knob=value") of "knob=value", or of "gd.knob=value" for gd; ("", "") when it is another method's."""
    owner, dot, rest = pair.partition("=")[0].partition(".")
    if not dot:
        return owner, pair
    return (rest, pair.removeprefix(f"{owner}.")) if owner == method else ("", "")


def fractions(flag: str, text: str) -> list[float]:
    """ "1e-4,3e-4" → [0.0001, 0.0003]; ValueError names the flag."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{flag}: must be numbers such as 1e-4,3e-4, got {text!r}.") from None


def progress_on(bar: Any) -> Callable[[str, float], None]:
    """A (phase, fraction) callback that draws on a tqdm bar of 100."""

    def progress(phase: str, fraction: float) -> None:
        bar.set_description_str(phase)
        bar.n = round(100 * min(1.0, fraction))
        bar.refresh()

    return progress


def run(args: argparse.Namespace) -> int:
    from unlearn.runner import check

    config = config_of(args)
    check(config, EVERYWHERE)  # before a run folder exists, so that bad input leaves nothing behind
    return carry_out(RunStore(args.runs).create(config, title=args.title), args.json)


def resume(args: argparse.Namespace) -> int:
    found = RunStore(args.runs).get(Path(args.run).name)
    if found.state in ("done", "queued", "running"):
        raise ValueError(
            f"run: {found.id} is {found.state}; only an interrupted, stopped or failed run can be resumed."
        )
    return carry_out(found, args.json)


def carry_out(found: Run, as_json: bool) -> int:
    """Execute with a progress bar on stderr; the last line of stdout is the outcome."""
    from tqdm import tqdm

    from unlearn.execute import execute

    lock = found.hold()
    try:
        with tqdm(total=100, unit="%", bar_format="{desc:18} {bar} {n:3.0f} %  {elapsed}") as bar:
            execute(found, on_progress=progress_on(bar), roots=EVERYWHERE)
    finally:
        lock.release()
    print_run(found, as_json)
    return 0 if found.state == "done" else 1


def print_run(found: Run, as_json: bool) -> None:
    results = found.results()
    outcome = {
        "run": str(found.path),
        "state": found.state,
        "reason": found.reason,
        "seconds": results.get("seconds"),
        "scores": found.scores(),
    }
    if as_json:
        print(json.dumps(outcome | {k: v for k, v in results.items() if k != "scores"}))
        return
    print(f"{found.path}: {found.state}" + (f" ({found.reason})" if found.reason else ""))
    print(score_lines(found.scores()))


def score_lines(scores: dict[str, Any]) -> str:
    """A plain table: one line a role, before → after (retrained) for the main metrics."""
    lines = []
    for role, before in scores.get("before", {}).items():
        cells = []
        for metric in ("exact", "ppl"):
            if metric in before:
                after = scores.get("after", {}).get(role, {}).get(metric)
                truth = scores.get("retrained", {}).get(role, {}).get(metric)
                cell = f"{metric} {_number(before[metric])} → {_number(after)}"
                cells.append(cell + (f" (retrained {_number(truth)})" if truth is not None else ""))
        lines.append(f"  {role:12} n {before['n']:3}  " + "   ".join(cells))
    return "\n".join(lines)


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def show(args: argparse.Namespace) -> int:
    found = RunStore(args.runs).get(Path(args.run).name)
    print_run(found, args.json)
    if not args.json:
        print(f"  {found.config.command()}")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Compute what is missing with a progress bar on stderr; the whole table, or metrics.json, on stdout."""
    from tqdm import tqdm

    from unlearn import judge

    found = RunStore(args.runs).get(Path(args.run).name)
    names = None if args.metrics == "all" else [name.strip() for name in args.metrics.split(",")]
    judge.chosen_metrics(names)
    with tqdm(total=100, unit="%", bar_format="{desc:40} {bar} {n:3.0f} %  {elapsed}") as bar:

        def progress(phrase: str, fraction: float) -> None:
            bar.set_description_str(phrase)
            bar.n = round(100 * fraction)
            bar.refresh()

        record = judge.judge(found, names, roots=[Path("/")], progress=progress)
    if args.json:
        print(json.dumps(record))
        return 0
    for row in judge.table(record):
        if names is None or row["metric"] in names:
            cells = "".join(f"{_number(row.get(when)):>12}" for when in ("before", "after", "retrained"))
            print(f"{row['title']:22} {row['role']:12} n {row['n']:4}{cells}")
    for name, one in record["metrics"].items():
        if one["reason"]:
            print(f"{name}: left out, {one['reason']}")
    return 0


def attack(args: argparse.Namespace) -> int:
    """Carry out what is missing with a progress bar on stderr; findings worst first, or attacks.json, on stdout."""
    from tqdm import tqdm

    from unlearn import stress, verdict

    found = RunStore(args.runs).get(Path(args.run).name)
    names = None if args.name == "all" else [name.strip() for name in args.name.split(",")]
    stress.chosen_attacks(names)
    with tqdm(total=100, unit="%", bar_format="{desc:40} {bar} {n:3.0f} %  {elapsed}") as bar:
        record = stress.attack(found, names, roots=EVERYWHERE, progress=progress_on(bar))
    if args.json:
        print(json.dumps(record))
        return 0
    print("\n".join(verdict.report(record)))
    return 0


def runs(args: argparse.Namespace) -> int:
    rows = [
        {"run": r.id, "state": r.state, "model": r.config.model, "method": r.config.method, "title": r.title}
        for r in RunStore(args.runs).list()
    ]
    return listing(rows, args.json, ("run", "state", "model", "method"))


def models(args: argparse.Namespace) -> int:
    from unlearn.models import CATALOGUE, available

    rows = [
        {
            "name": e.name,
            "title": e.title,
            "parameters": e.parameters,
            "licence": e.licence,
            "here": available(e.name),
            "note": e.note,
        }
        for e in CATALOGUE.values()
    ]
    return listing(rows, args.json, ("name", "parameters", "here", "note"))


def data(args: argparse.Namespace) -> int:
    from unlearn.data.base import ROLES
    from unlearn.data.catalogue import CATALOGUE, load

    rows = []
    for name in CATALOGUE:
        found = load(name)
        counts = {role: len(found.rows(role)) for role in ROLES}
        rows.append(
            {
                "name": name,
                "title": found.title,
                "requests": list(found.requests()),
                "rows": counts,
                "note": found.note,
            }
        )
    return listing(rows, args.json, ("name", "title", "rows"))


def methods(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from unlearn.methods import METHODS
    from unlearn.methods.base import SIZES

    rows = [
        {
            "name": m.name,
            "title": m.title,
            "paper": m.paper,
            "sentence": m.sentence,
            "risk": m.collapses or m.risk,
            "knobs": [asdict(k) for k in m.knobs()],
            "settings": {f"{s} {t}": m.settings(s, t) for s in SIZES for t in m.tunings},
        }
        for m in METHODS.values()
    ]
    return listing(rows, args.json, ("name", "title", "sentence"))


def listing(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> int:
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    for row in rows:
        print("  ".join(f"{row[c]!s:14}" for c in columns).rstrip())
    return 0


def report(args: argparse.Namespace) -> int:
    from unlearn.report import report as write

    store = RunStore(args.runs)
    print(write([store.get(Path(name).name) for name in args.run], args.out))
    return 0


def export(args: argparse.Namespace) -> int:
    from unlearn.transfer import export_run

    print(export_run(RunStore(args.runs).get(Path(args.run).name), args.out))
    return 0


def import_(args: argparse.Namespace) -> int:
    from unlearn.transfer import import_run

    print_run(import_run(args.archive, RunStore(args.runs)), args.json)
    return 0


def get(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from unlearn.models import CATALOGUE, available

    if args.model not in CATALOGUE:
        raise ValueError(f"model: must be among {', '.join(CATALOGUE)}, got {args.model!r}.")
    if available(args.model):
        print(CATALOGUE[args.model].path())
        return 0
    from unlearn import smollm2

    with tqdm(total=100, bar_format="{desc:30} {bar} {n:3.0f} %") as bar:

        def progress(phrase: str, fraction: float) -> None:
            bar.set_description_str(phrase)
            bar.n = round(100 * fraction)
            bar.refresh()

        path = smollm2.get(progress)
    print(path)
    return 0


def train_bundled(args: argparse.Namespace) -> int:
    from unlearn.train_bundled import train_bundled

    train_bundled(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
