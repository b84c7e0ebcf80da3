"""Holds the command that reads TOFU's logs: utility and forget quality as TOFU defines them."""

import argparse
import json
from pathlib import Path

from unlearn.commands.parser import Command
from unlearn.commands.printing import number
from unlearn.results import tofu as logs


def add(command: Command) -> None:
    """Declare the command tofu."""
    p = command("tofu", tofu, "model utility and forget quality of a published TOFU log")
    p.add_argument(
        "log", type=Path, help="TOFU's eval_log_aggregated.json, or OpenUnlearning's TOFU_EVAL.json"
    )
    p.add_argument(
        "--retain",
        type=Path,
        help="the log of the model retrained without the forget set: gives forget quality",
    )


def tofu(args: argparse.Namespace) -> int:
    """Print the nine parts, their harmonic mean and, with --retain, the Kolmogorov-Smirnov test."""
    found = logs.summary(logs.read_log(args.log), logs.read_log(args.retain) if args.retain else None)
    if args.json:
        print(json.dumps(found))
        return 0
    print(f"{'':14}{'probability':>12}{'ROUGE-L':>12}{'truth ratio':>12}{'n':>6}")
    for name, parts in found["parts"].items():
        cells = "".join(f"{number(value):>12}" for value in parts.values())
        print(f"{name.replace('_', ' '):14}{cells}{found['n'].get(name, 0):6}")
    print(f"TOFU model utility {number(found['model_utility'])}")
    if ks := found["ks"]:
        print(
            f"TOFU forget quality p = {found['forget_quality']:.3g} "
            f"(D = {ks['d']:.3g}, n = {ks['n']} against {ks['n_retrained']})"
        )
    return 0
