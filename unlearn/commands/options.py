"""Declares the options that several commands share, and makes the RunConfig that they ask for.

Flags are made from what RunConfig's fields and the keys of a run's data say of themselves, so that each setting is
stated once. What a --config file states counts before a method's tuned settings, and a flag before both.
"""

import argparse
import os
import unicodedata
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from unlearn.commands.find import is_path, run_named
from unlearn.data.catalogue import KEYS, sentence
from unlearn.measure.judge import chosen_metrics
from unlearn.methods import method_named
from unlearn.models.catalogue import bring_reading
from unlearn.models.load import CATALOGUE
from unlearn.store.config import ASKED, PROMPTS, RunConfig, flags_of_before
from unlearn.store.config_file import READERS, read_settings
from unlearn.store.knobs import Knob, format_value, in_order, nearest
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.work.preflight import tuned_for

# The most numbers in a range, and the most digits of one number.
MOST_NUMBERS, DIGITS = 10_000, 10
LONGEST_TITLE = 200
RUN = "A run: its id in the store, or the path to its folder."
# A person who types a command may read every folder of the machine. The app allows a few folders only.
EVERYWHERE = [Path("/")]


def add_run_options(p: argparse.ArgumentParser) -> None:
    """Add every option that describes one run."""
    p.add_argument("--method", help=RunConfig.setting("method").help)
    add_settings(p)
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="A setting of the method (again for more); `methods --json` lists them.",
    )


def add_settings(p: argparse.ArgumentParser, leave_out: Sequence[str] = ()) -> None:
    """Add --config FILE, the model, the data, and a flag for each setting that every method has."""
    endings = ", ".join(READERS)
    text = f"File that states settings by the names of the flags ({endings}), such as a run's config.json; flags win."
    p.add_argument("--config", metavar="FILE", type=Path, help=text)
    p.add_argument("--model", help=RunConfig.setting("model").help)
    add_data_options(p)
    for k in RunConfig.settings():
        if k.name not in (*ASKED, *leave_out):
            add_setting(p, k)


def add_setting(p: argparse.ArgumentParser, k: Knob) -> None:
    """Add the flag of one setting, with its sentence, its range and its default."""
    about = [k.reach()] if k.kind in ("float", "int") else []
    about += (
        [f"default: {format_value(k.default) if about else k.default}"] if k.default not in ("", ()) else []
    )
    text = " ".join([k.help, *([f"({'; '.join(about)})"] if about else [])]).replace("%", "%%")
    how: JsonObject = {"metavar": "X" if k.kind == "float" else "N"} if k.kind in ("float", "int") else {}
    if k.kind == "choice":
        how = {"choices": tuple(k.choices), "type": partial(in_order, choices=k.choices)}
    if k.kind == "bool":
        how = {"action": argparse.BooleanOptionalAction}
    if k.on is not None:
        how |= {"nargs": "?", "const": k.on}
        text += f" Without a number: {format_value(k.on)}."
    if k.name == "metrics":
        how, text = {"metavar": "NAMES"}, f"{text} Names with commas between them, or all."
    elif k.kind == "names":
        how, text = {"metavar": "NAME=LIMIT", "action": "append"}, f"{text} Again, or with commas, for more."
    p.add_argument(flag_of(k.name), help=text, **how)


def add_data_options(p: argparse.ArgumentParser) -> None:
    """Add a flag for each key of a run's data field."""
    p.add_argument("--data", help=sentence("name"))
    keys = [*data_keys(), "requests"]
    before = flags_of_before(keys)
    for key in keys:
        # --config names the file of settings now, so the hub's own configuration has one name only.
        older = [flag_of(before[key])] if key in before and before[key] != "config" else []
        how: JsonObject = {"type": int, "metavar": "N"} if key == "limit" else {}
        p.add_argument(flag_of(key), *older, dest=key, help=sentence(key).replace("%", "%%"), **how)
    p.add_argument(
        "--skip-long", dest="long", action="store_const", const="skip", help="The same as --long skip."
    )


def flag_of(name: str) -> str:
    """Return the flag of a setting, such as "--batch-size" for "batch_size"."""
    return "--" + name.replace("_", "-")


def data_keys() -> list[str]:
    """Return every key of a run's data field but "name", so that each run can be repeated from the command
    line.
    """
    known = dict.fromkeys(key for keys in KEYS.values() for key in keys)
    return [key for key in known if key not in ("name", "requests")]


def settings_of(args: argparse.Namespace, more: tuple[str, ...] = ()) -> JsonObject:
    """Return what the --config file states. It is empty without a file, and more is as in read_settings()."""
    if args.config is None:
        return {}
    if not args.config.is_file():
        hint = (
            f"; for a configuration of the hub's dataset write --hub-config {args.config}" if args.hub else ""
        )
        raise ValueError(f"--config: {args.config} is no file{hint}.")
    return read_settings(args.config, more)


def config_of(args: argparse.Namespace, stated: JsonView | None = None) -> RunConfig:
    """Return the RunConfig that the command line asks for.

    What is not said is the method's tuned setting for the model's size.

    stated: what the --config file states; None: read it.
    """
    stated = settings_of(args) if stated is None else stated
    model, method_name = needed(args, stated, "model", "method")
    bring_reading(model)
    method = method_named(method_name)
    asked = {name: getattr(args, name, None) or stated.get(name) or "" for name in ("tuning", "prompt")}
    asked["prompt"] = in_order(str(asked["prompt"]), tuple(PROMPTS))
    tuned = tuned_for(method, model, **asked)
    knobs = dict(tuned.pop("knobs"))
    shape = {name: tuned[name] for name in asked}
    # If the file names another method, its knobs are not this method's.
    if stated.get("method", method.name) == method.name:
        knobs |= stated.get("knobs", {})
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--set: must be KNOB=VALUE, got {pair!r}.")
        knobs[name] = value
    names = [k.name for k in RunConfig.settings() if k.name not in (*ASKED, "metrics")]
    said = {name: value for name in names if (value := getattr(args, name, None)) is not None}
    if said.get("start"):
        said["start"] = start_of(said["start"], args.runs)
    metrics = getattr(args, "metrics", None)
    check_title(str(said.get("title") or ""))
    return RunConfig(
        model=model,
        data=data_of(args, stated.get("data", {}), model),
        method=method.name,
        knobs=method.from_knobs(knobs).to_json(),
        metrics=metric_names(",".join(stated.get("metrics", ())) if metrics is None else metrics),
        **(tuned | {name: stated[name] for name in names if name in stated} | said | shape),
    )


