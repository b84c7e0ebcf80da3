"""The shelf: the same numbers wherever they lie, a limit that holds, nothing left on the disk."""

import errno
import os

import pytest
import torch
from conftest import DEVICES, small_run

from unlearn.training import shelf as shelves
from unlearn.training.shelf import LIMIT, Shelf


@pytest.fixture
def small(monkeypatch):
    """Room for 400 bytes beside the model, and segments of 1,024."""
    monkeypatch.setenv(LIMIT, "400B")
    monkeypatch.setattr(shelves, "SEGMENT", 1024)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_numbers_come_back_as_they_were(small, tmp_path, dtype):
    shelf = Shelf(tmp_path)
    sizes = (3, 7, 1, 90, 2, 30)  # one larger than a segment
    rows = [torch.arange(n * 5).view(n, 5).to(dtype) for n in sizes]
    wanted = [row.clone() for row in rows]
    kept = [shelf.put(row) for row in rows]
    for row in rows:
        row.zero_()  # what was put is a copy
    for want, found in zip(wanted, kept, strict=True):
        assert found.dtype == dtype
        assert torch.equal(found, want)


def test_the_limit_is_what_lies_beside_the_model(small, tmp_path):
    shelf = Shelf(tmp_path)
    assert [shelf.put(torch.zeros(n)).nbytes for n in (50, 50)] == [200, 200]
    assert (shelf.beside, shelf.away, shelf.describe()) == (400, 0, "")
    shelf.put(torch.zeros(250_000))
    assert (shelf.beside, shelf.away) == (400, 1_000_000)
    assert shelf.describe() == f"1.0 MB of the reference lie in a file, {LIMIT} says when."


def test_no_file_is_left_even_while_it_is_in_use(small, tmp_path):
    kept = Shelf(tmp_path).put(torch.ones(1000))
    assert list(tmp_path.iterdir()) == []
    assert float(kept.sum()) == 1000


def test_rows_share_a_file(small, tmp_path, monkeypatch):
    sizes, real = [], os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda *a: sizes.append(a[2]) or real(*a))
    shelf = Shelf(tmp_path)
    for n in (
        60,
        60,
        60,
        60,
        60,
        300,
    ):  # the first lies beside the model; four of 240 bytes, 64-aligned, fill a segment
        shelf.put(torch.zeros(n))
    assert sizes == [1024, 1200]


def test_a_system_that_cannot_reserve_writes(small, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    row = torch.arange(600_000)
    assert torch.equal(Shelf(tmp_path).put(row), row)
    with open(tmp_path / "file", "wb") as file:
        shelves.fill(file.fileno(), 3 * 2**20 + 5)
    assert (tmp_path / "file").stat().st_size == 3 * 2**20 + 5


def test_a_full_disk_is_an_error_before_anything_is_written(small, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        Shelf(tmp_path).put(torch.zeros(1000))
    assert list(tmp_path.iterdir()) == []


def test_a_limit_that_is_none_is_an_error_with_the_remedy(monkeypatch):
    monkeypatch.setenv(LIMIT, "a lot")
    with pytest.raises(
        ValueError, match=f"{LIMIT}: must be a number of bytes such as 6GiB or 800MB, got 'a lot'"
    ):
        Shelf()


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["kl", "undial", "rmu"])
def test_a_run_with_its_reference_away_is_the_same_run(tmp_path, monkeypatch, method, device):
    monkeypatch.setenv("UNLEARN_DEVICE", device)
    losses = []
    for limit in ("1GiB", "0"):
        monkeypatch.setenv(LIMIT, limit)
        run = small_run(tmp_path, method=method)
        losses.append([event["terms"] for event in run.events("step")])
        told = [event["text"] for event in run.events("note") if LIMIT in event.get("text", "")]
        assert len(told) == (limit == "0")
    assert losses[0] == losses[1]


@pytest.mark.gpu
def test_on_cuda_it_is_pinned_host_memory(small):
    shelf = Shelf()
    rows = [torch.arange(n, dtype=torch.bfloat16, device="cuda") for n in (100, 300, 700)]
    kept = [shelf.put(row) for row in rows]
    assert [k.is_cuda for k in kept] == [True, False, False]
    assert kept[1].is_pinned()
    for row, found in zip(rows, kept, strict=True):
        assert torch.equal(found.to("cuda", non_blocking=True), row)
    assert "pinned host memory" in shelf.describe()
