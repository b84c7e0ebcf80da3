"""Asks the three sides with weights that were rounded in one way, for the attacks that differ in the rounding alone."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from unlearn.attacks.base import Attack, Cell, Found, Side, Subject, beside, exact_each, percent
from unlearn.compute.lazy import Model

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


def cell(
    name: str,
    family: str,
    setting: str,
    help: str,
    paper: str,
    make: "Callable[[Subject, Loaded], tuple[Model, int]]",
    cost: float,
) -> Cell:
    """Return the cell of a rounding. make(subject, loaded) returns (a rounded copy of its model, how many maps)."""

    def run(subject: Subject) -> Found | None:
        plain: list[float] = []
        maps: list[int] = []

        def ask(loaded: "Loaded", side: Side) -> list[float]:
            if side.name == "after":
                plain.extend(exact_each(subject.read(loaded, side.role)))
            held = copy.copy(loaded)
            held.model, count = make(subject, loaded)
            maps.append(count)
            return exact_each(subject.read(held, side.role))

        values = subject.each("forget", ask)
        finding = (
            f"{family} ({setting}): it answers {percent(values['after'])} (unrounded: {percent(plain)}); "
            f"{beside(subject, values)}."
        )
        return Found(values, finding, plain, {"layers": maps[0]})

    attack = Attack(name, f"{family}: {setting}", help, "suppressed", run, paper)
    return Cell(attack, family, setting, cost)