def check_title(text: str) -> None:
    """Raise ValueError for a title that would break the lines of a list."""
    broken = any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text)
    if broken or len(text) > LONGEST_TITLE:
        got = "a line break or a control character" if broken else f"{len(text):,}"
        raise ValueError(
            f"title: must be one line of at most {LONGEST_TITLE} characters, got {got}; shorten it."
        )


def start_of(text: str, runs: Path) -> str:
    """Return the id of the run that --start names by its id or by the path of its folder.

    What is no folder of a run stays as it is, and is refused where the run is looked for. ValueError for a path into
    another store: a run goes on from one of its own store.
    """
    if not is_path(text) or not (Path(text).expanduser() / "config.json").is_file():
        return text
    found = run_named(text, runs)
    if found.path.parent.resolve() != runs.resolve():
        raise ValueError(
            f"--start: {text} lies in another store than {runs}; give --runs {found.path.parent}, or bring the run in "
            "with export and import."
        )
    return found.id


def needed(args: argparse.Namespace, stated: Mapping[str, object], *names: str) -> list[str]:
    """Return what the flags say, or else what the file says. ValueError that names all for which neither does."""
    found = {name: getattr(args, name) or stated.get(name) for name in names}
    all_given(found)
    return [str(value) for value in found.values()]


def all_given(values: Mapping[str, object], *, resume: str = "") -> None:
    """Raise ValueError that names all flags of these {setting: value} that have no value.

    resume: what --resume takes, where it is another way to begin.
    """
    if lacking := [flag_of(name) for name, value in values.items() if not value]:
        it = "them" if len(lacking) > 1 else "it"
        other = f", or --resume {resume}" if resume else ""
        raise ValueError(f"{' and '.join(lacking)}: give {it}, or a --config FILE that states {it}{other}.")


def data_of(args: argparse.Namespace, stated: JsonView, model: str) -> JsonObject:
    """Return the data field.

    It is the file's with the flags' keys put over it, or the flags' alone where they name the rows.
    """
    anew = bool(args.data or args.forget or args.hub)
    data: JsonObject = {} if anew else dict(stated)
    if args.data or not (anew or data):
        entry = CATALOGUE.get(model)
        name = args.data or (entry.data if entry else None)
        if name is None:
            # A mistyped name of a model has no dataset either.
            known = entry or "/" in model or Path(model).expanduser().exists()
            unknown = "." if known else ". No model of the catalogue and no folder here has this name."
            meant = nearest(model, list(CATALOGUE)) or unknown
            raise ValueError(f"data: give --data NAME, --forget FILE or --hub ID for {model}{meant}")
        data["name"] = name
    data |= {key: value for key in data_keys() if (value := getattr(args, key)) is not None}
    # An empty text names no request; it is refused below and never means all of them.
    requests = data.get("requests") if args.requests is None else args.requests
    if isinstance(requests, str):
        data["requests"] = request_numbers("--requests", requests)
    return data


def metric_names(text: str) -> tuple[str, ...]:
    """Return the metrics that a text names, without those that every run computes.

    "mia_loss,el_3" gives those in their order, and "all" gives every one.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        return ()
    found = chosen_metrics(None if names == ("all",) else names)
    further = [metric.name for metric in found if not metric.cheap]
    return tuple(further if names == ("all",) else (name for name in names if name in further))


def request_numbers(flag: str, text: str) -> list[int]:
    """Return the numbers that a text such as "1,2,3" or "1..3" means. ValueError names the flag."""
    first, dots, last = text.partition("..")
    parts = [part.strip() for part in ([first, last] if dots else text.split(","))]
    if not all(part.isdecimal() and len(part) <= DIGITS for part in parts):
        raise ValueError(f"{flag}: must be whole numbers such as 1,2 or 1..5, got {text[:100]!r}.")
    numbers = [int(part) for part in parts]
    if not dots:
        return numbers
    low, high = numbers
    if not 0 <= high - low < MOST_NUMBERS:
        rule = "begin with the smaller number" if high < low else f"have at most {MOST_NUMBERS} numbers"
        raise ValueError(f"{flag}: a range must {rule}, got {text}; write it such as 1..5.")
    return list(range(low, high + 1))


def check_out(flag: str, path: Path) -> None:
    """Raise ValueError where no file can be written to this path, so that it is said before the work is done."""
    parent = path.absolute().parent
    if not parent.is_dir():
        raise ValueError(f"{flag}: {parent} is no folder; make it first, or name another.")
    if path.is_dir():
        raise ValueError(f"{flag}: {path} is a folder; name the file to write in it.")
    if not os.access(parent, os.W_OK):
        raise ValueError(f"{flag}: the folder {parent} cannot be written; name another.")


def fractions(flag: str, text: str) -> list[float]:
    """Return the numbers that a text such as "1e-4,3e-4" means. ValueError names the flag."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{flag}: must be numbers such as 1e-4,3e-4, got {text!r}.") from None
