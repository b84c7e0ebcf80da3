"""The models of the catalogue that nobody loaded here: their facts, what brings them, and what they belong to."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from conftest import make_model

from unlearn.commands.options import EVERYWHERE
from unlearn.models import hub
from unlearn.models.catalogue import bring, default_prompt, exact_retrain, source_of
from unlearn.models.entries import CATALOGUE, available, entry_of, size_of
from unlearn.models.published import PUBLISHED
from unlearn.store.runs import RunConfig
from unlearn.work.checks import check
from unlearn.work.preflight import parameters_of, retrain_elsewhere

FIELDS = {
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
    "vocab_size", "tie_word_embeddings",
}  # fmt: skip


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.name)
def test_parameters_follow_from_the_published_shape(one):
    """transformers builds the model of this config without memory; its own count, with tied weights once, is ours."""
    from transformers import AutoConfig, AutoModelForCausalLM

    said = dict(one.config)
    config = AutoConfig.for_model(said.pop("model_type"), **said)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert model.num_parameters() == one.parameters


def test_every_entry_says_what_a_person_asks():
    for one in PUBLISHED:
        entry = CATALOGUE[one.name]
        assert set(one.config) >= FIELDS
        assert entry_of(one.hub) is entry
        assert not entry.loaded
        assert "Not loaded here" in entry.note
        assert entry.size == size_of(one.parameters) != "tiny"
        assert entry.licence
        assert ("terms" in entry.weight()) is one.gated
        assert default_prompt(one.name) == ("chat" if one.chat else "plain")
        assert parameters_of(one.name) == parameters_of(one.hub) == one.parameters
    assert len({one.hub for one in PUBLISHED}) == len({one.name for one in PUBLISHED}) == len(PUBLISHED)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache, name, seed=0, **changes):
    """A tiny model in the hub's cache under this name, as if it had been brought."""
    root = cache / f"models--{name.replace('/', '--')}"
    make_model(root / "snapshots" / ("d" * 40), seed=seed, **changes)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("d" * 40)
    return root / "snapshots" / ("d" * 40)


def test_without_internet_it_is_said_what_is_missing_and_how_to_bring_it(cache):
    with pytest.raises(
        ValueError, match=r"not on this machine yet; .*get gemma-3-1b.* brings it .*2 GB.*terms"
    ):
        check(RunConfig(model="gemma-3-1b", data={"name": "capitals"}, method="npo"), EVERYWHERE)
    with pytest.raises(ValueError, match=r"cannot be reached.*hf download Qwen/Qwen3-0.6B.*copy that folder"):
        bring("qwen3-0.6b")
    with pytest.raises(ValueError, match="which `unlearn models` lists, or a hub id"):
        bring("qwen3")


def test_one_that_was_brought_is_a_folder_like_any_other(cache):
    folder = put(cache, "Qwen/Qwen3-0.6B")
    assert available("qwen3-0.6b")
    assert source_of("qwen3-0.6b") == folder == bring("qwen3-0.6b")
    (folder / "model.safetensors").unlink()
    assert not available("qwen3-0.6b")


def test_a_model_is_brought_file_by_file_and_safetensors_alone(cache, tmp_path, monkeypatch):
    """With huggingface_hub's two calls replaced: nothing else of the library is asked."""
    import huggingface_hub

    made = put(tmp_path / "far", "some/model")
    (made / "pytorch_model.bin").write_bytes(b"pickle")
    (made / "README.md").write_text("words")
    there = sorted(path.name for path in made.iterdir())
    got, told = [], []

    def download(name, file):
        got.append(file)
        root = cache / "models--some--model"
        (root / "snapshots" / "main").mkdir(parents=True, exist_ok=True)
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / "main").write_text("main")
        shutil.copy(made / file, root / "snapshots" / "main" / file)

    listed = [SimpleNamespace(rfilename=name, size=(made / name).stat().st_size) for name in there]
    monkeypatch.setattr(
        huggingface_hub.HfApi, "model_info", lambda *_, **__: SimpleNamespace(siblings=listed)
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "_asked", lambda name, file: 200)
    folder = bring("some/model", lambda phrase, fraction: told.append(fraction))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(got) <= set(there)
    assert not {"pytorch_model.bin", "README.md"} & set(got)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert source_of("some/model") == "some/model"
    assert hub.snapshot_here("some/model") == folder
    shutil.rmtree(cache)
    listed[:] = [one for one in listed if "safetensors" not in one.rfilename]
    with pytest.raises(ValueError, match="no whole weights in safetensors"):
        bring("some/model")


def config(model, **changes):
    return RunConfig(**({"model": model, "data": {"name": "tofu-forget05"}, "method": "npo"} | changes))


def test_the_hubs_retrain_is_the_exact_one_where_it_is_here(cache):
    truth = "open-unlearning/tofu_Llama-3.2-1B-Instruct_retain95"
    assert CATALOGUE["tofu-llama-1b"].retrains["tofu-forget05"] == truth
    for model in ("tofu-llama-1b", CATALOGUE["tofu-llama-1b"].hub):
        assert exact_retrain(config(model)) is None
        assert f"`unlearn get {truth}` brings it" in retrain_elsewhere(config(model))
    folder = put(cache, truth)
    for model in ("tofu-llama-1b", CATALOGUE["tofu-llama-1b"].hub):
        assert exact_retrain(config(model)) == folder
        assert retrain_elsewhere(config(model)) == ""
    assert exact_retrain(config("tofu-llama-1b", data={"name": "tofu-forget10"})) is None
    assert exact_retrain(config("tofu-llama-1b", data={"name": "tofu-forget05", "requests": [1]})) is None
    assert exact_retrain(config("llama-3.2-1b")) is None
