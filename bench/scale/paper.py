"""Reckons on paper what 10,000 runs on many GPUs would take, and what would break first. Nothing of it was tried.

Measured parts come from assets/results/scale.json and store.json. What a GPU does is assumed and named: no figure of
one exists here. The parts that may break are shared by all runs: the submitting process, which hands over, copies and
keeps them, and its line, over which weights come back unless `--store` says where they go.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.record import RESULTS

RUNS = 10_000
GPUS = (8, 64, 1000)
# Parameters, and those of a rank-16 adapter on every linear layer of the blocks (Llama 3.2 1B and Llama 3.1 8B).
MODELS = {"1 B": (1.24e9, 11.3e6), "8 B": (8.03e9, 41.9e6)}
# Tokens that a run reads: 400 pairs of about 60 tokens and as many kept ones, ten epochs.
TOKENS = 400 * 60 * 2 * 10
# Numbers a second of one GPU in bfloat16 by its data sheet (H100), and the share of it that is assumed to be reached.
PEAK, REACHED = 989e12, 0.3
# A whole run over its steps: loading, scores before and after (measured with SmolLM2 on a CPU, docs/speed.md).
WHOLE = 1.24
# Bytes a second of the submitting process's line (10 Gbit/s), and its memory.
LINE, MEMORY = 1.25e9, 64e9


@dataclass(frozen=True)
class Reckoned:
    """What 10,000 runs of one model on so many GPUs come to. load: {part: how much of it is used; 1 is all of it}."""

    model: str
    gpus: int
    seconds: float
    hours: float
    load: dict[str, float]

    @property
    def first(self) -> str:
        """Return the part that is used most."""
        return max(self.load, key=lambda part: self.load[part])


def reckoned(scale: Mapping[str, Any]) -> list[Reckoned]:
    """Return the reckoning for each model and number of GPUs, one run a GPU at a time."""
    rate, held = scale["empty"]["per_second"], scale["queued"]["bytes_each"]
    added = max(0.0, scale["run"]["overhead"])
    found = []
    for model, (parameters, adapter) in MODELS.items():
        # Forward and backward through a frozen base, and the seconds that Ray adds.
        seconds = WHOLE * 6 * parameters * TOKENS / (PEAK * REACHED) + added
        for gpus in GPUS:
            a_second = gpus / seconds
            load = {
                "runs handed over and copied by one process": a_second / rate,
                "its line, with adapters in float32": a_second * 4 * adapter / LINE,
                "its memory, with all runs queued": RUNS * max(0.0, held) / MEMORY,
            }
            # Where a part is used up, the GPUs wait for it.
            hours = RUNS / a_second / 3600 * max(1.0, *load.values())
            found.append(Reckoned(model, gpus, seconds, hours, load))
    return found


def table() -> str:
    """Return Markdown with the reckoning, or what is missing for it."""
    path = RESULTS / "scale.json"
    if not path.is_file():
        return "Reckoned when `python -m bench.scale --out assets/results/scale.json` has been recorded."
    lines = [
        f"| {RUNS:,} runs of | GPUs | a run | all of them | used most | of it |",
        "|---|--:|--:|--:|---|--:|",
    ]
    for one in reckoned(json.loads(path.read_text(encoding="utf-8"))):
        used = one.load[one.first]
        over = " (breaks)" if used > 1 else ""
        time = f"{one.hours:.1f} h" if one.hours >= 1 else f"{60 * one.hours:.0f} min"
        lines.append(
            f"| {one.model} | {one.gpus:,} | {one.seconds:.0f} s | {time} | {one.first} | {used:.0%}{over} |"
        )
    return "\n".join(lines)
