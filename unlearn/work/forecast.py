"""This module says what a model takes before it is on this machine: memory at each tuning, and time.

Both follow from the number of parameters. Time is that of finished runs on this machine, of whatever model, in
operations a second; without such a run it is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn.models import precision
from unlearn.store.config import ROUNDED
from unlearn.store.runs import Run

# A usual run: so many tokens in a step (16 texts to forget and 16 to keep, 40 tokens each), and in all.
STEP, TOKENS = 1280, 20_000
USUAL = "in steps of 16 texts to forget and 16 to keep of 40 tokens each"


@dataclass(frozen=True)
class Way:
    """A way to train: its name, its tuning, the numbers of the weights, and how the optimiser holds its own."""

    name: str
    tuning: str
    precision: str
    memory: str = "usual"


WAYS = (
    Way("LoRA", "lora", "bfloat16"),
    Way("LoRA, 4 bits", "lora", "nf4"),
    Way("all weights", "full", "float32"),
    Way("all weights, lean", "full", "float32", "lean"),
)


@dataclass(frozen=True)
class Forecast:
    """What a usual run takes in one way: bytes, and seconds or None where no finished run tells the pace."""

    name: str
    bytes: int
    seconds: float | None


def forecast(parameters: int, pace: Mapping[str, float]) -> list[Forecast]:
    """Return what a usual run of a model of this size takes in each way. pace: as pace() returns it."""
    told = []
    for way in WAYS:
        held = held_bytes(parameters, way.tuning, way.precision, way.precision, way.memory)
        rate = pace.get(way.tuning)
        seconds = 6.0 * parameters * TOKENS / rate if rate else None
        told.append(Forecast(way.name, held + activation_bytes(parameters, STEP), seconds))
    return told


def pace(finished: Sequence[Run]) -> dict[str, float]:
    """Return {tuning: operations a second} of training, from the newest finished run of each tuning on this machine."""
    found: dict[str, float] = {}
    for run in finished:
        results = run.results()
        seconds = results.get("phases", {}).get("training", 0.0)
        # A run that came from another machine says nothing of this one.
        if results.get("flops") and seconds > 0 and not run.meta.get("imported"):
            found.setdefault(run.config.tuning, results["flops"] / seconds)
    return found


def held_bytes(parameters: int, tuning: str, numbers: str, dtype: str, memory: str = "usual") -> int:
    """Return the bytes of the weights and of what moves them (gradients, two moments).

    numbers: the precision of the run. dtype: the number format of what is not rounded.
    """
    a_weight = precision.BYTES[numbers if numbers in ROUNDED else dtype]
    # An adapter of the usual rank has about 1 % of the parameters, in float32. Lean: no gradients, moments of 16 bits.
    more = 1.05 if tuning != "full" else 2 if memory == "lean" else 4
    return round(more * a_weight * parameters)


def activation_bytes(parameters: int, tokens_a_step: int, checkpointing: bool = False) -> int:
    """Return the activation bytes of one micro-batch. With gradient checkpointing only each block's input is kept."""
    # A transformer of N parameters is about (N / 150)^0.5 wide.
    width = max(64.0, (parameters / 150) ** 0.5)
    # With gradient checkpointing the inputs of 12 blocks and one whole block are kept, or else all 12 blocks.
    kept = 12 + 34 if checkpointing else 12 * 34
    return round(tokens_a_step * width * kept * 4)
