"""Asks, before a run or a study, whether the model knows what it is to forget: --check and --force."""

import argparse
import json
import sys

from unlearn.commands.options import EVERYWHERE
from unlearn.store.config import RunConfig
from unlearn.store.runs import RunStore
from unlearn.work.known import Known, known


def add(p: argparse.ArgumentParser) -> None:
    """Add the flags."""
    text = "Ask the model up to 25 of the rows to forget in the run's prompt format, say what it knows, and stop."
    p.add_argument("--check", action="store_true", help=text)
    text = "Begin also where the model knows nothing of what it is to forget."
    p.add_argument("--force", action="store_true", help=text)


def asked_first(args: argparse.Namespace, config: RunConfig) -> bool:
    """Ask the model what it knows, and return whether that was all that was asked for.

    ValueError where there is nothing to forget.
    """
    if args.force and not args.check:
        return False
    found = known(config, RunStore(args.runs), EVERYWHERE)
    if args.check:
        print(json.dumps(found.to_json(), ensure_ascii=False) if args.json else lines(found))
        return True
    refused(config, found, "try another --prompt, look with --check, or go on with --force")
    print(found.words(), file=sys.stderr)
    return False


def refused(config: RunConfig, found: Known, remedy: str) -> None:
    """Raise ValueError where the model knows nothing of what it is to forget."""
    if found.nothing:
        raise ValueError(
            f"data: {config.model} answers {found.answered} of {found.asked} of the rows to forget in the format "
            f"{config.prompt}, so there is nothing to forget; {remedy}."
        )


def lines(found: Known) -> str:
    """Say it in lines, with the examples and what counts as answered."""
    said = [f"answers {found.answered} of {found.asked}"]
    for one in found.examples:
        said += [one["question"], f"  says  {one['said'] or '(nothing)'}", f"  right {one['answer']}"]
    return "\n".join([*said, found.rule])
