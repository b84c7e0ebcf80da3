"""Tests claim E1: UNDO makes an unlearned model as robust as a retrained one, by a dial (Lee et al. 2025)."""

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
    each_of,
    equal,
    figure,
    interval,
    per_cent,
    spread,
)
from unlearn.claims.returning import FIRST, GONE, KNOWN, SHARES, WORLDS, less, residue, values, worlds
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

# A difference in probability after practice within ± this is none.
EQUAL = 0.1
# The part of the probability of what must stay that must be left.
KEPT = 0.9


class E1(Claim):
    """The claim that noise and distillation make forgetting robust."""

    key = "E1"
    title = "UNDO makes forgetting robust"
    paper = "Lee et al. 2025, arXiv 2506.06278"
    url = "https://arxiv.org/abs/2506.06278"
    sentence = (
        "An unlearned model that is damaged and distilled from itself gives less back by relearning, the more the "
        "larger the share, and at the strongest setting no more than a model trained again without the texts."
    )
    experiment = (
        f"{WORLDS} small worlds of {KNOWN} + {GONE} authors with their exact retrains. NPO is stopped at the "
        f"retrained model's level of forgetting; UNDO follows with shares {', '.join(f'{s:g}' for s in SHARES)}, "
        "distilled on what must stay. Then one half of the facts is practised and the other half read."
    )
    design = "10 small worlds with retrains; shares 0.2, 0.4 and 0.6 after NPO, then practice"
    confirms = (
        "All that it says: at the largest share less comes back than without UNDO (interval above 0), each larger "
        "share gives less back than the one before (slope over the share below 0), as much as in the retrained model "
        f"(within ±{EQUAL}, TOST, or less), and at least {KEPT:g} of the probability of what must stay is left."
    )
    refutes = "None of these holds: each interval lies wholly on the other side. Some of them is partly."
    published = (
        Published(
            "strongest setting",
            {"robustness": "that of retraining", "compute": "60 to 80 % of it"},
            "synthetic tasks",
        ),
    )
    elsewhere = "It distils every weight three times for each draw, with practice after each; that was not timed there."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out UNDO in each world and return what was read."""
        return worlds(lab, full)

    def judge(self, data: Data) -> Finding:
        """Return the verdict from what comes back with and without UNDO."""
        last = f"undo {SHARES[-1]:g}"
        gain = interval(less(data, "back", FIRST, last))
        gap = interval(less(data, "back", last, "retrained"))
        dial = interval(slopes(data))
        kept = interval(
            a / b for a, b in zip(values(data, last, "kept"), values(data, FIRST, "kept"), strict=True)
        )
        as_gone: Answer = "yes" if gap.below(EQUAL) else equal(gap, -EQUAL, EQUAL)
        verdict = each_of(
            all_of(above(gain, 0.0)), all_of(below(dial, 0.0)), all_of(as_gone), all_of(above(kept, KEPT))
        )
        parts = ", ".join(
            f"{per_cent(interval(residue(data, f'undo {share:g}')).mean)} at {share:g}" for share in SHARES
        )
        sentence = (
            f"After practice NPO's model is back at {per_cent(interval(residue(data, FIRST)).mean)} of the way from "
            f"the retrained model to the original; with UNDO {parts}. At the largest share {spread(gap)} more "
            f"probability comes back than in the retrained model, and {per_cent(kept.mean)} of what must stay is left."
        )
        shown = (
            figure(f"comes back without UNDO, less with {SHARES[-1]:g}", gain, of="worlds"),
            figure(f"comes back with {SHARES[-1]:g}, less retrained", gap, of="worlds"),
            figure("comes back, a unit of the share", dial, of="worlds"),
            figure("what must stay, after UNDO over before", kept, of="worlds"),
        )
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of what comes back and what is kept over the share."""
        names = [FIRST, *(f"undo {share:g}" for share in SHARES)]
        back = [interval(values(data, name, "back")) for name in names]
        kept = [interval(values(data, name, "kept")) for name in names]
        shares = [0.0, *SHARES]
        found = tuple(
            Series(name, shares, [f.mean for f in each], [f.low for f in each], [f.high for f in each], tone)
            for name, each, tone in (("comes back", back, "forget"), ("must stay", kept, "retain"))
        )
        line = interval(values(data, "retrained", "back")).mean
        title = "Probability after practice, and of what must stay, over UNDO's share"
        return Chart(
            title,
            "share of every weight that is lost",
            "answer probability",
            found,
            lines={"retrained": line},
        )


def slopes(data: Data) -> list[float]:
    """Return the change of what comes back for a unit of the share (least squares), one number for each world."""
    xs = [0.0, *SHARES]
    middle = sum(xs) / len(xs)
    columns = [values(data, name, "back") for name in (FIRST, *(f"undo {share:g}" for share in SHARES))]
    below = sum((x - middle) ** 2 for x in xs)
    return [
        sum((x - middle) * y for x, y in zip(xs, ys, strict=True)) / below
        for ys in zip(*columns, strict=True)
    ]
