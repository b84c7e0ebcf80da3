"""Tests claim B5: γ alone sets how far UnDIAL pushes a token down (Dong et al. 2025).

The loss is a cross-entropy against a fixed target, so the optimum is p*(y) = p e^-γ / (1 - p + p e^-γ): on the
logit scale, log(p / (1 - p)), every memorised token moves by exactly -γ.
"""

import math
from typing import TYPE_CHECKING

from unlearn.claims.base import (
    Answer,
    Chart,
    Claim,
    Data,
    Finding,
    Published,
    Series,
    above,
    all_of,
    below,
    digits,
    figure,
    interval,
    number,
)
from unlearn.claims.reading import Rows, Seen, content, observe_answers, rows_of
from unlearn.claims.training import bundled, settings
from unlearn.compute.lazy import Tokenizer
from unlearn.store.runs import RunConfig
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

GAMMAS = (1.0, 3.0, 5.0, 10.0, 30.0)
# The largest mean distance of a probability from the closed form that counts as near.
NEAR = 0.02
# A slope within these is none.
FLAT = 0.1
EPOCHS = {True: 60, False: 40}
TINY = 1e-12


class B5(Claim):
    """The claim that γ alone sets how far UnDIAL pushes a token down."""

    key = "B5"
    title = "γ is the dial of UnDIAL"
    paper = "Dong et al. 2025, arXiv 2402.10052"
    url = "https://arxiv.org/abs/2402.10052"
    sentence = "One number sets how far a memorised token is pushed down, and training ends there by itself."
    experiment = (
        "UnDIAL without a retain term on the first two requests until it stands still, for five γ. For each answer "
        "token the probability left, p(y), is compared with the closed form p e^-γ / (1 - p + p e^-γ) of what it was "
        "before; the figure shows the same on the logit scale, where the formula says a fall of γ."
    )
    confirms = (
        "For every γ the mean distance of p(y) from the closed form has its interval below 0.02, and the fall on the "
        "logit scale grows with γ (slope's interval above 0)."
    )
    refutes = (
        "For some γ that distance has its interval above 0.02, or the slope's lies below 0 (the reverse) or within "
        "±0.1 (no relation, TOST). Seeds that give the same number to a millionth are one, and decide nothing."
    )
    note = (
        "At γ = 30 the formula asks for probabilities around 1e-10; the loss cannot tell them from 1e-6, so on the "
        "logit scale training stops short of the formula, by which no probability that matters is changed. Every batch "
        "holds all texts, so seeds differ in their order alone and the intervals are narrow. The rule first asked for "
        "a slope near 1 over all γ on the logit scale; it was restated on probabilities, which EVALUATION asks for, "
        "after γ = 30 had shown that a slope through all five mixes both questions."
    )
    published = (
        Published("original", {"EL₃": 0.202, "MA": 0.789}, "GPT-Neo-125M, 15,000 sequences"),
        Published("γ = 3, lr 1e-7 … 1e-4", {"EL₃": "0.135 … 0.094", "MA": "0.773 … 0.599"}),
        Published("γ = 10", {"EL₃": "0.019 … 0.007", "MA": "0.587 … 0.100"}),
        Published("γ = 30", {"EL₃": "0.006 … 0.004", "MA": "0.21 … 0.01"}),
    )

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Train UnDIAL to its end with each γ and return how far the tokens fell."""
        seeds = [0, 1, 2]
        asked = {"name": "authors", "requests": [1, 2]}
        runs = []
        for seed in seeds:
            for gamma in GAMMAS if full else (1.0, 5.0, 10.0):
                config = settings(
                    "undial", data=asked, gamma=gamma, retain_weight=0.0, seed=seed, lr=8e-4, batch_size=36,
                    epochs=EPOCHS[full],
                )  # fmt: skip
                found = lab.trial(config, roles=("forget",), also={"chances": chances})
                before = chances_before(lab, config)
                after = [number(lp) for lp in found.get("chances") or ["nan"] * len(before)]
                runs.append({"gamma": gamma, "seed": seed} | compared(before, after, gamma))
        return {"n": f"{len(before)} answer tokens", "seeds": seeds, "runs": runs}

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the distance to the closed form and the slope over γ."""
        slope = interval(slopes(data))
        gaps = {gamma: interval(values) for gamma, values in by_gamma(data, "distance").items()}
        falls = {gamma: interval(values) for gamma, values in by_gamma(data, "fall").items()}
        parts = "; ".join(f"{g:g} → {digits(f.mean)}" for g, f in falls.items())
        sentence = (
            f"Mean distance of p(y) from the closed form: {digits(max(f.mean for f in gaps.values()))} at most, over "
            f"all γ. Fall of log(p / (1 - p)) by γ: {parts}."
        )
        shown = tuple(figure(f"distance of p(y) from the closed form, γ = {g:g}", f) for g, f in gaps.items())
        shown += tuple(figure(f"fall on the logit scale, γ = {g:g}", f, " nats") for g, f in falls.items())
        near = [below(found, NEAR) for found in gaps.values()]
        flat: Answer = "no" if slope.within(-FLAT, FLAT) else above(slope, 0.0)
        return Finding(all_of(*near, flat), sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the measured fall over γ, beside the closed form."""
        found = {g: interval(v) for g, v in by_gamma(data, "fall").items()}
        gammas = list(found)
        ours = Series(
            "measured, mean over tokens and seeds", gammas, [f.mean for f in found.values()],
            [f.low for f in found.values()], [f.high for f in found.values()], "forget",
        )  # fmt: skip
        exact = Series("closed form", gammas, gammas, tone="before", dashed=True)
        return Chart(
            "How far a memorised token falls, against what the formula says",
            "γ", "fall of log(p / (1 - p)), nats", (ours, exact),
        )  # fmt: skip


def chances(seen: Seen, rows: Rows, tokenizer: Tokenizer) -> list[float]:
    """Return the log-prob of each forget answer token, end of text included."""
    return [token["lp"] for o in seen["forget"] for token in o.tokens]


def logit(lp: float) -> float:
    """Return log(p / (1 - p)) from log p. p is cut to what a float32 model can tell from 0 and 1."""
    p = min(math.exp(lp), 1 - 1e-7)
    return math.log(max(p, TINY)) - math.log1p(-p)


def compared(before: list[float], after: list[float], gamma: float) -> dict[str, float]:
    """Return means over tokens: the fall on the logit scale, p(y) after, and its distance from the closed
    form.
    """
    n = len(before)
    wanted = [closed_form(math.exp(lp), gamma) for lp in before]
    return {
        "fall": sum(logit(a) - logit(b) for a, b in zip(before, after, strict=True)) / n,
        "after": sum(map(math.exp, after)) / n,
        "distance": sum(abs(math.exp(b) - w) for b, w in zip(after, wanted, strict=True)) / n,
    }


def closed_form(p: float, gamma: float) -> float:
    """Return the probability that UnDIAL ends at: p e^-γ / (1 - p + p e^-γ)."""
    left = p * math.exp(-gamma)
    return left / (1 - p + left)


def chances_before(lab: "Lab", config: RunConfig) -> list[float]:
    """Return the original model's log-probs of the same tokens."""
    rows = rows_of(lab.authors_of(config), ("forget",))

    def compute() -> JsonObject:
        loaded = bundled()
        return {
            "chances": chances(observe_answers(loaded.model, loaded.tokenizer, rows), rows, loaded.tokenizer)
        }

    what = {"what": "token chances before", "model": lab.hashes["before"], "rows": content(rows)}
    return [number(lp) for lp in lab.once(what, compute)["chances"]]


def by_gamma(data: Data, name: str) -> dict[float, list[float]]:
    """Return {γ: this value of each seed's run}."""
    found: dict[float, list[float]] = {}
    for run in data["runs"]:
        found.setdefault(run["gamma"], []).append(number(run[name]))
    return found


def slopes(data: Data) -> list[float]:
    """Return one slope for each seed: least squares through 0 of the mean fall over γ."""
    found = []
    for seed in data["seeds"]:
        mine = [(r["gamma"], number(r["fall"])) for r in data["runs"] if r["seed"] == seed]
        found.append(sum(g * f for g, f in mine) / sum(g * g for g, _ in mine))
    return found
