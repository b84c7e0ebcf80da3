"""A finished run and a stopped one leave nothing behind."""

import gc
import subprocess
import sys

import pytest
import torch

from bench import memory

HEADER = {
    "command": "python -m bench.memory",
    "machine": {"cpu": "CPU", "cores": 1, "load": 0},
    "versions": {"torch": "2"},
    "commit": "0",
    "dirty": False,
    "date": "2026-01-01",
}


@pytest.mark.slow
def test_no_tensor_outlives_its_run(tmp_path, tiny_folder):
    for role, words in (("forget", "red green blue"), ("retain", "one two three")):
        lines = "".join(f"What is {w}?,{w}\n" for w in words.split())
        (tmp_path / f"{role}.csv").write_text("question,answer\n" + lines)
    data = {role: str(tmp_path / f"{role}.csv") for role in ("forget", "retain")}
    config = {
        "model": str(tiny_folder),
        "data": data,
        "method": "undial",
        "epochs": 3,
        "batch_size": 1,
        "probes": 1,
    }
    before, models = memory.live_tensors(), memory.live_models()
    found = memory.measure(config | {"lr": 1e-3}, 4, tmp_path / "runs", [tmp_path.parent, tiny_folder.parent])
    assert found["after_stop"]["state"] == "stopped"
    for kept in (*found["after"], found["after_stop"]):
        assert kept["tensors"] <= before
        assert kept["models"] <= models
    assert found["growth"]["tensors"] == 0
    assert found["growth"]["resident"] < 4 * 2**20  # what no tensor owns; exact counts are above
    assert "growth a run" in memory.table(found | HEADER)


def test_growth_is_that_of_most_runs():
    told = [{"tensors": 0, "resident": 100 if i == 0 else 1000 + 10 * i + 500 * (i == 3)} for i in range(8)]
    assert memory.growth(told) == {"tensors": 0, "resident": 10}


@pytest.mark.slow
def test_a_model_that_somebody_holds_is_counted(tiny_folder):
    from unlearn.models.load import load

    before = memory.live_models()
    held = load(str(tiny_folder))
    assert memory.live_models() == before + 1
    del held
    gc.collect()
    assert memory.live_models() == before


@pytest.mark.slow
def test_live_tensors_counts_shared_storage_once():
    before = memory.live_tensors()
    first = torch.zeros(1000)
    second = first[:10]
    assert memory.live_tensors() - before == 4000
    del first, second
    assert memory.live_tensors() == before


IDLE = """
import psutil, torch
from unlearn.compute.memory import returned, trim

def idle():
    trim()
    before = psutil.Process().memory_info().rss
    blocks = [torch.ones(2**19) for _ in range(16)]
    above = torch.ones(2**14)
    del blocks
    return (psutil.Process().memory_info().rss - before) / 2**20

with returned():
    print(idle())
print(idle())
"""


@pytest.mark.slow
def test_freed_memory_is_returned_at_once_within_the_block_alone():
    """MiB that stay of 32 in blocks of two, freed below one that lives on; in a process whose heap has no gaps yet."""
    done = subprocess.run([sys.executable, "-c", IDLE], capture_output=True, text=True, check=True)
    within, outside = map(float, done.stdout.split())
    assert within < 8
    assert outside > 24


AGAIN = """
import resource, torch
from unlearn.compute.memory import recycled

def step():
    # What a step makes and lets go of: 256 MiB, each block above the one before.
    blocks = [torch.ones(2**19) for _ in range(128)]
    while blocks:
        blocks.pop()

def faults():
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
with recycled():
    print(faults())
"""


@pytest.mark.slow
def test_a_step_takes_the_memory_of_the_one_before_within_the_block_alone():
    """Pages that the kernel hands out for a second step, of 65,536 that it uses."""
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
    outside, within = map(int, done.stdout.split())
    assert outside > 30_000
    assert within < outside / 5
