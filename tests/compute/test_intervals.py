"""Intervals: equal to scipy's, growing with the score's own function, and of a difference."""

import math

import pytest

from unlearn.compute.intervals import Z, bootstrap, difference, interval, of_auc, wilson
from unlearn.metrics import CHEAP

VALUES = [0.1, 0.4, 0.4, 0.9, 0.2, 0.7, 0.3, 0.8]


@pytest.mark.parametrize(("hits", "n"), [(0, 25), (1, 3), (12, 25), (90, 90)])
def test_a_share_has_wilsons_interval(hits, n):
    from scipy.stats import binomtest

    wanted = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    assert interval([1.0] * hits + [0.0] * (n - hits)) == wilson(hits, n)


def test_a_mean_has_the_bootstraps_interval():
    import numpy as np
    from scipy.stats import bootstrap as theirs

    found = theirs((VALUES,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1))
    low, high = found.confidence_interval
    assert bootstrap(VALUES) == pytest.approx((low, high), abs=0.03)
    assert bootstrap(VALUES) == bootstrap(VALUES), "the same texts give the same interval"
    assert bootstrap([1.0, math.inf]) == (-math.inf, math.inf)


@pytest.mark.parametrize("name", CHEAP)
def test_every_cheap_score_grows_with_the_mean_of_its_texts(name):
    """interval() hands the ends of the mean to combine: that is right where combine is a function of the mean."""
    combine = CHEAP[name].combine
    mean = sum(VALUES) / len(VALUES)
    assert combine(VALUES) == pytest.approx(combine([mean]))
    low, high = interval(VALUES, combine)
    assert low < combine(VALUES) < high


def test_a_difference_is_newcombes():
    """Newcombe 1998, his example of 56 of 70 against 48 of 80: .0524 to .3339."""
    a, b = 56 / 70, 48 / 80
    low, high = difference(a, wilson(56, 70), b, wilson(48, 80))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_the_interval_of_an_auc_solves_its_equation_and_is_no_point_at_the_ends():
    m, n = 30, 20
    for value in (0.0, 0.3, 0.5, 0.9, 1.0):
        low, high = of_auc(value, m, n)
        assert 0 <= low <= value <= high <= 1
        for end in {low, high} - {0.0, 1.0}:
            shape = (1 - end) / (2 - end) + end / (1 + end)
            spread = end * (1 - end) * (1 + ((m + n) / 2 - 1) * shape) / (m * n)
            assert (value - end) ** 2 == pytest.approx(Z**2 * spread, rel=1e-6)
    assert of_auc(1.0, m, n)[0] < 0.97
    assert of_auc(0.0, m, n)[1] == pytest.approx(1 - of_auc(1.0, m, n)[0])
    assert of_auc(0.5, 300, 300)[0] > of_auc(0.5, 30, 30)[0]
