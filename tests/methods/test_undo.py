"""UNDO: the damage by algebra, the distillation against float64, and the step after a run with an adapter."""

import copy

import pytest
import torch
from reference import answers_of

from tests.methods.test_methods import batch_of, examples, moved, reference_for
from unlearn.methods import AFTER, METHODS, method_named
from unlearn.methods.edit.undo import damage


def test_without_noise_every_weight_loses_its_share(tiny):
    model, _ = tiny
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    damage(model, 0.25, 0.0, seed=1)
    for name, p in model.named_parameters():
        assert torch.allclose(p, 0.75 * before[name]), name


def test_noise_has_xaviers_spread_in_matrices_alone(tiny):
    """ξ ~ U(±sqrt(6 / (m + n))), so W_s - (1 - a) W has the standard deviation a b sqrt(2 / (m + n))."""
    model, _ = tiny
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    damage(model, 0.5, 0.3, seed=1)
    for name, p in model.named_parameters():
        added = p.detach() - 0.5 * before[name]
        if p.dim() < 2:
            assert torch.allclose(added, torch.zeros_like(added), atol=1e-7)
        elif p.numel() > 2000:
            want = 0.5 * 0.3 * (2 / sum(p.shape)) ** 0.5
            assert added.std().item() == pytest.approx(want, rel=0.1), name


def test_the_loss_is_the_divergence_from_the_teacher(tiny):
    teacher, tokenizer = tiny
    forget, retain = examples(tokenizer), examples(tokenizer, first=10)
    method, student = AFTER["undo"](retain_weight=2.0), moved(teacher)
    ref = reference_for(teacher, method, tokenizer, forget, retain)
    got = method.loss(student, ref, batch_of(tokenizer, forget, retain, method))["distillation"]
    total, count = 0.0, 0
    for example in retain:
        now = answers_of(copy.deepcopy(student).double(), example)[0].log_softmax(-1)
        then = answers_of(copy.deepcopy(teacher).double(), example)[0].log_softmax(-1)
        total, count = total + (then.exp() * (then - now)).sum(), count + len(now)
    assert got.item() == pytest.approx(2 * float(total.detach() / count), rel=2e-5)


def test_it_is_no_choice_of_its_own():
    assert "undo" not in METHODS
    assert method_named("undo").follows
