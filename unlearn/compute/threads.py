"""This module sets how many threads torch uses: one for a small model, every core for another.

A large model gains on two cores (1.8 times as fast alone) and loses at most 8 % beside a busy neighbour, as long as
waiting threads sleep (prefer_passive_threads). A small one is a third faster on two threads while nothing else runs,
and 2.5 times slower beside one busy process; a browser, the app's server and other runs are such neighbours, so it
takes one (bench/threads). Nothing is tried, and the count does not change while a run computes: sums are cut by it, and
another count means other last bits.
"""

import os
import sys


def threads() -> int:
    """Return the number of threads that torch computes with."""
    import torch

    return torch.get_num_threads()


def available() -> int:
    """Return the number of physical cores that this process may use."""
    import psutil

    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(mine, psutil.cpu_count(logical=False) or mine)


def choose_threads(small: bool, as_before: int = 0) -> int:
    """Let torch compute with one thread for a small model, else with all physical cores. Returns the count.

    as_before: the count that a run began with, which it keeps; 0 for a new one. OMP_NUM_THREADS has the last word.
    """
    import torch

    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(as_before or (1 if small else available()))
    return torch.get_num_threads()


def limit(count: int) -> None:
    """Let this process compute with so many threads from now on, whatever the model."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)
