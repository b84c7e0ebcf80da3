"""Runs the command line, which does everything that the app can do. `unlearn --help` lists the commands.

`unlearn`, `unlearn-studio COMMAND` and `python -m unlearn` are the same; `unlearn-studio` alone opens the app. Runs
land in the same store as the app's. Exit status: 0 done, 1 the run failed, 2 bad input.
"""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from unlearn.commands import (  # noqa: E402  (after the thread policy)
    app,
    asking,
    catalogue,
    claims,
    data,
    doctor,
    export,
    judging,
    keeping,
    runs,
    sequence,
    sweep,
    tofu,
    trust,
    tune,
    undo,
)
from unlearn.commands.parser import Parser, add_runs  # noqa: E402

COMMANDS = (
    catalogue,
    data,
    runs,
    export,
    asking,
    keeping,
    judging,
    sequence,
    sweep,
    tune,
    claims,
    trust,
    tofu,
    doctor,
    undo,
)


def main(words: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    return answered(lambda: carry_out(words))


def studio(words: list[str] | None = None) -> int:
    """Open the app, or run one command when one is given, and return the exit status."""
    words = sys.argv[1:] if words is None else words
    if words and not words[0].startswith("-"):
        return main(words)
    return answered(lambda: app.serve(words))


def carry_out(words: list[str] | None) -> int:
    """Parse the words, carry out their command and return the exit status."""
    # PEFT asks transformers by an old name. Whoever types a command can do nothing about it.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
    args, unknown = parser().parse_known_args(words)
    if unknown:
        # The command's own parser, since its help lists the command's options.
        args.refuse(f"unrecognized arguments: {' '.join(unknown)}")
    return args.do(args)


def answered(do: Callable[[], int]) -> int:
    """Call do and return its status. Bad input becomes one line on stderr and status 2."""
    try:
        return do()
    except BrokenPipeError:
        # Whoever read stdout has closed it, as `| head` does; nothing more may be written, also not at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (ValueError, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def name() -> str:
    """Return the name by which this was called: "unlearn", "unlearn-studio" or "python -m unlearn"."""
    called = Path(sys.argv[0]).stem
    return called if called in ("unlearn", "unlearn-studio") else "python -m unlearn"


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(prog=name(), description="See a language model forget.")
    sub = top.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str,
        do: Callable[[argparse.Namespace], int],
        text: str,
        *,
        store: bool = False,
        as_json: bool = True,
    ) -> Parser:
        p = sub.add_parser(name, help=text, description=text)
        p.set_defaults(do=do, refuse=p.error)
        if as_json:
            p.add_argument("--json", action="store_true", help="print JSON")
        if store:
            add_runs(p)
        return p

    for subject in COMMANDS:
        subject.add(command)
    return top


if __name__ == "__main__":
    sys.exit(main())
