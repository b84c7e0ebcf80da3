"""Reads and writes claims.json: what every experiment gave, with its commit, versions and machine.

    {"claims": {"A1": {"full": {"mode", "seconds", "computed", "reused", "header", "data", "finding"}, "quick": …}, …}}

A quick try never replaces a full one. finding is judge(data), kept beside the data so that a table needs no
statistics; a test holds the two together.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.claims import CLAIMS
from unlearn.claims.base import Claim
from unlearn.claims.training import MODEL
from unlearn.store.disk import json_text, read_json, write_json
from unlearn.store.home import ASSETS
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

RESULTS = ASSETS / "results" / "claims.json"


def of_world(model: str) -> Path:
    """Return the file for the results on the model of a world, the bundled one or another."""
    return RESULTS if model == MODEL else RESULTS.with_name(f"claims-{model}.json")


# The modes, the better one first.
MODES = ("full", "quick")
# How a sentence says each verdict.
SAID = {
    "confirmed": "confirmed here",
    "partly": "true in part",
    "refuted": "refuted",
    "undecided": "left undecided",
}


def entries(path: Path = RESULTS) -> dict[str, JsonObject]:
    """Return {key: entry} of the claims that were tested, full before quick.

    It is empty where there is no such file.
    """
    known = read_json(path)
    chosen = {key: next((e for mode in MODES if _whole(e := _of(known, key, mode))), None) for key in CLAIMS}
    return {key: entry for key, entry in chosen.items() if entry is not None}


def sentence(found: Mapping[str, JsonView]) -> str:
    """Return what came of all claims in one sentence: "Of 17 claims that papers make, 5 were confirmed here, …".

    found: what entries() returns. It is empty where no claim was tested.
    """
    words = [entry["finding"]["verdict"] for entry in found.values()]
    counts = {said: words.count(word) for word, said in SAID.items()}
    counts["not tested yet"] = len(CLAIMS) - len(words)
    parts = [f"{count} {said}" for said, count in counts.items() if count]
    # The first number has the verb for all.
    parts[:1] = [one.replace(" ", " was " if one.startswith("1 ") else " were ", 1) for one in parts[:1]]
    if not words:
        return ""
    last = f" and {parts[-1]}" if len(parts) > 1 else ""
    return f"Of {len(CLAIMS)} claims that papers make, {', '.join(parts[:-1] or parts)}{last}."


def _of(known: JsonView, *keys: str) -> Any:
    for key in ("claims", *keys):
        known = known.get(key, {}) if isinstance(known, Mapping) else {}
    return known


def _whole(entry: object) -> bool:
    return isinstance(entry, Mapping) and {"data", "finding", "mode", "header"} <= set(entry)


def keep(path: Path, claim: Claim, entry: Mapping[str, object]) -> None:
    """Write one claim's entry into the file. The others stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = read_json(path)
    mine = {**_of(known, claim.key), entry["mode"]: entry}
    write_json(path, {"claims": {**_of(known), claim.key: mine}})


def rejudge(path: Path, claims: Mapping[str, Claim], date: str) -> dict[str, JsonObject]:
    """Apply the rules anew to the recorded numbers of these claims, write the file, and return what changed.

    {key: {mode: finding}} holds the findings that differ from those before. Nothing is measured; an entry whose finding
    changed says when, as "judged".
    """
    known, changed = read_json(path), dict[str, JsonObject]()
    for key, claim in claims.items():
        for mode in MODES:
            entry = _of(known, key, mode)
            if not _whole(entry):
                continue
            # As it comes back from the file.
            finding = json.loads(json_text(claim.judge(entry["data"]).to_json()))
            if finding != entry["finding"]:
                entry["finding"], entry["judged"] = finding, date
                changed.setdefault(key, {})[mode] = finding
    if changed:
        write_json(path, known)
    return changed


def entry_of(claim: Claim, lab: "Lab", mode: str, header: JsonView, clock: Callable[[], float]) -> JsonObject:
    """Carry out the experiment, judge it and return its entry.

    seconds are the CPU seconds that this took now, without what was kept.
    """
    began, before = clock(), (lab.computed, lab.reused)
    data = claim.measure(lab, mode == "full")
    spent = {"computed": lab.computed - before[0], "reused": lab.reused - before[1]}
    return {
        "mode": mode,
        "seconds": round(clock() - began, 1),
        **spent,
        "header": dict(header),
        "data": data,
        "finding": claim.judge(data).to_json(),
    }
