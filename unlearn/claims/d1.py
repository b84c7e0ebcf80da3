"""Tests claim D1: after relearning, hardly anything comes back of what RepSelect removed (Sondej et al. 2026)."""

from typing import TYPE_CHECKING

from unlearn.claims.base import (
    CONFIRMED,
    PARTLY,
    REFUTED,
    UNDECIDED,
    Chart,
    Claim,
    Data,
    Finding,
    Published,
    Series,
    Word,
    figure,
    interval,
    per_cent,
    spread,
)
from unlearn.claims.returning import GONE, KNOWN, WORLDS, residue, values, worlds
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

OURS = "repselect"
RIVALS = {"gd": "GradDiff", "npo": "NPO", "simnpo": "SimNPO", "undial": "UnDIAL"}
# By how much the fall that stays after relearning is larger than the strongest rival's, in the paper at least.
TIMES = 4.0
# A residue within ± this is none.
NONE = 0.1


class D1(Claim):
    """The claim that RepSelect's forgetting stands against relearning as no other's does."""

    key = "D1"
    title = "RepSelect stands against relearning"
    paper = "Sondej et al. 2026, arXiv 2606.17168"
    url = "https://arxiv.org/abs/2606.17168"
    sentence = (
        "After relearning, the answers stay at least four times as far down as with the strongest of GradDiff, NPO, "
        "SimNPO, RMU and UnDIAL."
    )
    experiment = (
        f"{WORLDS} small worlds of {KNOWN} + {GONE} authors with their exact retrains. RepSelect and four of the five "
        "rivals (not RMU) are stopped where the answers to forget are no more probable than to the retrained model; "
        "then one half of the facts is practised and the other half read. Residue: 0 is what the retrained model "
        "gets by the same practice, 1 the original's probability."
    )
    design = "10 small worlds with retrains; equal forgetting, then half of the facts practised"
    confirms = (
        "RepSelect's residue is lower than each rival's (every interval of paired differences lies above 0; all "
        "must, so none is corrected), and either what stays down is at least four times the strongest rival's, or "
        f"nothing comes back (its interval lies within ±{NONE}, TOST)."
    )
    refutes = (
        "Some rival's residue is as low or lower: the interval of its difference lies below 0, corrected for four "
        "rivals. Lower than all, but not by that much, is partly."
    )
    published = (
        Published(
            "relearning, five rivals", {"RepSelect": "4 to 50 times less"}, "Llama 3, Qwen 3.5, Gemma 4"
        ),
    )
    elsewhere = (
        "It moves every weight, and its six methods with practice take some twelve hours on this model."
    )
    note = "The simple form of the method (METHODS of this product), stopped by forgetting and not by its own budget."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out all methods in each world and return what was read."""
        return worlds(lab, full)

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the residues after practice."""
        mine = residue(data, OURS)
        theirs = {name: residue(data, name) for name in RIVALS}
        gaps = {name: [b - a for a, b in zip(mine, other, strict=True)] for name, other in theirs.items()}
        ours = interval(mine)
        best = min(theirs, key=lambda name: interval(theirs[name]).mean)
        # What stays down is 1 less the residue.
        ahead = interval((1 - a) - TIMES * (1 - b) for a, b in zip(mine, theirs[best], strict=True))
        lower = all(interval(gap).above(0.0) for gap in gaps.values())
        beaten = any(interval(gap, 0.05 / len(RIVALS)).below(0.0) for gap in gaps.values())
        enough = ahead.above(0.0) or ours.within(-NONE, NONE)
        less = ahead.below(0.0) and not ours.within(-NONE, NONE)
        verdict: Word = UNDECIDED
        if beaten:
            verdict = REFUTED
        elif lower and (enough or less):
            verdict = CONFIRMED if enough else PARTLY
        told = ", ".join(f"{name} {per_cent(interval(theirs[key]).mean)}" for key, name in RIVALS.items())
        kept = interval(values(data, OURS, "kept"))
        sentence = (
            f"By practice of half of the facts RepSelect's model comes back to {per_cent(ours.mean)} of the way from "
            f"the retrained model to the original ({per_cent(ours.low)} to {per_cent(ours.high)}); {told}. It leaves "
            f"what must stay a probability of {spread(kept)}."
        )
        shown = (
            figure("residue after practice, RepSelect", ours, of="worlds"),
            *(figure(f"residue, {name}", interval(theirs[key]), of="worlds") for key, name in RIVALS.items()),
            *(
                figure(f"{name} less RepSelect", interval(gaps[key]), of="worlds")
                for key, name in RIVALS.items()
            ),
        )
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the residue of each method."""
        names = {OURS: "RepSelect"} | RIVALS
        found = {name: interval(residue(data, key)) for key, name in names.items()}
        bars = tuple(
            Series(
                name,
                [name],
                [100 * f.mean],
                [100 * f.low],
                [100 * f.high],
                "a" if name == "RepSelect" else "b",
            )
            for name, f in found.items()
        )
        return Chart(
            "What comes back by practice: 0 as in the retrained model, 100 the original",
            "",
            "residue, %",
            bars,
            kind="bar",
        )
