"""Judges the metrics by what they say of models whose truth is known: faithfulness and robustness, from a record.

    faithfulness  AUC: the chance that the metric says more knowledge of a model which was taught the facts than of one
                  that never saw them; 1 is always right, 0.5 a coin
    relearning    R = 1 - |Δ_unlearned - Δ_retrained| / (|Δ_unlearned| + |Δ_retrained|), Δ: what the attack adds
    rounding      Q = 1 - |after - before| / (|after| + |before|), and R of it beside
    robustness    the harmonic mean of R and Q, each a mean over unlearned models that kept the rest

The definitions are those of OpenUnlearning (arXiv 2506.12618) in the symmetric form of arXiv 2605.24614. Which way a
metric points is stated in advance (KNOWS_HIGH, KNOWS_LOW); for one that is made for something else both ways are tried,
and that is said. No torch: the app's page and the tables read the record alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from unlearn.compute.intervals import Interval, bootstrap, of_auc
from unlearn.results.compare import Written, number
from unlearn.store.disk import read_json
from unlearn.store.home import ASSETS
from unlearn.store.shapes import JsonObject, JsonView

RECORD = ASSETS / "results" / "trust.json"
FORMAT = 1
POOL, ROBUSTNESS = "pool", "robustness"
# The models of either side that a whole record holds.
WHOLE = 30
# Below so many models of a side nothing is said.
LEAST = 5
# An unlearned model below this share of what the original knew of the rest is ruined, and tells nothing.
KEPT = 0.8
# A taught model must say so much of its own texts by heart, or it does not hold them.
LEARNT = 0.8
KNOWS_HIGH = (
    *("exact", "rougeL", "accuracy", "probability", "memorised", "extraction", "choice", "kl_retrain"),
    *("target_accuracy", "mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus", "mia_reference"),
    *("el_3", "el_5", "el_10", "attack paraphrase", "attack prefix", "attack probe", "attack lens"),
)
KNOWS_LOW = (
    *("nll", "ppl", "target_ppl", "truth_ratio", "entity_loss", "forget_quality", "privleak", "uds"),
    *("aggregate memory", "aggregate privacy"),
)
# What the lower end of the interval of an AUC must exceed to be more than a coin, to tell most, and to tell.
COIN, CARE, GOOD = 0.5, 0.7, 0.9
GRADES = {
    "good": "tells them apart",
    "care": "tells most apart",
    "weak": "tells more than a coin, how much is unsure",
    "poor": "cannot be told from a coin",
    "open": "too few models to say",
}


@dataclass(frozen=True)
class Published:
    """What a paper found for a metric on models of a billion parameters: its AUC, and its robustness."""

    faithfulness: float
    robustness: float


# Lee et al. 2026, arXiv 2605.24614: Llama-3.2-1B on TOFU's forget10, 30 and 30 models, 150 unlearned ones.
PUBLISHED = {
    "uds": Published(0.971, 0.900),
    "attack lens": Published(0.927, 0.812),
    "extraction": Published(0.891, 0.770),
    "truth_ratio": Published(0.947, 0.234),
    "rougeL": Published(0.722, 0.203),
}
SOURCE = "Lee et al. 2026, arXiv 2605.24614 (Llama-3.2-1B, TOFU forget10)"


@dataclass(frozen=True)
class Mean:
    """A mean over n models with its 95 % interval."""

    value: float
    interval: Interval
    n: int


@dataclass(frozen=True)
class Judged:
    """What the record says of one metric.

    either_way: it is not made to tell knowledge, so its AUC is read in the direction that suits it. by_kind: its AUC
    of the models of one kind against all of the other side. relearning, rounding: R and Q, which robustness joins.
    relative: R of rounding, which stands beside. revisions: of the metric's definition, as its rows were read.
    """

    name: str
    title: str
    faithfulness: Mean | None
    either_way: bool
    by_kind: Mapping[str, float] = field(default_factory=dict)
    relearning: Mean | None = None
    rounding: Mean | None = None
    relative: Mean | None = None
    revisions: frozenset[int] = frozenset()

    @property
    def robustness(self) -> float | None:
        """Return the harmonic mean of R and Q. It is None where one of them is missing."""
        if self.relearning is None or self.rounding is None:
            return None
        r, q = self.relearning.value, self.rounding.value
        return 2 * r * q / (r + q) if r > 0 and q > 0 else 0.0

    @property
    def grade(self) -> str:
        """Return the key of GRADES that the interval of the AUC earns."""
        found = self.faithfulness
        if found is None:
            return "open"
        low, _ = found.interval
        return "good" if low >= GOOD else "care" if low >= CARE else "weak" if low > COIN else "poor"

    @property
    def published(self) -> Published | None:
        """Return the published figures of this metric, where there are some."""
        return PUBLISHED.get(self.name)


@dataclass(frozen=True)
class Found:
    """The whole record, judged. counts: the models that count of either side, and the unlearned ones that count.

    left_out: what does not count, in sentences.
    """

    metrics: tuple[Judged, ...]
    holds: int
    lacks: int
    unlearned: int
    left_out: tuple[str, ...]
    header: JsonView

    @property
    def whole(self) -> bool:
        """Return whether all models of both sides were measured and count."""
        return min(self.holds, self.lacks) >= WHOLE


def read(path: Path = RECORD) -> JsonObject:
    """Return the record. It is empty where there is none that can be read."""
    found = read_json(path)
    rows = found.get("rows")
    if not isinstance(rows, list) or found.get("format") != FORMAT:
        return {}
    return found | {"rows": [row for row in rows if isinstance(row, dict) and {"name", "part"} <= set(row)]}


def judge(record: JsonView) -> Found:
    """Return what the record says of every metric, the most faithful first."""
    rows = [row for row in record.get("rows", []) if not row.get("failed")]
    pool = [row for row in rows if row["part"] == POOL]
    counted = [row for row in pool if not row["holds"] or number(row["learnt"]) >= LEARNT]
    trials = [row for row in rows if row["part"] == ROBUSTNESS]
    truth = {row["world"]: row for row in trials if row["method"] == "retrained"}
    made = [row for row in trials if row["method"] != "retrained"]
    kept = [row for row in made if number(row["kept"]) >= KEPT and row["world"] in truth]
    titles = record.get("titles", {})
    found = [judged(name, str(title), counted, kept, truth) for name, title in titles.items()]
    found.sort(key=lambda one: (one.either_way, -(one.faithfulness.value if one.faithfulness else -1.0)))
    failed = sum(bool(row.get("failed")) for row in record.get("rows", []))
    said = (
        (
            len(pool) - len(counted),
            f"were taught the facts and did not learn {LEARNT:.0%} of their own texts",
        ),
        (len(made) - len(kept), f"were unlearned and lost more than {1 - KEPT:.0%} of what must stay"),
        (failed, "failed"),
    )
    return Found(
        metrics=tuple(one for one in found if one.faithfulness or one.relearning),
        holds=sum(bool(row["holds"]) for row in counted),
        lacks=sum(not row["holds"] for row in counted),
        unlearned=len(kept),
        left_out=tuple(f"{n} models {why}" for n, why in said if n),
        header=record.get("header", {}),
    )


def earlier(found: Found, today: Mapping[str, int]) -> str:
    """Return a sentence on the metrics that the record read under an earlier definition, or "" where it did not.

    today: {metric: its revision}.
    """
    old = [one.title for one in found.metrics if one.revisions - {today.get(one.name, 1)}]
    return f"Of an earlier definition, not what a run computes today: {', '.join(old)}." if old else ""


def judged(
    name: str, title: str, pool: Sequence[JsonView], made: Sequence[JsonView], truth: Mapping[int, JsonView]
) -> Judged:
    """Return what the rows say of one metric."""
    sign = 1.0 if name in KNOWS_HIGH else -1.0
    sides = {
        side: {kind: values(name, pool, kind, sign) for kind in kinds(pool, side)} for side in (True, False)
    }
    holds, lacks = ([v for found in sides[side].values() for v in found] for side in (True, False))
    either_way = name not in KNOWS_HIGH + KNOWS_LOW
    faithful, by_kind = None, {}
    if min(len(holds), len(lacks)) >= LEAST:
        flip = either_way and auc(holds, lacks) < 0.5

        def share(a: Sequence[float], b: Sequence[float]) -> float:
            return 1 - auc(a, b) if flip else auc(a, b)

        value = share(holds, lacks)
        n = min(len(holds), len(lacks))
        faithful = Mean(value, of_auc(value, len(holds), len(lacks)), n)
        by_kind = {kind: share(found, lacks) for kind, found in sides[True].items() if found}
        by_kind |= {kind: share(holds, found) for kind, found in sides[False].items() if found}
    return Judged(
        name,
        title,
        faithful,
        either_way,
        by_kind,
        relearning=over([stays(name, row, truth[row["world"]]) for row in made]),
        rounding=over([steady(row["before"].get(name), row["rounded"].get(name)) for row in made]),
        relative=over([stays(name, row, truth[row["world"]], "rounded") for row in made]),
        # A row says the revisions above the first.
        revisions=frozenset(row.get("revisions", {}).get(name, 1) for row in (*pool, *made)),
    )


def kinds(pool: Sequence[JsonView], side: bool) -> list[str]:
    """Return the kinds of models on one side, in the order of the record."""
    return list(dict.fromkeys(str(row["kind"]) for row in pool if bool(row["holds"]) is side))


def auc(holds: Sequence[float], lacks: Sequence[float]) -> float:
    """Return the share of pairs in which the first is higher. A tie counts half.

    scikit-learn has it too, but a page would wait for its import.
    """
    wins = sum((a > b) + 0.5 * (a == b) for a in holds for b in lacks)
    return wins / (len(holds) * len(lacks))


def values(name: str, pool: Sequence[JsonView], kind: str, sign: float) -> list[float]:
    """Return what the metric says of each model of a kind, turned so that higher means known.

    Where it says no number, the model is left out.
    """
    found = [number(row["scores"].get(name)) for row in pool if row["kind"] == kind]
    return [sign * value for value in found if not math.isnan(value)]


def stays(name: str, unlearned: JsonView, retrained: JsonView, after: str = "relearnt") -> float | None:
    """Return R of one unlearned model: 1 where the attack moves the metric as it moves the retrain's."""
    gaps = [number(row[after].get(name)) - number(row["before"].get(name)) for row in (unlearned, retrained)]
    if not all(map(math.isfinite, gaps)):
        return None
    whole = abs(gaps[0]) + abs(gaps[1])
    return 1 - abs(gaps[0] - gaps[1]) / whole if whole else 1.0


