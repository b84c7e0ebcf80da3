"""Tests claim B3: UnDIAL survives deletion requests that arrive one after the other (Dong et al. 2025)."""

import math
from random import Random
from typing import TYPE_CHECKING

from unlearn.claims.b1 import READ, language, named, perplexities
from unlearn.claims.base import (
    Answer,
    Chart,
    Claim,
    Data,
    Figure,
    Finding,
    Interval,
    Published,
    Series,
    above,
    all_of,
    below,
    figure,
    interval,
    number,
    per_cent,
    spread,
)
from unlearn.metrics.language.collapse import legible, telling
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

NAMES = {"undial": "UnDIAL", "npo": "NPO", "gd": "GA+GD", "ga": "gradient ascent"}
TONES = {"undial": "a", "npo": "b", "gd": "retain", "ga": "forget"}
UTILITY = ("retain", "general", "neighbours")
REQUESTS = (1, 2, 3, 4, 5)
BATCH = 6
LOW, KEPT, BACK, COLLAPSED = 0.3, 0.8, 0.1, 2.0


class B3(Claim):
    """The claim that UnDIAL survives deletion requests that arrive one after the other."""

    key = "B3"
    title = "UnDIAL survives sequential requests"
    paper = "Dong et al. 2025, arXiv 2402.10052"
    url = "https://arxiv.org/abs/2402.10052"
    sentence = (
        "Requests unlearned one after the other stay forgotten and cost little each, where gradient ascent breaks the "
        "model after a few."
    )
    experiment = (
        f"Five requests in random orders, each from what the one before left, every method at its tuned settings with "
        f"batch {BATCH}; UnDIAL's teacher is the original model. After each request all requests, and the texts to "
        "keep, are read. Utility: harmonic mean of the answer probability on retain, general and neighbours, without "
        f"texts that the original does not say. {READ}"
    )
    design = "5 requests in 10 random orders"
    confirms = (
        "After five requests the interval of UnDIAL's forget probability lies below 0.3 (the exact retrain has 0.2), "
        "that of its utility above 0.8 of the original's, that of what came back below 0.1, and gradient ascent's "
        "general perplexity is over twice the original's by request 3."
    )
    refutes = "One of these does not hold: its interval lies wholly on the other side of its limit."
    published = (Published("sequential unlearning", {"UnDIAL": "stable", "GA": "collapses"}, "GPT-Neo"),)

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out chains of five requests with each method and return the scores after each request."""
        seeds = list(range(10 if full else 3))
        rows: JsonObject = {
            f"request {r}": lab.rows(lab.requests.only_requests((r,)), ("forget",))["forget"]
            for r in REQUESTS
        }
        kept_rows = lab.rows(lab.requests, UTILITY)
        utility, spoken = measured_on(lab.reference(kept_rows))
        rows |= {role: mine for role, mine in kept_rows.items() if role in (*utility, spoken)}
        chains = []
        for seed in seeds:
            order = Random(seed).sample(REQUESTS, len(REQUESTS))
            for method in NAMES if full else ("undial", "ga"):
                config = lab.settings(method, seed=seed, batch_size=BATCH)
                found = lab.chain(config, order, rows)
                after = [
                    summary(scores, order, k, utility, spoken) for k, scores in enumerate(found["after"])
                ]
                chains.append({"method": method, "seed": seed, "order": order, "after": after})
        count = sum(len(mine) for role, mine in rows.items() if role.startswith("request"))
        kept = sum(len(kept_rows[role]) for role in utility)
        return {
            "n": f"{count} forget texts in 5 requests, {kept} texts to keep",
            "seeds": seeds,
            "language": spoken,
            "chains": chains,
        }

    def judge(self, data: Data) -> Finding:
        """Return the verdict from forgetting, utility, and what came back after five requests."""
        last = len(REQUESTS)
        low = over(data, "undial", last, "forget")
        kept = ratio(data, "undial", last)
        back = interval(came_back(data, "undial"))
        ascent = interval(math.log10(v) for v in rises(data, "ga", 3))
        collapse: Answer = "yes" if _broken(data, "ga", 3) else above(ascent, math.log10(COLLAPSED))
        verdict = all_of(below(low, LOW), above(kept, KEPT), below(back, BACK), collapse)
        lost = {m: ratio(data, m, last) for m in NAMES if any(c["method"] == m for c in data["chains"])}
        others = ", ".join(f"{NAMES[m]} {per_cent(f.mean)}" for m, f in lost.items() if m != "undial")
        sentence = (
            f"After five requests UnDIAL gives the forgotten answers a probability of {spread(low)} and keeps "
            f"{per_cent(kept.mean)} of the utility ({others}); {spread(back)} of a probability came back. Gradient "
            f"ascent's {named(data)} after three is {_times(ascent)} the original's."
        )
        shown: tuple[Figure, ...] = (
            figure("UnDIAL, forget probability after five", low),
            figure("UnDIAL, utility after over before", kept),
            figure("UnDIAL, probability that came back", back),
            figure(f"gradient ascent, log₁₀ rise of {named(data)} after three", ascent),
        )
        shown += tuple(
            figure(f"{NAMES[m]}, utility after over before", f) for m, f in lost.items() if m != "undial"
        )
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the utility after each request."""
        found = []
        for method, name in NAMES.items():
            if any(chain["method"] == method for chain in data["chains"]):
                each = [ratio(data, method, k) for k in range(len(REQUESTS) + 1)]
                found.append(
                    Series(
                        name, list(range(len(each))), [100 * f.mean for f in each], [100 * f.low for f in each],
                        [100 * f.high for f in each], TONES[method],
                    )
                )  # fmt: skip
        return Chart(
            "What is left of the utility after each request", "requests unlearned", "utility, % of the original's",
            tuple(found),
        )  # fmt: skip


