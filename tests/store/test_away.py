"""Weights that lie elsewhere go there whole, come back checked, and are read as if they were in the run's folder."""

import shutil
import tempfile
from pathlib import Path

import fsspec
import pytest

from unlearn.store import away
from unlearn.store.runs import RunConfig, RunStore

CONTENTS = {"model/model.safetensors": b"w" * 1000, "model/config.json": b"{}"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    run = RunStore(tmp_path / "runs").create(
        RunConfig(model="tiny-authors", data={"name": "authors"}, method="gd")
    )
    for name, content in CONTENTS.items():
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_bytes(content)
    return run


@pytest.mark.parametrize("form", ["{}", "file://{}", "memory://{}"])
def test_weights_go_and_come_back(run, tmp_path, form):
    address = form.format(tmp_path / "there")
    away.send(run, address)
    assert not (run.path / "model").exists()
    assert away.keeps_weights(run)
    system, folder = fsspec.url_to_fs(address)
    assert (
        system.cat_file(f"{folder}/{run.id}/model/model.safetensors") == CONTENTS["model/model.safetensors"]
    )
    back = away.weights_of(run)
    assert back.is_relative_to(tmp_path / "cache")
    assert {name: (back / name).read_bytes() for name in CONTENTS} == CONTENTS
    # A second look reads what was brought, and asks nobody.
    system.rm(f"{folder}/{run.id}", recursive=True)
    assert away.weights_of(run) == back


def test_a_folder_on_another_disk_takes_them(run, tmp_path):
    """As /nfs/weights is one: a file cannot be renamed onto it."""
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system to write to")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        away.send(run, folder)
        assert not (run.path / "model").exists()
        back = away.weights_of(run)
        assert {name: (back / name).read_bytes() for name in CONTENTS} == CONTENTS
        assert not list(Path(folder).glob("**/.*"))


def test_what_is_here_is_read_here(run):
    assert away.weights_of(run) == run.path


def test_another_file_under_the_name_is_refused(run, tmp_path):
    away.send(run, str(tmp_path / "there"))
    (tmp_path / "there" / run.id / "model" / "model.safetensors").write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="is not the file that"):
        away.weights_of(run)
    shutil.rmtree(tmp_path / "there")
    with pytest.raises(ValueError, match="cannot be brought from"):
        away.weights_of(run)


def test_a_failure_on_the_way_leaves_the_weights_here(run, tmp_path):
    (tmp_path / "there").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="there"):
        away.send(run, str(tmp_path / "there"))
    assert away.weights_of(run) == run.path
    assert (run.path / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("address", ["nowhere://x", "s3x://bucket"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="--store: "):
        away.place_of(address)
