"""The command for a grid of runs and the tuning guide."""

import argparse
import json
from pathlib import Path
from typing import Any

from unlearn.commands.options import (
    EVERYWHERE,
    add_data_options,
    config_of,
    fractions,
    request_numbers,
)
from unlearn.commands.printing import progress_bar
from unlearn.store.config import PRECISIONS, TUNINGS
from unlearn.store.runs import RunStore


def add(command: Any) -> None:
    add_sweep_options(command("sweep", sweep, "carry out a grid of runs, and the tuning guide", store=True))


def add_sweep_options(p: argparse.ArgumentParser) -> None:
    """What the grid varies as lists; what it does not vary as for a run."""
    p.add_argument("--model", help="catalogue name, hub id or local folder")
    p.add_argument("--methods", help="such as gd,npo")
    p.add_argument("--lrs", help="learning rates such as 1e-4,3e-4,1e-3")
    p.add_argument("--epochs", help="such as 2,5 (default: each method's tuned ones)")
    p.add_argument("--batch-sizes", help="such as 8,16 (default: each method's tuned one)")
    p.add_argument("--seeds", default="0", help="such as 0,1,2 or 0..2")
    p.add_argument("--guide", action="store_true", help="follow the tuning guide too, and say its regret")
    p.add_argument("--keep-weights", action="store_true", help="keep each cell's weights")
    p.add_argument("--resume", metavar="ID", help="go on with a sweep; with --guide, add the guide to it")
    add_data_options(p)
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="for every method that has it, or METHOD.KNOB=VALUE",
    )
    p.add_argument("--tuning", choices=TUNINGS)
    p.add_argument("--precision", choices=PRECISIONS, default="auto", help="what the weights are held in")
    for name in ("accumulation", "lora-rank", "max-length"):
        p.add_argument(f"--{name}", type=int)
    p.add_argument("--lora-alpha", type=float)
    p.add_argument("--start", default="", help="id of a run whose weights every cell goes on from")
    p.add_argument("--title", default="")
    p.set_defaults(lr=None, batch_size=None, seed=None, probes=0)


def sweep(args: argparse.Namespace) -> int:
    from unlearn.results import sweep_record, sweep_table
    from unlearn.work.sweep import perform

    store = RunStore(args.runs)
    record = resumed_sweep(args, store) if args.resume else None
    record = record or sweep_record.create(sweep_of(args), store, title=args.title)
    with record.held(), progress_bar(60) as progress:
        perform(record, on_progress=progress, roots=EVERYWHERE)
    outcome = {"sweep": str(record.path), "state": record.state, "reason": record.reason}
    if args.json:
        print(json.dumps(outcome | sweep_table.everything(record)))
    else:
        print(f"{record.path}: {record.state}" + (f" ({record.reason})" if record.reason else ""))
        print(sweep_table.text(record))
    return 0 if record.state == "done" else 1


def resumed_sweep(args: argparse.Namespace, store: RunStore) -> Any:
    """The sweep to go on with. ValueError when there is none, or nothing is left to do."""
    from unlearn.results import sweep_record

    name = Path(args.resume).name
    record = next((one for one in sweep_record.sweeps(store) if one.id == name), None)
    if record is None:
        raise ValueError(f"sweep: no sweep {name[:80]!r} in {store.root}.")
    if record.state == "done" and (not args.guide or record.config.guide):
        raise ValueError(f"sweep: {name} is done; add --guide to follow the tuning guide too.")
    if args.guide and not record.config.guide:
        sweep_record.ask_guide(record)
    return record


def sweep_of(args: argparse.Namespace) -> Any:
    """SweepConfig from the command line: one template a method, each checked before a folder is made."""
    from unlearn.engines.thread import check
    from unlearn.methods import method_named
    from unlearn.results.sweep_record import SweepConfig

    for name in ("model", "methods", "lrs"):
        if not getattr(args, name):
            raise ValueError(f"--{name}: give it, or --resume ID to go on with a sweep.")
    names = [name.strip() for name in args.methods.split(",")]
    knobs = {name: {knob.name for knob in method_named(name).knobs()} for name in names}
    runs = []
    for pair in args.set:
        if not any(knob_for(name, pair)[0] in knobs[name] for name in names):
            raise ValueError(f"--set: no method of {args.methods} has the knob of {pair!r}.")
    for name in names:
        told = [knob_for(name, pair) for pair in args.set]
        mine = [pair for knob, pair in told if knob in knobs[name]]
        asked = {"method": name, "set": mine, "epochs": None, "title": "", "requests": args.requests}
        runs.append(config_of(argparse.Namespace(**(vars(args) | asked))))
        check(runs[-1], EVERYWHERE, RunStore(args.runs))
    return SweepConfig(
        runs=tuple(runs),
        lrs=tuple(fractions("--lrs", args.lrs)),
        epochs=tuple(request_numbers("--epochs", args.epochs)) if args.epochs else (),
        batch_sizes=tuple(request_numbers("--batch-sizes", args.batch_sizes)) if args.batch_sizes else (),
        seeds=tuple(request_numbers("--seeds", args.seeds)),
        guide=args.guide,
        keep_weights=args.keep_weights,
    )


def knob_for(method: str, pair: str) -> tuple[str, str]:
    """(knob, "knob=value") of "knob=value", or of "gd.knob=value" for gd; ("", "") when it is another method's."""
    owner, dot, rest = pair.partition("=")[0].partition(".")
    if not dot:
        return owner, pair
    return (rest, pair.removeprefix(f"{owner}.")) if owner == method else ("", "")
