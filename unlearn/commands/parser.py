"""Parses the words of a command line; a bad one ends in a single line like every other bad input."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from unlearn.store.home import runs_folder


class Parser(argparse.ArgumentParser):
    """Its errors are ValueErrors, so that every bad input ends in the same single line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (`{self.prog} --help` tells more)")


def add_runs(parser: Any) -> None:
    """Add --runs, the folder of the runs."""
    parser.add_argument("--runs", type=Path, default=runs_folder(), help="folder of the runs")
