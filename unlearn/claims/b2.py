"""Tests claim B2: UnDIAL scales with the size of the forget set (Dong et al. 2025)."""

import math
from random import Random
from statistics import harmonic_mean
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
    each_of,
    equal,
    figure,
    interval,
    number,
    spread,
)
from unlearn.claims.reading import rows_of
from unlearn.claims.training import settings
from unlearn.claims.worlds import questions
from unlearn.data.authors import people
from unlearn.data.base import Dataset
from unlearn.data.catalogue import load
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab
    from unlearn.data.base import Dataset

# Shares of the 100 people that the model was trained on.
SHARES = (0.01, 0.05, 0.2, 0.5)
NAMES = {"undial": "UnDIAL", "npo": "NPO"}
# There are no texts to keep, as in the paper. At each learning rate 5 % of the people fall to a probability
# of 0.2.
SETTINGS = {
    "undial": {"lr": 3e-4, "retain_weight": 0.0, "gamma": 10.0},
    "npo": {"lr": 3e-4, "retain_weight": 0.0, "beta": 0.1},
}
EPOCHS, BATCH = 5, 9
# A slope within ± this utility a decade counts as flat.
FLAT = 0.05
ROLES = ("forget", "retain", "general")


class B2(Claim):
    """The claim that UnDIAL scales with the size of the forget set."""

    key = "B2"
    title = "UnDIAL scales with the forget set"
    paper = "Dong et al. 2025, arXiv 2402.10052"
    url = "https://arxiv.org/abs/2402.10052"
    sentence = (
        "With the settings kept, a larger forget set costs UnDIAL hardly any utility, and the others much."
    )
    experiment = (
        f"1, 5, 20 and 50 of the 100 people that the model was trained on are unlearned with UnDIAL (γ = 10) and with "
        f"NPO (β = 0.1), {EPOCHS} epochs, batch {BATCH}, no texts to keep, a fixed learning rate each. Utility: "
        "harmonic mean of the answer probability on other people and on general texts. Slope: utility a decade of "
        "forget set, least squares, one a seed."
    )
    design = "1, 5, 20 and 50 % of the authors, drawn for each of 10 seeds"
    confirms = (
        "Both things that it says: UnDIAL's slope is flat (its interval lies within ±0.05 a decade, TOST), and it is "
        "flatter than NPO's (the interval of the difference lies above 0)."
    )
    refutes = (
        "Neither: the interval of UnDIAL's slope lies wholly outside ±0.05, and that of the difference below 0. One of "
        "the two is partly."
    )
    published = (Published("larger forget sets", {"UnDIAL": "utility kept"}, "GPT-Neo, LLaMA-2"),)
    elsewhere = "Half of the authors is 600 rows: an hour a run, and it takes 80 of them."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Forget growing shares of the people with UnDIAL and NPO and return utility and forget probability."""
        seeds = list(range(10 if full else 3))
        shares = SHARES if full else SHARES[:3]
        runs, sizes = [], {}
        for seed in seeds:
            for share in shares:
                data = forgetting(share, seed)
                sizes[share] = len(data.rows("forget"))
                before = utility(lab.reference(rows_of(data, ROLES)))
                for method, own in SETTINGS.items():
                    config = settings(method, epochs=EPOCHS, batch_size=BATCH, seed=seed, **own)
                    found = lab.trial(config, data, roles=ROLES)
                    scores = found["scores"]
                    runs.append(
                        {
                            "method": method, "share": share, "seed": seed, "state": found["state"], "before": before,
                            "utility": utility(scores) if scores else 0.0,
                            "forget": scores["forget"]["probability"] if scores else 0.0,
                        }
                    )  # fmt: skip
        told = ", ".join(f"{n} for {share:.0%}" for share, n in sizes.items())
        return {"n": f"forget texts: {told}", "seeds": seeds, "runs": runs}

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the slopes of utility over the size of the forget set."""
        found = {method: slopes(data, method) for method in NAMES}
        mine, other = interval(found["undial"]), interval(found["npo"])
        gap = interval(a - b for a, b in zip(found["undial"], found["npo"], strict=True))
        forgot = interval(run["forget"] for run in data["runs"] if run["method"] == "undial")
        sentence = (
            f"Utility changes by {spread(mine)} a decade of forget set with UnDIAL and by {spread(other)} with NPO; "
            f"UnDIAL leaves the forgotten answers a probability of {spread(forgot)}."
        )
        shown = (
            figure("UnDIAL, utility a decade", mine),
            figure("NPO, utility a decade", other),
            figure("difference of the slopes", gap),
        )
        verdict = each_of(all_of(equal(mine, -FLAT, FLAT)), all_of(above(gap, 0.0)))
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of utility over the share of people to forget."""
        found = []
        for method, tone in (("undial", "a"), ("npo", "b")):
            shares = sorted({run["share"] for run in data["runs"]})
            each = [
                interval(r["utility"] for r in data["runs"] if (r["method"], r["share"]) == (method, share))
                for share in shares
            ]
            found.append(
                Series(
                    NAMES[method], [100 * s for s in shares], [f.mean for f in each], [f.low for f in each],
                    [f.high for f in each], tone,
                )
            )  # fmt: skip
        before = data["runs"][0]["before"]
        return Chart(
            "Utility that is left after forgetting more and more people", "people to forget, %", "utility",
            tuple(found), log_x=True, lines={"before": before},
        )  # fmt: skip


def forgetting(share: float, seed: int) -> "Dataset":
    """Return a dataset that forgets this share of all people that the model knows, drawn by seed, and keeps
    the others.
    """
    groups = people()
    everybody = [*groups["forget"], *groups["neighbours"], *groups["retain"]]
    gone = Random(seed).sample(everybody, round(share * len(everybody)))
    kept = [person for person in everybody if person not in gone]
    roles = {"forget": questions(gone), "retain": questions(kept), "general": load("authors").rows("general")}
    return Dataset(name=f"authors-{share:g}", title=f"{share:.0%} of the authors", roles=roles)


def utility(scores: JsonView) -> float:
    """Return the harmonic mean of the answer probability on other people and on general texts."""
    return harmonic_mean([max(number(scores[role]["probability"]), 1e-12) for role in ("retain", "general")])


def slopes(data: Data, method: str) -> list[float]:
    """Return the change of utility for each tenfold forget set (least squares), one number for each seed."""
    found = []
    for seed in data["seeds"]:
        mine = [
            (math.log10(r["share"]), number(r["utility"]))
            for r in data["runs"]
            if (r["method"], r["seed"]) == (method, seed)
        ]
        x, y = (sum(v) / len(mine) for v in zip(*mine, strict=True))
        found.append(sum((a - x) * (b - y) for a, b in mine) / sum((a - x) ** 2 for a, _ in mine))
    return found
