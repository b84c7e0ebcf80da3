"""How many threads torch computes with: found out by trying, since it depends on who else is computing.

A second thread halves the large products, but every small operation has to wake it. Beside a busy neighbour two threads
are slower than one; alone they are up to 1.7 times faster (figures: bench/threads). So the count is measured when a
run begins, and again every few seconds while it computes.
"""

import os
import time
from dataclasses import dataclass

AGAIN = 10.0  # seconds of computing after which the neighbours may have changed
TRIAL = 0.06  # seconds for each count; longer than a scheduler's turn
MARGIN = 0.9  # more threads must take at most this part of the time of one


@dataclass
class Choice:
    """What was decided for this process, and when (time.perf_counter)."""

    small: bool = True
    at: float = -1e9


_last = Choice()


def threads() -> int:
    """Threads that torch computes with."""
    import torch

    return torch.get_num_threads()


def available() -> int:
    """The physical cores that this process may use."""
    import psutil

    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(mine, psutil.cpu_count(logical=False) or mine)


def choose_threads(small: bool, as_before: int = 0) -> int:
    """Let torch compute with as many threads as pay now: one for a small model, else one or all cores. Returns them.

    as_before: the count that a run began with, which it keeps; 0 for a new one. A small model's operations end before a
    sleeping second thread is awake: a training step of the bundled model takes twice as long on two threads as on one
    (LOG.md). OMP_NUM_THREADS has the last word.
    """
    import torch

    _last.small = small
    if not os.environ.get("OMP_NUM_THREADS"):
        most = available()
        torch.set_num_threads(as_before or (1 if small or most == 1 else faster_of(1, most)))
    _last.at = time.perf_counter()
    return torch.get_num_threads()


def keep() -> None:
    """Stay with the count of now: sums are cut by the number of threads, so another count means other last bits."""
    _last.small = True


def choose_again() -> None:
    """Between two pieces of work: decide anew where the last decision was made some time ago."""
    if not _last.small and time.perf_counter() - _last.at > AGAIN:
        choose_threads(small=False)


def faster_of(few: int, many: int) -> int:
    """The count of threads that a block's work takes less time with, on this machine, now."""
    import torch

    paces = []
    for count in (few, many):
        torch.set_num_threads(count)
        paces.append(_seconds_a_block())
    return many if paces[1] <= MARGIN * paces[0] else few


def _seconds_a_block() -> float:
    """A feed-forward block of a small language model on some texts: two products and what is between them."""
    import torch

    with torch.inference_mode():
        x = torch.ones(384, 576, dtype=torch.bfloat16)
        up, down = (torch.full(s, 0.01, dtype=torch.bfloat16) for s in ((576, 1536), (1536, 576)))

        def block() -> None:
            y = torch.nn.functional.silu(x @ up) * 0.5 @ down + x
            (y.float() * y.float().pow(2).mean(-1, keepdim=True).rsqrt()).to(x.dtype)

        block()
        start, blocks = time.perf_counter(), 0
        while time.perf_counter() - start < TRIAL or blocks < 3:
            block()
            blocks += 1
        return (time.perf_counter() - start) / blocks
