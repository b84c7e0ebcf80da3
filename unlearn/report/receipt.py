"""Writes the receipt for a deletion request: one HTML page to read or print, and the same facts as JSON.

It says when which rows were unlearned, known by their hashes, how, with which outcome, and what is not proven. Whoever
asked for the deletion can check with a copy of a row that it was among them. No row stands in it.
"""

from pathlib import Path

from unlearn import __version__
from unlearn.models.load import weights_hash
from unlearn.report import build, facts
from unlearn.results import conclusion
from unlearn.store.disk import json_safe, json_text, write_whole
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject

SCHEMA = 1
# The hashes of single rows that the page shows. The JSON file has them all.
MOST_HASHES = 200


def write(run: Run, out: Path, reference: str = "") -> tuple[Path, Path]:
    """Write the receipt as out (an .html file) and beside it as .json, and return both files.

    reference: the deletion request's own number or name. ValueError for a run that has not ended.
    """
    content = receipt(run, reference)
    page, data = out.with_suffix(".html"), out.with_suffix(".json")
    write_whole(data, (json_text(content, indent=1) + "\n").encode("utf-8", "replace"))
    write_whole(page, html(content))
    return page, data


def receipt(run: Run, reference: str = "") -> JsonObject:
    """Return what the receipt says, as plain values. ValueError for a run that is queued or running."""
    if run.state in ACTIVE:
        raise ValueError(f"run: {run.id} is {run.state}; write the receipt when it has ended.")
    base = facts.base(run)
    found = {
        "schema": SCHEMA,
        "program": f"Unlearn Studio {__version__}",
        "reference": reference,
        "run": run.id,
        "state": run.state,
        "when": facts.when(run),
        "forgotten": facts.described(run),
        "rows": facts.rows(run),
        "model": {"before": base, "after": _after(run)},
        "method": facts.method(run),
        "verdict": conclusion.of_run(run) or None,
        "scores": facts.scores(run),
        "by_format": facts.by_format(run),
        "worst_attack": facts.worst_attack(run) or None,
        "not_proven": facts.not_shown(run),
        "versions": run.results().get("versions", {}),
    }
    return dict(json_safe(found))


def _after(run: Run) -> str:
    """The hash of the weights that the run left, or "" where it keeps none."""
    folders = [run.path / name for name in ("model", "adapter")]
    found = [folder for folder in folders if any(folder.glob("*.safetensors"))]
    return weights_hash(found[0], None) if found else ""


def html(content: JsonObject) -> bytes:
    """Return the page of a receipt, in UTF-8: no script, nothing is loaded, every value escaped."""
    style = build.style("receipt.css")
    each = content["rows"]["each"]
    page = build.template("receipt.html").render(
        style=style,
        policy=build.policy(style),
        r=content,
        parts=[content["verdict"][part]["sentence"] for part in conclusion.PARTS]
        if content["verdict"]
        else [],
        meaning=conclusion.MEANS.get((content["verdict"] or {}).get("word", ""), ""),
        hashes=each[:MOST_HASHES],
        more=max(0, len(each) - MOST_HASHES),
    )
    return page.encode("utf-8", "replace")
