"""Each file of a run has one typed reader here, which leaves out records of a wrong shape.

A run may come from somebody else, from an older version, or off a damaged disk. Whatever reads it (lists, pages,
reports) goes through here, so that one bad line is left out and counted, and never hides another run. No torch.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from unlearn.store.config import RunConfig
from unlearn.store.disk import parsed, read_json
from unlearn.store.shapes import (
    Check,
    JsonObject,
    JsonView,
    count,
    every,
    flag,
    has,
    maybe,
    number,
    one_of,
    pair,
    pair_of,
    real,
    some,
    table,
    text,
)
from unlearn.store.stop_rule import BUDGETS

# Raise this number when an older version would misread a new config.json or results.json.
SCHEMA = 1
STATES = ("queued", "running", "done", "stopped", "failed", "interrupted")
ACTIVE = ("queued", "running")
WHEN = ("before", "after", "retrained")
VERDICTS = ("suppressed", "erased", "nothing", "undecided", "")

COUNTED_ROWS = has({}, {"n": maybe(count)})


def scores(value: Any) -> bool:
    """Return whether the value has the shape {role: {metric: value}}. A metric that does not apply may be
    null, and n is a number of rows.
    """
    return table(table(maybe(number)))(value) and all(map(COUNTED_ROWS, value.values()))


# {prompt format: what the answers of a role came to in it}.
FORMATS = table(
    has(
        {"n": count, "right": real, "interval": pair_of(real)},
        {"probability": maybe(number), "rouge_l": maybe(number)},
    )
)


def scores_by_format(value: Any) -> bool:
    """Return whether the value has the shape of scores, where a role may also hold its numbers in each format."""
    if not table(table(lambda _: True))(value):
        return False
    plain = {role: {k: v for k, v in found.items() if k != "by_format"} for role, found in value.items()}
    return scores(plain) and all(FORMATS(found.get("by_format", {})) for found in value.values())


# {role: {metric: its 95 % interval}}.
INTERVALS = table(table(pair_of(number)))
# What ended a run that had a stop rule (unlearn.store.stop_rule).
ENDED = has(
    {"step": count, "of": count, "why": one_of("target", "budget", "steps"), "value": number}
    | {"what": one_of("", *BUDGETS), "limit": maybe(number), "source": text, "keep": text, "kept": count},
)
EVENT = has({"kind": text, "time": real})
EVENTS: dict[str, Check] = {
    "state": has({"state": one_of(*STATES)}, {"reason": text, "resumed_from": count, "error": text}),
    "step": has(
        {"step": count, "of": count, "terms": table(number), "seconds": real},
        {"loss": number, "grad_norm": number, "lr": number, "tokens": count},
    ),
    "probe": has({"step": count}),
    "eval": has(
        {"when": one_of(*WHEN), "scores": scores},
        {"by_format": table(FORMATS), "intervals": INTERVALS, "counts": table(table(count))},
    ),
    "sample": has({"when": text}),
    "watch": has(
        {"step": count, "forget": number, "spent": table(number), "limits": table(real), "inside": flag},
        {"target": maybe(number), "best": count},
    ),
    "end": ENDED,
    "inputs": has(
        {},
        {
            **dict.fromkeys(("rows", "model", "revision", "adapter", "products"), text),
            **dict.fromkeys(("retrained", "retrained_by"), text),
            "threads": count,
        },
    ),
    "note": has({}, {"text": text, "phase": text, "seconds": real, "asked": text}),
}
TOKEN = has(
    {"token": text, "logit": number, "lp": number, "rank": count, "top": every(pair)},
    {"id": count, "mu": number, "sigma": number},
)
WORDS = {"role": text, "index": count, "prompt": text, "answer": text, "nll": number, "tokens": every(TOKEN)}
# A row without text was scored and not continued. read: the earlier step that its numbers come from.
PROBE = has(
    {"step": count, "items": every(has(WORDS, {"text": text, "read": count, "question": maybe(text)}))}
)
SAMPLE = has(
    WORDS | {"when": one_of(*WHEN), "text": text, "exact": maybe(flag)},
    {"question": maybe(text), "rougeL": maybe(number)},
)
META: dict[str, Check] = {
    "owner": text,
    "title": text,
    "recorded": flag,
    "imported": flag,
    "training_tokens": real,
    "redacted": real,
}
RESULTS: dict[str, Check] = {
    "scores": table(scores_by_format),
    "intervals": table(INTERVALS),
    "phases": table(real),
    "beside": table(real),
    "versions": table(text),
    "retraining": has(
        {},
        {
            "kind": text,
            "formula": text,
            "tokens": real,
            "flops": real,
            "flops_ratio": real,
            "token_ratio": real,
            "seconds": real,
            "seconds_ratio": real,
        },
    ),
    "told": lambda value: isinstance(value, dict),
    "ended": lambda value: value == {} or ENDED(value),
    "threads": count,
    "processes": count,
    **dict.fromkeys(("seconds", "tokens", "flops", "parameters", "trainable"), real),
    "peak_memory": maybe(real),
    **dict.fromkeys(("model_hash", "data_hash", "data_title", "model_title", "method_title"), text),
    **dict.fromkeys(("device", "dtype", "command"), text),
}
SCORE = has(
    {"role": text, "value": maybe(number), "when": text},
    {"n": maybe(real), "details": maybe(has({}, {"interval": maybe(pair_of(number))}))},
)
METRIC = has(
    {"title": text, "help": text, "reason": text, "scores": every(SCORE)},
    {"ideal": lambda value: text(value) or number(value), "seconds": real},
)
ATTACK = has(
    {"title": text, "tells": text, "reason": text},
    {"help": text, "paper": text, "finding": text, "says": one_of(*VERDICTS), "n": count, "seed": count}
    | dict.fromkeys(("before", "after", "retrained", "never_seen", "plain", "residue"), maybe(real))
    | {"values": table(every(number)), "details": lambda value: isinstance(value, dict)}
    | {"family": text, "setting": text, "again": every(has({"seed": count}, {"residue": maybe(real)}))},
)
# How far a sweep of attacks is.
SWEPT = has({"of": count, "done": count, "minutes": real}, {"next": text, "next_minutes": maybe(real)})
SPENT = has({}, {"seconds": real, "tokens": real, "flops": real})
CONTROLS = ("retrained", "never seen", "")
# The record of answers without any attack.
PLAIN = has(
    {"before": some(real), "after": some(real)},
    {"control": every(real)},
)
ANSWERED = (
    "help",
    "n",
    "seed",
    "before",
    "after",
    "retrained",
    "never_seen",
    "residue",
    "says",
    "finding",
    "values",
)


def attack(value: Any) -> bool:
    """Return whether the value is an entry of attacks.json. An entry that was not left out must have all its
    numbers.
    """
    if not ATTACK(value) or value["reason"]:
        return ATTACK(value)
    told = all(name in value for name in ANSWERED) and real(value["before"]) and real(value["after"])
    return told and (value["says"] != "suppressed" or value["residue"] is not None)


def event(value: JsonView) -> bool:
    """Return whether the value is an event with kind and time. A kind that runs write must have that kind's
    fields too.
    """
    return EVENT(value) and EVENTS.get(value["kind"], EVENT)(value)


def good_events(lines: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Return the lines that are events of the right shape."""
    return filter(event, lines)


