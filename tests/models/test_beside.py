"""A retrained model is read in the number format of the run that it stands beside."""

import json
import shutil

import pytest
import torch
from conftest import make_model, small_run

from tests.models.test_adapters import make_adapter
from unlearn.data.catalogue import from_config
from unlearn.data.prompts import asked_in
from unlearn.engines.warm import Warm
from unlearn.measure import judge
from unlearn.measure.ask import load_source
from unlearn.measure.evaluate import observe, rows_to_score
from unlearn.models.checks import check_retrained
from unlearn.models.load import load
from unlearn.models.named.beside import format_beside, load_beside
from unlearn.models.reading import as_read
from unlearn.store.runs import RunConfig

NARROW = {"tuning": "lora", "precision": "bfloat16"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("beside")
    make_model(made / "own", seed=1)
    return made


@pytest.fixture(scope="module")
def run(folder):
    return small_run(folder, method="ga", retrained=str(folder / "own"), **NARROW)


@pytest.fixture(scope="module")
def wide(folder, run):
    """The same of every weight."""
    return small_run(folder, method="ga", retrained=run.config.retrained)


@pytest.mark.parametrize("when", ["before", "after", "retrained"])
def test_the_three_models_of_a_run_have_one_format(run, folder, when):
    loaded = load_source(when, run, [folder])
    assert loaded.dtype == "bfloat16"
    assert loaded.model.get_input_embeddings().weight.dtype == torch.bfloat16


@pytest.mark.parametrize(("precision", "dtype"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_a_run_of_every_weight_reads_all_three_alike_too(tmp_path, precision, dtype):
    make_model(tmp_path / "own", seed=1)
    found = small_run(tmp_path, method="ga", retrained=str(tmp_path / "own"), precision=precision)
    read = [load_source(when, found, [tmp_path]).dtype for when in ("before", "after", "retrained")]
    assert read == [dtype] * 3


def test_its_scores_are_those_of_that_format(run, folder):
    config = run.config
    data = asked_in(as_read(from_config(dict(config.data), [folder]), config), config.prompt, config.system)
    nll = {}
    for precision in ("float32", "bfloat16"):
        loaded = load(str(folder / "own"), precision=precision)
        found = observe(loaded.model, loaded.tokenizer, rows_to_score(data), max_length=64, device="cpu")
        nll[precision] = [-sum(token["lp"] for token in o.tokens) / len(o.tokens) for o in found]
    said = [float(one["nll"]) for one in run.samples() if one["when"] == "retrained"]
    assert said == pytest.approx(nll["bfloat16"], abs=1e-6)
    assert said != pytest.approx(nll["float32"], abs=1e-6)


def test_what_was_computed_with_another_format_has_another_name(run, wide, folder):
    assert judge.evidence_of(run, [folder])[1]["retrained_in"] == "the run's format"
    assert "retrained_in" not in judge.evidence_of(wide, [folder])[1]


def test_a_warm_one_is_not_given_to_a_run_of_another_format(run, wide, folder):
    warm = Warm(run.path.parent, [folder])
    dtypes = [warm._model(("retrained", one)).dtype for one in (run, wide, run)]
    assert dtypes == ["bfloat16", "float32", "bfloat16"]


def config(model, **changes):
    return RunConfig(**({"model": str(model), "data": {"name": "authors"}, "method": "ga"} | changes))


@pytest.fixture(scope="module")
def rounded(folder):
    """A folder that says it holds weights in 4 bits; nothing of it is loaded here."""
    shutil.copytree(folder / "own", folder / "nf4")
    path = folder / "nf4" / "config.json"
    how = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": how}))
    return folder / "nf4"


def test_which_format_stands_beside_which(folder, rounded):
    own = folder / "own"
    assert format_beside(config(own, **NARROW), own) == "bfloat16"
    assert format_beside(config(own, tuning="lora", precision="nf4"), own) == "nf4"
    assert format_beside(config(own, tuning="lora", precision="nf4"), rounded) == "auto"
    assert format_beside(config(rounded, tuning="lora"), own) == "nf4"
    assert format_beside(config(rounded, tuning="lora"), rounded) == "auto"


def test_rounded_weights_beside_whole_ones_are_refused_before_a_run(folder, rounded):
    given = config(folder / "model", tuning="lora", retrained=str(rounded))
    with pytest.raises(
        ValueError, match=r"retrained: the weights of .*nf4 are nf4 .* reads .*model unrounded"
    ):
        check_retrained(given)


def test_an_adapter_lies_on_its_base_where_that_is_rounded(folder):
    pytest.importorskip("bitsandbytes")
    make_model(folder / "wide", seed=2, hidden_size=64, intermediate_size=128)
    make_adapter(folder / "wide", folder / "adapter")
    found = load_beside(config(folder / "wide", tuning="lora", precision="nf4"), folder / "adapter")
    assert (found.dtype, hasattr(found.model, "disable_adapter")) == ("nf4", True)
