"""Tests claim B1: UnDIAL is stable over learning rates where gradient ascent and NPO are not (Dong et al.
2025).
"""

import math
from typing import TYPE_CHECKING

from unlearn.claims.base import (
    LEAST,
    Answer,
    Chart,
    Claim,
    Data,
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
    spread,
)
from unlearn.metrics.language.collapse import telling
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

# There are no texts to keep, as in the paper.
KNOBS: dict[str, dict[str, float]] = {
    "undial": {"retain_weight": 0.0, "gamma": 10.0},
    "npo": {"retain_weight": 0.0},
    "ga": {},
}
LRS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
QUICK_LRS = (1e-4, 1e-3, 1e-2)
NAMES = {"undial": "UnDIAL", "npo": "NPO", "ga": "gradient ascent"}
TONES = {"undial": "a", "npo": "b", "ga": "forget"}
EPOCHS = 50
# Limits of the rise of the general PPL, of the forget PPL, and again of the rise of the general PPL.
BOUND, RUNAWAY, DIVERGED = 10.0, 1e6, 1e3
# On which texts language is read, and how a sentence names their perplexity.
LANGUAGE = {
    "general": "general perplexity",
    "retain": "perplexity on what must stay",
    "neighbours": "perplexity on neighbours",
}
READ = "Where the original does not say the general texts (perplexity over 1,000), what must stay is read instead."


