"""Writes what runs show into one HTML file that is read offline and without the app.

No script at all: figures are static SVG (svg.py), so the file is small, prints, and its Content-Security-Policy can
forbid everything but its own style sheet. Whatever comes from a run is escaped by Jinja. No torch.
"""

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.figures import losses, svg, tradeoff
from unlearn.figures import stop_rule as stop_figures
from unlearn.figures import tokens as token_figures
from unlearn.report import numbers, texts
from unlearn.results import compare, conclusion, formats, score_export
from unlearn.results.compare import LETTERS, Written, rounded
from unlearn.store.disk import write_whole
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.store.stop_rule import ended_sentence

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent
# The parts of a run's entry that show rows, or may quote one, as they are in a report without rows.
WITHOUT_ROWS: JsonObject = {"notes": [], "reason": "", "watched": None, "probes": {}, "tokens": []}


def report(runs: Sequence[Run], out: Path, rows: bool = True) -> Path:
    """Write the report of one or several runs and return the file. ValueError for none or too many; OSError.

    rows: whether it shows rows and the models' answers to them.
    """
    out = Path(out)
    write_whole(out, html(runs, rows))
    return out


def html(runs: Sequence[Run], rows: bool = True) -> bytes:
    """Return the bytes of the report, in UTF-8."""
    runs = list(dict.fromkeys(runs))
    if not 1 <= len(runs) <= len(LETTERS):
        raise ValueError(f"report: runs must be 1 to {len(LETTERS)}, got {len(runs)}.")
    style_sheet = style()
    told = [_about(runs, run) | ({} if rows else WITHOUT_ROWS) for run in runs]
    page = template().render(
        title="Unlearning report: " + "; ".join(dict.fromkeys(one["title"] for one in told)),
        style=style_sheet,
        policy=policy(style_sheet),
        made=time.strftime("%Y-%m-%d %H:%M"),
        runs=told,
        several=len(runs) > 1,
        groups=[_group(runs, group) | ({} if rows else {"answers": []}) for group in groups(runs)],
        rows=rows,
        settings=compare.config_table(runs),
        differences={row["setting"] for row in compare.config_table(runs, only_differences=True)},
        letters=LETTERS,
    )
    # JSON allows half of a surrogate pair, which is no character and cannot be encoded.
    return page.encode("utf-8", "replace")


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Group the runs of the same model on the same data, because only they share rows and a Before."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        asked = run.config
        key = json.dumps([asked.model, dict(asked.data), asked.start], sort_keys=True)
        found.setdefault(key, []).append(run)
    return list(found.values())


def label(run: Run) -> str:
    """Return the run's own title, or else its method and data."""
    results, config = run.results(), run.config
    data = results.get("data_title") or config.data.get("name") or config.data.get("hub") or "own rows"
    return run.meta.get("title") or f"{results.get('method_title', config.method.upper())} on {data}"


def _letter(runs: Sequence[Run], run: Run) -> str:
    return LETTERS[list(runs).index(run)].upper() if len(runs) > 1 else ""


def _about(runs: Sequence[Run], run: Run) -> JsonObject:
    """Return what the report says of one run alone."""
    results, steps, state = run.results(), run.events("step"), run.state
    read = run.events("watch")
    probes = run.probes()
    curves = svg.draw(losses.losses(steps)) if steps else None
    watched = (
        svg.draw(token_figures.probe_overview(probes, compare.probe_references(run))) if probes else None
    )
    return {
        "letter": _letter(runs, run),
        "title": label(run),
        "id": run.id,
        "state": state,
        "reason": run.reason,
        "verdict": (conclusion.of_run(run) or {"word": ""})["word"],
        "headline": " ".join(conclusion.sentences(run)) or numbers.headline(run),
        "formats": formats.headline(run),
        "ended": ended_sentence(run.ended()),
        "stop_rule": svg.draw(stop_figures.watched(read, run.ended())) if read else None,
        "partial": f"{len(steps)} steps were recorded." if state != "done" or not results else "",
        "active": state in ACTIVE,
        "command": run.config.command(),
        "versions": results.get("versions", {}),
        "notes": [event["text"] for event in run.events("note") if event.get("text")],
        "curves": curves,
        "watched": watched,
        "probes": texts.probes(run),
        "tokens": texts.tokens(run),
        "attacks": numbers.attacks(run),
        "cost": numbers.cost(run),
    }


def _group(runs: Sequence[Run], group: Sequence[Run]) -> JsonObject:
    """Return what the report says of runs on the same model and data, side by side."""
    scores = score_export.rows(group)
    letters = [_letter(runs, run) for run in group]
    most = len(compare.SIDES)
    marks = compare.tradeoff_points(group[:most], group[most:], "accuracy")
    points = [_relabel(point, letters) for point in marks]
    answers = texts.answers(group)
    return {
        "letters": letters,
        "titles": [label(run) for run in group],
        "scores": [_score(row, len(group)) for row in scores],
        "truth": any(row["retrained"] is not None for row in scores),
        "definitions": [compare.described(m)[:2] for m in dict.fromkeys(row["metric"] for row in scores)],
        "tradeoff": svg.draw(tradeoff.tradeoff(points, "Token accuracy")) if len(points) > 1 else None,
        "formats": formats.rows(group),
        "metrics": numbers.metrics(group),
        "answers": answers,
        "retrained_answers": any(row["retrained"] for role in answers for row in role["rows"]),
        "limits": numbers.limits(group, scores),
    }


def _relabel(point: JsonObject, letters: Sequence[str]) -> JsonObject:
    """Return the point with the letter of the whole report and not of its group.

    Where there is one run it has none.
    """
    if point["kind"].lower() in compare.SIDES:
        letter = letters[compare.SIDES.index(point["kind"].lower())]
        return point | {"label": f"Run {letter}" if letter else "After"}
    return point


def _score(row: JsonView, runs: int) -> JsonObject:
    """A row of the score table in rounded numbers."""
    shown = {key: row[key] for key in ("role", "score", "n", "goal")}
    after = [
        (_cell(row.get(letter)) + _ends(row.get(f"around_{letter}")), _cell(row.get(f"delta_{letter}"), True))
        for letter in LETTERS[:runs]
    ]
    return shown | {"before": _cell(row["before"]), "after": after, "retrained": _cell(row["retrained"])}


def _cell(value: Written, sign: bool = False) -> str:
    return "–" if value is None else rounded(value, sign)


def _ends(around: Sequence[Written] | None) -> str:
    return f" [{rounded(around[0])}, {rounded(around[1])}]" if around else ""


def style(own: str = "") -> str:
    """Return the style sheet of a page: that of the report, and after it the file of this name."""
    night = f"@media (prefers-color-scheme: dark) {{{svg.palette(dark=True)}}}"
    paper = f"@media print {{{svg.palette()}}}"
    sheets = [(HERE / name).read_text(encoding="utf-8") for name in ("report.css", own) if name]
    return sheets[0] + svg.palette() + night + paper + "".join(sheets[1:])


def policy(style: str) -> str:
    """Return the content policy: nothing is loaded and nothing runs.

    The one style sheet is named by its hash.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def template(name: str = "report.html") -> "Template":
    """Return a page's template. Whatever is put into it is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(HERE)
    made = Environment(
        autoescape=True, loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return made.get_template(name)
