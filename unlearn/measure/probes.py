"""This module records what pages show text by text: samples before and after, and probes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearn.data.base import Row
from unlearn.measure.evaluate import observe
from unlearn.metrics.base import Observation
from unlearn.metrics.memory.exact import exact
from unlearn.metrics.memory.nll import text_nll
from unlearn.metrics.memory.rouge import rouge_l
from unlearn.store.disk import append_line
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject
from unlearn.training.budget import GENERATED, LOOKS, Clock

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


# So many texts of each role keep their generations and tokens for the pages.
SAMPLES = 40
# As many of each, so that what must go and what must stay stand side by side.
PROBES = {"forget": 5, "retain": 5}
# Times that likelihoods are read while it trains, both ends counted, where it has so many steps.
LEAST = 20
# Tokens that a continuation may have beyond its answer's.
MORE = 6


def probed(chosen: Mapping[str, Sequence[Row]]) -> list[tuple[str, int, Row]]:
    """Return the rows that a run asks again and again, of those that it scores: (role, place, row)."""
    picked = {role: spread(chosen.get(role, ()), count) for role, count in PROBES.items()}
    return [(role, place, row) for role, rows in picked.items() for place, row in rows]


def sample(when: str, o: Observation) -> JsonObject:
    """Return one line of samples.jsonl."""
    hit = exact(o)
    return {
        "when": when,
        "role": o.role,
        "index": o.index,
        "question": o.question,
        "prompt": o.prompt,
        "answer": o.answer,
        "text": o.text,
        "exact": None if hit is None else bool(hit),
        "rougeL": rouge_l(o),
        "nll": text_nll(o),
        "tokens": list(o.tokens),
    }


class Probes:
    """The probes of a run: fixed rows that are scored, and sometimes continued, while it trains. The page's
    "watch it forget" replays them.

    Rows are continued at the first and the last step, and in between as often as the config asks for, as far as
    budget.GENERATED allows. Their likelihoods are read LEAST times and more; where budget.LOOKS is too little for
    all rows, some at a time, by turns. An item that was not read again says of which step its numbers are.
    before: what the model was asked before the run, which is what it says at step 0.
    """

    def __init__(
        self,
        run: Run,
        loaded: "Loaded",
        chosen: dict[str, list[Row]],
        steps: int,
        max_length: int,
        clock: Clock,
        before: Sequence[Observation] = (),
    ) -> None:
        self.run, self.loaded, self.max_length, self.clock = run, loaded, max_length, clock
        self.before = {(one.role, one.index): one for one in before}
        self.wanted, self.steps = run.config.probes, max(1, steps)
        self.rows = probed(chosen)
        self.done = {event["step"] for event in run.events("probe")}
        # The items of the last record.
        self.items: list[JsonObject] = []
        self.next, self.began, self.generated, self.at = 0, 0, 0.0, 0
        # The rows of the last look and the seconds that they took; 0 before anything was read.
        self.count, self.took = 0, 0.0
        # What the model said when all rows were continued for the last time, and after which step.
        self.said: tuple[int, Sequence[Observation]] = (-1, ())

    def begin(self, step: int) -> None:
        """Record all rows before the first step that is trained now, unless a resumed run has done it."""
        self.began = self.generated = self.at = step
        known = [self.before.get((role, place)) for role, place, _ in self.rows]
        if step == 0 and self.wanted and known and all(known) and step not in self.done:
            self._write(step, [told_of(one, continued=True) for one in known if one])
        elif step == 0:
            self.record(step)
        if self.wanted and self.rows and not self.items:
            read = self._read(range(len(self.rows)), continued=False, kind="ends")
            self.items = [told_of(one, continued=False) for one in read]

    def follow(self, step: int, of: int) -> None:
        """Record after a step what is due and fits into the time budget."""
        self.steps = max(self.steps, of)
        if not self.wanted or not self.rows or step in self.done or step >= of:
            return
        if every := self._generation_due(step, of):
            # The mark is a fraction of a step: the next generation is due so much later than the last.
            mark = self.generated + every
            self.record(step, "probes")
            self.generated = max(mark, step - 1)
        elif self._look_due(step, of):
            self.look(step, of)

    def _generation_due(self, step: int, of: int) -> float:
        """Steps between two of them where one is due, else 0: as many as there is room for by the end, spread."""
        clock, kind = self.clock, "probes"
        each = clock.trained / max(1, step - self.began)
        # Before one has been measured each token is taken to cost as much as a row's likelihood, or all as a step.
        positions = MORE + max((len(item["tokens"]) for item in self.items), default=0)
        guess = positions * self.took / self.count if self.count else each
        cost = clock.last.get(kind, clock.last.get("ends", guess))
        whole = each * (of - self.began)
        rounds = int(min(self.wanted - 1, GENERATED * whole / max(cost, 1e-9)))
        every = (of - self.began) / (rounds + 1)
        due = rounds > 0 and step - self.generated >= every and clock.affords(kind, GENERATED, cost)
        return every if due else 0.0

    def _look_due(self, step: int, of: int) -> bool:
        clock = self.clock
        # Where one row is already more than there is time for, they are read as often as is promised and no more.
        tight = self.count == 1 and clock.spent.get("looks", 0.0) > LOOKS * clock.trained
        looks = LEAST if tight else max(LEAST, self.wanted)
        return bool(self.items) and step * looks // of > (step - 1) * looks // of

    def look(self, step: int, of: int) -> None:
        """Read the likelihoods of as many rows as there is time for, at least one. The rows take turns."""
        clock, kind = self.clock, "looks"
        left = max(1.0, max(LEAST, self.wanted) * (1 - step / of))
        whole = clock.trained * (of - self.began) / max(1, step - self.began)
        room = (LOOKS * whole - clock.spent.get(kind, 0.0)) / left
        count = self._affordable(room)
        turn = [(self.next + i) % len(self.rows) for i in range(count)]
        self.next = (self.next + count) % len(self.rows)
        read = self._read(turn, continued=False, kind=kind)
        fresh = {place: told_of(one, continued=False) for place, one in zip(turn, read, strict=True)}
        self.count, self.took = count, clock.last[kind]
        told = [
            fresh.get(place) or {"read": item.get("read", self.at)} | _without_text(item)
            for place, item in enumerate(self.items)
        ]
        self._write(step, told)

    def _affordable(self, room: float) -> int:
        """The rows that can be read in so many seconds, judged by what the last look took; one where none was."""
        if not self.count:
            return 1
        # Rows that are read together take less than one by one, so one more is tried where there is some room.
        more = self.count + 1 if self.took <= 0.8 * room else 1
        return min(len(self.rows), max(more, int(self.count * room / max(self.took, 1e-9))))

    def record(self, step: int, kind: str = "ends") -> None:
        """Score and continue all rows at this step, unless that has been done."""
        if not self.wanted or not self.rows or step in self.done:
            return
        read = self._read(range(len(self.rows)), continued=True, kind=kind)
        self._write(step, [told_of(one, continued=True) for one in read])
        self.generated, self.said = step, (step, read)

    def _write(self, step: int, items: list[JsonObject]) -> None:
        self.done.add(step)
        self.items, self.at = items, step
        append_line(self.run.path / "probes.jsonl", {"step": step, "items": items})
        self.run.append("probe", step=step)

    def _read(self, places: Sequence[int], *, continued: bool, kind: str) -> list[Observation]:
        asked = [self.rows[place] for place in places]
        start = self.clock.now()
        with self.clock.beside(kind):
            found = observe(
                self.loaded.model,
                self.loaded.tokenizer,
                {"probe": [row for *_, row in asked]},
                max_length=self.max_length,
                device=self.loaded.device,
                continued=continued,
                scored=lambda: self._scored(start, len(asked)),
            )
            return [
                replace(one, role=role, index=index)
                for (role, index, _), one in zip(asked, found, strict=True)
            ]

    def _scored(self, start: float, rows: int) -> None:
        """All have been read and none continued: what a look will cost is known before the first."""
        self.count, self.took = rows, self.clock.now() - start


def told_of(one: Observation, *, continued: bool) -> JsonObject:
    """Return what a probe's record says of a row. continued: whether its text was generated."""
    return {
        "role": one.role,
        "index": one.index,
        "question": one.question,
        "prompt": one.prompt,
        "answer": one.answer,
        **({"text": one.text} if continued else {}),
        "nll": text_nll(one),
        "tokens": list(one.tokens),
    }


def _without_text(item: JsonObject) -> JsonObject:
    return {name: value for name, value in item.items() if name != "text"}


def spread(rows: Sequence[Row], count: int) -> list[tuple[int, Row]]:
    """Return `count` rows spread evenly over the list, with their places, within those whose samples are kept."""
    rows = rows[:SAMPLES]
    count = min(count, len(rows))
    places = sorted({round(i * (len(rows) - 1) / max(1, count - 1)) for i in range(count)}) if rows else []
    return [(place, rows[place]) for place in places]
