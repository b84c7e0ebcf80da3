"""Checkpoint files: the format of the safetensors library, written without a second copy of what is kept."""

import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlearn.training import checkpoints
from unlearn.training.checkpoints import load_checkpoint, save_checkpoint, write_tensors

TENSORS = {
    "weight.a": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "weight.turned": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "step.a": torch.tensor(7.0),
    "none": torch.empty(0, 3),
    "ids": torch.tensor([[2**40]]),
}


def test_the_library_reads_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "PIECE", 7)
    write_tensors(tmp_path / "a.safetensors", TENSORS)
    found = load_file(tmp_path / "a.safetensors")
    assert set(found) == set(TENSORS)
    for name, value in TENSORS.items():
        assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype
    save_file({n: t.contiguous() for n, t in TENSORS.items()}, tmp_path / "b.safetensors")
    assert abs((tmp_path / "a.safetensors").stat().st_size - (tmp_path / "b.safetensors").stat().st_size) < 64


def test_no_copy_of_what_is_kept_is_made(tmp_path):
    """The library's way clones 96 MiB here; this one needs next to nothing."""
    from unlearn.compute.memory import allocated_peak

    layer = torch.nn.Linear(2048, 4096, bias=False)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    layer(torch.ones(1, 2048)).sum().backward()
    optimizer.step()
    assert allocated_peak(lambda: save_checkpoint(tmp_path, layer, optimizer, 1), "cpu") < 2**22
    assert (tmp_path / "step-1.safetensors").stat().st_size > 3 * 2**25 - 1


def test_moments_come_back_and_no_longer_need_the_file(tmp_path):
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    for _ in range(2):
        layer(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    save_checkpoint(tmp_path, layer, optimizer, 2)
    other = torch.nn.Linear(3, 2)
    again = torch.optim.AdamW(other.parameters(), lr=1e-3)
    assert load_checkpoint(tmp_path, other, again) == 2
    (tmp_path / "step-2.safetensors").write_bytes(b"")
    for p, q in zip(layer.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
        assert set(again.state[q]) == {"step", "exp_avg", "exp_avg_sq"}
        for key, value in optimizer.state[p].items():
            assert torch.equal(again.state[q][key], value)


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    save_checkpoint(tmp_path, layer, optimizer, 1)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        save_checkpoint(tmp_path, layer, optimizer, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.json", "step-1.safetensors"]
    assert load_checkpoint(tmp_path, layer, optimizer) == 1
