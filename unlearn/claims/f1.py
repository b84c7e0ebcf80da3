"""Tests claim F1: AltPO forgets and still answers sensibly, as negative feedback alone does not."""

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
    figure,
    interval,
    per_cent,
    spread,
)
from unlearn.claims.returning import GONE, KNOWN, WORLDS, less, values, worlds
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

OURS = "altpo"
RIVALS = {"npo": "NPO", "simnpo": "SimNPO", "gd": "GradDiff"}
# What may be missing from the retrained model's share of sensible answers, and from NPO's probability of the rest.
SHORT, LOST = 0.1, 0.02


class F1(Claim):
    """The claim that AltPO's answers stay sensible."""

    key = "F1"
    title = "AltPO's answers stay sensible"
    paper = "Mekala et al. 2024, arXiv 2409.13474"
    url = "https://arxiv.org/abs/2409.13474"
    sentence = (
        "With other plausible answers beside the negative feedback, a model forgets as well, keeps as much, and does "
        "not fall into the nonsense that negative feedback alone leaves."
    )
    experiment = (
        f"{WORLDS} small worlds of {KNOWN} + {GONE} authors with their exact retrains. All methods are stopped where "
        "the answers to forget are no more probable than to the retrained model. Every question to forget is then "
        "answered greedily; sensible is an answer that is one of the values of the kind of fact that is asked for, "
        "right or wrong."
    )
    design = "10 small worlds with retrains; greedy answers at equal forgetting"
    confirms = (
        "AltPO's share of sensible answers is above that of NPO, SimNPO and GradDiff (each interval of paired "
        f"differences above 0; all must, so none is corrected), at most {SHORT:g} under the retrained model's, and it "
        f"leaves what must stay at most {LOST:g} less probable than NPO does."
    )
    refutes = "One of these does not hold: its interval lies wholly on the other side of its limit."
    published = (
        Published(
            "answers about the forgotten",
            {"AltPO": "consistent", "negative feedback alone": "nonsense"},
            "TOFU",
        ),
    )
    elsewhere = "Sensible answers of TOFU are whole sentences, which only a judge model could mark."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out all methods in each world and return what was read."""
        return worlds(lab, full)

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the shares of sensible answers."""
        ahead = {name: interval(less(data, "plausible", OURS, name)) for name in RIVALS}
        short = interval(less(data, "plausible", OURS, "retrained"))
        kept = interval(less(data, "kept", OURS, "npo"))
        verdict = all_of(*(above(f, 0.0) for f in ahead.values()), above(short, -SHORT), above(kept, -LOST))
        share = {name: interval(values(data, name, "plausible")) for name in (OURS, "retrained", *RIVALS)}
        told = ", ".join(f"{name} {per_cent(share[key].mean)}" for key, name in RIVALS.items())
        sentence = (
            f"At equal forgetting {per_cent(share[OURS].mean)} of AltPO's answers are sensible ({told}; retrained "
            f"{per_cent(share['retrained'].mean)}), and what must stay is {spread(kept)} more probable than after NPO."
        )
        shown = (
            *(
                figure(f"sensible, AltPO less {name}", ahead[key], of="worlds")
                for key, name in RIVALS.items()
            ),
            figure("sensible, AltPO less retrained", short, of="worlds"),
            figure("what must stay, AltPO less NPO", kept, of="worlds"),
        )
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the share of sensible answers of each method."""
        names = {OURS: "AltPO"} | RIVALS | {"retrained": "retrained"}
        found = {name: interval(values(data, key, "plausible")) for key, name in names.items()}
        bars = tuple(
            Series(n, [n], [100 * f.mean], [100 * f.low], [100 * f.high], "a" if n == "AltPO" else "b")
            for n, f in found.items()
        )
        return Chart("Answers about the forgotten that make sense", "", "sensible, %", bars, kind="bar")
