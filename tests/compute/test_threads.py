"""The count of threads: tried out for large models, one for small ones, and the user's word before all."""

import os
import subprocess
import sys

import pytest
import torch

from unlearn.compute import threads


@pytest.fixture
def machine(monkeypatch):
    """Three cores for this process, nothing said by the user, and a pace (seconds a block) for each count."""
    before, pace = torch.get_num_threads(), {1: 1.0, 3: 0.5}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 3)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3, 4}, raising=False)
    monkeypatch.setattr(threads, "_seconds_a_block", lambda: pace[torch.get_num_threads()])
    monkeypatch.setattr(threads, "_last", threads.Choice())
    yield pace
    torch.set_num_threads(before)


def test_a_small_model_gets_one_thread_and_a_large_one_what_is_faster(machine):
    assert threads.choose_threads(small=True) == torch.get_num_threads() == 1
    assert threads.choose_threads(small=False) == torch.get_num_threads() == 3
    machine[3] = 0.95  # hardly faster: not worth the neighbours' trouble
    assert threads.choose_threads(small=False) == torch.get_num_threads() == 1


def test_the_user_has_the_last_word(machine, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    assert threads.choose_threads(small=True) == threads.choose_threads(small=False) == 2


def test_a_decision_is_looked_at_again_after_a_while_for_large_models_only(machine, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(threads.time, "perf_counter", lambda: now[0])
    threads.choose_again()
    assert torch.get_num_threads() != 3, "no run has begun"
    threads.choose_threads(small=False)
    machine[3] = 2.0  # a neighbour came
    threads.choose_again()
    assert torch.get_num_threads() == 3
    now[0] += threads.AGAIN + 1
    threads.choose_again()
    assert torch.get_num_threads() == 1
    machine[3] = 0.5
    threads.choose_threads(small=True)
    now[0] += threads.AGAIN + 1
    threads.choose_again()
    assert torch.get_num_threads() == 1


def test_the_trial_really_computes():
    assert threads._seconds_a_block() > 0


@pytest.mark.parametrize(
    ("said", "policy", "spin"), [({}, "PASSIVE", "3000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", None)]
)
def test_waiting_threads_are_told_before_torch_is_there(said, policy, spin):
    script = (
        "import os, sys; from unlearn.compute import memory; memory.prefer_passive_threads();"
        "assert 'torch' not in sys.modules;"
        "print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"
    )
    rest = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    found = subprocess.run(
        [sys.executable, "-c", script], env=rest | said, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == [policy, str(spin)]
