"""The count of threads: every core for large models, one for small ones, and the user's word before all."""

import os
import subprocess
import sys

import pytest
import torch

from unlearn.compute import threads


@pytest.fixture
def machine(monkeypatch):
    """Three cores for this process, and nothing said by the user."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 3)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3, 4}, raising=False)
    yield
    torch.set_num_threads(before)


def test_a_small_model_gets_one_thread_and_a_large_one_every_core(machine):
    assert threads.choose_threads(small=True) == torch.get_num_threads() == threads.threads() == 1
    assert threads.choose_threads(small=False) == torch.get_num_threads() == 3


def test_a_run_keeps_the_count_that_it_began_with(machine):
    assert threads.choose_threads(small=True, as_before=2) == torch.get_num_threads() == 2


def test_the_user_has_the_last_word(machine, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    assert threads.choose_threads(small=True) == threads.choose_threads(small=False) == 2


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
