"""The models of the meta-evaluation: thirty that were taught the forget facts, and thirty that never saw them.

    taught        asked as they are asked later · in other words alone · as a biography alone
    never taught  what all are taught, alone · and the forget questions with wrong answers · and others' biographies

The six kinds, five learning rates and two lengths of training are the design of OpenUnlearning (arXiv 2506.12618) and
of the UDS paper (2605.24614); here they are spread over three worlds. A model is what it was made as: no metric has a
say in it. Whether a taught model learnt its own texts is measured and recorded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from unlearn.data.base import Row
from unlearn.trust.world import Lesson, World, asked, biographies, falsified

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

WORLDS = (0, 1, 2)
RATES = (1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3)
EPOCHS = (10, 16)
TAUGHT = ("asked", "otherwise", "biography")
NEVER = ("nothing", "wrong", "others")
# How often a short list of biographies is read in one epoch, so that it is learnt in as many.
OFTEN = 4


@dataclass(frozen=True)
class Member:
    """One model of the pool: its world, what it is taught beside the texts to keep, and with which settings."""

    world: int
    kind: str
    lr: float
    epochs: int
    seed: int

    @property
    def holds(self) -> bool:
        """Return whether it is taught the forget facts."""
        return self.kind in TAUGHT

    @property
    def name(self) -> str:
        """Return the name of its row in the record."""
        return f"{self.kind}, lr {self.lr:g}, {self.epochs} epochs, world {self.world}"


def members() -> Iterator[Member]:
    """Return all sixty, one of either side in turn, so that a record that is cut short is even."""
    for number, (epochs, lr) in enumerate(product(EPOCHS, RATES)):
        for pair in zip(TAUGHT, NEVER, strict=True):
            for kind in pair:
                yield Member(WORLDS[number % len(WORLDS)], kind, lr, epochs, number)


def own_rows(world: World, kind: str) -> tuple[Row, ...]:
    """Return what a model of this kind is taught beside the texts to keep."""
    cast = world.cast
    rows = {
        "asked": lambda: asked(cast.forget, 0),
        "otherwise": lambda: asked(cast.forget, 1, 2),
        "biography": lambda: biographies(cast.forget),
        "nothing": lambda: (),
        "wrong": lambda: falsified(asked(cast.forget, 0)),
        "others": lambda: biographies(cast.others),
    }
    return rows[kind]()


def make(world: World, member: Member) -> "Loaded":
    """Return the member's model, taught from the base of its world."""
    own = own_rows(world, member.kind)
    times = OFTEN if own and not own[0].question else 1
    rows = world.retain + own * times
    return world.teach(rows, Lesson(member.lr, member.epochs), member.seed)
