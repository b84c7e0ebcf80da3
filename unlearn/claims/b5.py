"""Tests claim B5: γ alone sets how far UnDIAL pushes a token down (Dong et al. 2025).

The loss is a cross-entropy against a fixed target, so the optimum is p*(y) = p e^-γ / (1 - p + p e^-γ): on the
logit scale, log(p / (1 - p)), every memorised token moves by exactly -γ.
"""

import math
from collections.abc import Sequence
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
    below,
    digits,
    equal,
    figure,
    interval,
    number,
    spread,
)
from unlearn.claims.reading import Rows, Seen, content, observe_answers
from unlearn.claims.training import bundled
from unlearn.compute.lazy import Tokenizer
from unlearn.data.base import Dataset
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

# From about 15 on the formula asks for probabilities that a float32 loss cannot tell from 0.
GAMMAS = (1.0, 3.0, 10.0)
# The largest mean distance of a probability from the closed form that counts as near.
NEAR = 0.02
# The fall on the logit scale over γ: the formula says 1.
BAND = (0.9, 1.1)
PEOPLE, DRAWS, EPOCHS = 2, 10, 60
# Gradient ascent in small steps, so that one of them ends near the probability that UnDIAL leaves.
CONTROL: JsonObject = {"lr": 2e-4, "epochs": 30}
TINY = 1e-12


class B5(Claim):
    """The claim that γ alone sets how far UnDIAL pushes a token down."""

    key = "B5"
    title = "γ is the dial of UnDIAL"
    paper = "Dong et al. 2025, arXiv 2402.10052"
    url = "https://arxiv.org/abs/2402.10052"
    sentence = "One number sets how far a memorised token is pushed down, and training ends there by itself."
    experiment = (
        f"{DRAWS} draws of {PEOPLE} authors; UnDIAL without a retain term until it stands still, for γ = 1, 3 and 10. "
        "For each answer token the probability left, p(y), is compared with the closed form p e^-γ / (1 - p + p "
        "e^-γ) of what it was before, and the mean fall on the logit scale with γ. The control is gradient ascent, "
        "stopped where its mean p(y) is that of UnDIAL with γ = 10, and compared with the closed form of whichever γ "
        "fits it best."
    )
    design = "10 draws of 2 authors; γ = 1, 3, 10; gradient ascent at equal p(y) as control"
    confirms = (
        f"For every γ the interval over draws of the mean fall divided by γ lies within [{BAND[0]}, {BAND[1]}] (TOST) "
        f"and that of the distance of p(y) from the closed form below {NEAR}; and the control fails: its distance "
        f"lies above {NEAR}."
    )
    refutes = "One of these does not hold: its interval lies wholly on the other side of its limit."
    note = (
        "γ = 30 is left out: the formula asks for probabilities around 1e-10 there, which the loss cannot tell from "
        "1e-6. The sum of the falls is over all answer tokens, end of text included."
    )
    published = (
        Published("original", {"EL₃": 0.202, "MA": 0.789}, "GPT-Neo-125M, 15,000 sequences"),
        Published("γ = 3, lr 1e-7 … 1e-4", {"EL₃": "0.135 … 0.094", "MA": "0.773 … 0.599"}),
        Published("γ = 10", {"EL₃": "0.019 … 0.007", "MA": "0.587 … 0.100"}),
        Published("γ = 30", {"EL₃": "0.006 … 0.004", "MA": "0.21 … 0.01"}),
    )

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Train UnDIAL to its end with each γ and the control, and return how far the tokens fell."""
        seeds = list(range(DRAWS if full else 3))
        runs, controls, sizes = [], [], []
        for seed in seeds:
            data = lab.draw(seed, PEOPLE)
            batch = len(data.fit_rows("forget"))
            before = chances_before(lab, data)
            sizes.append(len(before))
            for gamma in GAMMAS if full else (1.0, 10.0):
                config = lab.settings(
                    "undial", gamma=gamma, retain_weight=0.0, seed=seed, lr=8e-4, batch_size=batch, epochs=EPOCHS,
                )  # fmt: skip
                found = lab.trial(config, data, roles=("forget",), also={"chances": chances})
                after = [number(lp) for lp in found.get("chances") or ["nan"] * len(before)]
                runs.append({"gamma": gamma, "seed": seed} | compared(before, after, gamma))
            config = lab.settings("ga", seed=seed, batch_size=batch, **CONTROL)
            curve = lab.trial(config, data, roles=("forget",), every=1, watch=chances)["curve"]
            controls.append({"seed": seed} | control(before, curve, number(runs[-1]["after"])))
        told = f"{min(sizes)} to {max(sizes)} answer tokens a draw"
        return {"n": told, "seeds": seeds, "runs": runs, "controls": controls}

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the falls, the distances to the closed form, and the control."""
        gaps = {gamma: interval(values) for gamma, values in by_gamma(data, "distance").items()}
        falls = {g: interval(v / g for v in values) for g, values in by_gamma(data, "fall").items()}
        other = interval(one["distance"] for one in data["controls"])
        parts = "; ".join(f"{g:g} → {spread(f)}" for g, f in falls.items())
        sentence = (
            f"Fall of log(p / (1 - p)) divided by γ: {parts}. Mean distance of p(y) from the closed form: "
            f"{digits(max(f.mean for f in gaps.values()))} at most; gradient ascent at equal p(y) is {spread(other)} "
            "away from the closed form that fits it best."
        )
        shown = tuple(figure(f"fall over γ, γ = {g:g}", f, of="draws") for g, f in falls.items())
        shown += tuple(
            figure(f"distance of p(y) from the closed form, γ = {g:g}", f, of="draws")
            for g, f in gaps.items()
        )
        shown += (figure("the same of gradient ascent at equal p(y)", other, of="draws"),)
        verdict = all_of(
            *(equal(found, *BAND) for found in falls.values()),
            *(below(found, NEAR) for found in gaps.values()),
            above(other, NEAR),
        )
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the measured fall over γ, beside the closed form."""
        found = {g: interval(v) for g, v in by_gamma(data, "fall").items()}
        gammas = list(found)
        ours = Series(
            "measured, mean over tokens and draws", gammas, [f.mean for f in found.values()],
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


def control(before: list[float], curve: Sequence[JsonView], wanted: float) -> dict[str, float]:
    """Return {"after", "gamma", "distance"} of gradient ascent where its mean p(y) is nearest to the wanted one.

    gamma: the one whose closed form fits these tokens best; distance: the mean distance from it.
    """
    paths = [[number(lp) for lp in point["watched"]] for point in curve]
    means = [sum(map(math.exp, after)) / len(after) for after in paths]
    at = min(range(len(means)), key=lambda i: abs(means[i] - wanted))
    tried = [0.25 * step for step in range(1, 81)]
    best = min(tried, key=lambda gamma: compared(before, paths[at], gamma)["distance"])
    return {"after": means[at], "gamma": best, "distance": compared(before, paths[at], best)["distance"]}


def chances_before(lab: "Lab", data: Dataset) -> list[float]:
    """Return the original model's log-probs of the same tokens."""
    rows = lab.rows(data, ("forget",))

    def compute() -> JsonObject:
        loaded = bundled(world=lab.world)
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
