"""This module records what pages show text by text: samples before and after, and probes."""

from collections.abc import Mapping, Sequence
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
# Times that likelihoods are read while it trains, where it has so many steps.
LEAST = 20


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
    """

    def __init__(
        self,
        run: Run,
        loaded: "Loaded",
        chosen: dict[str, list[Row]],
        steps: int,
        max_length: int,
        clock: Clock,
    ) -> None:
        self.run, self.loaded, self.max_length, self.clock = run, loaded, max_length, clock
        self.wanted, self.steps = run.config.probes, max(1, steps)
        self.rows = probed(chosen)
        self.done = {event["step"] for event in run.events("probe")}
        # The items of the last record.
        self.items: list[JsonObject] = []
        self.next, self.began, self.generated, self.at = 0, 0, 0.0, 0
        # Seconds that the likelihood of one row took.
        self.each = 0.0

    def begin(self, step: int) -> None:
        """Record all rows before the first step that is trained now, unless a resumed run has done it."""
        self.began = self.generated = self.at = step
        if step == 0:
            self.record(step)
        if self.wanted and self.rows and not self.items:
            self.items = self._read(range(len(self.rows)), continued=False, kind="ends")

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
        cost = clock.last.get(kind, clock.last.get("ends", 0.0))
        whole = clock.trained * (of - self.began) / max(1, step - self.began)
        rounds = int(min(self.wanted - 1, GENERATED * whole / max(cost, 1e-9)))
        every = (of - self.began) / (rounds + 1)
        due = rounds > 0 and step - self.generated >= every and clock.affords(kind, GENERATED, cost)
        return every if due else 0.0

    def _look_due(self, step: int, of: int) -> bool:
        every = max(1, of // max(LEAST, self.wanted))
        return step % every == 0 and bool(self.items)

    def look(self, step: int, of: int) -> None:
        """Read the likelihoods of as many rows as there is time for, at least one. The rows take turns."""
        clock, kind = self.clock, "looks"
        left = max(1.0, max(LEAST, self.wanted) * (1 - step / of))
        whole = clock.trained * (of - self.began) / max(1, step - self.began)
        room = (LOOKS * whole - clock.spent.get(kind, 0.0)) / left
        count = min(len(self.rows), max(1, int(room / max(self.each, 1e-9))))
        turn = [(self.next + i) % len(self.rows) for i in range(count)]
        self.next = (self.next + count) % len(self.rows)
        fresh = dict(zip(turn, self._read(turn, continued=False, kind=kind), strict=True))
        self.each = clock.last[kind] / count
        told = [
            fresh.get(place) or {"read": item.get("read", self.at)} | _without_text(item)
            for place, item in enumerate(self.items)
        ]
        self._write(step, told)

    def record(self, step: int, kind: str = "ends") -> None:
        """Score and continue all rows at this step, unless that has been done."""
        if not self.wanted or not self.rows or step in self.done:
            return
        self._write(step, self._read(range(len(self.rows)), continued=True, kind=kind))
        self.generated = step

    def _write(self, step: int, items: list[JsonObject]) -> None:
        self.done.add(step)
        self.items, self.at = items, step
        append_line(self.run.path / "probes.jsonl", {"step": step, "items": items})
        self.run.append("probe", step=step)

    def _read(self, places: Sequence[int], *, continued: bool, kind: str) -> list[JsonObject]:
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
                {
                    "role": role,
                    "index": index,
                    "question": o.question,
                    "prompt": o.prompt,
                    "answer": o.answer,
                    **({"text": o.text} if continued else {}),
                    "nll": text_nll(o),
                    "tokens": list(o.tokens),
                }
                for (role, index, _), o in zip(asked, found, strict=True)
            ]

    def _scored(self, start: float, rows: int) -> None:
        """All have been read and none continued: what a look will cost is known before the first."""
        self.each = (self.clock.now() - start) / rows


def _without_text(item: JsonObject) -> JsonObject:
    return {name: value for name, value in item.items() if name != "text"}


def spread(rows: Sequence[Row], count: int) -> list[tuple[int, Row]]:
    """Return `count` rows spread evenly over the list, with their places, within those whose samples are kept."""
    rows = rows[:SAMPLES]
    count = min(count, len(rows))
    places = sorted({round(i * (len(rows) - 1) / max(1, count - 1)) for i in range(count)}) if rows else []
    return [(place, rows[place]) for place in places]
