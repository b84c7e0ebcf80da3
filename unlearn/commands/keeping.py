"""Holds commands that change a store: stop, rename, delete or redact a run, remove old weights."""

import argparse
import json
import re
import sys
import time
from pathlib import Path

from unlearn.commands.find import record_named, store_of
from unlearn.commands.options import RUN, check_title
from unlearn.commands.parser import Command
from unlearn.store import upkeep
from unlearn.store.runs import ACTIVE, Run, RunStore
from unlearn.store.shapes import JsonObject

UNITS = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0}
AGE = re.compile(r"(\d{1,5})([hdw])")
YES = "Do not ask."


def add(command: Command) -> None:
    """Declare the commands stop, rename, delete, redact and prune."""
    text = "end a run or a study that another process carries out, and keep its weights"
    end = command("stop", stop, text, store=True)
    end.add_argument("run", help=f"{RUN} Or a sequence or a sweep.")
    text = "Wait at most so many seconds until it has ended (default: 0)."
    end.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help=text)
    named = command("rename", rename, "give a run or study another title", store=True)
    named.add_argument("run", help=f"{RUN} Or a sequence or a sweep.")
    named.add_argument("title", help="The new title.")
    gone = command("delete", delete, "delete runs or studies with all their files", store=True)
    gone.add_argument("run", nargs="+", help=f"{RUN} Or a sequence or a sweep.")
    gone.add_argument("--yes", action="store_true", help=YES)
    text = "remove rows, generations and probes of a run; scores and hashes stay"
    bare = command("redact", redact, text, store=True)
    bare.add_argument("run", help=f"{RUN} Or a sequence or a sweep, with its runs.")
    bare.add_argument("--yes", action="store_true", help=YES)
    text = "delete runs that ended long ago, or their weights alone"
    less = command("prune", prune, text, store=True)
    less.add_argument("--older-than", required=True, metavar="AGE", help="Such as 12h, 30d or 8w.")
    text = "Remove weights and checkpoints alone; scores, texts and settings stay."
    less.add_argument("--keep-scores", action="store_true", help=text)
    less.add_argument("--yes", action="store_true", help=YES)


def stop(args: argparse.Namespace) -> int:
    """Ask a run or a study to stop and, with --wait, wait until it ends."""
    found = record_named(args.run, args.runs)
    found.ask_to_stop()
    until = time.monotonic() + args.wait
    while found.state in ACTIVE and time.monotonic() < until:
        time.sleep(0.1)
    said = f"{found.path}: {found.state}" + (", asked to stop" if found.state in ACTIVE else "")
    return outcome(args, {"run": str(found.path), "state": found.state, "asked": True}, said)


def rename(args: argparse.Namespace) -> int:
    """Give a run or study another title."""
    found = record_named(args.run, args.runs)
    if not args.title.strip():
        raise ValueError("title: is empty; write one.")
    check_title(args.title)
    found.set_meta(title=args.title.strip())
    return outcome(args, {"run": str(found.path), "title": found.title}, f"{found.path}: {found.title}")


def delete(args: argparse.Namespace) -> int:
    """Delete runs or studies with all their files."""
    records = [record_named(name, args.runs) for name in args.run]
    if busy := [record for record in records if record.state in ACTIVE]:
        raise ValueError(f"run: {busy[0].id} is {busy[0].state}; stop it before deleting it.")
    for store in {store_of(record).root: store_of(record) for record in records}.values():
        for line in upkeep.resting_on(records, store):
            print(f"! {line}", file=sys.stderr)
    sure(args, "Delete " + ", ".join(f"{record.id} ({record.title})" for record in records))
    for record in records:
        store_of(record).delete(record)
    paths = [str(record.path) for record in records]
    return outcome(args, {"deleted": paths}, "\n".join(f"{path}: deleted" for path in paths))


def redact(args: argparse.Namespace) -> int:
    """Remove what was to be forgotten from the store, and print which files outside still hold it."""
    found = record_named(args.run, args.runs)
    if found.state in ACTIVE:
        raise ValueError(f"run: {found.id} is {found.state}; stop it before redacting it.")
    sure(args, f"Remove rows, generations and probes of {found.id} ({found.title}) for good")
    left = upkeep.redact(found, store_of(found))
    runs = [str(run.path) for run in upkeep.runs_of(found, store_of(found))]
    lines = [f"{found.path}: rows, generations and probes are removed; scores and hashes stay"]
    lines += [f"! {path} still holds rows; {remedy(path)}" for path in left]
    return outcome(args, {"run": str(found.path), "runs": runs, "left": left}, "\n".join(lines))


def remedy(path: str) -> str:
    """Return what to do about a place that still holds the rows: a file, or another run or study."""
    return "redact it too" if Path(path).is_dir() else "other runs may use it, delete it yourself"


def prune(args: argparse.Namespace) -> int:
    """Delete runs that ended long ago, or their weights alone."""
    store = RunStore(args.runs)
    found = list(upkeep.old(store, age(args.older_than)))
    if args.keep_scores:
        found = [run for run in found if upkeep.sizes(run)["weights"]]
    what = "weights" if args.keep_scores else "bytes"
    total = sum(upkeep.sizes(run)[what] for run in found)
    title = "Remove the weights of" if args.keep_scores else "Delete"
    if found:
        sure(args, f"{title} {len(found)} runs ({total / 1e6:,.1f} MB): {', '.join(run.id for run in found)}")
    rows = [drop(run, store, args.keep_scores) for run in found]
    lines = [f"{row['run']}: {row['bytes'] / 1e6:,.1f} MB" for row in rows]
    return outcome(
        args, {"pruned": rows, "bytes": total}, "\n".join([*lines, f"{total / 1e6:,.1f} MB are free"])
    )


def drop(run: Run, store: RunStore, keep_scores: bool) -> JsonObject:
    """Remove one run's weights, or the whole run, and return {"run", "bytes"}."""
    if keep_scores:
        return {"run": run.id, "bytes": upkeep.drop_weights(run)}
    freed = upkeep.sizes(run)["bytes"]
    store.delete(run)
    return {"run": run.id, "bytes": freed}


def age(text: str) -> float:
    """Return the seconds that a text such as "12h", "30d" or "8w" means."""
    found = AGE.fullmatch(text)
    if not found:
        raise ValueError(
            f"--older-than: must be a number with h, d or w behind it, such as 30d, got {text!r}."
        )
    return int(found[1]) * UNITS[found[2]]


def sure(args: argparse.Namespace, what: str) -> None:
    """Ask for confirmation on the terminal unless --yes was given. ValueError for any answer but yes."""
    if args.yes:
        return
    print(f"{what}? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip().lower()
    if answer not in ("y", "yes"):
        raise ValueError("nothing was changed; answer y, or give --yes.")


def outcome(args: argparse.Namespace, found: JsonObject, said: str) -> int:
    """Print the outcome as JSON or as a sentence, and return exit status 0."""
    print(json.dumps(found) if args.json else said)
    return 0
