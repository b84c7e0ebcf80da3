"""Holds the command that searches for settings."""

import argparse
import json

from unlearn.commands import knowing, where
from unlearn.commands.find import study_named
from unlearn.commands.options import (
    EVERYWHERE,
    add_setting,
    add_settings,
    all_given,
    config_of,
    request_numbers,
    settings_of,
)
from unlearn.commands.parser import Command
from unlearn.commands.sweep import knob_for
from unlearn.data.catalogue import from_config
from unlearn.engines.elsewhere import last_place
from unlearn.engines.place import Place
from unlearn.methods import method_named
from unlearn.models.reading import as_read
from unlearn.results.search import choice, record
from unlearn.results.search.record import SearchConfig, SearchRecord
from unlearn.results.search.space import OF_A_RUN, axes
from unlearn.store.engine import Engine
from unlearn.store.knobs import check as checked
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work.checks import check
from unlearn.work.search import check_target, journal, perform

# Settings of a run that a search sets by itself.
SET_BY_ITSELF = ("seed", "probes", "title")


def add(command: Command) -> None:
    """Declare the command tune."""
    text = "search for settings that forget like the target and keep the rest"
    p = command("tune", tune, text, store=True)
    p.add_argument("--methods", help="Names of methods with commas between them, such as npo or gd,npo.")
    p.add_argument(
        "--seeds", default="0", help="Such as 0,1,2 or 0..2: each setting is carried out with each."
    )
    p.add_argument(
        "--search", default="", metavar="NAMES", help="Settings to vary, with commas between them."
    )
    text = (
        "What to try of a setting, such as lr=1e-5..1e-2 or npo.retain_source=general,both (again for more)."
    )
    p.add_argument("--range", action="append", default=[], metavar="NAME=VALUES", help=text)
    for knob in SearchConfig.knobs():
        add_setting(p, knob)
    text = "Go on with a search; with --trials or --minutes, with so many more."
    p.add_argument("--resume", metavar="SEARCH", help=text)
    add_settings(p, leave_out=SET_BY_ITSELF)
    text = "A setting that every trial has, KNOB=VALUE or METHOD.KNOB=VALUE (again for more)."
    p.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help=text)
    knowing.add(p)
    where.add(p)


def tune(args: argparse.Namespace) -> int:
    """Carry out the search that was asked for, or go on with one."""
    journal.check()
    store = RunStore(args.runs)
    found = study_named(args.resume, store.root, SearchRecord, "search") if args.resume else None
    place = checked_place(where.place_of(args, last_place(found) if found else None))
    config = None if found else search_of(args)
    if config and knowing.asked_first(args, config.runs[0]):
        return 0
    with where.engine_at(place, found.path.parent.parent if found else args.runs) as engine:
        if config:
            found = record.create(config, store)
        else:
            assert found is not None, "it was named"
            more_of(found, args)
        return go_on(found, args.json, engine)


def checked_place(place: Place) -> Place:
    """Return the place. ValueError where the weights of a search's runs should go elsewhere."""
    if place.store:
        raise ValueError(
            "--store: a search keeps the weights of its best trial alone, and here; leave it out."
        )
    return place


def go_on(found: SearchRecord, as_json: bool, engine: Engine | None = None) -> int:
    """Carry out a search from where it is. The last line of stdout is the outcome.

    engine: who carries the trials out; None: this process.
    """
    journal.check()
    where.carry_out(found, perform, engine)
    tell(found, as_json)
    return 0 if found.state == "done" else 1


def tell(found: SearchRecord, as_json: bool) -> None:
    """Print what a search came to."""
    outcome = {"search": str(found.path), "state": found.state, "reason": found.reason}
    if as_json:
        print(json.dumps(outcome | choice.everything(found)))
    else:
        print(f"{found.path}: {found.state}" + (f" ({found.reason})" if found.reason else ""))
        print(choice.sentence(found))
        if taken := choice.everything(found)["best"]:
            print(f"  {taken['command']}")


def more_of(found: SearchRecord, args: argparse.Namespace) -> None:
    """Ask a search for what the command line adds to its budget. ValueError when nothing is left to do."""
    more = {
        k.name: value
        for k in SearchConfig.knobs()
        if k.name in ("trials", "minutes") and (value := checked("tune", k, getattr(args, k.name) or 0))
    }
    if more:
        record.ask_more(found, more.get("trials", 0), more.get("minutes", 0.0))
    elif found.state == "done":
        raise ValueError(f"tune: {found.id} is done; add --trials or --minutes to go on with so many more.")


def search_of(args: argparse.Namespace) -> SearchConfig:
    """Return the SearchConfig that the command line asks for. Each template is checked before a folder is made."""
    stated = settings_of(args, ("methods",))
    names = [
        name.strip() for name in str(args.methods or stated.get("method", "")).split(",") if name.strip()
    ]
    all_given({"model": args.model or stated.get("model"), "methods": names}, resume="SEARCH")
    told, ranges = (
        {name: own_words(name, pairs, alone=len(names) == 1) for name in names}
        for pairs in (args.set, args.range)
    )
    for flag, pairs, mine in (("--set", args.set, told), ("--range", args.range, ranges)):
        for pair in pairs:
            if not any(pair.endswith(one) for every in mine.values() for one in every):
                raise ValueError(f"{flag}: no method of {', '.join(names)} has the setting of {pair[:80]!r}.")
    template = {name: value for name, value in stated.items() if name not in ("method", "methods", "knobs")}
    seeds = tuple(request_numbers("--seeds", args.seeds))
    runs, space = [], []
    for name in names:
        asked = {"method": name, "set": told[name], "title": None, "seed": seeds[0], "probes": 1}
        run = config_of(argparse.Namespace(**(vars(args) | asked)), template)
        check(run, EVERYWHERE, RunStore(args.runs))
        fixed = [pair.partition("=")[0] for pair in told[name]]
        fixed += [one for one in OF_A_RUN if getattr(args, one, None) is not None]
        bounds = dict(pair.split("=", 1) for pair in ranges[name])
        searched = [one.strip() for one in args.search.split(",") if one.strip()]
        space.append(axes(run, searched, bounds, fixed))
        runs.append(run)
    given = {k.name: value for k in SearchConfig.knobs() if (value := getattr(args, k.name)) is not None}
    config = SearchConfig(runs=tuple(runs), axes=tuple(space), seeds=seeds, **given)
    check_target(config, as_read(from_config(dict(runs[0].data), EVERYWHERE), runs[0]))
    return config


def own_words(method: str, pairs: list[str], *, alone: bool) -> list[str]:
    """Return the "name=value" of those pairs that mean this method.

    alone: whether it is the only one; then a name that it does not know is not another's, and is refused later.
    """
    known = {knob.name for knob in method_named(method).knobs()} | {k.name for k in RunConfig.settings()}
    found = []
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"tune: must be NAME=VALUE, got {pair[:80]!r}.")
        name, own = knob_for(method, pair)
        if own and (alone or name in known):
            found.append(own)
    return found
