"""Carries out commands in forks of one process that has imported torch, and ends one with kill -9 where it is asked to.

python tests/warm.py reads a JSON object a line: {"words", "root", "out", "at", "changes"}. The command writes its
stdout and stderr to the file out. Before its at-th change below root (a file opened for writing, renamed, removed, a
folder made) it is killed; at 0: never. The answer is a line too: {"status", "changes": how many there were}.
"""

import importlib
import json
import os
import signal
import sys
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR
# The audit events of a change; of each the places of the paths in its arguments.
CHANGES = {"os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.link": (0, 1)}


def changed(event, given):
    """The paths that an audit event is about to change."""
    if event == "open" and isinstance(given[2], int) and given[2] & WRITES:
        return given[:1]
    return [given[place] for place in CHANGES.get(event, ())]


def carry_out(asked):
    """Carry out one command in this process, which ends with it."""
    out = os.open(asked["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for place, value in asked["changes"].items():
        module, _, name = place.partition(":")
        setattr(importlib.import_module(module), name, value)
    count = 0

    def look(event, given):
        nonlocal count
        if event != "open" and event not in CHANGES:
            return
        for path in changed(event, given):
            if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(asked["root"]):
                count += 1
                if count == asked["at"]:
                    os.kill(os.getpid(), signal.SIGKILL)
                return

    from unlearn.__main__ import main

    sys.addaudithook(look)
    status = main(asked["words"])
    asked["root"] = "\0"
    Path(f"{asked['out']}.count").write_text(str(count))
    sys.stdout.flush()
    os._exit(status)


def serve():
    """Answer lines until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            try:
                carry_out(asked)
            finally:
                os._exit(99)
        _, status = os.waitpid(child, 0)
        count = Path(f"{asked['out']}.count")
        told = {
            "status": os.waitstatus_to_exitcode(status),
            "changes": int(count.read_text()) if count.is_file() else 0,
        }
        count.unlink(missing_ok=True)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    for name in (
        "torch",
        "transformers",
        "peft",
        "optuna",
        "sklearn",
        "unlearn.work.execute",
        "unlearn.work.train",
    ):
        importlib.import_module(name)
    serve()
