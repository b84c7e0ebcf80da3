"""torch from unlearn.compute.lazy is torch itself, and it is not loaded before it is used."""

import subprocess
import sys

import pytest
import torch

from unlearn.compute import lazy, lm


def in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_nothing_is_loaded_before_its_first_use():
    code = """
import sys
from unlearn.compute.lazy import F, lm, no_grad, pd, torch
@no_grad
def grad_on(): return torch.is_grad_enabled()
print(sorted({"torch", "pandas", "unlearn.compute.lm"} & sys.modules.keys()))
print(grad_on(), torch.is_grad_enabled(), "torch" in sys.modules)
"""
    assert in_fresh_process(code).splitlines() == ["[]", "False True True"]


def test_it_is_the_module_itself():
    assert lazy.torch.Tensor is torch.Tensor
    assert lazy.torch.__version__ == torch.__version__
    assert lazy.F.softmax is torch.nn.functional.softmax
    assert lazy.lm.forward is lm.forward


@pytest.mark.slow
def test_threads_that_come_first_together_all_see_the_whole_module():
    code = """
import threading
from unlearn.compute.lazy import lm, torch
seen, gate = [], threading.Barrier(8)
def ask():
    gate.wait()
    seen.append(lm.forward.__name__ + str(torch.ones(2).sum().item()))
threads = [threading.Thread(target=ask) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(seen == ["forward2.0"] * 8)
"""
    assert in_fresh_process(code) == "True"


def test_no_grad_keeps_name_arguments_and_errors():
    @lazy.no_grad
    def double(x, *, times=2):
        """Docs."""
        return times * x, torch.is_grad_enabled()

    weight = torch.ones(1, requires_grad=True)
    value, on = double(weight, times=3)
    assert (double.__name__, double.__doc__, on, value.requires_grad) == ("double", "Docs.", False, False)
    assert torch.is_grad_enabled()
    with pytest.raises(TypeError):
        double()
    assert torch.is_grad_enabled()
