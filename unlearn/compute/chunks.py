"""This module decides how many answer tokens go through the output head together, and whether their logits are kept
for the backward pass. It also decides how many texts one pass reads.

Each chunk reads the head's matrix again, and adds to its gradient: with few tokens a chunk that costs more than the
products. With many, the logits no longer fit in memory that the C library hands out again. From how many tokens on a
chunk no longer gains is tried once on a machine (rows(); unlearn/models/machine.py keeps it, so that the same seed
gives the same bits); how large it may get, and what may be kept, is a part of the memory there is (figures:
bench/upstream). A GPU takes what its memory allows; nothing is tried there.
"""

import time
from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from unlearn.compute import products
from unlearn.compute.memory import spare, whole

# The numbers of tokens in a chunk that are tried.
ROWS = (32, 64, 128, 256)
# Fewer tokens are taken if they need at most this many times the best time.
LOSS = 1.1
# A chunk may always hold this many logits: 16 MiB in float32.
LEAST = 2**22
# A chunk takes at most the machine's memory divided by this.
CHUNK_PART = 256
# One loss keeps at most the memory that is free now divided by this.
KEPT_PART = 64
# The size of the matrix in the trial: 32 MiB, more than a core's cache.
WIDTH = 2**13, 2**10
# The most tokens that one pass reads, with padding. A pass of 3,300 tokens of SmolLM2 took half as long again as two of
# 1,700: its states leave the processor's cache, and such large blocks of memory come anew from the system each time.
PASS = 2**11

_chosen: int | None = None


def use(count: int | None) -> int:
    """Use this number of tokens in a chunk from now on, as an earlier trial on this machine found. None
    starts a new trial. Returns the number in use.

    ValueError for a number that is not among ROWS.
    """
    global _chosen
    if count is not None and count not in ROWS:
        raise ValueError(f"head rows must be among {', '.join(map(str, ROWS))}, got {count!r}.")
    _chosen = count
    _tried.cache_clear()
    return rows()


def rows() -> int:
    """Return the number of tokens in a chunk above which this processor gains nothing more."""
    return _chosen or _tried()


@cache
def _tried() -> int:
    with torch.inference_mode():
        matrix, states = (torch.ones(shape, device="cpu") for shape in (WIDTH, (max(ROWS), WIDTH[1])))
        laps = [[_pace(states[:count], matrix) for count in ROWS] for _ in range(3)]
    paces = [min(column) for column in zip(*laps, strict=True)]
    return next(count for count, pace in zip(ROWS, paces, strict=True) if pace <= LOSS * min(paces))


def _pace(states: Tensor, matrix: Tensor) -> float:
    """Seconds a row of the product."""
    start = time.perf_counter()
    products.linear(states, matrix)
    return (time.perf_counter() - start) / len(states)


def chunk(vocabulary: int, device: torch.device | str = "cpu") -> int:
    """Return how many answer tokens have their logits in memory together. The number is one that oneDNN need
    not round up (products.rows).
    """
    device = torch.device(device)
    wanted = LEAST // vocabulary
    # So many are allowed anywhere; the system is asked for its memory where more are wanted.
    if device.type == "cuda" or wanted < max(ROWS):
        allowed = max(LEAST, whole(str(device)) // CHUNK_PART // 4) // vocabulary
        wanted = allowed if device.type == "cuda" else min(allowed, max(wanted, rows()))
    most = max(1, wanted)
    return most - most % products.FEWEST if most > products.FEWEST else most


def keeps(count: int, vocabulary: int, device: torch.device | str = "cpu") -> bool:
    """Return whether the logits of this many tokens are kept from the forward to the backward pass. Otherwise
    they are computed again.

    It changes no bit of the results, so it may depend on what is free now.
    """
    logits = count * vocabulary
    return logits <= LEAST or 4 * logits <= spare(str(device)) // KEPT_PART


def passes(lengths: Sequence[int]) -> Iterator[slice]:
    """Yield the texts that one pass reads, of texts that lie in a batch in this order: neighbours, of at most PASS
    tokens with their padding.
    """
    start, longest = 0, 0
    for place, length in enumerate(lengths):
        longest = max(longest, length)
        if place > start and (place - start + 1) * longest > PASS:
            yield slice(start, place)
            start, longest = place, length
    yield slice(start, len(lengths))
