"""UNDO: the damage by algebra. Its loss stands with the others in test_methods.py."""

import pytest
import torch

from unlearn.methods import METHODS, method_named
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


def test_it_is_no_choice_of_its_own():
    assert "undo" not in METHODS
    assert method_named("undo").follows
