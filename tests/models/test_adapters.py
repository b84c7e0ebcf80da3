"""Adapters as the model to start from: on which base, in which way, and what is refused before a run."""

import json
import shutil

import pytest
import torch
from conftest import make_model

from unlearn.models import folders
from unlearn.models.catalogue import allow_model, default_prompt, parts_of
from unlearn.models.identity import identity_of
from unlearn.models.load import load, named_hash
from unlearn.models.tuning import load_trained
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work.checks import check
from unlearn.work.execute import execute

IDS = torch.arange(5, 25)[None]


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def make_adapter(base, folder, kind="LORA", seed=1, **more):
    """An adapter that moves the base's answers, saved by plain peft."""
    import peft
    from transformers import AutoModelForCausalLM

    kinds = {
        "LORA": lambda: peft.LoraConfig(
            r=4, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM", **more
        ),
        "IA3": lambda: peft.IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"],
            task_type="CAUSAL_LM",
        ),
        "LOHA": lambda: peft.LoHaConfig(r=4, alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"),
        "PROMPT_TUNING": lambda: peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    }  # fmt: skip
    torch.manual_seed(seed)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), kinds[kind]())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * (0.2 if "ia3" in name else 0.1))
    model.save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "base"
    folder.mkdir()
    make_model(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base):
    folder = base.parent / "mine"
    make_adapter(base, folder)
    return folder


@pytest.fixture(scope="module")
def files(base):
    for role, words in (("forget", "red green blue"), ("retain", "one two three")):
        lines = "".join(f"What is {w}?,{w} {w}\n" for w in words.split())
        (base.parent / f"{role}.csv").write_text("question,answer\n" + lines)
    return {role: str(base.parent / f"{role}.csv") for role in ("forget", "retain")}


def config(model, files, **changes):
    values = {
        "model": str(model),
        "data": files,
        "method": "npo",
        "epochs": 2,
        "batch_size": 2,
        "lr": 1e-3,
        "probes": 0,
    }
    return RunConfig(**(values | changes))  # fmt: skip


@pytest.mark.parametrize("kind", ["LORA", "IA3", "LOHA"])
def test_an_adapter_is_added_into_its_base_as_plain_peft_adds_it(base, tmp_path, kind):
    wanted = logits(make_adapter(base, tmp_path / "a", kind).merge_and_unload())
    found = load(str(tmp_path / "a"))
    assert torch.allclose(logits(found.model), wanted, atol=1e-4)
    assert not torch.allclose(logits(load(str(base)).model), wanted, atol=1e-2)
    assert found.parameters == load(str(base)).parameters


def test_a_kept_adapter_answers_as_plain_peft(base, adapter):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    wanted = logits(
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).eval()
    )
    found = load(str(adapter), tuning="lora", adapter="keep")
    assert torch.allclose(logits(found.model), wanted, atol=1e-4)
    assert found.title == "mine on base"
    assert any(p.requires_grad for n, p in found.model.named_parameters() if "lora_" in n)


def test_the_hash_is_of_what_was_loaded(base, adapter, tmp_path):
    whole = load(str(adapter)).hash
    assert whole == named_hash(str(adapter)) != load(str(base)).hash
    assert whole.startswith(load(str(base)).hash)
    make_adapter(base, tmp_path / "other", seed=9)
    assert named_hash(str(tmp_path / "other")) != whole
    assert identity_of(str(adapter), whole)["adapter"] == f"merge: {base}"


