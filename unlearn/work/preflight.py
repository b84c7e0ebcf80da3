"""Estimates what a run will take before it is launched: steps, tokens, FLOPs, memory and time.

Model facts come from the catalogue or from the shapes in config.json (no weights are read); time from the
speed of finished runs of the same model and tuning on this machine, and is None until there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unlearn.data.base import ROLES, Row
from unlearn.data.catalogue import from_config
from unlearn.data.prompts import in_formats
from unlearn.data.remarks import remarks
from unlearn.methods import method_named
from unlearn.methods.base import Method
from unlearn.models import folders, hub, placement, precision
from unlearn.models.catalogue import allow_model, default_prompt, entry_of, parts_of, size_of, source_of
from unlearn.models.checks import check_model
from unlearn.models.load import pick_device
from unlearn.models.reading import as_read, reader_of
from unlearn.store.config import ROUNDED
from unlearn.store.runs import Run, RunConfig
from unlearn.store.shapes import JsonObject
from unlearn.store.stop_rule import ROWS
from unlearn.training.budget import WATCHED
from unlearn.work.checks import check_sam, check_stop_rule
from unlearn.work.held import forecast, process_bytes, shape_of

# The mean of the bundled tokenizer. Large vocabularies have longer tokens.
CHARACTERS_PER_TOKEN = 3.2
# So many texts of a side are counted.
SAMPLED = 200


@dataclass(frozen=True)
class Preflight:
    """The estimates of one run: tokens trained on, FLOPs = 6 × parameters × tokens, memory in bytes, and
    seconds or None.
    """

    steps: int
    tokens: int
    flops: float
    memory_bytes: int
    seconds: float | None
    parameters: int
    rows: dict[str, int]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


@lru_cache(maxsize=32)
def parameters_of(model: str) -> int:
    """Return the number of parameters of a catalogue model, a local folder or a hub id, each counted once.

    It is read from safetensors headers, or from the shapes that config.json gives. 0 where nothing can be known before
    the model is brought.
    """
    entry = entry_of(model)
    try:
        base = parts_of(model).base
    except ValueError:
        if entry is None:
            raise
        return entry.parameters
    folder = base if isinstance(base, Path) else hub.snapshot_here(base)
    if folder is not None:
        if found := folders.parameters_in(folder):
            return found
        if parts := placement.anatomy_of(folder):
            return parts.parameters
    return entry.parameters if entry else 0


def model_size(model: str) -> str:
    """Return the size class whose tuned settings apply: tiny, small or large."""
    entry = entry_of(model)
    return entry.size if entry else size_of(parameters_of(model) or 100_000_000)


def default_tuning(model: str) -> str:
    """Return the tuning that a model has by default: full for tiny models, LoRA for the rest."""
    entry = entry_of(model)
    return entry.tuning if entry else "full" if model_size(model) == "tiny" else "lora"


def tuned_for(
    method: Method | type[Method], model: str, *, tuning: str = "", prompt: str = "", size: str = ""
) -> JsonObject:
    """Return the settings of a run of which nothing is said but method and model: {"tuning", "prompt", "lr", "epochs",
    "batch_size", "knobs"}.

    tuning, prompt: where something is said of them. size: the model's, where it is known already.
    """
    tuning = tuning or method.tuning_for(default_tuning(model))
    prompt = prompt or default_prompt(model)
    own = method.settings(size or model_size(model), tuning, model, prompt)
    return {"tuning": tuning, "prompt": prompt} | own


def preflight(
    config: RunConfig, finished: Sequence[Run] = (), roots: Sequence[Path] | None = None
) -> Preflight:
    """Estimate what this run will take.

    finished are earlier runs, for their speed, and roots are as in allowed.allowed_path.

    ValueError for bad input.
    """
    from unlearn.work.session import count_steps

    method = method_named(config.method).from_knobs(config.knobs)
    allow_model(config.model, roots)
    allow_model(config.retrained, roots, "retrained")
    parts = check_model(config)
    far = far_lr(config, method)
    data = as_read(from_config(dict(config.data), roots), config)
    forget, retain = (
        in_formats(rows, config.prompt, config.system) for rows in method.rows(config.model, data)
    )
    check_sam(config, method)
    check_stop_rule(config, method, data)
    parameters = parameters_of(config.model)
    weight, away, notes = _weights(config, parameters)
    per_forget, per_retain = (_mean_tokens(config, rows) for rows in (forget, retain))
    shown = config.epochs * (len(forget) or len(retain))
    ratio = method.retain_ratio if method.uses_forget else 1.0
    # SAM reads the forget texts twice.
    forgets = per_forget * method.uses_forget * (2 if config.sam else 1)
    tokens = round(shown * (forgets + ratio * per_retain * bool(retain)))
    steps = count_steps(config, method, len(forget), len(retain))
    seconds = _seconds(config, finished, tokens)
    if own := method.outlook(config, data):
        steps, tokens, seconds = own.steps, own.tokens, own.seconds
    # In a step there are so many texts of each side.
    sides = (
        (config.batch_size * bool(forget), forget, per_forget),
        (ratio * config.batch_size * bool(retain), retain, per_retain),
    )
    texts = sum(count for count, *_ in sides)
    length, answer = (
        sum(count * value for count, value in zip((s[0] for s in sides), values, strict=True)) / max(texts, 1)
        for values in ((s[2] for s in sides), (s[2] * _answered(s[1]) for s in sides))
    )
    held = forecast(
        config,
        shape_of(parts.base, parameters),
        parameters=parameters,
        weight=weight,
        texts=texts,
        length=length,
        answer=answer,
    )
    more = (method.members - 1) * held.parts["weights"]
    beside = process_bytes(lora=config.tuning == "lora", weight=weight)
    warnings = [*data.warnings, *remarks(data), *far]
    if steps < 3 and not own:
        warnings.append(
            f"Only {steps} optimiser step(s): raise epochs or lower batch size, or hardly anything moves."
        )
    if config.precision == "bfloat16" and config.tuning == "full":
        warnings.append(
            "In bfloat16 a step below 1/256 of a weight is lost: raise lr, or take float32 or LoRA."
        )
    if method.collapses:
        warnings.append(method.collapses)
    return Preflight(
        steps=steps,
        tokens=tokens,
        flops=6.0 * parameters * tokens,
        memory_bytes=held.peak + more - away + (beside if pick_device() == "cpu" else 0),
        seconds=seconds,
        parameters=parameters,
        rows={role: len(data.rows(role)) for role in ROLES},
        warnings=tuple(warnings),
        notes=(
            *filter(None, [parts.sentence(), retrain_elsewhere(config)]),
            *notes,
            *method.remarks(data),
            *filter(None, [stop_rule_note(config)]),
            *(own.notes if own else ()),
        ),
    )


def stop_rule_note(config: RunConfig) -> str:
    """Return what a run's stop rule will cost, or "" where it has none."""
    if not config.stop_rule().on:
        return ""
    return (
        f"Its stop rule reads up to {ROWS} texts a role while it trains, about {WATCHED:.0%} of the training; the run "
        "may end before its last step."
    )


