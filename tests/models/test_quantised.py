"""Checkpoints whose weights were rounded before: what works is carried out, the rest is refused before a run."""

import json
import shutil

import pytest
import torch
from conftest import make_model

from tests.models.test_adapters import config, files, logits, make_adapter  # noqa: F401  a fixture
from unlearn.models.load import load
from unlearn.models.precision import saved_precision
from unlearn.models.tuning import load_trained
from unlearn.store.runs import RunStore
from unlearn.work.checks import check
from unlearn.work.execute import execute
from unlearn.work.preflight import parameters_of, preflight

pytest.importorskip("bitsandbytes")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "base"
    folder.mkdir()
    make_model(folder, hidden_size=64, intermediate_size=128)
    return folder


@pytest.fixture(scope="module")
def nf4(base):
    """The base as people publish it, in 4 bits."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = base.parent / "nf4"
    shutil.copytree(base, folder)
    (folder / "model.safetensors").unlink()
    how = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    model = AutoModelForCausalLM.from_pretrained(base, quantization_config=how, device_map={"": "cpu"})
    model.save_pretrained(folder)
    return folder


def test_a_checkpoint_in_4_bits_is_unlearned_by_lora(base, nf4, files, tmp_path):  # noqa: F811
    run = RunStore(tmp_path / "runs").create(config(nf4, files, tuning="lora"))
    check(run.config, [base.parent])
    told = preflight(run.config, roots=[base.parent])
    assert told.parameters == parameters_of(str(base)) == load(str(base)).parameters
    done = execute(run, roots=[base.parent])
    assert (run.state, run.reason) == ("done", "")
    assert done.loaded.dtype == "nf4"
    assert run.scores()["after"]["forget"]["nll"] != run.scores()["before"]["forget"]["nll"]
    assert torch.allclose(logits(load_trained(run).model), logits(done.loaded.model), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tuning": "full"}, r"rounded \(nf4\) and stay as they are, so tuning must be lora"),
        ({"tuning": "lora", "precision": "float32"}, r"rounded already \(nf4\), so precision must be auto"),
    ],
)
def test_what_it_cannot_bear_is_said_before(base, nf4, files, changes, says):  # noqa: F811
    for look in (check, preflight):
        with pytest.raises(ValueError, match=says):
            look(config(nf4, files, **changes), roots=[base.parent])


@pytest.mark.parametrize("kind", ["gptq", "awq", "compressed-tensors", "fp8"])
def test_another_kind_of_rounding_is_refused_with_a_remedy(base, files, tmp_path, kind):  # noqa: F811
    folder = tmp_path / kind
    shutil.copytree(base, folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(said | {"quantization_config": {"quant_method": kind, "bits": 4}})
    )
    with pytest.raises(ValueError, match=rf"rounded by {kind}, and only bitsandbytes .* --precision nf4"):
        check(config(folder, files, tuning="lora"), [base.parent, tmp_path])


def test_an_adapter_on_rounded_weights_is_kept_and_never_merged(base, nf4, files, tmp_path):  # noqa: F811
    make_adapter(base, tmp_path / "a")
    said = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    (tmp_path / "a" / "adapter_config.json").write_text(
        json.dumps(said | {"base_model_name_or_path": str(nf4)})
    )
    with pytest.raises(ValueError, match="into which nothing can be added; take --adapter keep"):
        check(config(tmp_path / "a", files, tuning="lora"), [base.parent, tmp_path])
    run = RunStore(tmp_path / "runs").create(config(tmp_path / "a", files, tuning="lora", adapter="keep"))
    execute(run, roots=[base.parent, tmp_path])
    assert (run.state, run.reason) == ("done", "")


def test_how_weights_were_rounded_is_read_from_the_config():
    kinds = {
        "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "int8": {"load_in_8bit": True},
        "gptq": {"quant_method": "gptq"},
        "": {},
    }
    for kind, said in kinds.items():
        assert saved_precision({"quantization_config": said}) == kind
    assert saved_precision({}) == ""