@pytest.mark.parametrize(("way", "tuning"), [("keep", "lora"), ("merge", "lora"), ("auto", "full")])
def test_a_run_begins_from_the_adapted_model_and_comes_back(base, adapter, files, tmp_path, way, tuning):
    run = RunStore(tmp_path / "runs").create(config(adapter, files, adapter=way, tuning=tuning))
    done = execute(run, roots=[base.parent])
    assert (run.state, run.reason) == ("done", "")
    kept, back = logits(done.loaded.model), logits(load_trained(run).model)
    assert torch.allclose(kept, back, atol=1e-4)
    before = logits(load(str(adapter)).model)
    assert not torch.allclose(kept, before, atol=1e-3)
    (began,) = run.events("inputs")
    assert began["adapter"] == f"{'keep' if way == 'keep' else 'merge'}: {base}"
    said = " ".join(note.get("text", "") for note in run.events("note"))
    assert ("trained further" if way == "keep" else "added into the weights") in said
    if way == "keep":
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        plain = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(base), str(run.path / "adapter")
        )
        assert torch.allclose(logits(plain.eval()), kept, atol=1e-4)


def test_the_reference_of_a_kept_adapter_is_the_adapted_model(base, adapter, files, tmp_path):
    """NPO's loss is (2/beta) log 2 at each step where the reference is the model itself and nothing moves yet."""
    import math

    ask = {"adapter": "keep", "tuning": "lora", "knobs": {"beta": 0.1}, "lr": 1e-8, "batch_size": 1}
    run = RunStore(tmp_path / "runs").create(config(adapter, files, **ask))
    execute(run, roots=[base.parent])
    steps = list(run.events("step"))
    assert len(steps) > 3
    for step in steps:
        assert step["terms"]["forget"] == pytest.approx(2 / 0.1 * math.log(2), rel=1e-3)


@pytest.fixture
def both(base, adapter, tmp_path):
    """A whole model with another model's adapter beside it."""
    folder = tmp_path / "both"
    shutil.copytree(base, folder)
    for name in (folders.ADAPTER, folders.ADAPTER_WEIGHTS):
        shutil.copy(adapter / name, folder / name)
    return folder


def test_an_adapter_beside_a_whole_model_is_left_aside_and_said(base, both, files, tmp_path):
    assert torch.equal(logits(load(str(both)).model), logits(load(str(base)).model))
    run = RunStore(tmp_path / "runs").create(config(both, files))
    execute(run, roots=[base.parent, tmp_path])
    assert run.state == "done"
    assert any("taken without it" in note.get("text", "") for note in run.events("note"))
    assert next(iter(run.events("inputs")))["adapter"] == f"ignore: {base}"


def test_another_models_adapter_is_not_put_on_the_one_beside_it(both):
    with pytest.raises(ValueError, match=r"was made on .* and not on this model; put the adapter's files"):
        parts_of(str(both), "merge")
    said = json.loads((both / folders.ADAPTER).read_text())
    (both / folders.ADAPTER).write_text(json.dumps(said | {"base_model_name_or_path": str(both)}))
    assert parts_of(str(both), "merge").way == "merge"
    assert not torch.equal(logits(load(str(both), adapter="merge").model), logits(load(str(both)).model))


def bad_adapter(kind, base, adapter, tmp_path):
    folder = tmp_path / "bad"
    shutil.copytree(adapter, folder)
    said = json.loads((folder / folders.ADAPTER).read_text())
    changes = {
        "no base": {"base_model_name_or_path": None},
        "base gone": {"base_model_name_or_path": str(tmp_path / "gone")},
        "base is one": {"base_model_name_or_path": str(adapter)},
        "another kind": {"peft_type": "PROMPT_TUNING"},
    }.get(kind, {})
    (folder / folders.ADAPTER).write_text(json.dumps(said | changes))
    if kind == "pickle":
        (folder / folders.ADAPTER_WEIGHTS).rename(folder / "adapter_model.bin")
    if kind == "cut":
        (folder / folders.ADAPTER_WEIGHTS).write_bytes(b"cut")
    return folder


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no base", "does not name the model it was made on"),
        ("base gone", "gone does not exist. Check the path. The adapter bad names it"),
        ("base is one", "which is an adapter itself"),
        ("another kind", "of the kind PROMPT_TUNING"),
        ("pickle", "has no adapter_model.safetensors"),
        ("cut", "not a safetensors file"),
    ],
)
def test_what_cannot_be_taken_is_refused_before_a_run(base, adapter, files, tmp_path, kind, says):
    with pytest.raises(ValueError, match=says):
        check(config(bad_adapter(kind, base, adapter, tmp_path), files), [base.parent, tmp_path])


