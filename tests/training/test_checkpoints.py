"""Checkpoint files: the format of the safetensors library, written without a second copy of what is kept."""

import copy
import os
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlearn.data.base import Row
from unlearn.models.load import in_memory
from unlearn.training import checkpoints
from unlearn.training.checkpoints import Writer, load_checkpoint, save_checkpoint, write_tensors
from unlearn.work.session import forget

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


def begun(loaded, **more):
    rows = [Row(question=f"What is {w}?", answer=f"{w} {w}") for w in ("red", "green", "blue")]
    settings = {"method": "gd", "tuning": "full", "epochs": 3, "batch_size": 2, "lr": 1e-2} | more
    return forget(loaded, forget=rows, retain=rows, **settings)


def slowly(monkeypatch, before=0.0, after=0.0):
    """Let the writing of tensors begin late, and the disk be slow."""

    def write(path, tensors, copied):
        time.sleep(before)
        write_tensors(path, tensors, copied)

    monkeypatch.setattr(checkpoints, "write_tensors", write)
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (time.sleep(after), real(file)))


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["usual", "lean"])
def test_what_is_written_beside_the_steps_is_one_moment_of_the_run(tiny, tmp_path, monkeypatch, memory):
    """It is the same file, to the bit, as one that was written while nobody trained."""
    loaded = in_memory(*tiny)
    other = in_memory(copy.deepcopy(loaded.model), loaded.tokenizer)
    more = {"memory": memory, "max_grad_norm": 0.0}
    for session, kind in ((begun(loaded, **more), "beside"), (begun(other, **more), "before")):
        for done in session:
            if done.step == 2 and kind == "before":
                session.save_checkpoint(tmp_path / kind, 2)
            elif done.step == 2:
                slowly(monkeypatch, before=0.3)
                session.begin_checkpoint(tmp_path / kind, 2)
    names = ("beside", "before")
    beside, before = (load_file(tmp_path / name / "step-2.safetensors") for name in names)
    assert beside.keys() == before.keys()
    assert all(torch.equal(beside[name], before[name]) for name in before)


def test_a_lean_run_goes_on_from_its_checkpoint(tiny, tmp_path):
    loaded = in_memory(*tiny)
    other = in_memory(copy.deepcopy(loaded.model), loaded.tokenizer)
    first = begun(loaded, memory="lean", max_grad_norm=0.0)
    next(first), next(first)
    first.save_checkpoint(tmp_path, 2)
    second = begun(other, memory="lean", max_grad_norm=0.0)
    assert second.resume(tmp_path) == 2
    assert [step.loss for step in second] == [step.loss for step in first]


@pytest.mark.slow
def test_steps_go_on_while_the_disk_is_slow_and_the_end_waits_for_it(tiny, tmp_path, monkeypatch):
    session = begun(in_memory(*tiny))
    next(session)
    slowly(monkeypatch, after=1.0)
    session.begin_checkpoint(tmp_path, 1)
    next(session), next(session)
    assert not (tmp_path / "state.json").exists()
    assert session.writer.took() is None
    list(session)
    assert (tmp_path / "state.json").exists()
    assert 0.2 < session.writer.took() < 3
    assert session.writer.took() is None
    assert threading.active_count() == 1 or "checkpoint" not in [t.name for t in threading.enumerate()]


def test_what_the_writing_meets_is_raised_where_it_trains(tiny, tmp_path, monkeypatch):
    session = begun(in_memory(*tiny))
    next(session)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    session.begin_checkpoint(tmp_path, 1)
    with pytest.raises(OSError, match="full"):
        list(session)
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_moves_weights_itself_is_written_before_it_goes_on(tiny, tmp_path):
    session = begun(in_memory(*tiny), method="taskvector")
    next(session)
    session.begin_checkpoint(tmp_path, 1)
    assert (tmp_path / "state.json").exists()


def test_one_checkpoint_at_a_time(tmp_path):
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    writer = Writer()
    for step in (1, 2, 3):
        writer.begin(tmp_path, layer, optimizer, step)
    writer.finish()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.json", "step-3.safetensors"]
