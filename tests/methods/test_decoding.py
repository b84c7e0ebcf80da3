"""Methods that change decoding alone: the distribution in float64, generation with it, and that nobody exports it."""

import copy
import math

import pytest
import torch
from conftest import small_run
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from unlearn.__main__ import main
from unlearn.attacks import dial
from unlearn.compute.lm import forward
from unlearn.compute.tokens import collate, encode
from unlearn.measure.generating import generate
from unlearn.methods import AFTER, DECODING, METHODS, OFFERED, method_named
from unlearn.models.joined.decoding import decoded
from unlearn.models.load import load
from unlearn.models.tuning import load_trained
from unlearn.results import compare
from unlearn.work import publish, stress

PROMPT, ANSWER = "Question: What is the capital of one?\nAnswer:", " Where red is two"


def log_probs(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)


def contrastive(model, seed=3, a=4.0):
    """A contrastive model whose memorising copy was moved, so that it differs."""
    found = decoded(model, contrast=a)
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in found.members()[1].parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return found


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_dp_decoding_is_the_mixture_with_chance(tiny, share):
    """By hand in float64: (1 - λ) p + λ / V, a distribution again, with the same likeliest token below λ = 1."""
    model, tokenizer = tiny
    ids = tokenizer(PROMPT)["input_ids"]
    found, before = log_probs(decoded(model, uniform=share), ids), log_probs(model, ids)
    wanted = (1 - share) * before.exp() + share / before.shape[-1]
    torch.testing.assert_close(found.exp(), wanted, rtol=1e-5, atol=1e-9)
    assert found.exp().sum(-1) == pytest.approx(torch.ones(len(ids)).double(), rel=1e-5)
    if share < 1:
        assert torch.equal(found.argmax(-1), before.argmax(-1))


def test_contrastive_decoding_takes_what_the_copy_adds(tiny):
    """By hand in float64 from the two models' own logits: z - a relu(z_m - z)."""
    model, tokenizer = tiny
    joined = contrastive(model)
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    with torch.no_grad():
        z, m = (one.double()(input_ids=ids).logits[0] for one in copy.deepcopy(joined).members())
        found = joined(input_ids=ids).logits[0].double()
    wanted = (z - 4.0 * torch.clamp(m - z, min=0)).log_softmax(-1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["dp", "contrastive"])
def test_scores_and_generation_go_through_it(tiny, kind):
    """The pass over a text gives its log-probs, and greedy generation with a cache its likeliest tokens."""
    model, tokenizer = tiny
    joined = decoded(model, uniform=0.4) if kind == "dp" else contrastive(model, a=20.0)
    example = encode(tokenizer, PROMPT, ANSWER, key=0, max_length=64)
    (answers,) = forward(joined, collate([example], tokenizer.pad_token_id))
    lps = log_probs(joined, list(example.input_ids))
    wanted = [-float(lps[at - 1, example.input_ids[at]]) for at in example.answer_at]
    assert answers.nll.tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    ids = list(tokenizer(PROMPT)["input_ids"])
    start, said = len(ids), []
    for _ in range(6):
        ids.append(int(log_probs(joined, ids)[-1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    said = tokenizer.decode(ids[start:], skip_special_tokens=True)
    assert generate(joined, tokenizer, [PROMPT], [6], "cpu") == [said]


def test_it_comes_back_from_its_folder(tiny, tmp_path):
    model, tokenizer = tiny
    joined = contrastive(model)
    joined.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = load(str(tmp_path)).model
    ids = list(tokenizer(PROMPT)["input_ids"])
    assert torch.equal(log_probs(joined, ids), log_probs(again, ids))
    assert (again.config.contrast, again.config.members) == (4.0, 2)


def test_they_are_offered_beside_the_methods_that_change_weights():
    assert set(OFFERED) == set(METHODS) | set(DECODING)
    assert (
        {n for n, m in (OFFERED | AFTER).items() if not m.changes_weights}
        == set(DECODING)
        == {"dp", "contrastive"}
    )
    for name, method in DECODING.items():
        assert method_named(name) is method
        assert "whoever has the weights has the knowledge" in method.risk
        for text in (
            method.title,
            method.paper,
            method.url,
            method.sentence,
            method.formula,
            method.when,
            method.cost,
        ):
            assert text.strip()
        for size in ("tiny", "small", "large"):
            assert method.from_knobs(method.settings(size, "full")["knobs"])
            assert method.origin(size)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, m in OFFERED.items() if not m.changes_weights])
def test_a_run_changes_no_weight_is_not_exported_and_the_dial_switches_it_off(tmp_path, name, capsys):
    run = small_run(tmp_path, method=name, tuning="full", epochs=8, lr=1e-2)
    start = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()
    (file,) = (run.path / "model").glob("*.safetensors")
    inside = {n.removeprefix("member_0."): t for n, t in load_file(file).items() if n.startswith("member_0.")}
    assert inside
    assert all(torch.equal(start[key], value) for key, value in inside.items())
    scores = run.scores()
    assert scores["after"]["forget"]["nll"] > scores["before"]["forget"]["nll"]
    for kind in ("", "merged", "adapter"):
        with pytest.raises(ValueError, match="has the knowledge, so they are not handed on"):
            publish.export(run, tmp_path / "out", kind)
    with pytest.raises(ValueError, match="so they are not handed on"):
        publish.push(run, "me/it")
    assert not (tmp_path / "out").exists()
    assert main(["export", str(run.path), str(tmp_path / "run.zip")]) == 0
    assert "whoever has the file has the knowledge" in capsys.readouterr().err
    # They are attacked and compared like any other.
    told = stress.attack(run, ["prefix", "quantise", "relearn", "dial"], roots=[tmp_path])["attacks"]
    assert {n for n, entry in told.items() if entry["reason"]} == set(), told
    # At 0 the dial gives the start's own answers.
    assert told["dial"]["after"] == told["dial"]["before"]
    other = small_run(tmp_path, method="ga", epochs=1)
    rows = compare.pair_samples([run, other])
    assert {row["role"] for row in rows} == {"forget", "retain"}
    assert all(row["a"] and row["b"] for row in rows)
    loaded = load_trained(run)
    ids = list(loaded.tokenizer("Question: What is red?\nAnswer:")["input_ids"])
    before = log_probs(load(str(tmp_path / "model")).model, ids)
    turn = dial.decoding_dial(loaded.model)
    assert not torch.allclose(log_probs(loaded.model, ids), before, atol=1e-3)
    turn(0.0)
    torch.testing.assert_close(log_probs(loaded.model, ids), before, rtol=1e-5, atol=1e-5)
    turn(1.0)
    assert math.isfinite(float(log_probs(loaded.model, ids).sum()))


def test_an_encoder_decoder_is_refused(tmp_path):
    from types import SimpleNamespace

    with pytest.raises(ValueError, match="needs a decoder-only model"):
        decoded(SimpleNamespace(config=SimpleNamespace(is_encoder_decoder=True)), uniform=0.5)
