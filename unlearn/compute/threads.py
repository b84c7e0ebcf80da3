"""This module sets how many threads torch uses: one for a small model, every core for another.

A small model's operations end before a sleeping second thread is awake. In a large one two threads halve the large
products, and beside a busy neighbour they lose nothing, as long as waiting threads sleep (prefer_passive_threads): on
two cores 1.9 times as fast alone, and 1.04 to 1.07 times the time of one thread beside a process that computes without
end (bench/threads). So nothing is tried, and the count does not change while a run computes: sums are cut by it, and
another count means other last bits.
"""

import os


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

    as_before: the count that a run began with, which it keeps; 0 for a new one. A training step of the bundled model
    takes twice as long on two threads as on one (LOG.md). OMP_NUM_THREADS has the last word.
    """
    import torch

    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(as_before or (1 if small else available()))
    return torch.get_num_threads()