def steady(before: Written, after: Written) -> float | None:
    """Return Q of one unlearned model: 1 where the attack does not change what the metric says."""
    a, b = number(before), number(after)
    if not (math.isfinite(a) and math.isfinite(b)):
        return None
    whole = abs(a) + abs(b)
    return 1 - abs(a - b) / whole if whole else 1.0


def over(found: Sequence[float | None]) -> Mean | None:
    """Return the mean over the models that have a value. It is None below LEAST of them."""
    known = [value for value in found if value is not None]
    if len(known) < LEAST:
        return None
    return Mean(sum(known) / len(known), bootstrap(known), len(known))


def sentence(found: Found) -> str:
    """Return what a person should know first. It is "" where nothing was measured."""
    ranked = [one for one in found.metrics if one.faithfulness and not one.either_way]
    if not ranked:
        return ""
    good = [one for one in ranked if one.grade == "good"]
    worst = min(ranked, key=lambda one: one.faithfulness.value if one.faithfulness else 1.0)
    best = best_of(good or ranked) or ranked[0]
    tail = (
        f"of these {best.title} is the best of both, faithful and robust"
        if best.robustness
        else f"{best.title} leads"
    )
    if not found.whole and not good:
        return f"Not enough models yet to trust any of {len(ranked)} metrics; {best.title} leads so far."
    return (
        f"{len(good)} of {len(ranked)} metrics surely tell a model that was taught the facts from one that never saw "
        f"them; {tail}. The weakest, {worst.title}, is right {_percent(worst)} of the time, where a coin is right 50 %."
    )


