"""Uploaded tables are whole or not there, and are what their hash says when they are used."""

import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from unlearn.data import write
from unlearn.data.catalogue import from_config, load
from unlearn.work.phases import is_disk_full, reason

TABLE = b"question,answer\n" + b"".join(b"What is %d?,%d\n" % (i, i) for i in range(600))


def halfway(path, content):
    """A disk that fills up: half of it is written, then no more."""
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_table_kept_on_a_full_disk_is_not_there_afterwards(tmp_path, monkeypatch):
    folder = tmp_path / write.UPLOADS
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", halfway)
        with pytest.raises(OSError, match="No space"):
            write.keep(TABLE, "own.csv", folder)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    path = write.keep(TABLE, "own.csv", folder)
    assert path.read_bytes() == TABLE
    assert len(from_config({"forget": str(path)}, [tmp_path]).rows("forget")) == 600
    assert write.keep(TABLE, "own.csv", folder) == path


def test_a_table_that_was_cut_before_is_refused_and_mended_by_another_upload(tmp_path):
    folder = tmp_path / write.UPLOADS
    path = write.keep(TABLE, "../own table?.csv", folder)
    assert path.parent.parent == folder
    path.write_bytes(TABLE[: len(TABLE) // 2])
    with pytest.raises(ValueError, match=r"is not what was uploaded .* upload it again"):
        from_config({"forget": str(path)}, [tmp_path])
    assert write.keep(TABLE, "../own table?.csv", folder) == path
    assert path.read_bytes() == TABLE


def test_a_person_s_own_folder_may_have_any_name(tmp_path):
    path = tmp_path / "0123456789abcdef" / "own.csv"
    path.parent.mkdir()
    path.write_bytes(TABLE)
    assert len(from_config({"forget": str(path)}, [tmp_path]).rows("forget")) == 600


def test_a_dataset_saved_over_another_on_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch):
    data = load("capitals")
    before = {path: Path(path).read_bytes() for path in write.save(data, tmp_path).values()}
    monkeypatch.setattr(Path, "write_bytes", halfway)
    with pytest.raises(OSError, match="No space"):
        write.save(data, tmp_path)
    assert {path: Path(path).read_bytes() for path in before} == before
    assert len(list(tmp_path.iterdir())) == len(before)


def test_weights_that_do_not_fit_on_the_disk_are_said_so(tmp_path):
    """The library's own error, from a limit on the size of a file that the kernel enforces."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(SafetensorError) as caught:
            save_file({"a": torch.zeros(100_000)}, tmp_path / "x.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, kept)
    assert reason(caught.value).startswith("the disk is full")
    assert not is_disk_full(SafetensorError("Error while deserializing header: invalid header"))
    assert not is_disk_full(RuntimeError("No space left on device (os error 28)"))
