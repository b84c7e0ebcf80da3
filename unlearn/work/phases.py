"""Holds what the parts of one execution share: the run, the wish to stop, and timed phases.

execute.py puts the parts in order. train.py and score.py get this object and share nothing else.
"""

import contextlib
import errno
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unlearn.compute import memory
from unlearn.store.runs import Run, RunConfig
from unlearn.store.shapes import JsonObject
from unlearn.store.studies import Stopped

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Work:
    """One execution of a run. should_stop, on_progress and roots are as in execute()."""

    run: Run
    should_stop: Callable[[], bool]
    on_progress: Callable[[str, float], None]
    roots: Sequence[Path] | None
    # An address that the weights are moved to, or "" for the run's own folder.
    weights_to: str = ""
    # The number of the last step that was trained.
    step: int = 0
    # The number of tokens that a text may have: the config's max_length, or the model's positions.
    length: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    # The seconds of the training phase that were spent on other things than steps.
    beside: dict[str, float] = field(default_factory=dict)
    # The counts that the method made during training.
    counts: JsonObject = field(default_factory=dict)
    # What ended the training of a run with a stop rule (unlearn.store.stop_rule).
    ended: JsonObject = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config: RunConfig = self.run.config

    def check(self) -> None:
        """Raise Stopped where somebody has asked the run to stop."""
        if self.should_stop():
            raise Stopped

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block as a phase, with events at its beginning and end.

        It raises Stopped first where the run should stop.
        """
        self.check()
        self.on_progress(name, 0.0)
        self.run.append("note", phase=name)
        start = time.perf_counter()
        yield
        # What one phase freed lies between what is still held, and the next one needs other sizes.
        memory.trim()
        self.phases[name] = round(time.perf_counter() - start, 3)
        self.run.append("note", phase=name, seconds=self.phases[name])

    def note(self, text: str) -> None:
        """Write a sentence for the reader into the run's events."""
        self.run.append("note", text=text)


def is_disk_full(error: Exception) -> bool:
    """Return whether the error means that the disk is full.

    The safetensors library says so in words and not as an OSError.
    """
    if isinstance(error, OSError):
        return error.errno in FULL
    said = str(error) if type(error).__name__ == "SafetensorError" else ""
    return any(f"(os error {number})" in said for number in FULL)


def reason(error: Exception) -> str:
    """Return a sentence on the error for a person. An unexpected error keeps its type and place."""
    if isinstance(error, (ValueError, ArithmeticError)):
        return str(error)
    if is_disk_full(error):
        return f"the disk is full ({error}); free some space, then resume."
    if isinstance(error, OSError):
        return f"a file could not be read or written: {error}; see to it, then resume."
    short = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in short):
        return "out of memory; lower batch_size, use LoRA, or choose a smaller model."
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
