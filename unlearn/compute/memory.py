"""This module prepares a process before torch is imported, and measures the memory that it uses."""

import contextlib
import ctypes
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path


def passive_threads() -> dict[str, str]:
    """Return the variables by which waiting OpenMP threads sleep after a very short time, or those that were given.

    Spinning ones beside another busy process made a backward pass 40 times slower on two cores. But who sleeps at once
    has to be woken for each of thousands of small operations: some 0.1 ms of spinning takes a third off a SmolLM2 step.
    """
    wanted = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}
    given = {name: os.environ[name] for name in wanted if name in os.environ}
    return given if "OMP_WAIT_POLICY" in given else wanted | given


def prefer_passive_threads() -> None:
    """Let waiting OpenMP threads of this process do as passive_threads() says. Call before torch is imported."""
    os.environ.update(passive_threads())
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # The product shows its own progress bar, so the libraries' bars are off.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # Without this bitsandbytes prints at each start which kernels it could fetch from a hub.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def whole(device: str) -> int:
    """Return the bytes of memory that the device has. For a processor this is the machine's memory, or the
    part that this process may use.
    """
    import psutil

    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[1])
    return min(int(psutil.virtual_memory().total), _given())


def spare(device: str) -> int:
    """Return the bytes that are free on the device now, including those that torch holds in reserve."""
    import psutil

    if device.startswith("cuda"):
        import torch

        free = torch.cuda.mem_get_info(device)[0]
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    free = int(psutil.virtual_memory().available)
    given = _given()
    return free if given >= UNLIMITED else max(0, min(free, given - psutil.Process().memory_info().rss))


# More bytes than any machine has. Some systems write such a number for "no limit".
UNLIMITED = 2**62


def _given() -> int:
    """What a container or the shell lets this process have."""
    found = UNLIMITED
    with contextlib.suppress(OSError, ValueError):
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    with contextlib.suppress(ImportError, OSError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        found = found if limit == resource.RLIM_INFINITY else min(found, limit)
    return found


def reset_peak() -> None:
    """Start a new measurement of peak memory, on systems that can do so (Linux, CUDA)."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: str) -> int:
    """Return the peak of the memory in use, in bytes. On cuda it is the GPU's memory, else the resident
    memory of this process.
    """
    import psutil
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


def give_back() -> None:
    """Free unused memory and return it to the system. Call it after a run and before a measurement."""
    gc.collect()
    # A process that never imported torch has nothing on a device.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim()


def trim() -> None:
    """Return free blocks of the C library's heap to the system, which glibc keeps otherwise. It takes some
    milliseconds.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


# Blocks from this size on are given back at once within returned(); glibc's own limit rises to the second number.
AT_ONCE, AT_MOST = 2**20, 2**25
# The free memory at the end of the heap that stays there within recycled().
HELD = 2**30
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


@contextlib.contextmanager
def returned() -> Iterator[None]:
    """Within the `with` block a freed block of a megabyte goes back to the system at once, instead of waiting in the
    heap for one that fits into it. It saves what lies idle there, and costs the kernel's work of handing out pages.

    What still fits into a gap of the heap is put there first.
    """
    with _limits(AT_ONCE, 2 * AT_MOST):
        yield


@contextlib.contextmanager
def recycled() -> Iterator[None]:
    """Within the `with` block what one step frees stays in the heap for the next one. Else glibc gives the heap's end
    back whenever enough of it is free, and the kernel hands out and clears the same thousands of pages in each step. A
    step's peak is the same; give what is left back afterwards, by trim().
    """
    with _limits(AT_MOST, HELD):
        yield


@contextlib.contextmanager
def _limits(apart: int, end: int) -> Iterator[None]:
    """Within the `with` block blocks from `apart` bytes on are given back when freed, and more than `end` free bytes at
    the heap's end. Another C library than glibc is left as it is.
    """
    try:
        limit = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        yield
        return
    limit(M_MMAP_THRESHOLD, apart)
    limit(M_TRIM_THRESHOLD, end)
    try:
        yield
    finally:
        limit(M_MMAP_THRESHOLD, AT_MOST)
        # Beside the first glibc moves this one too, until somebody has set either.
        limit(M_TRIM_THRESHOLD, 2 * AT_MOST)


def allocated_peak(work: Callable[[], object], device: str) -> int:
    """Return the most bytes that tensors made within work() take at any moment.

    On cuda the allocator's own count; elsewhere every allocation as torch's profiler sees it, so that free memory
    that the C library keeps does not count (where the profiler does not tell, resident memory is taken). work() should
    free nothing that was there before: cuda counts that.
    """
    import psutil
    import torch
    from torch.profiler import ProfilerActivity, profile

    from unlearn.compute import private

    if device.startswith("cuda"):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)
    give_back()
    reset_peak()
    before = psutil.Process().memory_info().rss
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    sizes = private.allocations(seen)
    return max(0, *accumulate(sizes)) if sizes else max(0, peak(device) - before)