def _mean_tokens(config: RunConfig, rows: Sequence[Row]) -> float:
    """Mean tokens of a text: of some of them counted where the model's tokenizer is here, else judged by letters."""
    some = rows[:: max(1, len(rows) // SAMPLED)]
    if not some:
        return 0.0
    if (reader := reader_of(config.model, config.max_length)) is not None and not reader.apart:
        counts = [
            min(config.max_length, count + 1) for count in reader.count([r.prompt + r.target for r in some])
        ]
        return sum(counts) / len(counts)
    return sum(len(r.prompt) + len(r.target) for r in some) / len(some) / CHARACTERS_PER_TOKEN + 1


def _answered(rows: Sequence[Row]) -> float:
    """The share of the rows' letters that are predicted."""
    whole = sum(len(r.prompt) + len(r.target) for r in rows)
    return sum(len(r.target) for r in rows) / whole if whole else 0.0


def _weights(config: RunConfig, parameters: int) -> tuple[float, int, tuple[str, ...]]:
    """(bytes a weight, bytes of weights that lie elsewhere than on the device, a sentence on where).

    ValueError where they cannot be held as the config asks.
    """
    device, source = pick_device(), source_of(config.model)
    precision.check(config.precision, device)
    if isinstance(source, Path) and folders.quantised(source):
        return folders.bytes_in(source) / max(1, parameters), 0, ()
    dtype = precision.numbers(config.precision, tuning=config.tuning, parameters=parameters, device=device)
    a_weight = precision.BYTES[config.precision if config.precision in ROUNDED else dtype]
    limit = placement.room(device)
    if limit is None or not isinstance(source, Path) or (parts := placement.anatomy_of(source)) is None:
        return a_weight, 0, ()
    found = placement.plan(parts, dtype=dtype, precision=config.precision, device=device, limit=limit)
    if not found.map:
        return a_weight, 0, ()
    placement.lora_alone(config.tuning)
    return a_weight, max(0, round(a_weight * parameters) - found.held[device]), (found.describe(),)


# A learning rate that differs from the tuned one by more than the first factor is worth a word; from the second on the
# word is ruin.
FAR, RUIN = 10.0, 100.0


def tuned_lr(config: RunConfig) -> float:
    """Return the learning rate that the config's method was tuned with for a model of this size."""
    method = method_named(config.method)
    return float(method.settings(model_size(config.model), config.tuning, config.model, config.prompt)["lr"])


def far_lr(config: RunConfig, method: Method) -> list[str]:
    """Return a sentence where the learning rate is far from the one that the method was tuned with, else nothing."""
    tuned = tuned_lr(config)
    ratio = max(config.lr / tuned, tuned / config.lr)
    # A value at exactly ten times rounds either way.
    if ratio <= FAR * (1 + 1e-9):
        return []
    times = f"{float(f'{ratio:.3g}'):,.10g}"
    if config.lr < tuned:
        return [
            f"The learning rate {config.lr:g} is {times} times below the {tuned:g} that {method.title} was tuned with "
            "for a model of this size, and may change nothing."
        ]
    then = "expect ruin" if ratio >= RUIN else "it may destroy the model"
    return [
        f"The learning rate {config.lr:g} is {times} × the tuned rate ({tuned:g}, {method.title} on a model of this "
        f"size): {then}."
    ]


def retrain_elsewhere(config: RunConfig) -> str:
    """Return how the exact retrain that the hub has for these rows can be brought, or "" where there is none."""
    entry = entry_of(config.model)
    published = entry.retrains.get(str(config.data.get("name"))) if entry and not config.retrained else None
    if published is None or hub.snapshot_here(published):
        return ""
    return (
        f"The hub has its exact retrain for these rows, {published}, and it is not on this machine: "
        f"`unlearn get {published}` brings it, and then every score stands beside the truth."
    )


def _seconds(config: RunConfig, finished: Sequence[Run], tokens: int) -> float | None:
    """The time that runs of this model took here, of the same method where there is one: training by its tokens."""
    alike = [
        run for run in finished if (run.config.model, run.config.tuning) == (config.model, config.tuning)
    ]
    for run in sorted(alike, key=lambda run: run.config.method != config.method):
        results = run.results()
        if results.get("tokens"):
            phases = results["phases"]
            fixed = results["seconds"] - phases.get("training", 0.0)
            return fixed + phases.get("training", 0.0) * tokens / results["tokens"]
    return None