def best_of(metrics: Sequence[Judged]) -> Judged | None:
    """Return the metric whose lesser number, of faithfulness and robustness, is the largest. None of no metric."""
    return max(metrics, key=_lesser, default=None)


@lru_cache(maxsize=2)
def _ranked(path: Path, stamp: int) -> tuple[Judged, ...]:
    """The metrics by their lesser number, the best first, without those that were made for something else."""
    known = [one for one in judge(read(path)).metrics if one.faithfulness and one.robustness is not None]
    return tuple(sorted((one for one in known if not one.either_way), key=_lesser, reverse=True))


def _lesser(one: Judged) -> tuple[float, float]:
    faithful = one.faithfulness.value if one.faithfulness else 0.0
    return min(faithful, one.robustness or 0.0), faithful


def low_rank(attack: str, path: Path = RECORD) -> str:
    """Return a sentence where the attack of this name is among the last third of all metrics here, else "".

    An attack that was not tested here has no rank. The order is that of best_of().
    """
    if not path.is_file():
        return ""
    ranked = _ranked(path, path.stat().st_mtime_ns)
    place = next((at for at, one in enumerate(ranked, 1) if one.name == f"attack {attack}"), 0)
    if not place > len(ranked) * 2 / 3:
        return ""
    one = ranked[place - 1]
    return (
        f"Trust ranks this attack low, {place} of {len(ranked)}: it tells a model that was taught the facts from one "
        f"that was not {_percent(one)} of the time, and its robustness is {one.robustness:.2g} of 1."
    )


