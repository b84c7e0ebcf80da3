"""Holds commands that judge a finished run: further metrics, and attacks."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from unlearn.commands import where
from unlearn.commands.find import run_named, store_of
from unlearn.commands.options import EVERYWHERE, RUN, check_out
from unlearn.commands.parser import Command
from unlearn.commands.printing import number, progress_bar
from unlearn.engines.elsewhere import follow
from unlearn.measure import judge
from unlearn.metrics.base import WHEN
from unlearn.results import residue, verdict
from unlearn.store.disk import write_json
from unlearn.store.engine import Engine
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonView
from unlearn.work import cells, harness, stress
from unlearn.work.card import write_card


class _Sweeps(argparse.Action):
    """The flag --sweep, which makes the attack's name optional.

    A name that may always be missing (nargs "?") would no longer be found behind another flag.
    """

    def __init__(
        self, option_strings: Sequence[str], dest: str, *, name: argparse.Action, help: str, default: bool
    ) -> None:
        super().__init__(option_strings, dest, nargs=0, default=default, help=help)
        self.name = name

    def __call__(self, _: object, found: argparse.Namespace, *more: object) -> None:
        setattr(found, self.dest, True)
        self.name.required = False


def add(command: Command) -> None:
    """Declare the commands evaluate and attack."""
    judged = command("evaluate", evaluate, "compute the metrics of a finished run", store=True)
    judged.add_argument("run", help=RUN)
    judged.add_argument(
        "--metrics",
        help="names with commas between them, a benchmark's name (tofu, muse, rwku) for its own, or all (default)",
    )
    judged.add_argument(
        "--benchmark", default="", help="whose items its metrics read (default: the run's own data)"
    )
    judged.add_argument("--hub-folder", type=Path, help="folder laid out like the benchmark on the hub")
    judged.add_argument(
        "--tofu-log", type=Path, metavar="OUT", help="write TOFU's log of the run, which its scripts read"
    )
    judged.add_argument(
        "--log-of", default="after", choices=WHEN, help="of which model the log is (default: after)"
    )
    judged.add_argument(
        "--encoder",
        type=Path,
        metavar="FOLDER",
        help="an encoder of texts, for the metrics similarity and mauve",
    )
    judged.add_argument(
        "--harness",
        metavar="TASK,…",
        help="carry out tasks of lm-evaluation-harness instead: its names, a YAML file, or "
        + ", ".join(harness.GROUPS)
        + " (lists of papers, not tried here)",
    )
    judged.add_argument("--limit", type=int, help="with --harness: so many items of each task")
    judged.add_argument(
        "--allow-code", action="store_true", help="with --harness: tasks may execute what the model writes"
    )
    tried = command("attack", attack, "try to bring the forgotten answers of a finished run back", store=True)
    tried.add_argument("run", help=RUN)
    name = tried.add_argument(
        "name",
        default="all",
        help="an attack, several with commas between them, or all; with --sweep beginnings of settings "
        "(there the default is all)",
    )
    tried.add_argument(
        "--sweep",
        action=_Sweeps,
        default=False,
        name=name,
        help="try every attack in many settings, and go on where one ended",
    )
    tried.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help=f"with --sweep: so many minutes, the cheap and telling settings first (default: {cells.MINUTES:g})",
    )
    tried.add_argument(
        "--seed", type=int, help="of what an attack draws (default: that of the attacks already done, or 0)"
    )
    for p in (judged, tried):
        where.add(p)


def evaluate(args: argparse.Namespace) -> int:
    """Compute the missing metrics with a progress bar on stderr.

    The whole table, or metrics.json, is printed on stdout.
    """
    found = run_named(args.run, args.runs)
    if args.harness is not None:
        return _harness(found, args)
    if args.metrics is not None and not args.metrics.strip():
        raise ValueError("--metrics: name one at least, or leave it out for all.")
    asked = args.metrics or ("tofu" if args.tofu_log else "all")
    names = None if asked == "all" else [name.strip() for name in asked.split(",")]
    wanted = {metric.name for metric in judge.chosen_metrics(names)}
    benchmark = judge.Benchmark(args.benchmark, args.hub_folder)
    if args.tofu_log:
        check_out("--tofu-log", args.tofu_log)
    place = where.place_of(args)
    if not place.here and (args.benchmark or args.tofu_log or args.encoder):
        raise ValueError(
            "--on: a benchmark's items, TOFU's log and an encoder are read here; leave --on out with them."
        )
    with where.engine_at(place, store_of(found).root) as engine, progress_bar(40) as progress:
        if engine is None:
            record = judge.judge(
                *(found, names),
                benchmark=benchmark,
                encoder=args.encoder,
                roots=EVERYWHERE,
                progress=progress,
            )
        elif not _elsewhere(engine, stress.create(found, metrics=sorted(wanted)), progress):
            return 1
        else:
            record = judge.read_metrics(found)
        if args.tofu_log:
            log = judge.tofu_log(found, args.log_of, benchmark=benchmark, roots=EVERYWHERE, progress=progress)
            write_json(args.tofu_log, log)
    write_card(found)
    if args.json:
        print(json.dumps(record))
        return 0
    for row in judge.table(record):
        if row["metric"] in wanted:
            cells = "".join(f"{number(row.get(when)):>12}" for when in ("before", "after", "retrained"))
            print(f"{row['title']:22} {row['role']:12} n {row['n']:4}{cells}{_around(row)}")
    for name, one in record["metrics"].items():
        if one["reason"] and name in wanted:
            print(f"{name}: left out, {one['reason']}")
    return 0


def _around(row: JsonView) -> str:
    """The 95 % interval of the value after, or a test's D beside its p-value, where there is one."""
    ends = row.get("interval")
    if row.get("d") is not None:
        return f"   after: D {number(row['d'])}"
    return f"   after: {number(ends[0])} to {number(ends[1])}" if ends else ""


