"""The table of how far each metric can be trusted, from assets/results/trust.json (`python -m bench.trust`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from unlearn.metrics import REVISIONS
from unlearn.results import trust


def table(result: Mapping[str, Any]) -> str:
    """Return one row for each metric: AUC with interval, robustness and its parts, published figures, verdict."""
    found = trust.judge(result)
    heads = ("metric", "AUC", "95 % interval", "relearning", "rounding", "robustness")
    lines = [
        f"| {' | '.join(heads)} | AUC, 1 B † | robustness, 1 B † | verdict |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in trust.table(found):
        between = "" if row["auc"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
        cells = (
            *(row["title"] + (" \\*" if row["either_way"] else ""), cell(row["auc"]), between),
            *(around(row[key], row[f"{key}_interval"]) for key in ("relearning", "rounding")),
            cell(row["robustness"]),
            *(cell(row[f"published_{key}"], 3) for key in ("auc", "robustness")),
            row["grade"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    header = found.header
    said = (
        f"n: {found.holds} models that were taught the facts, {found.lacks} that never saw them, {found.unlearned} "
        f"unlearned ones. In brackets the 95 % interval over them. † {trust.SOURCE}; not measured here. \\* made "
        f"for something else; read in the direction that suits it. Commit {header.get('commit', '')}, "
        f"{header.get('date', '')}."
    )
    if old := trust.earlier(found, REVISIONS):
        said += f" {old}"
    left = f" Not counted: {'; '.join(found.left_out)}." if found.left_out else ""
    return "\n".join([*lines, "", f"<sub>{said}{left}</sub>"])


def around(value: float | None, ends: Sequence[float] | None) -> str:
    """Write a number with its 95 % interval. What is missing is empty."""
    return "" if value is None or ends is None else f"{cell(value)} ({cell(ends[0])} to {cell(ends[1])})"


def cell(value: float | None, digits: int = 2) -> str:
    """Write a number for a table. What is missing is empty."""
    return "" if value is None else f"{value:.{digits}f}"