def _percent(one: Judged) -> str:
    return f"{100 * one.faithfulness.value:.0f} %" if one.faithfulness else ""


def short_of(found: Found) -> str:
    """Return a warning where the record is not whole. It is "" where it is."""
    if found.whole:
        return ""
    return (
        f"Only {found.holds} models that hold the facts and {found.lacks} that do not were measured and count, of "
        f"{WHOLE} and {WHOLE}: the intervals are wide, and a metric's place may still change."
    )


def table(found: Found) -> list[JsonObject]:
    """Return one plain row for each metric, the most faithful first: what a page, a file and the command line show."""
    rows = []
    for one in found.metrics:
        faithful, theirs = one.faithfulness, one.published
        rows.append(
            {
                "metric": one.name,
                "title": one.title,
                "auc": faithful.value if faithful else None,
                "low": faithful.interval[0] if faithful else None,
                "high": faithful.interval[1] if faithful else None,
                "either_way": one.either_way,
                "by_kind": dict(one.by_kind),
                "relearning": one.relearning.value if one.relearning else None,
                "relearning_interval": list(one.relearning.interval) if one.relearning else None,
                "rounding": one.rounding.value if one.rounding else None,
                "rounding_interval": list(one.rounding.interval) if one.rounding else None,
                "rounding_relative": one.relative.value if one.relative else None,
                "robustness": one.robustness,
                "models": {"hold": found.holds, "lack": found.lacks, "unlearned": found.unlearned},
                "published_auc": theirs.faithfulness if theirs else None,
                "published_robustness": theirs.robustness if theirs else None,
                "grade": GRADES[one.grade],
            }
        )
    return rows
