"""Folds the runs of a sweep or a sequence into one line of the table, with what came of them together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ui import shell
from unlearn.results import conclusion
from unlearn.store.index import Summary

# Each kind of study, which is the name of its page and of its word in the address too, and its title.
KINDS = {"sweep": "Sweep", "sequence": "Sequence"}
# The number of methods that a line names.
MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Folded:
    """The runs of one study as one line. id is the study's."""

    kind: str
    id: str
    runs: Sequence[Summary]

    @property
    def path(self) -> Path:
        """Return the folder of the newest run, where a line needs one."""
        return self.runs[0].path

    @property
    def label(self) -> str:
        """Return "Sweep: GA, NPO · 24 runs · 21.11. 15:40"."""
        titles = list(dict.fromkeys(run.method_title or shell.method_title(run.method) for run in self.runs))
        named = ", ".join(titles[:MOST_NAMED]) + (" …" if len(titles) > MOST_NAMED else "")
        many = f"{len(self.runs)} run{'s' * (len(self.runs) > 1)}"
        return f"{KINDS[self.kind]}: {named} · {many} · {shell.when_made(self.id)}"


Line = Summary | Folded


def fold(runs: Sequence[Summary]) -> list[Line]:
    """Return the runs with those of a study as one line, at the place of its newest run."""
    lines: list[Line] = []
    studies: dict[tuple[str, str], list[Summary]] = {}
    for run in runs:
        kind = next((kind for kind in KINDS if getattr(run, kind)), "")
        if not kind:
            lines.append(run)
            continue
        name = (kind, getattr(run, kind))
        if name not in studies:
            studies[name] = []
            lines.append(Folded(*name, studies[name]))
        studies[name].append(run)
    return lines


def outcome(words: Sequence[tuple[str, str, str] | None]) -> list[str]:
    """Return what came of a study's runs together, from conclusion.marks() of each: "11 of 24 forgot", "7 kept"."""
    known = [one for one in words if one]
    if not known:
        return []
    forgot, kept = (sum(one[at] == word for one in known) for at, word in enumerate(("forgot", "kept")))
    both = sum(one[:2] == ("forgot", "kept") for one in known)
    return [f"{forgot} of {len(known)} forgot", f"{kept} kept", f"{both} both"]


def colors() -> dict[str, str]:
    """Return the colour of each word of the verdict column: good, bad, or neither. A state has its own."""
    marks = {
        word: {True: "green", False: "red", None: "orange"}[good] for word, good in conclusion.MARKS.items()
    }
    states = {state: color for state, (color, _) in shell.STATES.items() if state != "done"}
    return marks | {"not attacked": "gray", "undecided": "gray"} | states
