"""Parses the words of a command line, and turns a bad one into a ValueError."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, Protocol

from unlearn.store.home import runs_folder


class Parser(argparse.ArgumentParser):
    """A parser that raises ValueError, so that every bad input ends in the same single line."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError with the message and a hint at --help."""
        # A function that reads its arguments as a command line does is no command.
        where = f"help({self.prog})" if self.prog.startswith("unlearn.") else f"`{self.prog} --help`"
        raise ValueError(f"{message} ({where} tells more)")


class Command(Protocol):
    """A function that adds a command to the parser of all and returns the command's own parser."""

    def __call__(
        self,
        name: str,
        do: Callable[[argparse.Namespace], int],
        text: str,
        *,
        store: bool = False,
        as_json: bool = True,
    ) -> argparse.ArgumentParser: ...


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add --runs, the folder of the runs."""
    parser.add_argument("--runs", type=named_folder, default=runs_folder(), help="folder of the runs")


def named_folder(text: str) -> Path:
    """Return the path. An empty one is refused, because it would mean the folder that one happens to be in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name the folder of the runs, or leave it out")
    return Path(text)
