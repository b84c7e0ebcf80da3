"""Holds commands that judge a finished run: further metrics, and attacks."""

import argparse
import json

from unlearn.commands.find import run_named
from unlearn.commands.options import EVERYWHERE, RUN
from unlearn.commands.parser import Command
from unlearn.commands.printing import number, progress_bar
from unlearn.measure import judge
from unlearn.results import verdict
from unlearn.work import stress
from unlearn.work.card import write_card


def add(command: Command) -> None:
    """Declare the commands evaluate and attack."""
    judged = command("evaluate", evaluate, "compute the metrics of a finished run", store=True)
    judged.add_argument("run", help=RUN)
    judged.add_argument("--metrics", default="all", help="names with commas between them, or all")
    tried = command("attack", attack, "try to bring the forgotten answers of a finished run back", store=True)
    tried.add_argument("run", help=RUN)
    tried.add_argument("name", help="an attack, several with commas between them, or all")
    tried.add_argument(
        "--seed", type=int, help="of what an attack draws (default: that of the attacks already done, or 0)"
    )


def evaluate(args: argparse.Namespace) -> int:
    """Compute the missing metrics with a progress bar on stderr.

    The whole table, or metrics.json, is printed on stdout.
    """
    found = run_named(args.run, args.runs)
    names = None if args.metrics == "all" else [name.strip() for name in args.metrics.split(",")]
    judge.chosen_metrics(names)
    with progress_bar(40) as progress:
        record = judge.judge(found, names, roots=EVERYWHERE, progress=progress)
    write_card(found)
    if args.json:
        print(json.dumps(record))
        return 0
    for row in judge.table(record):
        if names is None or row["metric"] in names:
            cells = "".join(f"{number(row.get(when)):>12}" for when in ("before", "after", "retrained"))
            print(f"{row['title']:22} {row['role']:12} n {row['n']:4}{cells}")
    for name, one in record["metrics"].items():
        if one["reason"]:
            print(f"{name}: left out, {one['reason']}")
    return 0


def attack(args: argparse.Namespace) -> int:
    """Carry out the missing attacks with a progress bar on stderr.

    The findings, worst first, or attacks.json are printed on stdout.
    """
    found = run_named(args.run, args.runs)
    names = None if args.name == "all" else [name.strip() for name in args.name.split(",")]
    stress.chosen_attacks(names)
    with progress_bar(40) as progress:
        record = stress.attack(found, names, seed=args.seed, roots=EVERYWHERE, progress=progress)
    if args.json:
        print(json.dumps(record))
        return 0
    print("\n".join(verdict.report(record)))
    return 0
