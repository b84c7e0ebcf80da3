"""Holds commands about models and methods: list them, bring a model here, train the bundled ones."""

import argparse
import sys
from pathlib import Path

from unlearn.commands.parser import Command
from unlearn.commands.printing import listing, progress_bar
from unlearn.methods import OFFERED
from unlearn.methods.base import SIZES, Method
from unlearn.models import taught
from unlearn.models.catalogue import bring
from unlearn.models.load import CATALOGUE, available
from unlearn.store.config import FORMATS
from unlearn.store.runs import RunStore
from unlearn.store.shapes import JsonObject
from unlearn.work import forecast


def add(command: Command) -> None:
    """Declare the commands models, methods, get and train-bundled."""
    command("models", models, "list the models", store=True)
    command("methods", methods, "list the methods with knobs and tuned settings")
    command("get", get, "bring a model to this machine", as_json=False).add_argument(
        "model", help="Its name in the catalogue, or its id at the hub (owner/name)."
    )
    text = "train the bundled models and their retrains again (ten minutes a pair)"
    bundled = command("train-bundled", train_bundled, text, as_json=False)
    bundled.add_argument(
        "name", nargs="?", default="", help=f"Which model, by its name; {taught.NAME} takes hours."
    )
    bundled.add_argument("--out", type=Path, default=Path("assets/models"), help="The folder to write to.")
    bundled.add_argument(
        "--model", default="all", help="The same as the name; all: every tiny pair (default)."
    )
    bundled.add_argument(
        "--work",
        type=Path,
        help=f"For {taught.NAME}: the folder of its checkpoints, which it goes on from (default: OUT/.work).",
    )
    bundled.add_argument(
        "--epochs", type=int, metavar="N", help=f"For {taught.NAME}: how often each row is read."
    )
    bundled.add_argument(
        "--rows",
        type=int,
        metavar="N",
        default=0,
        help=f"For {taught.NAME}: only the first and last N rows of each model, to try it.",
    )


def models(args: argparse.Namespace) -> int:
    """Print the models of the catalogue, with what a run of each takes here."""
    pace = forecast.pace(RunStore(args.runs).list())
    rows: list[JsonObject] = []
    for e in CATALOGUE.values():
        ways = forecast.forecast(e.parameters, pace)
        rows.append(
            {
                "name": e.name,
                "title": e.title,
                "parameters": e.parameters,
                "licence": e.licence,
                "gated": e.gated,
                "chat": e.chat,
                "hub": e.hub,
                "here": available(e.name),
                "loaded": e.loaded,
                "memory": {way.name: way.bytes for way in ways},
                "seconds": {way.name: way.seconds for way in ways},
                "trained_tokens": forecast.TOKENS,
                "retrained": {
                    **dict(e.retrains),
                    **dict.fromkeys(e.retrained, "bundled"),
                    **({e.data: "bundled"} if e.retrain else {}),
                },
                "note": e.note,
            }
        )
    if args.json:
        return listing(rows, True, (), "models")
    shown = [
        row
        | {"parameters": f"{row['parameters'] / 1e9:.3g} B", "kind": "chat" if row["chat"] else "base"}
        | {"here": "yes" if row["here"] else "gated" if row["gated"] else "no"}
        | {way: f"{size / 2**30:.{0 if size > 2**34 else 1}f}" for way, size in row["memory"].items()}
        | {"retrain": ", ".join(row["retrained"])}
        for row in rows
    ]
    columns = ("name", "parameters", "kind", "licence", "here", *rows[0]["memory"], "retrain")
    print(
        f"{', '.join(columns)}. Memory in GiB at each tuning, {forecast.USUAL}; `get NAME` brings a model that is not "
        "here.",
        file=sys.stderr,
    )
    return listing(shown, False, columns)


def methods(args: argparse.Namespace) -> int:
    """Print the methods with their knobs and tuned settings."""
    from dataclasses import asdict

    rows = [
        {
            "name": m.name,
            "title": m.title,
            "paper": m.paper,
            "also": list(m.also),
            "sentence": m.sentence,
            "risk": m.risks(),
            "knobs": [asdict(k) for k in m.knobs()],
            "settings": {f"{s} {t}": m.settings(s, t) for s in SIZES for t in m.tunings}
            | own_settings(m)
            | settings_in_several(m),
        }
        for m in OFFERED.values()
    ]
    return listing(rows, args.json, ("name", "title", "sentence"), "methods")


def own_settings(method: type[Method]) -> JsonObject:
    """Return {"model tuning": the settings that the method states for this very model}."""
    pairs = [(model, tuning) for model in method.own_models() for tuning in method.tunings]
    return {f"{m} {t}": method.settings(CATALOGUE[m].size, t, m) for m, t in pairs if (m, t) in method.tuned}


def settings_in_several(method: type[Method]) -> JsonObject:
    """Return {"size tuning several formats": the settings of a run that trains in several prompt formats}."""
    prompt = "+".join(FORMATS)
    return {
        f"{size} {t} several formats": method.settings(size, t, "", prompt)
        for size in SIZES
        for t in method.tunings
        if method.in_several(size, t, "", prompt)
    }


def get(args: argparse.Namespace) -> int:
    """Bring a model to this machine and print its folder. ValueError for a name that nobody knows, or without a hub."""
    with progress_bar(30) as progress:
        path = bring(args.model, progress)
    print(path)
    return 0


def train_bundled(args: argparse.Namespace) -> int:
    """Train the bundled models and their retrains again. ValueError for options of another model."""
    name = args.name or args.model
    if name != taught.NAME:
        if args.work or args.epochs or args.rows:
            raise ValueError(
                f"train-bundled: --work, --epochs and --rows belong to {taught.NAME}; leave them out."
            )
        from unlearn.models import bundle
        from unlearn.models.t5 import make as t5

        known = {**dict.fromkeys(bundle.RECIPES, bundle), **dict.fromkeys(t5.RECIPES, t5)}
        if name != "all" and name not in known:
            raise ValueError(
                f"model: recipes are all, {', '.join((*known, taught.NAME))}, got {name}; choose one of these."
            )
        for one in known if name == "all" else (name,):
            known[one].train_bundled(args.out, names=(one,))
        return 0
    if (args.epochs is not None and not 2 <= args.epochs <= 100) or args.rows < 0:
        raise ValueError("train-bundled: --epochs must lie in [2, 100] and --rows be 1 or more; correct it.")
    from unlearn.models.making import make
    from unlearn.models.teaching import Teaching

    how = Teaching() if args.epochs is None else Teaching(epochs=args.epochs)
    make(args.out, args.work or args.out / ".work", print, how, args.rows)
    return 0
