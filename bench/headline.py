"""Writes the one table of the README's first screen, a part of assets/results/defaults.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.defaults import at, mark, number, spread_of
from bench.record import RESULTS, origins
from unlearn.methods import METHODS

MODEL = "tiny-authors"
COLUMNS = {
    "forget": "must go",
    "paraphrase": "the same, asked otherwise",
    "retain": "must stay",
    "neighbours": "must stay, nearest",
}


def table(results: Path = RESULTS) -> str:
    """Return a table of questions answered rightly on the bundled model, in percent: before, with each
    method, and retrained.
    """
    recorded = json.loads((results / "defaults.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in recorded if row["model"] == MODEL]
    lines = [f"| answered rightly, % | {' | '.join(COLUMNS.values())} |", "|---|" + "--:|" * len(COLUMNS)]
    for label, when in (("before", "before"), ("*trained again without them: the truth*", "retrained")):
        cells = [number(at(rows[0], role, "exact", when), "exact") for role in COLUMNS]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines += [_line(row) for row in rows]
    broken = "† The model's general text is ruined in at least one seed: perplexity more than doubled."
    made = origins(row["origin"] for row in rows)
    return "\n".join([*lines, "", f"Mean ± sd of three seeds. {broken}", "", made])


def _line(row: Mapping[str, Any]) -> str:
    cells = [spread_of(at(row, role, "exact", "after"), "exact") for role in COLUMNS]
    return f"| {METHODS[row['method']].title}{mark(row)} | {' | '.join(cells)} |"
