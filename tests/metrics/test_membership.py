"""Membership inference against brute force, scikit-learn and scipy; its bounds, its direction, its interval."""

import math
import zlib

import numpy as np
import pytest
from planted import Planted, seen
from scipy import stats
from sklearn.metrics import roc_auc_score

from unlearn.metrics import METRICS
from unlearn.metrics.membership.mia import SHARES, lowest
from unlearn.metrics.membership.roc import auc, interval, log_points, roc, summary, tpr_at

ATTACKS = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus", "mia_reference")
ANSWERS = {"forget": ["Paris", "a longer answer, " * 4] * 10, "approximate": ["Rome", "xyz" * 9] * 8}


def pairs(a, b):
    """AUC as it is defined."""
    return np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])


def planted(seed=0, shift=0.0, models=("before", "after", "retrained")):
    """Random log-probs; shift makes the members of `after` likelier."""
    rng = np.random.default_rng(seed)
    observations = {}
    for when in models:
        for role, answers in ANSWERS.items():
            lift = shift if (when, role) == ("after", "forget") else 0.0
            observations[when, role] = [
                seen(
                    list(lift - rng.gamma(2.0, 1.0, size=rng.integers(1, 12))), role=role, mu=-2.0, sigma=0.5
                )
                for _ in answers
            ]
    return Planted(observations, answers=ANSWERS)


def by_hand(name, o, answer, original, k=20):
    lps = np.array([t["lp"] for t in o.tokens])
    if name == "mia_loss":
        return lps.mean()
    if name == "mia_zlib":
        return lps.mean() / len(zlib.compress(answer.encode()))
    if name == "mia_reference":
        return lps.mean() - np.mean([t["lp"] for t in original.tokens])
    if name == "mia_min_k_plus":
        lps = (lps - -2.0) / 0.5
    count = max(1, math.floor(k / 100 * len(lps) + 1e-9))
    return np.sort(lps)[:count].mean()


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_equals_an_independent_computation(name):
    evidence = planted(shift=0.7)
    found = METRICS[name].measure(evidence)["after", "forget"]
    sides = [
        [
            by_hand(name, o, answer, original)
            for o, answer, original in zip(
                evidence.seen("after", role), ANSWERS[role], evidence.seen("before", role), strict=True
            )
        ]
        for role in ("forget", "approximate")
    ]
    assert found.per_example == pytest.approx((*sides[0], *sides[1]), abs=1e-9)
    assert found.n == 36
    assert found.value == pytest.approx(pairs(*sides), abs=1e-9)
    u = stats.mannwhitneyu(*sides).statistic
    assert found.value == pytest.approx(u / (20 * 16), abs=1e-9)
    assert found.details["members"] == 20
    assert found.details["others"] == 16


def test_min_k_is_reported_for_all_k():
    evidence = planted(shift=0.7)
    for name in ("mia_min_k", "mia_min_k_plus"):
        found = METRICS[name].measure(evidence)["after", "forget"].details["auc_by_k"]
        assert tuple(found) == SHARES
        for k in (10, 50, 100):
            sides = [
                [by_hand(name, o, "", None, k) for o in evidence.seen("after", role)]
                for role in ("forget", "approximate")
            ]
            assert found[k] == pytest.approx(pairs(*sides), abs=1e-9)
    assert METRICS["mia_min_k"].measure(evidence)["after", "forget"].details["auc_by_k"][
        100
    ] == pytest.approx(METRICS["mia_loss"].measure(evidence)["after", "forget"].value)
    assert lowest([-3.0, -1.0, -2.0, -9.0, 0.0], 40) == -6.0
    assert lowest([-3.0, -1.0], 10) == -3.0


def test_bounds_and_folding():
    high, low = [3.0, 4.0, 5.0], [0.0, 1.0, 2.0]
    known, over = summary(high, low), summary(low, high)
    assert (known["auc"], known["folded"], known["tpr_at_1"]) == (1.0, 1.0, 1.0)
    assert (over["auc"], over["folded"], over["tpr_at_5"]) == (0.0, 1.0, 0.0)  # folding hides the direction
    assert summary([1.0, 1.0], [1.0])["auc"] == 0.5
    assert known["interval"] == (1.0, 1.0)
    assert summary([], [1.0]) is None
    assert summary([math.nan], [1.0]) is None


def test_a_memorised_model_is_found_out_and_chance_is_a_half():
    certain = planted(shift=100.0)
    assert METRICS["mia_loss"].measure(certain)["after", "forget"].value == 1.0
    over = METRICS["mia_loss"].measure(planted(shift=-100.0))["after", "forget"]
    assert over.value == 0.0
    assert over.details["folded"] == 1.0
    many = np.random.default_rng(3).normal(size=4000)
    assert abs(auc(many[:2000], many[2000:]) - 0.5) < 0.03


def test_true_positives_at_few_false_ones():
    curve = ([0.0, 0.0, 0.01, 0.04, 0.2, 1.0], [0.0, 0.1, 0.3, 0.4, 0.9, 1.0])
    assert tpr_at(curve, 0.01) == 0.3
    assert tpr_at(curve, 0.05) == 0.4
    assert tpr_at(curve, 0.001) == 0.1
    rng = np.random.default_rng(5)
    members, others = rng.normal(0.8, 1, 300), rng.normal(0, 1, 200)
    cut = np.sort(others)[::-1][10]  # ten others, 5 %, lie above it
    assert tpr_at(roc(members, others), 0.05) == pytest.approx(np.mean(members > cut), abs=1e-9)


