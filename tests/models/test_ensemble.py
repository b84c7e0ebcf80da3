"""An ensemble answers with the mean of its members' probabilities, and passes for one model everywhere else."""

import copy

import pytest
import torch

from tests.methods.test_methods import examples, moved
from unlearn.compute.continuing import bytes_a_token
from unlearn.compute.lm import forward
from unlearn.compute.states import depth
from unlearn.compute.tokens import collate
from unlearn.measure.generating import GREEDY, generate
from unlearn.models.joined.ensemble import ensemble_of
from unlearn.models.load import load


@pytest.fixture
def pair(tiny):
    """(ensemble of two models that differ, those two, tokenizer)."""
    model, tokenizer = tiny
    other = moved(model, scale=0.2)
    whole = ensemble_of(model, 2)
    whole.member_1.load_state_dict(other.state_dict())
    return whole, (model, other), tokenizer


def test_probabilities_are_the_mean_of_the_members(pair):
    whole, models, tokenizer = pair
    batch = collate(examples(tokenizer), tokenizer.pad_token_id)
    (answers,) = forward(whole, batch)
    each = []
    for model in models:  # by hand: every text alone, softmax in float64, labels shifted here
        rows = []
        for example in examples(tokenizer):
            logits = model(input_ids=torch.tensor([example.input_ids])).logits[0].double()
            p = torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True)
            rows += [p[i - 1] for i in example.answer_at]
        each.append(torch.stack(rows))
    found = answers.head(answers.hidden).double()
    assert torch.allclose(found, torch.log((each[0] + each[1]) / 2), atol=1e-5)
    assert not torch.allclose(torch.log(each[0]), torch.log(each[1]), atol=0.1)


def test_one_member_is_the_model_itself(tiny):
    model, tokenizer = tiny
    batch = collate(examples(tokenizer), tokenizer.pad_token_id)
    (one,), (many,) = forward(model, batch), forward(ensemble_of(model, 1), batch)
    assert torch.allclose(one.nll, many.nll, atol=1e-5)


def test_generation_with_a_cache_is_generation_without(pair, monkeypatch):
    whole, models, tokenizer = pair
    prompts = ["Question: What is the capital of", "red"]
    found = generate(whole, tokenizer, prompts, 6, "cpu")
    monkeypatch.setitem(GREEDY, "use_cache", False)
    assert generate(whole, tokenizer, prompts, 6, "cpu") == found
    alone = [generate(model, tokenizer, prompts, 6, "cpu") for model in models]
    assert alone[0] != alone[1]  # so that the answers of one member cannot pass for those of both


def test_it_is_saved_and_loaded_like_any_model(pair, tmp_path):
    whole, _, tokenizer = pair
    whole.save_pretrained(tmp_path, safe_serialization=True)
    tokenizer.save_pretrained(tmp_path)
    again = load(str(tmp_path)).model
    batch = collate(examples(tokenizer), tokenizer.pad_token_id)
    assert torch.equal(forward(again, batch)[0].nll, forward(whole, batch)[0].nll)
    assert depth(again) == 2 * depth(whole.member_0)


def test_a_copy_shares_nothing(pair):
    whole, _, tokenizer = pair
    batch = collate(examples(tokenizer), tokenizer.pad_token_id)
    before, other = forward(whole, batch)[0].nll, copy.deepcopy(whole)
    with torch.no_grad():
        other.member_1.get_input_embeddings().weight.mul_(2)
    assert torch.equal(forward(whole, batch)[0].nll, before)
    assert not torch.equal(forward(other, batch)[0].nll, before)


def test_the_dial_says_that_no_line_leads_to_an_ensemble(pair):
    from unlearn.attacks.dial import full_dial

    with pytest.raises(ValueError, match="built otherwise than the original"):
        full_dial(pair[0], pair[1][0])


def test_the_keys_and_values_of_a_token_are_those_of_all_members(tiny):
    """So that a batch of texts to continue is as large as the memory allows."""
    model, _ = tiny
    assert bytes_a_token(ensemble_of(model, 3)) == 3 * bytes_a_token(model)
