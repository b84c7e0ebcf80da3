"""B5: γ is the dial (Dong et al. 2025): where UnDIAL ends is known before it begins.

The loss is a cross-entropy against a fixed target, so the optimum is p*(y) = p e^-γ / (1 - p + p e^-γ): on the
logit scale, log(p / (1 - p)), every memorised token moves by exactly -γ.
"""

import math
from typing import TYPE_CHECKING, Any

from unlearn.claims.base import (
    Chart,
    Claim,
    Data,
    Finding,
    Published,
    Series,
    figure,
    interval,
    number,
    spread,
    word,
)

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

GAMMAS = (1.0, 3.0, 5.0, 10.0, 30.0)
SLOPE = (0.8, 1.2)
EPOCHS = {True: 60, False: 40}
TINY = 1e-12


class B5(Claim):
    key = "B5"
    title = "γ is the dial of UnDIAL"
    paper = "Dong et al. 2025, arXiv 2402.10052"
    url = "https://arxiv.org/abs/2402.10052"
    sentence = "One number sets how far a memorised token is pushed down, and training ends there by itself."
    experiment = (
        "UnDIAL without a retain term on the first two requests until it stands still, for five γ. For each answer "
        "token the shift of log(p / (1 - p)) is compared with the closed form, which is -γ."
    )
    confirms = "The slope of the mean shift over -γ has its 95 % interval over seeds inside [0.8, 1.2]."
    refutes = "That interval holds 0, or lies outside [0.5, 1.5]: no relation, or another one."
    published = (
        Published("original", {"EL₃": 0.202, "MA": 0.789}, "GPT-Neo-125M, 15,000 sequences"),
        Published("γ = 3, lr 1e-7 … 1e-4", {"EL₃": "0.135 … 0.094", "MA": "0.773 … 0.599"}),
        Published("γ = 10", {"EL₃": "0.019 … 0.007", "MA": "0.587 … 0.100"}),
        Published("γ = 30", {"EL₃": "0.006 … 0.004", "MA": "0.21 … 0.01"}),
    )

    def measure(self, lab: "Lab", full: bool) -> dict[str, Any]:
        from unlearn.claims.lab import settings

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
                runs.append({"gamma": gamma, "seed": seed, "shifts": shifts(lab, config, found)})
        count = len(runs[0]["shifts"]["actual"])
        return {"n": f"{count} answer tokens", "seeds": seeds, "runs": [_summed(run) for run in runs]}

    def judge(self, data: Data) -> Finding:
        slope = interval(slopes(data))
        parts = [f"{g:g} → {spread(interval(v))}" for g, v in by_gamma(data).items()]
        sentence = (
            f"The shift follows -γ with slope {spread(slope)}. Mean fall of log(p / (1 - p)) by γ: "
            f"{'; '.join(parts)}."
        )
        other = slope.below(0.5) or slope.above(1.5)
        shown = (figure("slope of the shift over -γ", slope),)
        shown += tuple(figure(f"fall at γ = {g:g}", interval(v), " nats") for g, v in by_gamma(data).items())
        return Finding(word(slope.within(*SLOPE), slope.holds(0.0) or other), sentence, shown)

    def chart(self, data: Data) -> Chart:
        found = {g: interval(v) for g, v in by_gamma(data).items()}
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


def chances(seen: Any, rows: Any, tokenizer: Any) -> list[float]:
    """Log-prob of each forget answer token, end of text included."""
    return [token["lp"] for o in seen["forget"] for token in o.tokens]


def logit(lp: float) -> float:
    """log(p / (1 - p)) from log p; what a float32 model cannot tell from certainty is not told apart either."""
    p = min(math.exp(lp), 1 - 1e-7)
    return math.log(max(p, TINY)) - math.log1p(-p)


def shifts(lab: "Lab", config: Any, found: Any) -> dict[str, list[float]]:
    from unlearn.claims.lab import bundled, content, read, rows_of

    rows = rows_of(lab.authors_of(config), ("forget",))

    def compute() -> dict[str, Any]:
        loaded = bundled()
        return {"chances": chances(read(loaded.model, loaded.tokenizer, rows), rows, loaded.tokenizer)}

    before = lab.once(
        {"what": "token chances before", "model": lab.hashes["before"], "rows": content(rows)}, compute
    )
    after = found.get("chances") or ["nan"] * len(before["chances"])
    pairs = zip(before["chances"], after, strict=True)
    return {"actual": [logit(number(a)) - logit(number(b)) for a, b in pairs]}


def _summed(run: dict[str, Any]) -> dict[str, Any]:
    found = run["shifts"]["actual"]
    return {"gamma": run["gamma"], "seed": run["seed"], "shift": sum(found) / len(found)}


def by_gamma(data: Data) -> dict[float, list[float]]:
    """γ → the mean fall in each seed's run."""
    found: dict[float, list[float]] = {}
    for run in data["runs"]:
        found.setdefault(run["gamma"], []).append(-number(run["shift"]))
    return found


def slopes(data: Data) -> list[float]:
    """One a seed: least squares through 0 of the mean fall over γ."""
    found = []
    for seed in data["seeds"]:
        mine = [(r["gamma"], -number(r["shift"])) for r in data["runs"] if r["seed"] == seed]
        found.append(sum(g * f for g, f in mine) / sum(g * g for g, _ in mine))
    return found
