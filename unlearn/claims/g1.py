"""Tests claim G1: UDS is the most faithful and the most robust of all metrics (Lee et al. 2026).

The models were made for the meta-evaluation (`unlearn trust`), whose record is read: thirty that were taught the facts,
thirty that never saw them, and unlearned ones before and after relearning and rounding. Nothing is trained here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unlearn.claims.base import (
    Answer,
    Chart,
    Claim,
    Data,
    Finding,
    Interval,
    Published,
    Series,
    all_of,
    digits,
    each_of,
    figure,
    number,
)
from unlearn.results import trust
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    import numpy as np

    from unlearn.claims.lab import Lab

OURS = "uds"
DRAWS = 2000
PARTS = ("faithfulness", "robustness")


class G1(Claim):
    """The claim that UDS is the best metric of both kinds."""

    key = "G1"
    title = "UDS is the most faithful and robust metric"
    paper = "Lee et al. 2026, arXiv 2605.24614"
    url = "https://arxiv.org/abs/2605.24614"
    sentence = (
        "Of all metrics of unlearning, the depth score tells best which models hold the knowledge, and moves least "
        "under relearning and rounding."
    )
    experiment = (
        "The record of the meta-evaluation: 30 small models that were taught the facts and 30 that never saw them, "
        "over three worlds, and unlearned models of 15 worlds before and after relearning and four-bit weights. "
        "Faithfulness is the AUC between the two sides, robustness the harmonic mean of R and Q. UDS is compared with "
        f"every other metric that claims to tell knowledge, by the bootstrap over models ({DRAWS:,} draws, paired)."
    )
    design = "60 small models of `unlearn trust`, and its unlearned ones of 15 worlds; bootstrap over models, paired"
    confirms = (
        "In both, UDS lies above each other metric: every interval of 95 % of a difference lies above 0. All must, "
        "so none is corrected."
    )
    refutes = (
        "In both, some other metric is better: an interval lies below 0, each being one of 95 % for all comparisons "
        "together (Bonferroni). In one of the two only is partly."
    )
    published = (
        Published("UDS", {"faithfulness": 0.971, "robustness": 0.900}, "Llama-3.2-1B, TOFU forget10"),
        Published("logit lens", {"faithfulness": 0.927, "robustness": 0.812}),
        Published("extraction strength", {"faithfulness": 0.891, "robustness": 0.770}),
        Published("truth ratio", {"faithfulness": 0.947, "robustness": 0.234}),
        Published("ROUGE", {"faithfulness": 0.722, "robustness": 0.203}),
    )
    elsewhere = "Sixty models of this size would have to be made: some sixty hours."
    note = (
        "The worlds are of 0.2 million parameters, in which models are easier to tell apart than among those of a "
        "billion. The record was made before this rule was written, and a first form of the rule, with a margin of "
        "0.05, left faithfulness open (the interval of the largest lead, 0.01 to 0.25, lies across it). With the "
        "unlearned models of three worlds robustness was open (NLL 0.06 behind), and with those of six (0.026 behind). "
        "The interval then said that fifteen would tell such a lead, and that was the end, whatever came out."
    )

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Read the record and return each metric's values, and how far UDS lies from it."""
        record = trust.read()
        found = trust.judge(record)
        if not found.metrics:
            raise ValueError(
                "claims: G1 reads the record of `unlearn trust`, and there is none; make it first."
            )
        return {
            "n": f"{found.holds} models that hold the facts, {found.lacks} that do not, {found.unlearned} unlearned",
            "seeds": sorted({row["world"] for row in record["rows"]}),
            "models": min(found.holds, found.lacks, found.unlearned),
            "metrics": compared(record),
        }

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the differences of UDS and each other metric."""
        answers = {part: best(data, part) for part in PARTS}
        mine = next(one for one in data["metrics"] if one["metric"] == OURS)
        said = []
        for part in PARTS:
            better = sorted(
                (one for one in others(data) if gap(data, one, part).below(0.0)),
                key=lambda one: number(one[part]["gap"]),
            )
            told = f"{part} {digits(number(mine[part]['value']))}"
            told += f", surely below {len(better)} of {len(others(data))} others"
            said.append(
                told
                + (f" ({better[0]['title']} leads by {digits(-better[0][part]['gap'])})" if better else "")
            )
        worst = {part: min(others(data), key=lambda one: number(one[part]["gap"])) for part in PARTS}
        shown = tuple(
            figure(f"{part}, UDS less {worst[part]['title']}", gap(data, worst[part], part), of="models")
            for part in PARTS
        )
        verdict = each_of(*(all_of(answer) for answer in answers.values()))
        return Finding(verdict, f"UDS has {'; '.join(said)}.", shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of every metric's faithfulness and robustness."""
        return Chart(
            "Faithful is right, robust is up: each point a metric", "faithfulness (AUC)", "robustness",
            tuple(
                Series(
                    str(one["title"]), [number(one["faithfulness"]["value"])], [number(one["robustness"]["value"])],
                    tone="a" if one["metric"] == OURS else "general",
                )
                for one in sorted(data["metrics"], key=lambda one: one["metric"] != OURS)[:9]
            ),
            kind="points",
        )  # fmt: skip


