"""Takes everything out of a run's files that a row, an answer or a token of them may stand in.

What a file keeps is named here: numbers, and the few texts that the program itself writes (names, hashes, versions,
states). So a field that a later version adds holds no row by mistake: it is left out until it is named here.
Weights stay. What they still know of the rows is what the scores and the attacks are about.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from unlearn.store.disk import parsed, read_json
from unlearn.store.shapes import JsonObject, JsonView, count, every, has, number, table, text

# The files that hold rows, or the models' answers to them, and nothing else.
ROWS = ("inputs/rows.jsonl", "probes.jsonl", "samples.jsonl")
# Stands in the place of the rows: the hash of each row to forget, and how many rows each role had.
HASHES = "inputs/hashes.json"
HOW = (
    "SHA-256 of a row's texts in UTF-8, with a line break between them: system prompt, earlier turns, question, "
    "opening words and answer, as far as it has them"
)
NOTE = "Rows, generations and probes were left out of this folder."
# The texts of what ended a run: names of the stop rule's own parts.
ENDED = ("why", "what", "source", "keep")
# The texts that each kind of event keeps. Reasons and notes may quote a row.
EVENTS = {
    "state": ("state", "error"),
    "note": ("phase", "asked"),
    "eval": ("when",),
    "sample": ("when",),
    "end": ENDED,
    "inputs": ("rows", "model", "revision", "adapter", "products"),
}
RESULTS = (
    "model_hash",
    "data_hash",
    "data_title",
    "model_title",
    "method_title",
    "device",
    "dtype",
    "products",
    "command",
)
METRIC = ("title", "help", "paper", "ideal", "reason")
SCORE = ("role", "when")
ATTACK = ("title", "help", "paper", "tells", "reason", "says", "finding", "family", "setting")


def holds_rows(folder: Path) -> bool:
    """Return whether a run's folder has a file that holds rows, or the models' answers to them."""
    return any((folder / name).is_file() for name in ROWS)


def bare(name: str, content: bytes, study: bool = False) -> bytes | None:
    """Return the content of a run's file without rows. It is None for a file that holds nothing else.

    name: the file's path inside the run. A file that is none of the run's records stays as it is. study: the folder
    is a sweep's or a sequence's, whose events name runs, methods and settings.
    """
    if name in ROWS:
        return None
    last = name.rpartition("/")[2]
    if last == "events.jsonl":
        kept = study_event if study else event
        lines = (json.dumps(kept(line), ensure_ascii=False) for line in parsed(content))
        return "".join(f"{line}\n" for line in lines).encode()
    if study or name not in OBJECTS:
        return content
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return json.dumps(OBJECTS[name](found), ensure_ascii=False).encode() if isinstance(found, dict) else None


def row_hash(row: JsonView) -> str:
    """Return the hash of a row as inputs/rows.jsonl keeps it. HOW says what is hashed."""
    turns = [str(turn[1]) for turn in row.get("messages", ()) if isinstance(turn, list) and len(turn) == 2]
    texts = [row.get("system", ""), *turns, *(row.get(name, "") for name in ("question", "lead", "answer"))]
    return hashlib.sha256("\n".join(str(one) for one in texts if one).encode("utf-8", "replace")).hexdigest()


def hashes(content: bytes) -> JsonObject:
    """Return what stands for the rows of inputs/rows.jsonl: {"how", "counts": {role: rows}, "forget": [hash]}."""
    rows = [line for line in parsed(content) if isinstance(line.get("row"), dict)]
    counts = Counter(str(line.get("role")) for line in rows)
    forget = [row_hash(line["row"]) for line in rows if line.get("role") == "forget"]
    return {"how": HOW, "counts": dict(counts), "forget": forget}


def rows_of(folder: Path) -> JsonObject:
    """Return hashes() of a run's rows, or what was kept of them. It is empty for a run that kept neither."""
    if (path := folder / ROWS[0]).is_file():
        return hashes(path.read_bytes())
    found = read_json(folder / HASHES)
    good = has({"how": text, "counts": table(count), "forget": every(text)})
    return found if good(found) else {}


