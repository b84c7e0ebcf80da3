"""Holds the command that writes what came out of a run: an archive, or weights that load elsewhere."""

import argparse
import json
import sys
from pathlib import Path

from unlearn.commands.find import run_named
from unlearn.commands.options import RUN
from unlearn.commands.parser import Command
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject
from unlearn.store.transfer import export_run


def add(command: Command) -> None:
    """Declare the command export."""
    p = command("export", export, "write what came out of a run: an archive, or weights", store=True)
    p.add_argument("run", help=RUN)
    p.add_argument(
        "out", type=Path, nargs="?", help="The zip file to write: the whole run, to be imported again."
    )
    rows = p.add_mutually_exclusive_group()
    text = "Leave rows, answers and probes out of the zip file. Without this it holds them."
    rows.add_argument("--without-rows", action="store_true", help=text)


def export(args: argparse.Namespace) -> int:
    """Write a run as one zip file and print its path."""
    found = run_named(args.run, args.runs)
    if found.state in ACTIVE:
        raise ValueError(f"run: {found.id} is {found.state}; stop it, or export it when it has ended.")
    if args.out is None:
        raise ValueError("export: name the zip file to write.")
    return archive(args, found)


def archive(args: argparse.Namespace, found: Run) -> int:
    """Write the zip file, and say whether it holds the rows."""
    rows = not args.without_rows
    path = export_run(found, args.out, rows)
    if rows:
        print("It holds the rows that were to be forgotten; --without-rows leaves them out.", file=sys.stderr)
    return told(args, {"run": str(found.path), "kind": "archive", "path": str(path), "rows": rows}, str(path))


def told(args: argparse.Namespace, found: JsonObject, text: str) -> int:
    """Print the outcome as JSON or as text, and return exit status 0."""
    print(json.dumps(found) if args.json else text)
    return 0
