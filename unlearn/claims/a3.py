"""Tests claim A3: perplexity on unseen texts is a fair stand-in for a retrained model's (Yao et al. 2024).

Ten exact retrains of the bundled model would take an hour; here a model of half a million parameters that knows forty
authors is trained again ten times, each time without four others.
"""

from typing import TYPE_CHECKING

from unlearn.claims.base import (
    Chart,
    Claim,
    Data,
    Finding,
    Published,
    Series,
    above,
    all_of,
    equal,
    figure,
    interval,
    number,
    per_cent,
    spread,
)
from unlearn.claims.reading import observe_answers, rows_of, scores_of
from unlearn.claims.training import settings, train
from unlearn.claims.worlds import questions, small_authors
from unlearn.data.authors import people
from unlearn.data.base import Dataset
from unlearn.store.runs import RunConfig
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab
    from unlearn.models.load import Loaded

PEOPLE, GONE, EPOCHS = 40, 4, 30
# The settings of each method, from hardly any forgetting to far too much.
METHODS: dict[str, JsonObject] = {
    "finetune": {"lr": 3e-4, "epochs": 5},
    "gd": {"lr": 1e-3, "epochs": 4, "retain_weight": 4.0},
    "npo": {"lr": 1e-3, "epochs": 4, "beta": 1.0, "retain_weight": 1.0},
    "undial": {"lr": 3e-3, "epochs": 4, "gamma": 10.0, "retain_weight": 1.0},
    "ga": {"lr": 1e-3, "epochs": 4},
}
# Limits of the signed gap and of Kendall's tau.
CLOSE, SAME = 0.1, 0.6


