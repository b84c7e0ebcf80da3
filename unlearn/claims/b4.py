"""Tests claim B4: UnDIAL keeps language better aimed at entities than at random words (Dong et al. 2025)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from unlearn.claims.base import (
    Chart,
    Claim,
    Data,
    Figure,
    Finding,
    Published,
    Series,
    figure,
    interval,
    number,
    spread,
    word,
)
from unlearn.claims.reading import Rows, Seen, content, observe_answers, rows_of
from unlearn.claims.training import bundled, settings
from unlearn.claims.worlds import biographies
from unlearn.compute.lazy import Tokenizer
from unlearn.data.authors import people
from unlearn.data.base import Dataset
from unlearn.data.catalogue import load
from unlearn.metrics.base import Observation
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.training.encoding import encode_rows
from unlearn.training.focus import focus_mask

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab
    from unlearn.data.base import Dataset

NAMES = {"entity": "entities", "noun phrase": "noun phrases", "none": "all tokens", "random": "random tokens"}
TONES = {"entity": "a", "noun phrase": "retain", "none": "general", "random": "b"}
# The mean NLL of the facts, in nats, at which the masks are compared. A token is then about half as likely.
LEVEL = 0.7
EPOCHS, EVERY = 12, 1
OTHERS = 20


class B4(Claim):
    """The claim that focus on entities keeps language better than a random mask."""

    key = "B4"
    title = "Focus on entities helps"
    paper = "Dong et al. 2025, arXiv 2402.10052 (FUnDIAL)"
    url = "https://arxiv.org/abs/2402.10052"
    sentence = (
        "Unlearning only the entity or noun tokens forgets as much and leaves the language more fluent."
    )
    experiment = (
        "The ten biographies of the forget people are unlearned with UnDIAL (γ = 10, hard focus, no texts to keep) on "
        "entities, on noun phrases, on all tokens, and on as many random tokens as there are entity tokens. Along "
        "training the loss on the facts is read, and the loss on the plain words of other people's biographies and on "
        f"general texts. The masks are compared where the facts' loss passes {LEVEL:g} nats, by interpolation."
    )
    design = "10 biographies, 10 seeds; masks compared where the facts' loss is equal"
    confirms = (
        "At equal forgetting, focus on entities costs less language than the random mask: the interval of the paired "
        "difference in loss, random less entities, lies above 0."
    )
    refutes = (
        "The interval of that difference lies below 0, or within a tenth of what the random mask costs: the choice of "
        "tokens makes no difference."
    )
    published = (Published("focused against plain UnDIAL", {"fluency": "better"}, "GPT-Neo-125M"),)
    elsewhere = "TOFU's rows mark no entities, and another program would have to find them."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Unlearn with each focus and return the losses along training."""
        seeds = list(range(10 if full else 3))
        data = lives()
        rows = rows_of(data, ROLES)
        known = lab.once(
            {"what": "facts and words before", "model": lab.hashes["before"], "rows": content(rows)},
            lambda: _before(rows),
        )
        paths = []
        for seed in seeds:
            for focus in NAMES if full else ("entity", "random"):
                config = settings(
                    "undial",
                    focus=focus,
                    gamma=10.0,
                    retain_weight=0.0,
                    lr=3e-4,
                    epochs=EPOCHS,
                    batch_size=5,
                    seed=seed,
                )
                found = lab.trial(config, data, roles=ROLES, every=EVERY, watch=watched)
                points = [known["start"], *(point["watched"] for point in found["curve"])]
                paths.append({"focus": focus, "seed": seed, "points": points})
        sizes = {role: len(mine) for role, mine in rows.items()}
        return {
            "n": f"{sizes['forget']} biographies to forget, {sizes['retain']} others, {sizes['general']} general texts",
            "seeds": seeds,
            "level": LEVEL,
            "paths": paths,
        }

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the language that each mask costs at equal forgetting."""
        found = {focus: interval(values) for focus, values in costs(data).items()}
        pairs = zip(costs(data)["random"], costs(data)["entity"], strict=True)
        gap = interval(a - b for a, b in pairs)
        small = abs(0.1 * found["random"].mean)
        told = "; ".join(f"{NAMES[focus]} {spread(one)}" for focus, one in found.items())
        sentence = (
            f"Rise of the loss on other texts, in nats, where the facts' loss passes {data['level']:g}: {told}. The "
            f"random mask costs {spread(gap)} more than the entities."
        )
        shown: tuple[Figure, ...] = (figure("random less entities, nats", gap),)
        shown += tuple(
            figure(f"cost in language, {NAMES[focus]}", one, " nats") for focus, one in found.items()
        )
        return Finding(word(gap.above(0.0), gap.below(0.0) or gap.within(-small, small)), sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the language lost over the loss on the facts."""
        found = []
        for focus, name in NAMES.items():
            mine = [path["points"] for path in data["paths"] if path["focus"] == focus]
            if mine:
                each = [
                    [sum(number(p[key]) for p in at) / len(at) for at in zip(*mine, strict=True)]
                    for key in AXES
                ]
                found.append(Series(name, each[0], each[1], tone=TONES[focus]))
        return Chart(
            "Language lost on the way to forgetting: lower is better", "loss on the facts to forget, nats",
            "rise of the loss on other texts, nats", tuple(found),
        )  # fmt: skip


