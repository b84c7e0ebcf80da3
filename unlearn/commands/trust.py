"""Holds the command that tests the metrics themselves."""

import argparse
import json
import sys
from pathlib import Path

from unlearn.commands import where
from unlearn.commands.claims import header_for
from unlearn.commands.options import check_out
from unlearn.commands.parser import Command
from unlearn.commands.printing import counter, number
from unlearn.results import trust as judging
from unlearn.store.shapes import JsonView


def add(command: Command) -> None:
    """Declare the command trust."""
    p = command("trust", trust, "test the metrics on models whose knowledge is known", store=True)
    p.add_argument(
        "--models",
        type=int,
        metavar="N",
        help="make at most so many models now (default: all that are missing)",
    )
    p.add_argument(
        "--show", action="store_true", help="make nothing, print what the record says of every metric"
    )
    p.add_argument("--out", type=Path, help="file for the scores (default: assets/results/trust.json)")
    where.add(p)


def trust(args: argparse.Namespace) -> int:
    """Make the models that the record lacks, write each one's scores, and print what follows for every metric."""
    out = args.out or judging.RECORD
    if args.models is not None and args.models < 1:
        raise ValueError(f"models: must be 1 or more, got {args.models}; leave it out to make all.")
    if args.show and not judging.read(out):
        raise ValueError(f"trust: {out} holds no record; `unlearn trust` makes one.")
    cut = False if args.show else _make(out, args)
    found = judging.judge(judging.read(out))
    if args.json:
        print(json.dumps({"file": str(out), "metrics": judging.table(found)}))
        return int(cut)
    print(judging.sentence(found) or "Too few models were measured to say anything of a metric.")
    if short := judging.short_of(found):
        print(short)
    for row in judging.table(found):
        cells = "".join(f"{number(row[key]):>9}" for key in ("auc", "low", "high", "relearning", "rounding"))
        print(f"{row['title']:32}{cells}  {row['grade']}")
    return int(cut)


def _make(out: Path, args: argparse.Namespace) -> bool:
    """Make the models here, or have an engine make them. Returns whether a part of them was cut short."""
    from unlearn.trust.record import carry_out
    from unlearn.trust.study import carried_out

    place = where.place_of(args)
    if place.store:
        raise ValueError("--store: trust keeps no weights; leave it out.")
    check_out("--out", out)
    header, cut = header_for(out, "python -m unlearn trust"), False
    with where.engine_at(place, args.runs) as engine, counter("trust") as say:

        def told(row: JsonView) -> None:
            say(_line(row))

        if engine is None:
            carry_out(out, header, most=args.models, say=told)
            return False
        for why_not in carried_out(engine, out, header, args.runs, most=args.models, say=told):
            print(f"error: {why_not}", file=sys.stderr)
            cut = True
    return cut


def _line(row: JsonView) -> str:
    return f"{row['name']}: {row.get('failed') or 'done'} ({row['seconds']} CPU seconds)"
