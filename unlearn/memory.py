"""Peak memory and thread count: what this process may use and what it used."""

import contextlib
import os
from pathlib import Path


def prefer_passive_threads() -> None:
    """Let waiting OpenMP threads sleep. Call before torch is imported.

    Spinning ones beside another busy process made a backward pass 40 times slower on two cores.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # our own bar is the only one on the screen
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def threads() -> int:
    """Threads that torch computes with."""
    import torch

    return torch.get_num_threads()


def reset_peak() -> None:
    """Start a new high-water mark, where the system can (Linux, CUDA)."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: str) -> int:
    """Bytes at the high-water mark: of the GPU on cuda, else of this process's resident memory."""
    import psutil
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
