"""Reads what is known of methods on TOFU as lines of one table: measured here, own runs, and published numbers.

    measured here   assets/results/tofu.json, which bench/tofu writes: one row for each forget set, method and seed
    own runs        metrics.json of runs that `evaluate RUN --metrics tofu` was asked for
    published       assets/results/published_tofu.json: tables and logs that others published, with model and source

Seeds of one method are one line, mean with a 95 % t interval; one seed has the interval over its questions where that
was kept. A number that is missing stays missing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearn.compute.libraries import settled
from unlearn.methods import METHODS
from unlearn.store import records
from unlearn.store.disk import read_json
from unlearn.store.home import ASSETS
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonView

RECORD = ASSETS / "results" / "tofu.json"
PUBLISHED = ASSETS / "results" / "published_tofu.json"
MODEL = "smollm2-tofu"
HERE, OWN, PAPER = "measured here", "your runs", "published"
KINDS = (HERE, OWN, PAPER)
# The rows of the record that no method made.
START, RETRAIN, OTHER = "start", "retrain", "retrain, another seed"
BESIDE = frozenset((START, RETRAIN, OTHER))
# What others call the model before unlearning and the one retrained without the forget set.
THEIRS = {"Finetuned": START, "Retain": RETRAIN}
# What has an interval over the questions: its metric and role in metrics.json.
WITH_INTERVAL = {
    "utility": ("tofu_utility", "kept"),
    "rouge": ("tofu_rouge", "forget"),
    "probability": ("tofu_probability", "forget"),
    "truth_ratio": ("tofu_truth_ratio", "forget"),
    "mia": ("mia_min_k", "forget"),
}
# From here on the test cannot tell a model from the retrained one at the usual level.
LEVEL = 0.05
# A utility counts as kept down to this share of the start's.
KEPT = 0.95


@dataclass(frozen=True)
class Spread:
    """The mean of a number over seeds, with its 95 % interval: over seeds where there are two or more, else over the
    questions, where it is known.
    """

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """One line of the table. values: Spreads by name (see COLUMNS); settings: what a run of it asks for."""

    kind: str
    data: str
    model: str
    name: str
    seeds: int = 1
    values: Mapping[str, Spread] = field(default_factory=dict)
    n: int = 0
    source: str = ""
    url: str = ""
    run: str = ""
    settings: JsonView = field(default_factory=dict)
    failed: int = 0


# The columns of the table: title, and what it is and which way is better.
COLUMNS = {
    "utility": (
        "TOFU utility",
        "Harmonic mean of nine numbers on three sets that must stay; higher is better.",
    ),
    "log10": (
        "Forget quality, log₁₀ p",
        "Logarithm of the p-value of the KS test against the retrained model's truth ratios; 0 is best.",
    ),
    "d": ("D", "Statistic of that test: the largest gap between the two distributions; lower is better."),
    "rouge": (
        "ROUGE-L, forget",
        "Recall of the true answers on the forget set; near the retrained model's is best.",
    ),
    "probability": (
        "Probability, forget",
        "exp(-S/n) of the true answers; near the retrained model's is best.",
    ),
    "truth_ratio": (
        "Truth ratio, forget",
        "Mean of min(r, 1/r); higher is better, the retrained model's is the goal.",
    ),
    "extraction": (
        "Extraction strength",
        "Share of an answer that follows from its beginning; lower is better.",
    ),
    "mia": ("MIA, Min-K%", "AUC of telling forget rows from rows never seen; 0.5 is best."),
    "kl": (
        "KL to retrain, forget",
        "Nats a token between the retrained model's answers and this one's; 0 is best.",
    ),
    "chat": ("Right in chat, %", "Forget questions still answered rightly in the model's own chat."),
    "plain": ("Right in plain, %", "The same asked as Question: … Answer:."),
    "completion": ("Right in completion, %", "The same asked as a bare question."),
    "seconds": ("CPU seconds", "Of the run with its scores, without these metrics."),
}


def lines(record: Path = RECORD, published: Path = PUBLISHED, runs: Iterable[Run] = ()) -> list[Line]:
    """Return every line: what was measured here, own runs, and published numbers."""
    return [*_measured(read_json(record)), *filter(None, map(own, runs)), *_published(read_json(published))]


def titled(method: str) -> str:
    """Return a method's title for a person. What is no method keeps its name."""
    return METHODS[method].title if method in METHODS and method not in BESIDE else method


def _measured(found: JsonView) -> list[Line]:
    rows = [row for row in _rows(found) if {"data", "method"} <= set(row)]
    groups: dict[tuple[str, str], list[JsonView]] = {}
    for row in rows:
        groups.setdefault((str(row["data"]), str(row["method"])), []).append(row)
    return [_line(data, method, mine) for (data, method), mine in groups.items()]


def _line(data: str, method: str, rows: Sequence[JsonView]) -> Line:
    good = [row for row in rows if "failed" not in row]
    flat = [_flat(row) for row in good]
    origin = rows[0].get("origin") or {}
    more = dict(rows[0].get("settings") or {}) if good else {}
    asked = {"method": method, "data": {"name": data}, "model": MODEL, "knobs": rows[0].get("knobs") or {}}
    return Line(
        kind=HERE,
        data=data,
        model=MODEL,
        name=titled(method),
        seeds=len(rows),
        values=_spreads(flat) if len(good) != 1 else _around(flat[0], good[0].get("intervals") or {}),
        n=int((good[0].get("quality") or {}).get("n") or 0) if good else 0,
        source=f"commit {origin['commit']}, {origin.get('date', '')}" if origin.get("commit") else "",
        settings={} if method in BESIDE else asked | more,
        failed=len(rows) - len(good),
    )


