"""MEND: the edit against float64 loops, what the matrices read and push, and what moves."""

import copy
import json
import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.test_methods import examples, moved, reference_for, stream_of
from tests.models.test_t5 import make_t5
from unlearn.__main__ import main
from unlearn.compute.lm import forward
from unlearn.compute.matrices import edited, pairs_of
from unlearn.compute.tokens import collate
from unlearn.methods import METHODS
from unlearn.methods.edit.mend import MEND, Editor
from unlearn.models.load import load
from unlearn.training.loop import Phases, make_optimizer


def by_hand(u, d, editor):
    """The edit of its formula, token by token and number by number, in float64."""
    tokens = [t for t in range(len(d)) if any(x != 0 for x in d[t])]
    read = math.sqrt(sum(x * x for t in tokens for x in u[t]) / len(tokens))
    pushed = math.sqrt(sum(x * x for t in tokens for x in d[t]) / len(tokens))
    total = [[0.0] * len(u[0]) for _ in d[0]]
    for t in tokens:
        z = [x / read for x in u[t]] + [x / pushed for x in d[t]]
        inner = [
            max(0.0, sum(v * x for v, x in zip(row, z, strict=True)) + b)
            for row, b in zip(editor.down.tolist(), editor.bias.tolist(), strict=True)
        ]
        made = [
            x + sum(w * h for w, h in zip(row, inner, strict=True))
            for x, row in zip(z, editor.up.tolist(), strict=True)
        ]
        for i, push in enumerate(made[len(u[0]) :]):
            for j, take in enumerate(made[: len(u[0])]):
                total[i][j] += push * take / len(tokens)
    return [[math.exp(float(editor.scale)) * x for x in row] for row in total]


def editor_of(n, m, hidden=3, up=0.4, seed=0):
    drawn = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=drawn, dtype=torch.float64)

    return Editor(
        normal(hidden, n + m),
        normal(hidden),
        up * normal(n + m, hidden),
        torch.tensor(-0.7, dtype=torch.float64),
    )


def test_the_edit_is_its_formula_in_float64():
    drawn = torch.Generator().manual_seed(1)
    u, d = (torch.randn(6, size, generator=drawn, dtype=torch.float64) for size in (4, 3))
    d[2] = 0.0  # a token that nothing depends on, with something read
    editor = editor_of(4, 3)
    want = torch.tensor(by_hand(u.tolist(), d.tolist(), editor), dtype=torch.float64)
    assert torch.allclose(editor.edit(u, d), want, rtol=1e-12, atol=1e-12)
    longer = [torch.cat([x, torch.full((2, x.shape[1]), fill)]) for x, fill in ((u, 7.0), (d, 0.0))]
    assert torch.allclose(editor.edit(*longer), want, rtol=1e-12, atol=1e-12)


def test_a_fresh_editor_goes_up_the_gradient():
    drawn = torch.Generator().manual_seed(2)
    u, d = (torch.randn(5, size, generator=drawn) for size in (4, 3))
    matrix = torch.nn.Linear(4, 3)
    (editor,) = MEND(scale=0.25).editors({"w": matrix}, 0).values()
    found, gradient = editor.edit(u, d).detach(), d.T @ u
    assert F.cosine_similarity(found.flatten(), gradient.flatten(), 0) == pytest.approx(1.0, abs=1e-6)
    lengths = [x.square().sum(-1).mean().sqrt() for x in (u, d)]
    assert torch.allclose(found, 0.25 * gradient / 5 / (lengths[0] * lengths[1]), atol=1e-6)
    assert torch.allclose(editor.edit(u, 1e-3 * d), found, atol=1e-6)


@pytest.fixture(params=["llama", "t5"])
def scene(request, tiny, tmp_path):
    model, tokenizer = tiny
    if request.param == "t5":
        loaded = load(str(make_t5(tmp_path)))
        model, tokenizer = loaded.model, loaded.tokenizer
    model = moved(model, scale=0.1)
    method = MEND(hidden=4)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(method.trainable(name, 2))
    return method, model, tokenizer


