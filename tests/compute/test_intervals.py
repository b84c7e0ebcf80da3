"""Intervals: equal to scipy's, growing with the score's own function, and of a difference."""

import math

import pytest

from unlearn.compute.intervals import Z, bootstrap, difference, interval, of_auc, of_harmonic, ratio, wilson
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


def test_a_ratio_with_a_known_denominator_is_the_numerators_interval_divided():
    assert ratio(0.6, (0.5, 0.8), 0.5, (0.5, 0.5)) == pytest.approx((1.0, 1.6))
    low, high = ratio(0.6, (0.5, 0.8), 0.5, (0.4, 0.65))
    assert low < 1.0
    assert high > 1.6
    # Of two numbers without spread it is their quotient, and below 0 nothing comes out.
    assert ratio(0.6, (0.6, 0.6), 0.5, (0.5, 0.5)) == pytest.approx((1.2, 1.2))
    assert ratio(0.0, (0.0, 0.1), 0.5, (0.4, 0.6))[0] == 0.0
    low, high = ratio(0.6, (0.5, 0.8), 0.1, (0.0, 0.3))
    assert 0 < low < 6.0
    assert high == math.inf


def test_a_ratios_interval_holds_the_truth_about_as_often_as_it_says():
    """Two means of 400 normal draws: the ratio's interval is as wide as the delta method's."""
    a, b, error = 2.0, 4.0, 0.05
    around = [(x - Z * error, x + Z * error) for x in (a, b)]
    delta = Z * (a / b) * math.hypot(error / a, error / b)
    assert ratio(a, around[0], b, around[1]) == pytest.approx((a / b - delta, a / b + delta), rel=1e-3)


def test_a_harmonic_mean_is_drawn_by_whole_questions():
    import numpy as np

    draws = np.random.default_rng(3)
    groups = [draws.uniform(0.2, 1.0, size=(3, 40)), draws.uniform(0.2, 1.0, size=(3, 25))]
    means = [value for group in groups for value in group.mean(axis=1)]
    harmonic = len(means) / sum(1 / value for value in means)
    low, high = of_harmonic([group.tolist() for group in groups])
    assert low < harmonic < high
    assert high - low < 0.2
    # Questions whose values rise and fall together move the mean further than values drawn apart.
    one = draws.uniform(0.2, 1.0, size=40)
    together = of_harmonic([[one, one, one]])
    apart = of_harmonic([[one, draws.permutation(one), draws.permutation(one)]])
    assert together[1] - together[0] > 1.3 * (apart[1] - apart[0])
    assert of_harmonic([[[0.0] * 5], [[0.5] * 5]]) == (0.0, 0.0)
