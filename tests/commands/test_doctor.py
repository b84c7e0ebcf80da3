"""`unlearn doctor`: it says what is here, and what of it is worth a look."""

import json
from importlib.metadata import version

import pytest

from unlearn.__main__ import main
from unlearn.commands import doctor


def told(capsys, *words: str) -> str:
    assert main(["doctor", *words]) == 0
    return capsys.readouterr().out


def test_json_holds_what_is_here(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARN_SECRET_TOKEN", "do not tell")
    text = told(capsys, "--json", "--runs", str(tmp_path / "runs"))
    assert "do not tell" not in text
    said = json.loads(text.splitlines()[-1])
    assert said["packages"]["torch"]["here"] == version("torch")
    assert said["packages"]["streamlit"] == {
        "here": version("streamlit"), "range": ">=1.67", "fits": True, "pinned": version("streamlit")
    }  # fmt: skip
    assert said["device"]["torch"] == version("torch")
    assert said["disk"]["runs"]["path"] == str(tmp_path / "runs")
    assert said["disk"]["cache"]["path"] == str(tmp_path / "cache")
    assert said["disk"]["runs"]["free"] > 0
    assert said["threads"]["environment"]["OMP_WAIT_POLICY"]
    assert set(said["extras"]) == {"ray", "slurm", "tune", "eval", "track", "gpu", "mauve"}


def test_what_is_wrong_comes_with_a_remedy(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda name: {"torch": "1.0", "tqdm": None}.get(name, "999"))
    monkeypatch.setattr(doctor, "LITTLE_ROOM", 2**80)
    out = told(capsys)
    assert '! torch: must be >=2.9, 1.0 is here; `pip install "torch>=2.9"` mends it.' in out
    assert "! tqdm: must be >=4.67, it is not here" in out
    assert "! runs: " in out
    assert "! streamlit" not in out


def test_a_torch_that_cannot_be_imported_is_a_sentence(capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1 / 0)
    monkeypatch.setattr("unlearn.commands.doctor.pick_device", lambda: 1 / 0)
    assert "! torch: cannot be imported (ZeroDivisionError" in told(capsys)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("torch>=2.9", ("torch", ">=2.9", "")),
        ("ray>=2.60 ; extra == 'ray'", ("ray", ">=2.60", "ray")),
        ("lm-eval>=0.4.9; extra == \"eval\"", ("lm-eval", ">=0.4.9", "eval")),
    ],
)  # fmt: skip
def test_requirements_are_read(text, parts, monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: [text])
    assert list(doctor.needed()) == [parts]
