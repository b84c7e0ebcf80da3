"""Holds the command for UNDO, a step after a finished run."""

import argparse
import sys

from unlearn.commands.find import run_named
from unlearn.commands.options import EVERYWHERE, RUN
from unlearn.commands.parser import Command
from unlearn.commands.runs import add_processes, carry_out
from unlearn.engines import processes
from unlearn.methods import UNDO
from unlearn.store.runs import Run, RunConfig, RunStore
from unlearn.work.after import config_after
from unlearn.work.checks import check
from unlearn.work.preflight import preflight


def add(command: Command) -> None:
    """Declare the command undo."""
    text = "damage a finished run's model and teach it its own other answers again, so that less comes back"
    once = command("undo", undo, text, store=True)
    once.add_argument("run", help=RUN)
    for knob in UNDO.knobs():
        if knob.name in ("share", "noise"):
            once.add_argument(
                f"--{knob.name}", type=float, metavar="NUMBER", help=f"{knob.help} (default: {knob.default})"
            )
    for name, kind, what in (
        ("lr", float, "Learning rate"),
        ("epochs", int, "Passes over the forget set's number of texts"),
        ("batch-size", int, "Texts in a step"),
    ):
        once.add_argument(f"--{name}", type=kind, metavar="NUMBER", help=f"{what} (default: the tuned one).")
    once.add_argument("--seed", type=int, metavar="NUMBER", help="Of order and noise (default: the run's).")
    once.add_argument("--title", help="A title for the new run.")
    add_processes(once)


def step_after(start: Run, args: argparse.Namespace) -> RunConfig:
    """Return the config of the step after this run, with what the flags say."""
    knobs = {name: value for name in ("share", "noise") if (value := getattr(args, name)) is not None}
    names = ("lr", "epochs", "batch_size", "seed")
    return config_after(
        start, knobs, args.title or "", {n: v for n in names if (v := getattr(args, n)) is not None}
    )


def undo(args: argparse.Namespace) -> int:
    """Carry out the step after a finished run as a run of its own."""
    start = run_named(args.run, args.runs)
    config = step_after(start, args)
    store = RunStore(start.path.parent)
    check(config, EVERYWHERE, store)
    processes.check(config, args.processes)
    processes.check_room(args.processes)
    told = preflight(config, roots=EVERYWHERE)
    for text in (*told.notes, *told.warnings):
        print(text, file=sys.stderr)
    return carry_out(store.create(config), args.json, args.processes)