def others(data: Data) -> list[JsonView]:
    """Return the metrics beside UDS."""
    return [one for one in data["metrics"] if one["metric"] != OURS]


def best(data: Data, part: str) -> Answer:
    """Return whether UDS is the best metric in faithfulness or robustness."""
    if any(gap(data, one, part).below(0.0) for one in others(data)):
        return "no"
    return "yes" if all(gap(data, one, part, "alone").above(0.0) for one in others(data)) else "open"


def gap(data: Data, one: JsonView, part: str, which: str = "together") -> Interval:
    """Return UDS less this metric, with the interval that holds for all comparisons together, or for it alone."""
    found = one[part]
    low, high = map(number, found[which])
    return Interval(number(found["gap"]), low, high, (high - low) / 4, int(data["models"]))


def compared(record: Mapping[str, Any]) -> list[JsonObject]:
    """Return {"metric", "title", part: {"value", "gap", "together", "alone"}} of every metric that claims to tell
    knowledge.
    """
    import numpy as np

    titles = {
        name: title for name, title in record["titles"].items() if name in trust.KNOWS_HIGH + trust.KNOWS_LOW
    }
    sides, moved = said(record, list(titles))
    names = list(sides)
    rng = np.random.default_rng(0)
    aucs = np.array([auc(*sides[name]) for name in names])
    steady = np.array([robustness(moved[name]) for name in names])
    drawn_aucs, drawn_steady = [], []
    counts = [len(sides[names[0]][0]), len(sides[names[0]][1]), len(moved[names[0]])]
    for _ in range(DRAWS):
        a, b, c = (rng.integers(count, size=count) for count in counts)
        drawn_aucs.append([auc(sides[name][0][a], sides[name][1][b]) for name in names])
        drawn_steady.append([robustness(moved[name][c]) for name in names])
    share = 0.05 / (len(names) - 1)
    at = names.index(OURS)
    parts = {"faithfulness": (aucs, np.array(drawn_aucs)), "robustness": (steady, np.array(drawn_steady))}
    found: list[JsonObject] = []
    for i, name in enumerate(names):
        row: JsonObject = {"metric": name, "title": titles[name]}
        for part, (values, drawn) in parts.items():
            gaps = drawn[:, at] - drawn[:, i]
            row[part] = {"value": round(float(values[i]), 5), "gap": round(float(values[at] - values[i]), 5)}
            for which, miss in (("together", share), ("alone", 0.05)):
                ends = np.quantile(gaps, [miss / 2, 1 - miss / 2])
                row[part] |= {which: [round(float(end), 5) for end in ends]}
        found.append(row)
    return found


def said(
    record: Mapping[str, Any], names: Sequence[str]
) -> "tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, np.ndarray]]":
    """Return what each metric says of the models of either side, higher meaning known, and its (R, Q) of each
    unlearned model. A metric that lacks a number for one of them is left out.
    """
    import numpy as np

    rows = [row for row in record["rows"] if not row.get("failed")]
    pool = [
        row
        for row in rows
        if row["part"] == trust.POOL and (not row["holds"] or number(row["learnt"]) >= trust.LEARNT)
    ]
    trials = [row for row in rows if row["part"] == trust.ROBUSTNESS]
    truth = {row["world"]: row for row in trials if row["method"] == "retrained"}
    made = [row for row in trials if row["method"] != "retrained" and number(row["kept"]) >= trust.KEPT]
    sides, moved = {}, {}
    for name in names:
        sign = 1.0 if name in trust.KNOWS_HIGH else -1.0
        told = [
            np.array([sign * number(row["scores"].get(name)) for row in pool if bool(row["holds"]) is side])
            for side in (True, False)
        ]
        pairs = [
            (
                trust.stays(name, row, truth[row["world"]]),
                trust.steady(row["before"].get(name), row["rounded"].get(name)),
            )
            for row in made
        ]
        if any(np.isnan(side).any() for side in told) or any(None in pair for pair in pairs):
            continue
        sides[name], moved[name] = (told[0], told[1]), np.array(pairs, dtype=float)
    return sides, moved


def auc(holds: "np.ndarray", lacks: "np.ndarray") -> float:
    """Return the share of pairs in which the first is higher. A tie counts half."""
    gaps = holds[:, None] - lacks[None, :]
    return float(((gaps > 0) + 0.5 * (gaps == 0)).mean())


def robustness(pairs: "np.ndarray") -> float:
    """Return the harmonic mean of the mean R and the mean Q."""
    r, q = pairs.mean(axis=0)
    return float(2 * r * q / (r + q)) if r > 0 and q > 0 else 0.0