def measured_on(original: JsonView) -> tuple[list[str], str]:
    """Return the roles of the utility, without texts that the original does not say, and the role of language."""
    found = perplexities(original)
    utility = legible(found)
    return utility, telling(found) or utility[0]


def summary(scores: JsonView, order: list[int], k: int, utility: list[str], spoken: str) -> JsonObject:
    """Return the scores after k requests: mean probability of those done, each request's, utility, and the
    PPL of the texts that language is read on, under their role.
    """
    from statistics import harmonic_mean, mean

    each = {r: scores[f"request {r}"]["probability"] for r in order}
    kept = [max(number(scores[role]["probability"]), 1e-12) for role in utility]
    return {
        "forget": mean(each[r] for r in order[:k]) if k else None,
        "requests": {str(r): p for r, p in each.items()},
        "utility": harmonic_mean(kept),
        spoken: scores[spoken]["ppl"],
    }


def _of(data: Data, method: str) -> list[JsonView]:
    return [chain for chain in data["chains"] if chain["method"] == method]


def over(data: Data, method: str, k: int, name: str) -> Interval:
    """Return the interval over seeds of a value after k requests. It decides nothing where a chain broke off."""
    return interval(c["after"][k][name] if len(c["after"]) > k else math.nan for c in _of(data, method))


def ratio(data: Data, method: str, k: int) -> Interval:
    """Return the utility after k requests divided by that before. A chain that diverged has none left."""
    return interval(
        number(c["after"][k]["utility"]) / number(c["after"][0]["utility"]) if len(c["after"]) > k else 0.0
        for c in _of(data, method)
    )


def rises(data: Data, method: str, k: int) -> list[float]:
    """Return the PPL after k requests divided by that before, one number for each chain."""
    chains, spoken = [c["after"] for c in _of(data, method)], language(data)
    return [number(a[k][spoken]) / number(a[0][spoken]) if len(a) > k else math.inf for a in chains]


def came_back(data: Data, method: str) -> list[float]:
    """Return how much probability came back, one number for each chain.

    It is the mean, over all requests but the last, of the probability at the end less that right after the
    request's turn.
    """
    found = []
    for chain in _of(data, method):
        after, order = chain["after"], chain["order"]
        gains = [
            number(after[-1]["requests"][str(r)]) - number(after[k]["requests"][str(r)])
            for k, r in enumerate(order[:-1], 1)
            if len(after) > len(order)
        ]
        found.append(sum(gains) / len(gains) if gains else math.nan)
    return found


def _broken(data: Data, method: str, k: int) -> bool:
    """Every chain is beyond all numbers by then: as collapsed as can be."""
    found = rises(data, method, k)
    return len(found) >= 3 and not any(map(math.isfinite, found))


def _times(logs: Interval) -> str:
    if not math.isfinite(logs.mean):
        return "beyond all numbers times"
    return f"{spread(Interval(10**logs.mean, 10**logs.low, 10**logs.high, 0.0, logs.n))} times"
