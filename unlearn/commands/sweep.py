"""Holds the command for a grid of runs and the tuning guide."""

import argparse
import json
from collections.abc import Mapping

from unlearn.commands import knowing, where
from unlearn.commands.find import study_named
from unlearn.commands.options import (
    EVERYWHERE,
    add_settings,
    all_given,
    config_of,
    fractions,
    request_numbers,
    settings_of,
)
from unlearn.commands.parser import Command
from unlearn.engines.elsewhere import last_place
from unlearn.methods import method_named
from unlearn.results import sweep_record, sweep_table
from unlearn.results.sweep_record import AXES, VARIED, SweepConfig, SweepRecord
from unlearn.store.engine import Engine
from unlearn.store.knobs import REPR
from unlearn.store.runs import RunStore
from unlearn.work.checks import check
from unlearn.work.sweep import perform

# A --config file may state these keys for a sweep, beside a run's own settings. A run's epochs may be a list
# there.
AXIS_OF = {"lrs": "lr", "batch_sizes": "batch_size", "seeds": "seed"}
SWEEPS_OWN = ("methods", *AXES, "guide", "keep_weights")
# Settings that templates do not have: the sweep's axes, and what its cells leave out.
TEMPLATES_LACK = ("method", "knobs", "lr", "epochs", "batch_size", "seed", "probes", "title")


def add(command: Command) -> None:
    """Declare the command sweep."""
    add_sweep_options(command("sweep", sweep, "carry out a grid of runs, and the tuning guide", store=True))


def add_sweep_options(p: argparse.ArgumentParser) -> None:
    """Add the options of a sweep: lists for what the grid varies, and the options of a run for the rest."""
    p.add_argument("--methods", help="Names of methods with commas between them, such as gd,npo.")
    p.add_argument("--lrs", help="Learning rates such as 1e-4,3e-4,1e-3.")
    p.add_argument("--epochs", help="Such as 2,5 (default: each method's tuned ones).")
    p.add_argument("--batch-sizes", help="Such as 8,16 (default: each method's tuned one).")
    p.add_argument("--seeds", help="Such as 0,1,2 or 0..2 (default: 0).")
    text = "Follow the tuning guide too, and say its regret."
    p.add_argument("--guide", action="store_true", help=text)
    p.add_argument("--keep-weights", action="store_true", help="Keep each cell's weights.")
    text = "Go on with a sweep; with --guide, add the guide to it."
    p.add_argument("--resume", metavar="SWEEP", help=text)
    add_settings(p, leave_out=[name for name in VARIED if name not in ("tuning", "title")])
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="A setting for every method that has it, or METHOD.KNOB=VALUE for one (again for more).",
    )
    knowing.add(p)
    where.add(p)
    p.set_defaults(lr=None, batch_size=None, seed=None, probes=0)


def sweep(args: argparse.Namespace) -> int:
    """Carry out the sweep that was asked for, or resume one."""
    store = RunStore(args.runs)
    record = resumed_sweep(args, store) if args.resume else None
    place = where.place_of(args, last_place(record) if record else None)
    config = None if record else sweep_of(args)
    if config and knowing.asked_first(args, config.runs[0]):
        return 0
    with where.engine_at(place, record.path.parent.parent if record else args.runs) as engine:
        if config:
            record = sweep_record.create(config, store, title=args.title or "")
        assert record is not None, "it was named, or made just now"
        return go_on(record, args.json, engine)


def go_on(record: SweepRecord, as_json: bool, engine: Engine | None = None) -> int:
    """Carry out a sweep from where it is. The last line of stdout is the outcome.

    engine: who carries the cells out; None: this process.
    """
    where.carry_out(record, perform, engine)
    tell(record, as_json)
    return 0 if record.state == "done" else 1


def tell(record: SweepRecord, as_json: bool) -> None:
    """Print what a sweep came to."""
    outcome = {"sweep": str(record.path), "state": record.state, "reason": record.reason}
    if as_json:
        print(json.dumps(outcome | sweep_table.everything(record)))
    else:
        print(f"{record.path}: {record.state}" + (f" ({record.reason})" if record.reason else ""))
        print(sweep_table.text(record))


def resumed_sweep(args: argparse.Namespace, store: RunStore) -> SweepRecord:
    """Return the sweep to resume. ValueError when there is none, or nothing is left to do."""
    record = study_named(args.resume, store.root, SweepRecord, "sweep")
    name = record.id
    if record.state == "done" and (not args.guide or record.config.guide):
        raise ValueError(f"sweep: {name} is done; add --guide to follow the tuning guide too.")
    if args.guide and not record.config.guide:
        sweep_record.ask_guide(record)
    return record


def sweep_of(args: argparse.Namespace) -> SweepConfig:
    """Return the SweepConfig that the command line asks for.

    It has one template for each method, and each is checked before a folder is made.
    """
    stated = settings_of(args, SWEEPS_OWN)
    axes = {name: axis(args, stated, name) for name in ("methods", *AXES)}
    has = {"model": args.model or stated.get("model")} | {name: axes[name] for name in ("methods", "lrs")}
    all_given(has, resume="SWEEP")
    names = [name.strip() for name in axes["methods"].split(",")]
    knobs = {name: {knob.name for knob in method_named(name).knobs()} for name in names}
    runs = []
    for pair in args.set:
        if not any(knob_for(name, pair)[0] in knobs[name] for name in names):
            raise ValueError(f"--set: no method of {axes['methods']} has the knob of {pair!r}.")
    template = {name: value for name, value in stated.items() if name not in (*SWEEPS_OWN, *TEMPLATES_LACK)}
    for name in names:
        told = [knob_for(name, pair) for pair in args.set]
        mine = [pair for knob, pair in told if knob in knobs[name]]
        asked = {"method": name, "set": mine, "epochs": None, "title": None}
        own = {knob: value for knob, value in stated.get("knobs", {}).items() if knob in knobs[name]}
        runs.append(config_of(argparse.Namespace(**(vars(args) | asked)), template | {"knobs": own}))
        check(runs[-1], EVERYWHERE, RunStore(args.runs))
    return SweepConfig(
        runs=tuple(runs),
        lrs=tuple(fractions("--lrs", axes["lrs"])),
        epochs=tuple(request_numbers("--epochs", axes["epochs"])) if axes["epochs"] else (),
        batch_sizes=tuple(request_numbers("--batch-sizes", axes["batch_sizes"]))
        if axes["batch_sizes"]
        else (),
        seeds=tuple(request_numbers("--seeds", axes["seeds"] or "0")),
        guide=args.guide or stated.get("guide") is True,
        keep_weights=args.keep_weights or stated.get("keep_weights") is True,
    )


def axis(args: argparse.Namespace, stated: Mapping[str, object], name: str) -> str:
    """Return an axis of the grid as text with commas.

    It is the flag's, or else the file's list, or else the file's one value for a run.
    """
    said = getattr(args, name)
    if said is not None:
        return str(said)
    value = stated.get(name, stated.get({"methods": "method", **AXIS_OF}.get(name, name), ""))
    values = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(one, (str, int, float)) for one in values):
        raise ValueError(
            f"{args.config}: {name} must be a value or a list of values, got {REPR.repr(value)}."
        )
    return ",".join(map(str, values))


def knob_for(method: str, pair: str) -> tuple[str, str]:
    """Return (knob, "knob=value") of "knob=value", or of "gd.knob=value" for gd.

    It is ("", "") when the pair is another method's.
    """
    owner, dot, rest = pair.partition("=")[0].partition(".")
    if not dot:
        return owner, pair
    return (rest, pair.removeprefix(f"{owner}.")) if owner == method else ("", "")