def test_log_points_keep_what_a_log_axis_can_show():
    assert log_points(([0.0, 0.0, 0.1, 1.0], [0.0, 0.5, 0.6, 1.0])) == ([0.1, 1.0], [0.6, 1.0])


@pytest.mark.slow
def test_bootstrap_interval_is_seeded_and_like_a_plain_one():
    rng = np.random.default_rng(7)
    a, b = rng.normal(0.6, 1, 50), rng.normal(0, 1, 40)
    found = interval(a, b)
    assert found == interval(a, b)
    assert found[0] < auc(a, b) < found[1]
    assert interval([1.0, 1.0], [1.0, 1.0, 1.0]) == (0.5, 0.5)  # a tie counts half
    labels, plain = [1] * 50 + [0] * 40, np.random.default_rng(11)
    again = [roc_auc_score(labels, [*plain.choice(a, 50), *plain.choice(b, 40)]) for _ in range(600)]
    assert found == pytest.approx(np.percentile(again, [2.5, 97.5]), abs=0.03)


def test_reference_attack_says_nothing_about_the_original_itself():
    assert ("before", "forget") not in METRICS["mia_reference"].measure(planted())


def test_privleak():
    evidence = planted(shift=2.0)
    found = METRICS["privleak"].measure(evidence)
    aucs = {
        when: pairs(
            *(
                [by_hand("mia_min_k", o, "", None, 40) for o in evidence.seen(when, role)]
                for role in ("forget", "approximate")
            )
        )
        for when in ("after", "retrained")
    }
    s, r = 1 - aucs["after"], 1 - aucs["retrained"]
    want = 100 * (s - r) / r
    assert found["after", "forget"].value == pytest.approx(want, abs=1e-9)
    low, high = found["after", "forget"].details["interval"]
    assert -100 <= low < want < high
    assert (
        found["retrained", "forget"].details["interval"][0]
        < 0
        < found["retrained", "forget"].details["interval"][1]
    )
    assert want < 0, "better known than by the retrained model: MUSE counts that below 0"
    assert found["retrained", "forget"].value == 0.0
    assert METRICS["privleak"].measure(planted(models=("before", "after"))) == {}


def test_privleak_has_muses_sign_at_both_ends():
    """All still known (AUC 1) is -100; forget texts less known than fresh ones (AUC 0): 100 · AUC_r / (1 - AUC_r)."""
    for shift, area in ((50.0, 1.0), (-50.0, 0.0)):
        found = METRICS["privleak"].measure(planted(shift=shift))
        truth = found["retrained", "forget"].details["auc"]
        assert found["after", "forget"].details["auc"] == area
        want = -100.0 if area == 1.0 else 100 * truth / (1 - truth)
        assert found["after", "forget"].value == pytest.approx(want)


# -- the classifier on states ------------------------------------------------------------------------------------


def states(seed, *, known, n=(40, 40, 40), width=60):
    """Evidence of one model: it treats what it was trained on in a way of its own; `known`: the forget texts too."""
    rng = np.random.default_rng(seed)
    mark = np.zeros(width)
    mark[:4] = 2.0
    marked = {"forget": known, "approximate": False, "retain": True}
    found = {
        ("after", role): rng.normal(size=(count, width)) + mark * marked[role]
        for (role, count) in zip(marked, n, strict=True)
    }
    return Planted({place: [seen([-1.0])] * len(x) for place, x in found.items()}, states=found)


def classified(evidence):
    return METRICS["mia_states"].measure(evidence)["after", "forget"]


def test_the_classifier_finds_members_that_the_model_knows():
    found = classified(states(0, known=True))
    assert found.value > 0.95
    assert found.details["interval"][0] > 0.5
    assert found.details["called_members"] > 0.8 < found.details["called_others"]
    assert (found.details["members"], found.details["others"], found.details["shadow"]) == (40, 40, 40)
    assert found.n == len(found.per_example) == 80


def test_the_classifier_is_at_chance_where_forget_texts_are_as_never_seen_ones():
    found = [classified(states(seed, known=False)) for seed in range(20)]
    values = np.array([one.value for one in found])
    assert abs(values.mean() - 0.5) < 3 * values.std() / np.sqrt(len(values))
    inside = sum(one.details["interval"][0] <= 0.5 <= one.details["interval"][1] for one in found)
    assert inside >= 17
    assert all(one.details["called_members"] < 0.5 for one in found)


def test_the_classifier_is_never_asked_of_what_it_was_trained_on():
    """Noise alone, in more dimensions than texts: every text that it was trained on would be told apart."""
    values = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        found = {("after", role): rng.normal(size=(30, 200)) for role in ("forget", "approximate", "retain")}
        planted = Planted({place: [seen([-1.0])] * 30 for place in found}, states=found)
        values.append(classified(planted).value)
    assert 0.3 < np.mean(values) < 0.65


def test_too_few_texts_or_a_role_less_give_no_score():
    assert METRICS["mia_states"].measure(states(0, known=True, n=(40, 9, 40))) == {}
    less = states(0, known=True)
    less.observations.pop(("after", "retain"))
    assert METRICS["mia_states"].measure(less) == {}