def test_a_way_without_an_adapter_or_with_another_tuning_is_refused(base, adapter, files, tmp_path):
    with pytest.raises(ValueError, match="holds no adapter"):
        check(config(base, files, adapter="merge"), [base.parent])
    with pytest.raises(ValueError, match="tuning must be lora"):
        config(adapter, files, adapter="keep", tuning="full")
    with pytest.raises(ValueError, match="cannot be left aside"):
        check(config(adapter, files, adapter="ignore"), [base.parent])
    make_adapter(base, tmp_path / "ia3", "IA3")
    with pytest.raises(ValueError, match="only LORA can be trained further"):
        check(config(tmp_path / "ia3", files, adapter="keep", tuning="lora"), [base.parent, tmp_path])


def test_an_adapter_of_another_build_is_named(base, adapter, tmp_path):
    (tmp_path / "wide").mkdir()
    make_model(tmp_path / "wide", hidden_size=48, num_attention_heads=4)
    folder = tmp_path / "bad"
    shutil.copytree(adapter, folder)
    said = json.loads((folder / folders.ADAPTER).read_text())
    (folder / folders.ADAPTER).write_text(
        json.dumps(said | {"base_model_name_or_path": str(tmp_path / "wide")})
    )
    for way, tuning in (("merge", "full"), ("keep", "lora")):
        with pytest.raises(ValueError, match="made on a model of another build"):
            load(str(folder), adapter=way, tuning=tuning)


def test_an_adapter_may_not_lead_to_a_base_outside_the_allowed_folders(base, adapter, tmp_path):
    folder = tmp_path / "inside" / "a"
    shutil.copytree(adapter, folder)
    with pytest.raises(ValueError, match="must lie inside"):
        allow_model(str(folder), [tmp_path / "inside"])
    allow_model(str(folder), [tmp_path / "inside", base.parent])


def test_added_tokens_come_with_the_adapter(base, tmp_path):
    """Embeddings that were resized and trained lie in the adapter; the base gets as many rows."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<new>", "<newer>"])
    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(3)
    model.resize_token_embeddings(len(tokenizer))
    model = get_peft_model(
        model,
        LoraConfig(
            r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"], task_type="CAUSAL_LM"
        ),
    )
    model.save_pretrained(tmp_path / "a")
    tokenizer.save_pretrained(tmp_path / "a")
    ids = tokenizer("red <new> blue", return_tensors="pt").input_ids
    assert int(ids.max()) >= len(tokenizer) - 2
    with torch.no_grad():
        wanted = model.eval()(input_ids=ids).logits
    for way, tuning in (("merge", "full"), ("keep", "lora")):
        found = load(str(tmp_path / "a"), adapter=way, tuning=tuning)
        assert len(found.tokenizer) == len(tokenizer)
        with torch.no_grad():
            assert torch.allclose(found.model(input_ids=ids).logits, wanted, atol=1e-4)


def test_the_template_of_an_adapter_decides_the_format(base, adapter, tmp_path):
    assert default_prompt(str(adapter)) == "plain"
    shutil.copytree(adapter, tmp_path / "a")
    for file in base.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "a" / file.name)
    (tmp_path / "a" / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert default_prompt(str(tmp_path / "a")) == "chat"


def test_an_adapter_in_the_hubs_cache_is_found_with_its_base(base, adapter, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    root = tmp_path / "models--me--mine"
    shutil.copytree(adapter, root / "snapshots" / ("a" * 40))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("a" * 40)
    parts = parts_of("me/mine")
    assert (parts.way, parts.base) == ("merge", base)
    assert torch.allclose(logits(load("me/mine").model), logits(load(str(adapter)).model))
    assert load("me/mine").title == "me/mine on base"
