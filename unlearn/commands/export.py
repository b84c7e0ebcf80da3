"""Holds the commands that write what came out of a run: an archive, weights that load elsewhere, a receipt."""

import argparse
import json
import sys
from pathlib import Path

from unlearn.commands.find import run_named
from unlearn.commands.options import RUN, check_out
from unlearn.commands.parser import Command
from unlearn.store.redaction import holds_rows
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject
from unlearn.store.transfer import export_run

OUT = "The zip file to write: the whole run, to be imported again."
WAYS = "a zip file, --merged DIR, --adapter DIR or --push-to-hub OWNER/NAME"


def add(command: Command) -> None:
    """Declare the commands export and receipt."""
    p = command("export", export, "write what came out of a run: an archive, or weights", store=True)
    p.add_argument("run", help=RUN)
    p.add_argument("out", type=Path, nargs="?", help=OUT)
    text = "Write the whole model for plain transformers into this folder, in the number format of the start."
    p.add_argument("--merged", type=Path, metavar="DIR", help=text)
    text = "Write the adapter for plain peft into this folder."
    p.add_argument("--adapter", type=Path, metavar="DIR", help=text)
    text = "Send weights and model card to this repository of the hub; a new one is private."
    p.add_argument("--push-to-hub", metavar="OWNER/NAME", help=text)
    p.add_argument(
        "--public", action="store_true", help="With --push-to-hub: let everybody see the repository."
    )
    rows = p.add_mutually_exclusive_group()
    text = "Leave rows, answers and probes out of the zip file. Without this it holds them."
    rows.add_argument("--without-rows", action="store_true", help=text)
    text = "Put the rows beside the weights too. Without this only counts and hashes go with them."
    rows.add_argument("--with-rows", action="store_true", help=text)
    text = "write the receipt for a deletion request: one HTML page and one JSON file, without the rows"
    told = command("receipt", receipt, text, store=True)
    told.add_argument("run", help=RUN)
    told.add_argument(
        "--out", type=Path, default=Path("receipt.html"), help="The HTML file; .json lies beside it."
    )
    told.add_argument(
        "--reference", default="", metavar="TEXT", help="The deletion request's own number or name."
    )


def export(args: argparse.Namespace) -> int:
    """Write a run in one of the four ways, and print where it lies and how it is loaded."""
    found = run_named(args.run, args.runs)
    ways = [args.out, args.merged, args.adapter, args.push_to_hub]
    if sum(way is not None for way in ways) != 1:
        raise ValueError(f"export: give one of {WAYS}.")
    if args.public and not args.push_to_hub:
        raise ValueError("--public: belongs to --push-to-hub; leave it out.")
    if args.with_rows and args.out:
        raise ValueError("--with-rows: a zip file holds the rows anyway; --without-rows leaves them out.")
    if args.without_rows and not args.out:
        raise ValueError("--without-rows: weights go without the rows anyway; --with-rows adds them.")
    if found.state in ACTIVE:
        raise ValueError(f"run: {found.id} is {found.state}; stop it, or export it when it has ended.")
    if args.out:
        check_archive(found, args.out)
        return archive(args, found)
    return pushed(args, found) if args.push_to_hub else weights(args, found)


def check_archive(found: Run, out: Path) -> None:
    """Raise ValueError where no zip file can be written there, its name says another kind, or a file is there."""
    # A folder gets a file that is named after the run.
    path = out / f"{found.id}.zip" if out.is_dir() else out
    check_out("export", path)
    if path.suffix.lower() not in ("", ".zip"):
        raise ValueError(f"export: it writes a zip file, got {path.name}; name it {path.stem}.zip.")
    if path.exists():
        raise ValueError(f"export: {path} is there already; name another file, or delete it first.")


def archive(args: argparse.Namespace, found: Run) -> int:
    """Write the zip file, and say whether it holds the rows."""
    from unlearn.work.publish import changes_weights

    path = export_run(found, args.out, not args.without_rows)
    rows = not args.without_rows and holds_rows(found.path)
    if not changes_weights(found):
        print("Its weights are the start's: whoever has the file has the knowledge.", file=sys.stderr)
    if rows:
        print("It holds the rows that were to be forgotten; --without-rows leaves them out.", file=sys.stderr)
    return told(args, found, {"kind": "archive", "path": str(path), "rows": rows, "lines": []}, str(path))


def weights(args: argparse.Namespace, found: Run) -> int:
    """Write a folder of weights, and end with the lines that load it."""
    from unlearn.models.exported import ADAPTER, MERGED
    from unlearn.work import publish

    kind = MERGED if args.merged else ADAPTER
    made = publish.export(found, args.merged or args.adapter, kind, args.with_rows)
    about = {"kind": made.kind, "path": str(made.folder), "rows": made.rows, "lines": made.lines}
    return told(args, found, about, "\n".join([f"{made.folder}: load it with", "", *made.lines]))


def pushed(args: argparse.Namespace, found: Run) -> int:
    """Send weights and model card to the hub, and print the address."""
    from unlearn.work import publish

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    address = publish.push(found, args.push_to_hub, private=not args.public, rows=args.with_rows, told=say)
    about = {"kind": "hub", "path": address, "rows": args.with_rows, "lines": []}
    return told(args, found, about, address)


def receipt(args: argparse.Namespace) -> int:
    """Write the receipt and print its two files."""
    from unlearn.report.receipt import write

    check_out("--out", args.out)
    found = run_named(args.run, args.runs)
    page, data = write(found, args.out, args.reference.strip())
    return told(args, found, {"html": str(page), "data": str(data)}, f"{page}\n{data}")


def told(args: argparse.Namespace, run: Run, found: JsonObject, text: str) -> int:
    """Print the outcome as JSON or as text, and return exit status 0."""
    print(json.dumps({"run": str(run.path)} | found) if args.json else text)
    return 0
