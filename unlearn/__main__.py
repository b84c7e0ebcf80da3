"""The command line: everything the app can do, without it. `python -m unlearn --help` lists the commands.

Runs land in the same store as the app's. Exit status: 0 done, 1 the run failed, 2 bad input.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from unlearn.commands import catalogue, claims, data, judging, runs, sequence, sweep, tofu  # noqa: E402  (after the thread policy)
from unlearn.commands.options import default_store  # noqa: E402

COMMANDS = (catalogue, data, runs, judging, sequence, sweep, claims, tofu)


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

    for subject in COMMANDS:
        subject.add(command)
    return top


if __name__ == "__main__":
    sys.exit(main())