def _flat(row: JsonView) -> dict[str, float]:
    """The numbers of one row of bench/tofu by column; what is missing or not finite is left out."""
    quality, kl = row.get("quality") or {}, row.get("kl") or {}
    forget = (row.get("by_format") or {}).get("forget") or {}
    found = {
        name: row.get(name)
        for name in ("utility", "rouge", "probability", "truth_ratio", "extraction", "mia")
    }
    found |= {"log10": _log10(quality.get("p")), "d": quality.get("d"), "kl": kl.get("forget")}
    found |= {name: _percent(forget.get(name)) for name in ("chat", "plain", "completion")}
    found["seconds"] = row.get("cpu_seconds")
    return _finite(found)


def _published(found: JsonView) -> list[Line]:
    made = []
    for row in _rows(found):
        values = {"utility": row.get("utility"), "truth_ratio": row.get("truth_ratio")}
        values["log10"] = _log10(row.get("quality"))
        name = THEIRS.get(str(row.get("method")), str(row.get("method")))
        made.append(
            Line(
                kind=PAPER,
                data=str(row.get("data")),
                model=str(row.get("model")),
                name=name,
                values=_spreads([_finite(values)]),
                source=str(row.get("source")),
                url=str(row.get("url")),
            )
        )
    return made


def own(run: Run) -> Line | None:
    """Return the line of a person's run, or None where TOFU's metrics were not computed for it."""
    config, found = run.config, records.read_metrics(run.path / "metrics.json").get("metrics", {})
    data = str(config.data.get("name") or "")
    if "tofu_utility" not in found or not found["tofu_utility"]["scores"]:
        return None

    def score(metric: str, role: str) -> JsonView:
        scores = found.get(metric, {}).get("scores", ())
        return next((s for s in scores if (s["when"], s["role"]) == ("after", role)), {})

    quality = score("tofu_forget_quality", "forget")
    values = {
        "log10": _log10(quality.get("value")),
        "d": quality.get("details", {}).get("d"),
        "extraction": score("extraction", "forget").get("value"),
        "kl": score("kl_retrain", "forget").get("value"),
    }
    scores = {name: score(metric, role) for name, (metric, role) in WITH_INTERVAL.items()}
    values |= {name: one.get("value") for name, one in scores.items()}
    intervals = {name: one.get("details", {}).get("interval") for name, one in scores.items()}
    return Line(
        kind=OWN,
        data=data if data.startswith("tofu-") else "tofu",
        model=config.model,
        name=titled(config.method),
        values=_around(_finite(values), intervals),
        n=int(score("tofu_truth_ratio", "forget").get("n") or 0),
        source=run.title,
        run=run.id,
    )


def verdict(chosen: Sequence[Line]) -> str:
    """Return one sentence: how many methods cannot be told from the retrained model, and which keep the utility.

    It is empty where the start or every method is missing.
    """
    here = [line for line in chosen if line.kind == HERE]
    known = [line for line in here if line.name == START and "utility" in line.values]
    start = known[0].values["utility"].mean if known else None
    made = [line for line in here if line.settings and {"utility", "log10"} <= set(line.values)]
    if start is None or not made:
        return ""
    good = [line.name for line in made if _level(line) and line.values["utility"].mean >= KEPT * start]
    reached = sum(map(_level, made))
    named = f": {', '.join(good)}" if good else ""
    return (
        f"Of {len(made)} methods {reached} cannot be told from the retrained model (p ≥ {LEVEL}), and {len(good)} of "
        f"them keep the utility (at least {100 * KEPT:.0f} % of {start:.3g}){named}. {_basis(made)}"
    )


def _basis(made: Sequence[Line]) -> str:
    """Say what stands behind the numbers: texts of the forget set, and runs of each method."""
    counts, seeds = {line.n for line in made if line.n} or {0}, {line.seeds for line in made}

    def span(values: set[int]) -> str:
        return str(min(values)) if len(values) == 1 else f"{min(values)} to {max(values)}"

    return f"n = {span(counts)} forget texts; {span(seeds)} run{'s' * (seeds != {1})} of each method."


def _level(line: Line) -> bool:
    return line.values["log10"].mean >= math.log10(LEVEL)


def _rows(found: JsonView) -> list[JsonView]:
    rows = found.get("rows")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _spreads(rows: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: spread([row[name] for row in rows if name in row]) for name in names}


def _around(values: Mapping[str, float], intervals: JsonView) -> dict[str, Spread]:
    """The numbers of one run, with those intervals over its questions that are whole and finite."""
    found = {}
    for name, value in values.items():
        ends = intervals.get(name)
        known = (
            isinstance(ends, Sequence)
            and len(ends) == 2
            and len(_finite({str(at): end for at, end in enumerate(ends)})) == 2
        )
        found[name] = Spread(value, *map(float, ends)) if known and ends else Spread(value)
    return found


def spread(values: Sequence[float]) -> Spread:
    """Return the mean, and Student's 95 % interval of it where there are two values or more."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Spread(mean)
    if max(values) == min(values):
        return Spread(mean, mean, mean)
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(settled("scipy.stats").t.ppf(0.975, len(values) - 1)) * sd / math.sqrt(len(values))
    return Spread(mean, mean - half, mean + half)


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def _percent(value: object) -> float | None:
    return 100 * value if isinstance(value, (int, float)) else None


def _log10(p: object) -> float | None:
    """The logarithm of a p-value. One that is below what a float holds has none."""
    return math.log10(p) if isinstance(p, (int, float)) and p > 0 else None
