"""The options that several commands share, and the RunConfig that they ask for."""

import argparse
from pathlib import Path
from typing import Any

from unlearn.store.config import PRECISIONS, TUNINGS, RunConfig
from unlearn.store.home import runs_folder

MOST_NUMBERS, DIGITS = 10_000, 10  # of a range, and of one number
EVERYWHERE = [Path("/")]  # whoever types a command owns the machine; the app allows a few folders only


def default_store() -> Path:
    return runs_folder()


def add_run_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--model", required=True, help="catalogue name, hub id or local folder")
    p.add_argument("--method", required=True)
    add_data_options(p)
    p.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="a knob of the method")
    p.add_argument("--tuning", choices=TUNINGS)
    p.add_argument("--lr", type=float)
    for name in ("epochs", "batch-size", "accumulation", "seed", "lora-rank", "max-length", "probes"):
        p.add_argument(f"--{name}", type=int)
    p.add_argument("--lora-alpha", type=float)
    p.add_argument("--checkpointing", action="store_true", help="less memory for a third more work")
    p.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="what the weights are held in; int8 and nf4 need bitsandbytes",
    )
    p.add_argument("--start", default="", help="id of a run whose weights this one goes on from")
    p.add_argument("--title", default="")
    p.add_argument(
        "--metrics",
        default="",
        help="computed at its end beside the cheap ones: names with commas between, or all",
    )


def add_data_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--data", help="bundled dataset (default: the model's own)")
    p.add_argument("--requests", help="only these deletion requests, such as 1,2")
    p.add_argument("--forget", help="file to forget: CSV, JSONL, TXT or Parquet")
    p.add_argument("--retain", help="file to keep")
    p.add_argument("--hub", help="forget set by hub id")
    p.add_argument("--config", help="hub configuration")
    p.add_argument("--split", help="hub split")
    p.add_argument("--limit", type=int, help="at most so many rows from the hub")
    for key in data_keys():
        flag = "--" + key.replace("_", "-")
        if flag not in p._option_string_actions:
            p.add_argument(flag, help=argparse.SUPPRESS if "_" in key and "column" not in key else None)


def data_keys() -> list[str]:
    """Every key of a run's data field but "name", so that each run can be repeated from the command line."""
    from unlearn.data.catalogue import KEYS

    known = dict.fromkeys(key for keys in KEYS.values() for key in keys)
    return [key for key in known if key not in ("name", "requests")]


def config_of(args: argparse.Namespace) -> RunConfig:
    """RunConfig from the command line; what is not said is the method's tuned setting for the model's size."""
    from unlearn.methods import method_named
    from unlearn.models.load import CATALOGUE
    from unlearn.work.preflight import default_tuning, model_size

    method = method_named(args.method)
    tuning = args.tuning or method.tuning_for(default_tuning(args.model))
    settings = method.settings(model_size(args.model), tuning, args.model)
    knobs = dict(settings.pop("knobs"))
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set: must be KNOB=VALUE, got {pair!r}.")
        knobs[name] = value
    knobs = method.from_knobs(knobs).to_json()
    given = {
        name: value
        for name in (
            "lr",
            "epochs",
            "batch_size",
            "accumulation",
            "seed",
            "lora_rank",
            "lora_alpha",
            "max_length",
            "probes",
        )
        if (value := getattr(args, name)) is not None
    }
    entry = CATALOGUE.get(args.model)
    data: dict[str, Any] = {}
    if args.data or not (args.forget or args.hub):
        name = args.data or (entry.data if entry else None)
        if name is None:
            raise ValueError("data: give --data NAME, --forget FILE or --hub ID for this model.")
        data["name"] = name
    for key in data_keys():
        if (value := getattr(args, key)) is not None:
            data[key] = value
    if args.requests:
        data["requests"] = request_numbers("--requests", args.requests)
    metrics = metric_names(getattr(args, "metrics", ""))
    return RunConfig(
        model=args.model,
        data=data,
        method=args.method,
        knobs=knobs,
        tuning=tuning,
        title=args.title,
        start=args.start,
        checkpointing=getattr(args, "checkpointing", False),
        precision=getattr(args, "precision", "auto"),
        metrics=metrics,
        **(settings | given),
    )


def metric_names(text: str) -> tuple[str, ...]:
    """ "mia_loss,el_3" → those names, "all" → every metric that a run does not compute anyway."""
    from unlearn.measure.judge import chosen_metrics

    names = [name.strip() for name in text.split(",") if name.strip()]
    found = chosen_metrics(None if names == ["all"] else names) if names else []
    return tuple(metric.name for metric in found if not metric.cheap)


def request_numbers(flag: str, text: str) -> list[int]:
    """ "1,2,3" or "1..3" → [1, 2, 3]; ValueError names the flag."""
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


def fractions(flag: str, text: str) -> list[float]:
    """ "1e-4,3e-4" → [0.0001, 0.0003]; ValueError names the flag."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{flag}: must be numbers such as 1e-4,3e-4, got {text!r}.") from None