class B1(Claim):
    """The claim that UnDIAL is stable where gradient ascent and NPO are not."""

    key = "B1"
    title = "UnDIAL is stable where ascent and NPO are not"
    paper = "Dong et al. 2025, arXiv 2402.10052"
    url = "https://arxiv.org/abs/2402.10052"
    sentence = (
        "Over learning rates of several decades and many epochs UnDIAL settles and language stays, while gradient "
        "ascent and NPO go from doing nothing to destroying the model."
    )
    experiment = (
        f"The first request (18 texts) is unlearned for {EPOCHS} epochs, without texts to keep as in the paper, at "
        "learning rates over four decades up to five times the rate that the model was trained with. Forget and "
        f"general perplexity are read at the end. {READ} UnDIAL with γ = 10."
    )
    design = "one request, 10 seeds, 5 rates over four decades, 50 epochs"
    confirms = (
        "At every rate the interval of UnDIAL's general perplexity lies below 10 times the original's, and at its "
        "worst rate gradient ascent's forget perplexity exceeds a million."
    )
    refutes = (
        "At some rate UnDIAL diverges: the interval of its general perplexity lies above 1,000 times the "
        "original's, or a run is not finite. Wholly between 10 and 1,000 times at its worst rate is partly."
    )
    published = (
        Published("original", {"EL₃": 0.202, "MA": 0.789, "MAUVE": 0.72, "NLU": 0.484}, "GPT-Neo-125M"),
        Published("GA, lr 1e-6, 1 epoch", {"EL₃": 0.093, "MA": 0.594, "MAUVE": 0.119, "NLU": 0.471}),
        Published("GA, 5 epochs", {"EL₃": 0.000, "MA": 0.004, "MAUVE": 0.004, "NLU": 0.381}),
        Published(
            "UnDIAL γ 10, lr 1e-7 … 1e-4",
            {"EL₃": "0.019 … 0.007", "MA": "0.587 … 0.100", "MAUVE": "0.45 … 0.32", "NLU": "0.48 … 0.47"},
        ),
    )

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out the three methods over many learning rates and return their perplexities."""
        seeds = list(range(10 if full else 3))
        lrs = LRS if full else QUICK_LRS
        epochs = EPOCHS if full else 10
        data = lab.requests.only_requests((1,))
        original = lab.reference(lab.rows(data, ("general", "retain")))
        spoken = telling(perplexities(original))
        roles = ("forget", spoken)
        runs = []
        for seed in seeds:
            for method in NAMES:
                for lr in lrs:
                    config = lab.settings(
                        method, lr=lr, epochs=epochs, batch_size=6, seed=seed, **KNOBS[method]
                    )
                    found = lab.trial(config, data, roles=roles)
                    scores = found["scores"]
                    ppl = {role: scores[role]["ppl"] if role in scores else "inf" for role in roles}
                    runs.append(
                        {"method": method, "lr": config.lr, "seed": seed, "state": found["state"], **ppl}
                    )
        before = lab.reference(lab.rows(data, roles))
        kind = {"general": "general texts", "retain": "texts to keep"}[spoken]
        return {
            "n": f"{before['forget']['n']} forget texts and {before[spoken]['n']} {kind}, {epochs} epochs",
            "seeds": seeds,
            "epochs": epochs,
            "language": spoken,
            "before": {role: before[role]["ppl"] for role in roles},
            "runs": runs,
        }

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the rise of general perplexity at each learning rate."""
        rises = {lr: rise(data, "undial", lr) for lr in lrs_of(data)}
        worst_lr = max(rises, key=lambda lr: _worse(rises[lr]))
        worst = rises[worst_lr]
        ascent = max((_logs(data, "ga", lr, "forget") for lr in lrs_of(data)), key=_worse)
        mine = [r for r in data["runs"] if r["method"] == "undial"]
        broken = [r for r in mine if not math.isfinite(number(r[language(data)]))]
        stable = [below(found, math.log10(BOUND), math.log10(DIVERGED)) for found in rises.values()]
        runaway: Answer = "yes" if _worse(ascent) == math.inf else above(ascent, math.log10(RUNAWAY))
        enough = len(data["seeds"]) >= LEAST
        diverged: tuple[Answer, ...] = ("no",) if broken and enough else ()
        held = [lr for lr, found in rises.items() if found.below(math.log10(BOUND))]
        ga_held = [lr for lr in lrs_of(data) if rise(data, "ga", lr).below(math.log10(BOUND))]
        npo_held = [lr for lr in lrs_of(data) if rise(data, "npo", lr).below(math.log10(BOUND))]
        sentence = (
            f"At its worst rate ({worst_lr:g}) UnDIAL ends at {_power(worst)} times the original's "
            f"{named(data)}; gradient ascent at {_power(worst_of(data, 'ga'))}, NPO at "
            f"{_power(worst_of(data, 'npo'))}. It stays under {BOUND:g} times at {len(held)} of {len(rises)} rates "
            f"(NPO {len(npo_held)}, ascent {len(ga_held)}). Gradient ascent's forget perplexity reaches "
            f"{_power(ascent)}."
        )
        shown = tuple(
            figure(f"log₁₀ rise of {named(data)} at the worst rate, {name}", worst_of(data, method))
            for method, name in NAMES.items()
        )
        return Finding(all_of(*stable, runaway, *diverged), sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of perplexity over learning rates."""
        found, spoken = [], named(data)
        for method, name in NAMES.items():
            each = {lr: rise(data, method, lr) for lr in lrs_of(data)}
            known = {lr: f for lr, f in each.items() if math.isfinite(f.mean)}
            found.append(
                Series(
                    name, list(known), [10**f.mean for f in known.values()],
                    [10**f.low for f in known.values()], [10**f.high for f in known.values()], TONES[method],
                )
            )  # fmt: skip
        return Chart(
            f"{spoken.capitalize()} after {data['epochs']} epochs: who breaks the model, and from which rate on",
            "learning rate", f"{spoken}, × original", tuple(found), log_x=True, log_y=True,
            lines={f"bound, {BOUND:g} ×": BOUND},
        )  # fmt: skip


def perplexities(scores: JsonView) -> dict[str, float]:
    """Return {role: PPL} of a model's scores {role: {"ppl"}}."""
    return {role: number(scores[role]["ppl"]) for role in scores}


def language(data: Data) -> str:
    """Return the role that a record reads language on. A record of before this choice reads the general one."""
    return str(data.get("language", "general"))


def named(data: Data) -> str:
    """Return what a record reads, in words: "general perplexity"."""
    return LANGUAGE[language(data)]


def lrs_of(data: Data) -> list[float]:
    """Return the learning rates of the stored runs, in ascending order."""
    return sorted({run["lr"] for run in data["runs"]})


def _logs(data: Data, method: str, lr: float, role: str) -> Interval:
    mine = [number(r[role]) for r in data["runs"] if (r["method"], r["lr"]) == (method, lr)]
    return interval(math.log10(v) if math.isfinite(v) and v > 0 else math.inf for v in mine)


def rise(data: Data, method: str, lr: float) -> Interval:
    """Return the interval over seeds of log10(PPL after ÷ before), of the texts that language is read on."""
    spoken = language(data)
    mine = [number(r[spoken]) for r in data["runs"] if (r["method"], r["lr"]) == (method, lr)]
    start = number(data["before"][spoken])
    return interval(math.log10(v / start) if math.isfinite(v) and v > 0 else math.inf for v in mine)


def worst_of(data: Data, method: str) -> Interval:
    """Return the rise at the learning rate where it is highest."""
    return max((rise(data, method, lr) for lr in lrs_of(data)), key=_worse)


def _worse(found: Interval) -> float:
    return found.mean if math.isfinite(found.mean) else math.inf


def _power(found: Interval) -> str:
    if not math.isfinite(found.mean):
        return "no finite number"
    return spread(Interval(10**found.mean, 10**found.low, 10**found.high, 0.0, found.n))