AXES = ("facts", "words")
ROLES = ("forget", "retain", "general")


def lives() -> "Dataset":
    """Return a dataset of biographies: the forget people's to forget, other people's to read, and general
    texts.
    """
    groups = people()
    roles = {
        "forget": biographies(groups["forget"]),
        "retain": biographies(groups["retain"][: 3 * OTHERS]),
        "general": load("authors").rows("general"),
    }
    return Dataset(name="authors-lives", title="Biographies of authors", roles=roles)


def watched(seen: Seen, rows: Rows, tokenizer: Tokenizer) -> dict[str, float]:
    """Return three mean losses (NLL) of the texts.

    facts: of the forget texts' entity tokens. plain: of their other tokens. words: the mean of that of other
    texts' plain tokens and that of general texts.
    """
    inside = entity_flags(rows, tokenizer)
    facts, plain = split(seen["forget"], inside["forget"])
    _, others = split(seen["retain"], inside["retain"])
    general = [-token["lp"] for o in seen["general"] for token in o.tokens]
    return {"facts": _mean(facts), "plain": _mean(plain), "words": (_mean(others) + _mean(general)) / 2}


def entity_flags(rows: Rows, tokenizer: Tokenizer) -> dict[str, list[list[bool]]]:
    """Return for each role and row whether each answer token lies in a fact."""
    return {
        role: [
            focus_mask(tokenizer, e, "entity", 0) for e in encode_rows(tokenizer, rows[role], max_length=512)
        ]
        for role in ("forget", "retain")
    }


def split(seen: Sequence[Observation], flags: Sequence[Sequence[bool]]) -> tuple[list[float], list[float]]:
    """Return the NLL of the tokens inside and outside the flags."""
    sides: tuple[list[float], list[float]] = ([], [])
    for o, mine in zip(seen, flags, strict=True):
        for token, hit in zip(o.tokens, mine, strict=True):
            sides[0 if hit else 1].append(-token["lp"])
    return sides


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _before(rows: Rows) -> JsonObject:
    loaded = bundled()
    return {"start": watched(observe_answers(loaded.model, loaded.tokenizer, rows), rows, loaded.tokenizer)}


def costs(data: Data) -> dict[str, list[float]]:
    """Return {focus: rise of the loss on other texts where the facts' loss passes the level}.

    It is nan where it never does.
    """
    found: dict[str, list[float]] = {}
    for path in data["paths"]:
        found.setdefault(path["focus"], []).append(cost_at(path["points"], number(data["level"])))
    return found


def cost_at(points: Sequence[JsonView], level: float) -> float:
    """Return the cost where the facts' loss first passes the level, linear between the two points around it."""
    start = number(points[0]["words"])
    for a, b in pairwise(points):
        low, high = number(a["facts"]), number(b["facts"])
        if low < level <= high:
            part = (level - low) / (high - low)
            return number(a["words"]) + part * (number(b["words"]) - number(a["words"])) - start
    return math.nan
