"""Which device is chosen, and how a batch is brought to it."""

import pytest
import torch

from unlearn.compute.tokens import Batch, Example, brought, collate
from unlearn.models.load import pick_device

HERE = {  # what torch says of the machine, the variable: what is chosen
    "a GPU": (True, False, "", "cuda"),
    "a Mac": (False, True, "", "mps"),
    "both": (True, True, "", "cuda"),
    "neither": (False, False, "", "cpu"),
    "a GPU that is not wanted": (True, False, "cpu", "cpu"),
    "a certain GPU": (True, False, "cuda:1", "cuda:1"),
}


@pytest.mark.parametrize("name", HERE)
def test_the_best_device_is_chosen_unless_the_variable_names_one(monkeypatch, name):
    cuda, mps, asked, chosen = HERE[name]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setenv("UNLEARN_DEVICE", asked)
    assert pick_device() == chosen
    monkeypatch.setenv("UNLEARN_DEVICE", "cuda:2")
    with pytest.raises(ValueError, match="device: must be one that this machine has"):
        pick_device()


@pytest.fixture
def calls(monkeypatch):
    """Each way in which a tensor was pinned or brought somewhere; nothing is really moved."""
    seen = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: seen.append("pinned") or x)
    monkeypatch.setattr(torch.Tensor, "to", lambda x, where, **how: seen.append((str(where), how)) or x)
    return seen


@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda", 0)])
def test_a_batch_goes_to_cuda_pinned_and_without_waiting(calls, device):
    side = collate([Example((1, 2, 3), (-100, 2, 3), 0), Example((4, 5), (-100, 5), 1)], 0)
    Batch(forget=side, retain=None).to(device)
    assert calls == ["pinned", (str(device), {"non_blocking": True})] * 3


def test_what_an_encoder_reads_is_pinned_too(calls):
    side = collate([Example((1, 2), (-100, 2), 0, source=(7, 8, 9))], 0)
    side.to("cuda")
    assert calls == ["pinned", ("cuda", {"non_blocking": True})] * 5


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_elsewhere_nothing_is_pinned(calls, device):
    brought(torch.ones(2, dtype=torch.long), device)
    assert calls == [(device, {})]


def test_what_is_on_the_device_is_not_pinned(calls):
    brought(torch.ones(2, device="meta"), "cuda")
    assert calls == [("cuda", {})]


@pytest.mark.gpu
def test_a_pinned_batch_arrives_whole():
    side = collate([Example(tuple(range(1, 500)), (-100, *range(2, 500)), 0)], 0)
    there = side.to("cuda")
    assert there.input_ids.is_cuda
    assert torch.equal(there.labels.cpu(), side.labels)
