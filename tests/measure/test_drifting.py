"""States of every block and Fisher information against one plain backward pass for each text, in float64."""

import pytest
import torch
from conftest import make_model

from unlearn.compute.states import blocks
from unlearn.data.base import Row
from unlearn.measure import drifting
from unlearn.models.load import add_lora, in_memory
from unlearn.training.encoding import encode_rows

ROWS = [
    Row(question="Where was Alma born?", answer="in the red capital"),
    Row(question="Who?", answer="three"),
]


@pytest.fixture
def loaded(tmp_path):
    model, tokenizer = make_model(tmp_path)
    return in_memory(model, tokenizer)


@pytest.fixture
def examples(loaded):
    return encode_rows(loaded.tokenizer, ROWS, max_length=128)


def test_states_are_means_over_the_places_that_predict_the_answer(loaded, examples):
    found = drifting.mean_states(loaded, examples)
    assert found.shape == (2, 2, 32)
    for i, e in enumerate(examples):
        with torch.no_grad():
            out = loaded.model(input_ids=torch.tensor([e.input_ids]), output_hidden_states=True)
        want = out.hidden_states[1][0, [p - 1 for p in e.answer_at]].mean(0)
        assert found[0, i] == pytest.approx(want.numpy(), abs=1e-5)


def test_fisher_is_the_mean_square_of_each_texts_gradient(loaded, examples):
    found = drifting.fisher(loaded, examples)
    assert not any(p.grad is not None for p in loaded.model.parameters())
    model = loaded.model.double()
    model.requires_grad_(True)
    want = [0.0] * len(blocks(model))
    for e in examples:
        model.zero_grad()
        logits = model(input_ids=torch.tensor([e.input_ids])).logits[0].log_softmax(-1)
        sum(logits[place - 1, e.input_ids[place]] for place in e.answer_at).backward()
        for i, block in enumerate(blocks(model)):
            want[i] += sum(float(p.grad.square().sum()) for p in block.parameters()) / len(examples)
    sizes = [sum(p.numel() for p in block.parameters()) for block in blocks(model)]
    assert found == pytest.approx([w / n for w, n in zip(want, sizes, strict=True)], rel=1e-3)


def test_an_adapters_own_weights_are_not_among_them(loaded, examples):
    bare = drifting.fisher(loaded, examples)
    loaded.model = add_lora(loaded.model, rank=2, alpha=4.0, seed=0)
    frozen = [p.requires_grad for p in loaded.model.parameters()]
    assert drifting.fisher(loaded, examples) == pytest.approx(bare, rel=1e-4)
    assert [p.requires_grad for p in loaded.model.parameters()] == frozen


def test_a_large_model_has_none(loaded, examples, monkeypatch):
    monkeypatch.setattr(drifting, "MOST", 10)
    assert drifting.fisher(loaded, examples) == []
