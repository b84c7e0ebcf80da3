"""What of a run the pages show text by text: samples before and after, and probes while it trains."""

from typing import TYPE_CHECKING, Any

from unlearn.data.base import Row
from unlearn.measure.evaluate import observe
from unlearn.metrics.memory.exact import exact
from unlearn.metrics.memory.nll import text_nll
from unlearn.metrics.memory.rouge import rouge_l
from unlearn.store.disk import append_line
from unlearn.store.runs import Run

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


SAMPLES = 40  # texts a role whose generations and tokens are kept for the pages
PROBES = {"forget": 4, "retain": 2}


def sample(when: str, o: Any) -> dict[str, Any]:
    """One line of samples.jsonl."""
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
    """Fixed rows, scored and continued every few steps: what "watch it forget" replays."""

    def __init__(
        self, run: Run, loaded: "Loaded", chosen: dict[str, list[Row]], steps: int, max_length: int
    ) -> None:
        self.run, self.loaded, self.max_length = run, loaded, max_length
        wanted = run.config.probes
        self.rows = {role: _spread(chosen.get(role, []), count) for role, count in PROBES.items()}
        self.every = max(1, -(-steps // wanted)) if wanted else 0
        self.done = {event["step"] for event in run.events("probe")}

    def due(self, step: int, of: int) -> bool:
        return bool(self.every) and (step % self.every == 0 or step == of)

    def record(self, step: int) -> None:
        """Score the rows at this step, unless that has been done."""
        if not self.every or step in self.done:
            return
        self.done.add(step)
        places = {role: [i for i, _ in rows] for role, rows in self.rows.items()}
        found = observe(
            self.loaded.model,
            self.loaded.tokenizer,
            {role: [row for _, row in rows] for role, rows in self.rows.items() if rows},
            max_length=self.max_length,
            device=self.loaded.device,
        )
        items = [
            {
                "role": o.role,
                "index": places[o.role][o.index],
                "prompt": o.prompt,
                "answer": o.answer,
                "text": o.text,
                "nll": text_nll(o),
                "tokens": list(o.tokens),
            }
            for o in found
        ]
        append_line(self.run.path / "probes.jsonl", {"step": step, "items": items})
        self.run.append("probe", step=step)


def _spread(rows: list[Row], count: int) -> list[tuple[int, Row]]:
    """count rows spread evenly over the list, with their places, within those whose samples are kept."""
    rows = rows[:SAMPLES]
    count = min(count, len(rows))
    places = sorted({round(i * (len(rows) - 1) / max(1, count - 1)) for i in range(count)}) if rows else []
    return [(place, rows[place]) for place in places]