def _elsewhere(engine: Engine, record: stress.StressRecord, progress: stress.Progress) -> bool:
    """Have the engine carry the record out. Returns whether it came to its end; stderr says why not."""
    engine.submit(record, perform=stress.perform)
    follow(engine, record, progress)
    if record.state != "done":
        print(f"error: {record.path}: {record.state} ({record.reason})", file=sys.stderr)
    return record.state == "done"


def _harness(found: Run, args: argparse.Namespace) -> int:
    names = [name.strip() for name in args.harness.split(",") if name.strip()]
    # What is missing or wrong is said before a model is loaded.
    harness.check_code(harness.chosen_tasks(names), args.allow_code)
    with progress_bar(40) as progress:
        record = harness.evaluate(
            found,
            names,
            limit=args.limit,
            allow_code=args.allow_code,
            roots=EVERYWHERE,
            progress=progress,
        )
    write_card(found)
    if args.json:
        print(json.dumps(record))
        return 0
    for row in judge.table(record):
        if row["metric"].startswith("harness_"):
            cells = "".join(f"{number(row.get(when)):>12}" for when in ("before", "after"))
            print(f"{row['title']:34} n {row['n']:5}{cells}{_around(row)}")
    return 0


def attack(args: argparse.Namespace) -> int:
    """Carry out the missing attacks, or a sweep, with a progress bar on stderr.

    The findings, worst first, or attacks.json are printed on stdout.
    """
    found = run_named(args.run, args.runs)
    names = attack_names(args.name)
    if args.sweep:
        return _sweep(found, names, args)
    if args.minutes is not None:
        raise ValueError("--minutes: it belongs to --sweep; a single attack takes as long as it takes.")
    chosen = [one.name for one in stress.chosen_attacks(names)]
    with where.engine_at(where.place_of(args), store_of(found).root) as engine, progress_bar(40) as progress:
        if engine is None:
            record = stress.attack(found, names, seed=args.seed, roots=EVERYWHERE, progress=progress)
        elif not _elsewhere(engine, stress.create(found, chosen, seed=args.seed), progress):
            return 1
        else:
            record = stress.read_attacks(found)
    if args.json:
        print(json.dumps(record))
        return 0
    print("\n".join(verdict.report(record)))
    return 0


def attack_names(text: str) -> list[str] | None:
    """Return the names that stand with commas between them, or None for all. ValueError where all stands beside one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if "all" in names and len(names) > 1:
        others = ",".join(name for name in names if name != "all")
        raise ValueError(
            f"attack: all means every attack, so it stands alone, got {text}; write all, or {others} alone."
        )
    if not names:
        raise ValueError("attack: no name is given; write all, or names with commas between them.")
    return None if names == ["all"] else names


def _sweep(found: Run, names: list[str] | None, args: argparse.Namespace) -> int:
    minutes = cells.MINUTES if args.minutes is None else args.minutes
    # What is wrong is said before a model is loaded.
    cells.chosen_cells(names)
    cells.good_minutes(minutes)
    with where.engine_at(where.place_of(args), store_of(found).root) as engine, progress_bar(40) as progress:
        if engine is None:
            record = stress.sweep(found, minutes, names, seed=args.seed, roots=EVERYWHERE, progress=progress)
        else:
            asked = stress.create(found, names or (), minutes=minutes, seed=args.seed)
            if not _elsewhere(engine, asked, progress):
                return 1
            record = stress.read_attacks(found)
    if args.json:
        print(json.dumps(record))
        return 0
    lines = [record.get("verdict", "undecided"), residue.sentence(record), residue.sweep_note(record)]
    print("\n".join([*filter(None, lines), *residue.lines(record)]))
    return 0