class A3(Claim):
    """The claim that perplexity on unseen texts is a fair stand-in for a retrained model's."""

    key = "A3"
    title = "Approximate retraining is a fair stand-in"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    url = "https://arxiv.org/abs/2402.15159"
    sentence = (
        "Where nobody can retrain, the original model's perplexity on unseen texts of the same kind tells what a "
        "retrained model's perplexity on the forgotten ones would be."
    )
    experiment = (
        f"A small model learns {PEOPLE} authors; ten times {GONE} of them are left out and it is trained again. The "
        "original's perplexity on 24 authors that it never saw is compared with each retrained model's on those left "
        "out. Five methods unlearn them; ranked by how near their forget perplexity comes to the one and to the other, "
        "the two orders are compared (Kendall's tau). The same gap on the bundled model stands beside, n = 1."
    )
    confirms = (
        "The stand-in is equivalent to the truth: the interval of its signed gap, over splits, lies within ±10 % "
        "(TOST), and that of tau lies above 0.6. A mean of absolute gaps is no test: it is above 0 without any bias."
    )
    refutes = "The interval of the signed gap lies wholly outside ±10 %, or that of tau wholly below 0.6."
    published = (
        Published("approximate against exact retraining", {"gap": "not measured in the paper"}, "Yi-6B"),
    )

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Train the small model again without each group of people and return the perplexities."""
        splits = list(range(10 if full else 3))
        found = [split(lab, place, tuple(METHODS) if full else ("gd", "undial", "ga")) for place in splits]
        rows = rows_of(lab.authors, ("forget", "approximate"))
        before, retrained = lab.reference(rows), lab.reference(rows, "retrained")
        bundled = {"target": before["approximate"]["ppl"], "truth": retrained["forget"]["ppl"]}
        return {
            "n": f"{len(splits)} splits of {GONE} people ({9 * GONE} texts), 216 unseen texts",
            "seeds": splits,
            "splits": found,
            "bundled": bundled,
        }

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the gap to the truth and the agreement of the two orders."""
        gap = interval(gaps(data, "target"))
        none = interval(gaps(data, "before"))
        signed = interval(number(s["target"]) / number(s["truth"]) - 1 for s in data["splits"])
        tau = interval(taus(data))
        here = data["bundled"]
        own = abs(number(here["target"]) / number(here["truth"]) - 1)
        sentence = (
            f"The stand-in is off by {per_cent(signed.mean)} ({per_cent(signed.low)} to {per_cent(signed.high)}; "
            f"without the sign {per_cent(gap.mean)}), where no unlearning is {per_cent(none.mean)} away; the order of "
            f"methods agrees with tau {spread(tau)}. On the bundled model the gap is {per_cent(own)} (one retrain)."
        )
        shown = (
            figure("signed gap of stand-in and truth", signed, of="splits"),
            figure("the same without its sign", gap, of="splits"),
            figure("gap of no unlearning", none, of="splits"),
            figure("Kendall's tau of the two orders", tau, of="splits"),
        )
        return Finding(all_of(equal(signed, -CLOSE, CLOSE), above(tau, SAME)), sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the stand-in's perplexity against that of the exact retrains."""
        splits = data["splits"]
        truth = [number(s["truth"]) for s in splits]
        line = [min(truth), max(truth)]
        found = (
            Series("stand-in", truth, [number(s["target"]) for s in splits], tone="retrained"),
            Series("no unlearning", truth, [number(s["before"]) for s in splits], tone="before"),
            Series("equal", line, line, tone="general", dashed=True),
        )
        return Chart(
            "Perplexity of the stand-in against that of ten exact retrains", "retrained, on the forgotten texts",
            "original, on unseen texts", found, kind="points",
        )  # fmt: skip


def gaps(data: Data, name: str) -> list[float]:
    """Return the relative gaps |value / truth - 1|, one for each split."""
    return [abs(number(s[name]) / number(s["truth"]) - 1) for s in data["splits"]]


def taus(data: Data) -> list[float]:
    """Return Kendall's tau of two orders of methods, one for each split: by distance to the target and to the
    truth.
    """
    from scipy.stats import kendalltau

    found = []
    for s in data["splits"]:
        each = [number(v) for v in s["methods"].values()]
        near = [[abs(v - number(s[goal])) for v in each] for goal in ("target", "truth")]
        found.append(float(kendalltau(*near).statistic))
    return found


def split(lab: "Lab", place: int, methods: tuple[str, ...]) -> JsonObject:
    """Return the perplexities of one split: {"target", "truth", "before", "methods"}."""
    what = {
        "what": f"retrain without people {GONE * place} to {GONE * place + GONE - 1}",
        "settings": repr((PEOPLE, GONE, EPOCHS, {m: METHODS[m] for m in methods})),
        "people": place,
    }
    return lab.once(what, lambda: _split(place, methods))


# The original model is trained once in each process and kept here.
_KEPT: JsonObject = {}


def _split(place: int, methods: tuple[str, ...]) -> JsonObject:
    import copy

    groups = people()
    known = groups["retain"][:PEOPLE]
    gone = known[GONE * place : GONE * (place + 1)]
    kept = tuple(person for person in known if person not in gone)
    if "original" not in _KEPT:
        _KEPT["original"] = small_authors(questions(known), epochs=EPOCHS)
    original, retrained = _KEPT["original"], small_authors(questions(kept), epochs=EPOCHS)
    rows = {"forget": questions(gone), "approximate": questions(groups["approximate"])}

    def ppl(loaded: "Loaded", role: str) -> float:
        return scores_of(observe_answers(loaded.model, loaded.tokenizer, {role: rows[role]}))[role]["ppl"]

    data = Dataset(
        name="some", title="some authors", roles={"forget": rows["forget"], "retain": questions(kept)}
    )
    after = {}
    for method in methods:
        loaded = copy.deepcopy(original)
        config = settings_of(method)
        found = train(loaded, config, data)
        after[method] = ppl(loaded, "forget") if found.state == "done" else "inf"
    return {
        "target": ppl(original, "approximate"),
        "truth": ppl(retrained, "forget"),
        "before": ppl(original, "forget"),
        "methods": after,
    }


def settings_of(method: str) -> RunConfig:
    """Return the settings of a method on the small model."""
    return settings(method, batch_size=9, max_length=128, **METHODS[method])
