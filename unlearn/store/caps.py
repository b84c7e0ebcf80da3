"""States what a visitor of a hosted demo, or of a class, may use: each cap with its default, in one place.

A visitor is a browser that does not own the machine. In a demo (UNLEARN_DEMO=1) every browser is one; in a class
(`unlearn-studio --host`) every browser but those of the machine itself. Who is a visitor stands in the owner of what
was made, so that it is known wherever a run goes. unlearn.work.visitors asks for these caps.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

from unlearn.store import environment
from unlearn.store.knobs import Knob, check, format_value, knob, knobs_of, nearest
from unlearn.store.shapes import JsonObject

Mode = Literal["", "demo", "class"]
# The beginning of the owner of everything that a visitor made.
VISITOR = "visitor-"
# The visitor whose browser keeps no cookie. All such browsers are one, and none of them may change anything.
NOBODY = f"{VISITOR}unknown"
MB = 10**6


@dataclass(frozen=True)
class Caps:
    """The caps: those that end in _each are of one visitor, the others of one thing or of all visitors together."""

    queue_each: int = knob(3, 0, 1000, "Runs, attacks and studies of one visitor that wait or work.")
    queue: int = knob(12, 0, 10_000, "Runs, attacks and studies of all visitors that wait or work.")
    run_minutes: float = knob(
        5.0, 0, 10_000, "Minutes of one run, attack or study; then it is stopped, and what it has is kept."
    )
    minutes_each: float = knob(60.0, 0, 100_000, "Minutes that one visitor's runs may work within a day.")
    minutes: float = knob(480.0, 0, 100_000, "Minutes that all visitors' runs may work within a day.")
    disk_mb_each: float = knob(300.0, 0, 10**7, "Megabytes of one visitor's runs and uploads.")
    disk_mb: float = knob(
        2000.0,
        0,
        10**7,
        "Megabytes of all visitors' runs and uploads; the oldest runs are deleted for new ones.",
    )
    uploads_each: int = knob(
        10, 0, 10_000, "Tables of one visitor, uploaded, pasted or split, that are kept."
    )
    uploads: int = knob(
        300, 0, 10**6, "Tables of all visitors that are kept; the oldest unused go for new ones."
    )
    upload_mb: float = knob(2.0, 0, 256, "Megabytes of one table or other file that is uploaded.")
    uploads_mb_each: float = knob(5.0, 0, 10**6, "Megabytes of all tables of one visitor.")
    uploads_mb: float = knob(100.0, 0, 10**6, "Megabytes of all tables of all visitors.")
    votes_each: int = knob(3, 0, 1000, "Blind votes that one visitor of a demo begins for a class.")
    votes: int = knob(100, 0, 1000, "Blind votes that all visitors of a demo begin.")

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        """Return the caps as settings, with default, range and help sentence."""
        return knobs_of(cls)

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the caps that a text states, such as "run_minutes=10,queue=20", and the others at their defaults.

        ValueError for a name that is no cap, or a value out of its range.
        """
        known, given = {k.name: k for k in cls.knobs()}, {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            name, _, value = (one.strip() for one in part.partition("="))
            if name not in known:
                more = nearest(name, known) or f"; the caps are {', '.join(known)}"
                raise ValueError(f"cap: there is no cap {name[:40]!r}{more}. Write it as run_minutes=10.")
            given[name] = check("cap", known[name], value)
        return replace(cls(), **given)

    def said(self, name: str) -> str:
        """Return the cap as messages name it: "the cap queue_each is 3"."""
        return f"the cap {name} is {format_value(getattr(self, name))}"

    def table(self) -> list[JsonObject]:
        """Return a line for each cap: its name, its value here and what it means."""
        return [
            {"cap": k.name, "value": format_value(getattr(self, k.name)), "meaning": k.help}
            for k in self.knobs()
        ]


def mode() -> Mode:
    """Return whether this server is a demo or a class, or "" where it is neither.

    What nobody can read counts as a demo, because that allows the least.
    """
    said = environment.DEMO.text().strip().lower()
    return "" if said in ("", "0") else "class" if said == "class" else "demo"


def caps() -> Caps:
    """Return the caps of this server. ValueError where UNLEARN_CAPS cannot be read."""
    return Caps.read(environment.CAPS.text())


def is_visitor(owner: str) -> bool:
    """Return whether what has this owner was made by a visitor."""
    return owner.startswith(VISITOR)