def good_probes(lines: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Return the lines that are probe records of the right shape."""
    return filter(PROBE, lines)


def good_samples(lines: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Return the lines that are sample records of the right shape."""
    return filter(SAMPLE, lines)


def fields(found: JsonView, known: Mapping[str, Check]) -> JsonObject:
    """Return the object without the known fields whose value has the wrong kind."""
    return {name: value for name, value in found.items() if known.get(name, lambda _: True)(value)}


def read_meta(path: Path) -> JsonObject:
    """Return meta.json without the fields whose value has the wrong kind, or an empty object without the
    file.
    """
    return fields(read_json(path), META)


def check_schema(found: object, name: str) -> None:
    """Raise a ValueError for a file that a newer version wrote. A file without a schema number is of an older
    version and passes.
    """
    schema = found.get("schema", 0) if isinstance(found, dict) else 0
    if not count(schema):
        raise ValueError(f"{name}: schema must be a whole number, got {str(schema)[:40]}.")
    if schema > SCHEMA:
        raise ValueError(
            f"{name} was written by a newer version (schema {schema}, this one reads up to {SCHEMA}); install the "
            "newer version to read it."
        )


def read_results(path: Path) -> JsonObject:
    """Return results.json with the fields that can be read. It is empty without the file, and for a file that
    a newer version wrote.
    """
    found = read_json(path)
    try:
        check_schema(found, path.name)
    except ValueError:
        return {}
    return fields(found, RESULTS)


def read_config(path: Path) -> RunConfig:
    """Return the settings of a run from its config.json. OSError where there is no such file; ValueError
    where it cannot be read, or is of a newer version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"config: {path.parent.name}/{path.name} is damaged ({error}); "
            "import the run from its zip file, or remove its folder."
        ) from error
    try:
        return config_of(found)
    except (TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"config: {path.name} is not a run's settings ({error}).") from error


def config_of(found: object) -> RunConfig:
    """Return the settings that the content of a config.json holds, after a check of its schema number."""
    check_schema(found, "config.json")
    own = (
        {key: value for key, value in found.items() if key != "schema"} if isinstance(found, dict) else found
    )
    return RunConfig.from_json(own)


def config_file(config: RunConfig) -> JsonObject:
    """Return the content of config.json: the settings and the number of the schema."""
    return {"schema": SCHEMA} | config.to_json()


def read_metrics(path: Path) -> JsonObject:
    """Return metrics.json with the metrics that can be read, or an empty object without any record."""
    found = read_json(path)
    if not found:
        return {}
    return found | {
        "metrics": _entries(found.get("metrics"), METRIC),
        "cost": _list(found.get("cost"), SPENT),
    }


def read_attacks(path: Path) -> JsonObject:
    """Return attacks.json with the attacks that can be read, or an empty object without any record."""
    found = read_json(path)
    if not found or not isinstance(found.get("attacks"), dict):
        return {}
    found["attacks"] = _entries(found["attacks"], attack)
    if "sweep" in found:
        found["sweep"] = _entries(found["sweep"], attack)
    if "swept" in found and not SWEPT(found["swept"]):
        del found["swept"]
    if "plain" in found and not PLAIN(found["plain"]):
        del found["plain"]
    if found.get("control") not in CONTROLS:
        found["control"] = ""
    if not text(found.get("verdict", "")):
        del found["verdict"]
    return found


def attacked(found: JsonView) -> str:
    """Return what the attacks of read_attacks() say together. It is empty where none was carried out."""
    tried = {**found.get("attacks", {}), **found.get("sweep", {})}
    done = [entry for entry in tried.values() if not entry["reason"]]
    return str(found.get("verdict", "undecided")) if done else ""


def repeats(path: Path) -> dict[str, float | str]:
    """Return {role: REP_3} of the texts after the run, as far as metrics.json has them."""
    scores = read_metrics(path).get("metrics", {}).get("rep_3", {}).get("scores", ())
    return {
        one["role"]: one["value"] for one in scores if one["when"] == "after" and one["value"] is not None
    }


def _entries(found: object, good: Check) -> JsonObject:
    return {name: entry for name, entry in found.items() if good(entry)} if isinstance(found, dict) else {}


def _list(found: object, good: Check) -> list[JsonObject]:
    return [entry for entry in found if good(entry)] if isinstance(found, list) else []


def unread(folder: Path) -> dict[str, int]:
    """Return {file: how many of its lines, fields or entries were left out}. A file that cannot be read at
    all counts as one.
    """
    stamps = []
    for name in sorted(COUNTED):
        try:
            status = (folder / name).stat()
            stamps.append((name, status.st_size, status.st_mtime_ns))
        except OSError:
            continue
    return dict(_unread(folder, tuple(stamps)))


@lru_cache(maxsize=200)
def _unread(folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> dict[str, int]:
    return {name: bad for name, *_ in stamps if (bad := COUNTED[name](folder / name))}


def notes(folder: Path) -> list[str]:
    """Return a sentence for each file of a run that this version cannot read completely. Most runs have none."""
    said = []
    for file, bad in unread(folder).items():
        try:
            check_schema(read_json(folder / file), file)
            said.append(f"{file}: {left_out(bad)}")
        except ValueError as error:
            said.append(str(error))
    return said


def left_out(bad: int) -> str:
    """Return the end of a sentence that tells how many parts of a file could not be read."""
    parts = f"{bad} of its parts have" if bad > 1 else "a part of it has"
    return f"{parts} a shape that this version cannot read; left out."


def _lines(good: Check) -> Callable[[Path], int]:
    def bad(path: Path) -> int:
        try:
            content = path.read_bytes()
        except OSError:
            return 1
        written = sum(bool(line.strip()) for line in content[: content.rfind(b"\n") + 1].split(b"\n"))
        return written - sum(map(good, parsed(content)))

    return bad


def _object(part: str, good: Check | None, known: Mapping[str, Check]) -> Callable[[Path], int]:
    def bad(path: Path) -> int:
        found, newer = read_json(path), True
        inner = found.get(part) if good else found
        with contextlib.suppress(ValueError):
            check_schema(found, path.name)
            newer = False
        if newer or not found or not isinstance(inner, dict):
            return 1
        return sum(not (good or known.get(name, lambda _: True))(value) for name, value in inner.items())

    return bad


COUNTED: dict[str, Callable[[Path], int]] = {
    "events.jsonl": _lines(event),
    "probes.jsonl": _lines(PROBE),
    "samples.jsonl": _lines(SAMPLE),
    "meta.json": _object("", None, META),
    "results.json": _object("", None, RESULTS),
    "metrics.json": _object("metrics", METRIC, {}),
    "attacks.json": _object("attacks", attack, {}),
}
