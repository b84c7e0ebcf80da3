"""Drift from its algebra: CKA does not see a turn or a scale, shift is in spreads along the main directions."""

import math

import numpy as np
import pytest
from planted import Planted, seen

from unlearn.metrics import METRICS
from unlearn.metrics.depth.drift import cka, moved, shift

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5))
TURN = np.linalg.qr(RNG.normal(size=(5, 5)))[0]


def test_cka_is_1_for_the_same_states_turned_scaled_and_moved():
    for other in (X, 3 * X, X @ TURN, X @ TURN * 0.1 + 7):
        assert cka(X, other) == pytest.approx(1.0, abs=1e-12)


def test_cka_equals_its_definition_and_is_0_without_anything_in_common():
    other = RNG.normal(size=(12, 3))
    a, b = X - X.mean(0), other - other.mean(0)
    want = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert cka(X, other) == pytest.approx(want, abs=1e-12)
    assert cka(np.array([[1.0], [-1], [0], [0]]), np.array([[0.0], [0], [1], [-1]])) == pytest.approx(0.0)
    assert math.isnan(cka(X, np.ones((12, 2))))


def test_shift_is_in_spreads_along_the_first_directions():
    plane = np.array([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0.1], [0, 0, -0.1]])
    spread = math.sqrt((8 + 2) / 6)
    assert shift(plane, plane) == 0.0
    assert shift(plane, plane + np.array([3, 0, 0])) == pytest.approx(3 / spread)
    assert shift(plane, plane + np.array([0, 4, 0])) == pytest.approx(4 / spread)
    assert shift(plane, plane + np.array([0, 0, 9])) == pytest.approx(0.0, abs=1e-12)  # no main direction


def test_moved_is_relative_and_a_mean_over_layers():
    start = np.array([[[3.0, 4.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 1.0]]])
    end = start + np.array([[[3.0, 4.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    assert moved(start, end) == pytest.approx((0.75, 0.0))


def planted(**more):
    states = np.stack([X, 2 * X])
    models = {"before": states, "after": states + 1, "retrained": states @ TURN} | more
    return Planted(
        {(when, "forget"): [seen([-1.0], index=i) for i in range(12)] for when in models},
        blocks={(when, "forget"): found for when, found in models.items()},
        matters={("after", "forget"): [0.5, 0.25]},
    )


def test_every_model_is_beside_the_original_and_a_stranger_is_left_out():
    found = METRICS["drift"].measure(planted())
    assert found["before", "forget"].value == 0.0
    after = found["after", "forget"]
    assert (after.n, after.details["n"], after.details["fisher"]) == (12, 12, [0.5, 0.25])
    assert after.details["cka"] == pytest.approx([1.0, 1.0])
    assert min(after.details["shift"]) > 0.1
    assert found["retrained", "forget"].details["cka"] == pytest.approx([1.0, 1.0])
    odd = METRICS["drift"].measure(planted(after=np.zeros((3, 12, 5)), retrained=np.empty(0)))
    assert set(odd) == {("before", "forget")}


def test_it_calls_itself_a_picture():
    drift = METRICS["drift"]
    assert "picture" in drift.title
    assert "does not say that something was forgotten" in drift.help
