"""Weights in a bucket: a server on this machine answers as S3 does, from a run's end to whoever reads them later."""

import json
import shutil

import pytest

from unlearn.__main__ import main
from unlearn.store import away
from unlearn.store.runs import RunConfig, RunStore

pytestmark = pytest.mark.heavy
CONTENTS = {"model/model.safetensors": b"w" * (6 * 2**20), "model/config.json": b"{}"}


@pytest.fixture(scope="module")
def s3():
    """A bucket named `unlearn`, and the environment that leads to it. It gives the server and the file system."""
    server = pytest.importorskip(
        "moto.server", reason="moto is not installed: pip install -r requirements-dev.txt"
    )
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install -r requirements-dev.txt")
    made = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem()
        system.mkdir("unlearn")
        yield made, system
    made.stop()
    s3fs.S3FileSystem.clear_instance_cache()


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


def test_weights_go_to_a_bucket_and_come_back(s3, run, tmp_path):
    _, system = s3
    away.send(run, "s3://unlearn/weights")
    assert not (run.path / "model").exists()
    key = f"unlearn/weights/{run.id}/model/model.safetensors"
    assert system.cat_file(key) == CONTENTS["model/model.safetensors"]
    back = away.weights_of(run)
    assert {name: (back / name).read_bytes() for name in CONTENTS} == CONTENTS
    # Somebody puts another file there, of the same size.
    shutil.rmtree(tmp_path / "cache")
    system.pipe_file(key, b"x" * len(CONTENTS["model/model.safetensors"]))
    with pytest.raises(ValueError, match="is not the file that"):
        away.weights_of(run)
    system.rm_file(key)
    with pytest.raises(ValueError, match=r"cannot be brought from s3://unlearn/weights"):
        away.weights_of(run)


def test_without_the_bucket_the_weights_stay_here(s3, run):
    """Whoever misspells a bucket gets no new one."""
    with pytest.raises(OSError, match=r"--store: .* cannot be written .*; the weights stay here"):
        away.send(run, "s3://no-such-bucket/weights")
    assert [name.rstrip("/") for name in s3[1].ls("")] == ["unlearn"]
    assert {name: (run.path / name).read_bytes() for name in CONTENTS} == CONTENTS


def test_a_run_leaves_its_weights_in_a_bucket_and_is_read_from_there(s3, tmp_path, monkeypatch, capsys):
    _, system = s3
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    words = ["run", "--model", "tiny-authors", "--method", "gd", "--epochs", "1", "--probes", "0", "--force"]
    runs = ["--runs", str(tmp_path / "runs"), "--json"]
    assert main([*words, "--requests", "1", "--store", "s3://unlearn/runs", *runs]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    (run,) = RunStore(tmp_path / "runs").list()
    assert told["run"] == str(run.path)
    assert not (run.path / "model").exists()
    assert system.exists(f"unlearn/runs/{run.id}/model/model.safetensors")
    assert main(["attack", run.id, "prefix", *runs]) == 0
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])["attacks"]) == ["prefix"]


def test_a_server_that_is_gone_is_said_in_a_sentence(s3, run, tmp_path):
    """The last one, since the server does not come back."""
    server, _ = s3
    away.send(run, "s3://unlearn/gone")
    server.stop()
    with pytest.raises(ValueError, match=r"the weights of .* cannot be brought from s3://unlearn/gone"):
        away.weights_of(run)
    other = RunStore(tmp_path / "runs").create(run.config)
    (other.path / "model").mkdir()
    (other.path / "model" / "model.safetensors").write_bytes(b"w")
    with pytest.raises(OSError, match="the weights stay here"):
        away.send(other, "s3://unlearn/gone")
    assert (other.path / "model" / "model.safetensors").is_file()