def study_event(found: JsonView) -> JsonObject:
    """Return an event of a sweep or a sequence without its reason and its sentence, which may quote a row."""
    said = {"reason": ""} if "reason" in found else {}
    return {name: value for name, value in found.items() if name != "text"} | said


def event(found: JsonView) -> JsonObject:
    """Return an event of a run without what may quote a row."""
    kind = str(found.get("kind", ""))
    return {"kind": kind} | only(found, EVENTS.get(kind, ()))


def only(found: JsonView, texts: Collection[str] = ()) -> JsonObject:
    """Return the numbers of an object, whatever they lie in, and of its own texts those of these names."""
    told = {name: value for name in texts if text(value := found.get(name))}
    return numbers(found) | told


def numbers(value: object) -> JsonObject:
    """Return what is a number, true or false in an object, in its inner objects and in its lists."""
    if not isinstance(value, Mapping):
        return {}
    kept = {name: _number(inner) for name, inner in value.items()}
    return {name: inner for name, inner in kept.items() if inner is not _NOTHING}


_NOTHING: object = object()


def _number(value: object) -> object:
    if value is None or number(value) or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return numbers(value)
    if isinstance(value, list):
        kept = [_number(inner) for inner in value]
        # A list in which something is no number is a list of another kind, such as words.
        return _NOTHING if any(inner is _NOTHING for inner in kept) else kept
    return _NOTHING


def _results(found: JsonView) -> JsonObject:
    told = only(found, RESULTS)
    if "ended" in found:
        told["ended"] = only(_object(found["ended"]), ENDED)
    if "versions" in found:
        told["versions"] = {k: v for k, v in _object(found["versions"]).items() if text(v)}
    if "retraining" in found:
        told["retraining"] = only(_object(found["retraining"]), ("kind", "formula"))
    return told


def _metrics(found: JsonView) -> JsonObject:
    entries = {
        name: only(entry, METRIC)
        | {"scores": [only(score, SCORE) for score in entry.get("scores", ()) if isinstance(score, Mapping)]}
        for name, entry in _object(found.get("metrics")).items()
        if isinstance(entry, Mapping)
    }
    cost = [numbers(one) for one in found.get("cost", ()) if isinstance(one, Mapping)]
    return {"identity": _identity(found), "metrics": entries, "cost": cost}


def _attacks(found: JsonView) -> JsonObject:
    kept = only(found, ("control", "verdict")) | {"identity": _identity(found)}
    for part in ("attacks", "sweep"):
        if part == "attacks" or part in found:
            kept[part] = {
                name: only(entry, ATTACK) | _reason(entry) | {"details": _details(entry)}
                for name, entry in _object(found.get(part)).items()
                if isinstance(entry, Mapping)
            }
    if "swept" in found:
        kept["swept"] = only(_object(found["swept"]), ("next",))
    return kept


def _reason(entry: JsonView) -> JsonObject:
    """What stands for the reason why a setting was left out: a template's may quote a row."""
    quotes = text(entry.get("setting")) or str(entry.get("reason", "")).startswith("prompt:")
    return {"reason": "it could not be done"} if quotes and entry.get("reason") else {}


def _details(entry: JsonView) -> JsonObject:
    """An attack's details without the lists of what single texts say, such as the lens's squares."""
    found = _object(entry.get("details"))
    lists = {
        name for name, v in found.items() if isinstance(v, list) and any(isinstance(i, Mapping) for i in v)
    }
    return numbers({name: value for name, value in found.items() if name not in lists})


def _identity(found: JsonView) -> JsonObject:
    """What the numbers depend on: hashes and versions, by the program's own names."""
    own = _object(found.get("identity"))
    return {name: value for name, value in own.items() if number(value) or text(value)}


def _object(value: object) -> JsonView:
    return value if isinstance(value, Mapping) else {}


OBJECTS: dict[str, Callable[[JsonView], JsonObject]] = {
    "results.json": _results,
    "metrics.json": _metrics,
    "attacks.json": _attacks,
}


def without_paths(config: JsonView) -> JsonObject:
    """Return the settings of a run with file names in the place of paths, which name folders of one machine."""
    data = {
        key: Path(value).name if text(value) and Path(str(value)).is_absolute() else value
        for key, value in _object(config.get("data")).items()
    }
    return dict(config) | {"data": data}
