"""Tests claim A4: after unlearning, membership inference falls to chance (Yao et al. 2024)."""

from typing import TYPE_CHECKING

from unlearn.claims.base import (
    Chart,
    Claim,
    Data,
    Finding,
    Interval,
    Published,
    Series,
    all_of,
    below,
    equal,
    figure,
    interval,
    spread,
)
from unlearn.claims.reading import Rows, Seen, content, observe_answers, rows_of
from unlearn.claims.training import bundled, settings
from unlearn.compute.lazy import Tokenizer
from unlearn.metrics.membership.mia import DEFAULT_K, min_k
from unlearn.metrics.membership.roc import summary
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

NAMES = {
    "before": "before",
    "retrained": "retrained without",
    "ga": "gradient ascent",
    "gd": "GA+GD, tuned",
    "npo": "NPO",
    "undial": "UnDIAL",
}
CHANCE = (0.4, 0.6)
ROLES = ("forget", "approximate")


class A4(Claim):
    """The claim that membership inference falls to chance after unlearning."""

    key = "A4"
    title = "Membership inference falls to chance"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    url = "https://arxiv.org/abs/2402.15159"
    sentence = (
        "An attacker who tells training texts from unseen ones by their least likely tokens (Min-K%) succeeds before "
        "unlearning and can only guess after it."
    )
    experiment = (
        "Min-K% (K = 20) tells the 90 forget texts from 60 texts of the same form that no model saw: before, after "
        "each method at its tuned settings, and on the exact retrain. The AUC is the raw one: below 0.5 the forget "
        "texts stand out by being too unlikely, which is a leak too."
    )
    confirms = (
        "The bootstrap interval before lies above 0.8, that of tuned GA+GD over seeds inside [0.4, 0.6], and that of "
        "gradient ascent below 0.5."
    )
    refutes = (
        "The interval of GA+GD lies wholly outside [0.4, 0.6]: still above (not forgotten) or below (over-forgotten, "
        "which tells members just as well). Or that of gradient ascent lies above 0.5."
    )
    published = (Published("Min-K% after unlearning", {"AUC": "close to 0.5"}, "Yi-6B, arXiv"),)

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out the methods and return the AUC of Min-K% after each, before, and on the exact retrain."""
        seeds = [0, 1, 2, 3, 4] if full else [0, 1, 2]
        methods = ("ga", "gd", "npo", "undial") if full else ("ga", "gd")
        rows = rows_of(lab.authors, ROLES)
        aucs: dict[str, list[float | str]] = {}
        for method in methods:
            configs = [settings(method, seed=seed) for seed in seeds]
            trials = [lab.trial(c, roles=ROLES, also={"min_k": leak}) for c in configs]
            aucs[method] = [found.get("min_k", {}).get("auc", "nan") for found in trials]
        known = {when: _of_model(lab, when, rows) for when in ("before", "retrained")}
        sizes = {role: len(mine) for role, mine in rows.items()}
        return {
            "n": f"{sizes['forget']} forget and {sizes['approximate']} unseen texts",
            "seeds": seeds,
            "aucs": aucs,
            "known": known,
        }

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the intervals of the AUC before and after."""
        found = {method: interval(values) for method, values in data["aucs"].items()}
        before = data["known"]["before"]
        ga, gd = found["ga"], found["gd"]
        enough = before["interval"][0] > 0.8
        verdict = all_of("yes" if enough else "open", equal(gd, *CHANCE), below(ga, 0.5))
        side = (
            "under chance: over-forgotten"
            if gd.below(0.5)
            else "over chance"
            if gd.above(0.5)
            else "at chance"
        )
        sentence = (
            f"The AUC is {before['auc']:.2f} before, {data['known']['retrained']['auc']:.2f} for the exact retrain, "
            f"{spread(gd)} after tuned GA+GD ({side}) and {spread(ga)} after gradient ascent."
        )
        return Finding(
            verdict,
            sentence,
            tuple(
                figure(f"AUC after {NAMES[method]}", one)
                for method, one in sorted(found.items(), key=lambda pair: pair[0] != "gd")
            ),
        )

    def chart(self, data: Data) -> Chart:
        """Return a chart of the AUC before, after each method, and on the exact retrain."""
        shown: dict[str, Interval] = {}
        for when in ("before", "retrained"):
            one = data["known"][when]
            low, high = one["interval"]
            shown[when] = Interval(one["auc"], low, high, 0.0, 1)
        shown |= {method: interval(values) for method, values in data["aucs"].items()}
        tones = {"before": "before", "retrained": "retrained"}
        found = tuple(
            Series(NAMES[k], [NAMES[k]], [v.mean], [v.low], [v.high], tones.get(k, "forget"))
            for k, v in shown.items()
        )
        return Chart(
            "Telling forget texts from unseen ones: 0.5 is chance, below it over-forgotten",
            "", "Min-K% AUC", found, kind="bar", lines={"chance": 0.5},
        )  # fmt: skip


def leak(seen: Seen, rows: Rows, tokenizer: Tokenizer) -> JsonObject:
    """Return {"auc", "interval"} of Min-K% between the two roles. It is empty where a log-prob is not finite."""
    attack = min_k(DEFAULT_K)
    sides = [[attack(o, o.answer, o) for o in seen[role]] for role in ROLES]
    found = summary(*sides)
    return {key: found[key] for key in ("auc", "interval")} if found else {}


def _of_model(lab: "Lab", when: str, rows: Rows) -> JsonObject:
    def compute() -> JsonObject:
        loaded = bundled(when)
        return leak(observe_answers(loaded.model, loaded.tokenizer, rows), rows, loaded.tokenizer)

    what = {"what": f"Min-K% {when}", "model": lab.hashes[when], "rows": content(rows)}
    return lab.once(what, compute)
