"""Holds the command for deletion requests that arrive one after the other."""

import argparse
import json

from unlearn.commands import knowing, where
from unlearn.commands.options import EVERYWHERE, add_run_options, config_of, request_numbers
from unlearn.commands.parser import Command
from unlearn.commands.printing import listing, number
from unlearn.data.catalogue import from_config
from unlearn.store.engine import Engine
from unlearn.store.runs import RunStore
from unlearn.work import sequence as seq
from unlearn.work.checks import check


def add(command: Command) -> None:
    """Declare the command sequence."""
    many = command("sequence", sequence, "carry out deletion requests one after the other", store=True)
    add_run_options(many)
    knowing.add(many)
    where.add(many)
    many.add_argument(
        "--mode",
        default="chain",
        choices=tuple(seq.MODES),
        help="; ".join(f"{mode}: {text}" for mode, text in seq.MODES.items()) + " (default: chain)",
    )
    many.add_argument(
        "--undo",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="UNDO after each request: this share of every weight is lost, and the model learns its own other answers "
        "again, so that less comes back (default: 0, none; the paper's is 0.25)",
    )
    many.add_argument("--order", help="requests in the order in which they arrive, such as 3,1,2")


def sequence(args: argparse.Namespace) -> int:
    """Carry out the sequence that was asked for."""
    place = where.place_of(args)
    config = config_of(args)
    check(config, EVERYWHERE, RunStore(args.runs))
    found = from_config(dict(config.data), roots=EVERYWHERE).requests()
    order = (
        request_numbers("--order", args.order)
        if args.order is not None
        else config.data.get("requests") or found
    )
    if args.order is None and len(order) < 2:
        raise ValueError(
            f"sequence: needs two or more deletion requests, and the data name {len(order) or 'none'}; number "
            "them in a column request (--request-column NAME), or give data that have them."
        )
    asked = seq.SequenceConfig(run=config, mode=args.mode, order=tuple(order), undo=args.undo)
    seq.check(asked)
    if knowing.asked_first(args, asked.run):
        return 0
    with where.engine_at(place, args.runs) as engine:
        return go_on(seq.create(asked, RunStore(args.runs), title=config.title), args.json, engine)


def go_on(record: seq.SequenceRecord, as_json: bool, engine: Engine | None = None) -> int:
    """Carry out a sequence from where it is. The last line of stdout is the outcome.

    engine: who carries it out; None: this process.
    """
    where.carry_out(record, seq.perform, engine, width=28)
    tell(record, as_json)
    return 0 if record.state == "done" else 1


def tell(record: seq.SequenceRecord, as_json: bool) -> None:
    """Print what a sequence came to."""
    rows = seq.summary(record)
    outcome = {"sequence": str(record.path), "state": record.state, "reason": record.reason, "after": rows}
    if as_json:
        print(json.dumps(outcome | {"runs": [event["run"] for event in record.scores() if event["run"]]}))
    else:
        print(f"{record.path}: {record.state}" + (f" ({record.reason})" if record.reason else ""))
        names = tuple(rows[0]) if rows else ()
        shown = [{k: number(v) for k, v in row.items()} for row in rows]
        listing([{name: name for name in names}, *shown], False, names)