def test_two_vectors_a_token_are_the_whole_gradient(scene):
    """Σ δ uᵀ is what autograd gives the matrix, with texts of different lengths beside each other."""
    method, model, tokenizer = scene
    texts = collate(examples(tokenizer), 0)
    matrices = method.matrices(model)
    pairs, nll = pairs_of(model, matrices, texts)
    (answers,) = forward(model, texts)
    answers.nll.sum().backward()
    assert torch.allclose(nll, answers.nll, atol=1e-5)
    assert len(matrices) >= 4
    for name, (u, d) in pairs.items():
        assert torch.allclose(d.T @ u, matrices[name].weight.grad, atol=1e-4), name


def test_an_edit_acts_as_the_edited_weights(scene):
    method, model, tokenizer = scene
    texts, matrices = collate(examples(tokenizer), 0), method.matrices(model)
    edits = {
        n: editor.edit(*pair).detach()
        for (n, editor), pair in zip(
            method.editors(matrices, 0).items(), pairs_of(model, matrices, texts)[0].values(), strict=True
        )
    }
    with torch.no_grad():
        before = forward(model, texts)[0].nll
        with edited(matrices, edits):
            inside = forward(model, texts)[0].nll
        assert torch.equal(forward(model, texts)[0].nll, before)
        for name, edit in edits.items():
            matrices[name].weight += edit
        assert torch.allclose(forward(model, texts)[0].nll, inside, atol=1e-5)
    assert (inside - before).abs().max() > 1e-3


def carried_out(scene, **knobs):
    _, model, tokenizer = scene
    method, before = MEND(hidden=4, **knobs), copy.deepcopy(model)
    forget, retain = examples(tokenizer), examples(tokenizer, first=10)
    ref = reference_for(model, method, tokenizer, forget, retain)
    stream = stream_of(tokenizer, forget, retain, method, batch_size=4, epochs=6)
    fit = Phases(model, stream, make_optimizer(model, 1e-2), lr=1e-2, device="cpu", start=0)
    steps = []
    for done in method.unlearn(model, ref, fit):
        steps.append(
            (
                done,
                fit.settled,
                all(torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True)),
            )
        )
    return method, before, model, tokenizer, steps


def test_weights_wait_for_the_edits_and_only_the_matrices_move(scene):
    method, before, after, _, steps = carried_out(scene, passes=2)
    assert [(settled, still) for _, settled, still in steps] == [(False, True)] * 6 + [(True, False)] * 2
    assert [done.step for done, *_ in steps] == list(range(1, 9))
    assert {done.of for done, *_ in steps} == {8}
    changed = {
        n
        for (n, p), q in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(p, q)
    }
    assert changed == {n for n, _ in before.named_parameters() if method.trainable(n, 2)}


def test_the_editor_learns_and_the_forget_texts_become_less_likely(scene):
    _, before, after, tokenizer, steps = carried_out(scene, scale=0.02)
    losses = [done.loss for done, settled, _ in steps if not settled]
    assert losses[-1] < losses[0]
    texts = collate(examples(tokenizer), 0)
    with torch.no_grad():
        then, now = (float(forward(model, texts)[0].mean_nll()) for model in (before, after))
    assert now > then
    assert steps[-1][0].terms["forget NLL before its edit"] == pytest.approx(then, rel=1e-4)


def test_its_text_says_how_far_it_is_the_papers_wherever_it_is_listed(capsys):
    said = "How far it is the paper's: MEND is made to change an answer to a given one"
    assert said in MEND.risk
    assert main(["methods", "--json"]) == 0
    listed = {m["name"]: m["risk"] for m in json.loads(capsys.readouterr().out)["methods"]}
    assert listed["mend"].startswith(MEND.collapses)
    assert said in listed["mend"]


def test_the_last_blocks_alone_are_edited():
    method = METHODS["mend"](blocks=1)
    names = ("model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight")
    assert [method.trainable(name, 2) for name in names] == [False, True, False]
    assert method.trainable("decoder.block.1.layer.2.DenseReluDense.wi.weight", 2)


def test_too_few_rows_to_keep_are_refused():
    from unlearn.data.base import Dataset, Row

    rows = tuple(Row(question=f"{i}?", answer=str(i)) for i in range(3))
    data = Dataset(name="few", title="Few", roles={"forget": rows, "retain": rows})
    with pytest.raises(ValueError, match="Few has 3 of at least 4; give more"):
        MEND().rows("tiny", data)
