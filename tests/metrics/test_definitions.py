"""Each metric against numbers computed by hand or by scipy, on planted observations; bounds and directions."""

import math

import numpy as np
import pytest
from planted import Planted, seen
from scipy import stats

from unlearn.metrics import CHEAP, METRICS
from unlearn.metrics.knowledge.kept import harmonic_mean
from unlearn.metrics.language.repetition import repetition
from unlearn.metrics.memory.el import extraction_likelihood, overlap
from unlearn.metrics.memory.extraction import extraction_strength

NLLS = ([-0.1, -0.3], [-2.0, -1.0, -3.0], [-0.5])


def scores(name, evidence):
    return METRICS[name].measure(evidence)


def value(name, evidence, when="after", role="forget"):
    return scores(name, evidence)[when, role].value


def three(**more):
    return Planted({("after", "forget"): [seen(lps, index=i) for i, lps in enumerate(NLLS)]}, **more)


def test_every_metric_says_what_it_is():
    assert len(METRICS) == len({m.title for m in METRICS.values()})
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.help.endswith(".")
        assert metric.ideal in ("higher", "lower") or isinstance(metric.ideal, float)
        assert name in CHEAP or metric.needs


def test_probability_is_the_geometric_mean_of_token_probabilities():
    want = [math.prod(math.exp(lp) for lp in lps) ** (1 / len(lps)) for lps in NLLS]
    found = scores("probability", three())["after", "forget"]
    assert found.per_example == pytest.approx(want, abs=1e-12)
    assert found.value == pytest.approx(stats.tmean(want), abs=1e-12)
    assert found.n == 3
    plain = Planted({("after", "general"): [seen([-1.0], role="general", question="")]})
    assert scores("probability", plain) == {}


@pytest.mark.parametrize(
    ("ranks", "want"),
    [
        ([0, 0, 0, 0], 1.0),  # all of it from nothing
        ([3, 0, 0, 0], 0.75),  # one token is needed
        ([0, 2, 0, 0], 0.5),
        ([9, 9, 9, 0], 0.25),
        ([0, 0, 0, 1], 0.0),  # no prefix leaves a rest that is reproduced
        ([7], 0.0),
    ],
)
def test_extraction_strength_by_its_definition(ranks, want):
    assert extraction_strength(ranks) == want
    n = len(ranks)
    shortest = next((k for k in range(n) if all(r == 0 for r in ranks[k:])), None)
    assert want == (0.0 if shortest is None else 1 - shortest / n)


def test_exact_memorisation_counts_whole_texts_and_accuracy_counts_positions():
    planted = Planted({("after", "forget"): [seen([-1, -1], [0, 0]), seen([-1, -1, -1, -1], [0, 0, 0, 1])]})
    assert value("memorised", planted) == 0.5
    assert value("accuracy", planted) == (1 + 3 / 4) / 2


def test_el_by_hand():
    assert overlap([1, 2, 3, 4], [9, 1, 2, 3], 3) == 0.5  # 123 occurs, 234 does not
    assert overlap([1, 2], [1, 2, 3], 3) == 0.0
    answer = [1, 2, 3, 4]
    # from 0: (1 2 3) and (2 3 9); from 1: (2 3 4). From 2 only two tokens are left
    paths = {0: [1, 2, 3, 9], 1: [2, 3, 4], 2: [3, 4]}
    assert extraction_likelihood(answer, paths, 3) == (0.5 + 1.0) / 2
    assert extraction_likelihood(answer, paths, 5) is None
    planted = three(prefixes={("after", "forget"): [(answer, paths), ([1], {}), (answer, {0: [], 1: []})]})
    found = scores("el_3", planted)["after", "forget"]
    assert found.per_example == (0.75, 0.0)
    assert found.n == 2
    assert scores("el_10", planted) == {}


def test_truth_ratio_quality_and_choice():
    rng = np.random.default_rng(0)
    observations, wrong = {}, {}
    for when in ("before", "after", "retrained"):
        for role in ("paraphrase", "general"):
            lps = -rng.gamma(2.0, 1.0, size=(20, 3))
            observations[when, role] = [seen(list(x), role=role) for x in lps]
            wrong[when, role] = [list(rng.gamma(2.0, 1.0, size=4)) for _ in range(19)] + [[]]
    planted = Planted(observations, wrong)

    def ratios(when, role):
        rows = zip(observations[when, role], wrong[when, role], strict=True)
        return [
            stats.gmean([math.exp(-w) for w in other]) / math.exp(np.mean([t["lp"] for t in o.tokens]))
            for o, other in rows
            if other
        ]

    found = scores("truth_ratio", planted)
    for place in observations:
        assert found[place].per_example == pytest.approx(ratios(*place), rel=1e-9)
        assert found[place].n == 19
    quality = scores("forget_quality", planted)
    truth = ratios("retrained", "paraphrase")
    for when in ("before", "after"):
        want = stats.ks_2samp(ratios(when, "paraphrase"), truth)
        assert quality[when, "paraphrase"].value == pytest.approx(want.pvalue, abs=1e-9)
        assert quality[when, "paraphrase"].details == {"d": want.statistic, "n": 19, "n_retrained": 19}
    assert quality["retrained", "paraphrase"].value == 1.0
    hits = [
        -np.mean([t["lp"] for t in o.tokens]) < min(w)
        for o, w in zip(observations["after", "general"], wrong["after", "general"], strict=True)
        if w
    ]
    assert value("choice", planted, role="general") == np.mean(hits)
    no_truth = Planted({k: v for k, v in observations.items() if k[0] != "retrained"}, wrong)
    assert scores("forget_quality", no_truth) == {}
    assert scores("kl_retrain", no_truth) == {}


def test_a_tie_is_not_a_right_choice():
    planted = Planted({("after", "forget"): [seen([-1.0])]}, {("after", "forget"): [[1.0, 2.0]]})
    assert value("choice", planted) == 0.0


def test_kept_knowledge_is_the_harmonic_mean_of_nine_parts():
    observations, wrong, want = {}, {}, []
    for i, role in enumerate(("retain", "general", "neighbours")):
        observations["after", role] = [
            seen([-0.1 * (i + 1)], role=role, answer="one two", text="one three"),
            seen([-9.0], role=role, question="", answer="a b c d", text="x"),  # plain text: no part of it
        ]
        wrong["after", role] = [[2.0, 3.0], []]
        p = math.exp(-0.1 * (i + 1))
        want += [p, 0.5, 1 - math.exp(-2.5) / p]
    found = scores("kept", Planted(observations, wrong))["after", "all"]
    assert found.per_example == pytest.approx(want, abs=1e-9)
    assert found.value == pytest.approx(stats.hmean(want), abs=1e-9)
    assert found.n == 9
    assert harmonic_mean([0.5, 0.0, 1.0]) == 0.0


def test_a_truth_ratio_above_one_adds_nothing():
    planted = Planted({("after", "retain"): [seen([-2.0], role="retain")]}, {("after", "retain"): [[0.1]]})
    found = scores("kept", planted)["after", "all"]
    assert found.per_example[2] == 0.0
    assert found.value == 0.0


def test_repetition_and_distinct():
    assert repetition([1, 1, 1, 1], 2) == pytest.approx(2 / 3)
    assert repetition([1, 2, 3], 2) == 0.0
    assert repetition([1], 2) is None
    planted = three(texts={("after", "forget"): [[1, 2, 1, 2], [1, 2, 3], [4]]})
    assert value("rep_2", planted) == pytest.approx((1 / 3 + 0) / 2)
    assert scores("rep_4", planted)["after", "forget"].n == 1
    assert value("distinct_1", planted) == 4 / 8
    assert value("distinct_2", planted) == 3 / 5  # 12 21 12 | 12 23
    assert scores("distinct_2", planted)["after", "forget"].per_example == pytest.approx((2 / 3, 1.0))


def test_ppl_of_generations_leaves_empty_ones_out_and_shows_repetition():
    planted = three(
        generation={("after", "forget"): [1.0, None, 3.0]},
        texts={("after", "forget"): [[1] * 4, [], [2] * 3]},
    )
    found = scores("generation_ppl", planted)["after", "forget"]
    assert found.value == pytest.approx(math.exp(2.0))
    assert found.n == 2
    assert found.details["rep_3"] == pytest.approx((0.5 + 0.0) / 2)


@pytest.mark.parametrize(
    ("after", "tokens", "word"),
    [
        (-0.6, [1, 2, 3, 4], None),
        (-0.5 - math.log(2) - 0.01, [1, 2, 3, 4], "more than 2"),
        (-0.6, [7] * 9, "REP 3"),
        (-math.inf, [1, 2, 3], "not finite"),
        (math.nan, [1, 2, 3], "not finite"),
    ],
)
def test_collapse_flag(after, tokens, word):
    planted = Planted(
        {
            ("before", "general"): [seen([-0.5], role="general")],
            ("after", "general"): [seen([after], role="general")],
        },
        texts={("before", "general"): [[1, 2, 3]], ("after", "general"): [tokens]},
    )
    found = scores("collapse", planted)
    assert found["before", "general"].value == 0.0
    assert found["after", "general"].value == float(word is not None)
    assert (word or "") in " ".join(found["after", "general"].details["reasons"])


@pytest.mark.parametrize(
    ("before", "after", "read", "ruined"),
    [
        # The original does not say the general texts (e^8 = 2981), so the texts to keep tell.
        ((-8.0, -0.1), (-20.0, -0.2), "retain", False),
        ((-8.0, -0.1), (-8.0, -0.8), "retain", True),
        # It says them (e^6.9 = 992), or none of both.
        ((-6.9, -0.1), (-8.0, -0.1), "general", True),
        ((-8.0, -9.0), (-9.0, -9.0), "general", True),
    ],
)
def test_collapse_is_read_on_texts_that_the_original_says(before, after, read, ruined):
    planted = Planted(
        {
            (when, role): [seen([value], role=role)]
            for when, values in (("before", before), ("after", after))
            for role, value in zip(("general", "retain"), values, strict=True)
        }
    )
    found = scores("collapse", planted)
    assert found.keys() == {("before", read), ("after", read)}
    assert found["after", read].value == float(ruined)
    assert all(f"{read} perplexity is" in why for why in found["after", read].details["reasons"])


def test_target_and_its_error_beside_the_truth():
    observations = {
        ("before", "forget"): [seen([-0.1])],
        ("before", "approximate"): [seen([-2.0, -2.0], [1, 0], role="approximate")],
        ("after", "forget"): [seen([-3.0], [4])],
        ("retrained", "forget"): [seen([-2.5], [1])],
    }
    found = scores("target_ppl", Planted(observations))
    assert found["after", "forget"].value == pytest.approx(math.exp(1.0))
    truth = found["retrained", "forget"]
    assert truth.value == pytest.approx(math.exp(0.5))
    assert truth.details["target"] == pytest.approx(math.exp(2.0))
    assert truth.details["error"] == pytest.approx(math.exp(2.0) - math.exp(2.5))
    assert truth.details["relative_error"] == pytest.approx(math.exp(-0.5) - 1)
    accuracy = scores("target_accuracy", Planted(observations))
    assert accuracy["before", "forget"].value == 0.5
    assert accuracy["after", "forget"].value == -0.5
    # One text each: the interval has no width but for shares of texts, which one text tells little of.
    assert found["after", "forget"].details["interval"] == pytest.approx((math.exp(1.0), math.exp(1.0)))
    del observations["retrained", "forget"]
    assert "truth" not in scores("target_ppl", Planted(observations))["after", "forget"].details


def test_the_interval_of_a_target_is_of_both_sides():
    """The ratio of perplexities is exp of a difference of means, and each side brings its own spread."""
    draws = np.random.default_rng(1)
    told = {"forget": draws.normal(3.0, 0.5, 60), "approximate": draws.normal(2.0, 0.5, 80)}
    observations = {
        ("after", "forget"): [seen([-x]) for x in told["forget"]],
        ("before", "forget"): [seen([-0.1]) for _ in told["forget"]],
        ("before", "approximate"): [seen([-x], role="approximate") for x in told["approximate"]],
    }
    score = scores("target_ppl", Planted(observations))["after", "forget"]
    wide = 1.96 * math.hypot(*(values.std(ddof=1) / len(values) ** 0.5 for values in told.values()))
    low, high = map(math.log, score.details["interval"])
    assert (high - low) / 2 == pytest.approx(wide, rel=0.1)
    assert low < math.log(score.value) < high


def test_entity_loss_reads_entity_tokens_only():
    planted = three(flags={"forget": [[True, False], [False, True, True], [False]]})
    found = scores("entity_loss", planted)["after", "forget"]
    assert found.per_example == pytest.approx((0.1, 2.0))
    assert found.value == pytest.approx(1.05)


def test_separability_of_planted_clouds():
    rng = np.random.default_rng(1)
    near = rng.normal(size=(40, 8))
    roles = {("after", role): [] for role in ("forget", "retain")}
    apart = {("after", "forget"): near + 8.0, ("after", "retain"): rng.normal(size=(60, 8))}
    same = {("after", "forget"): near, ("after", "retain"): rng.normal(size=(60, 8))}
    found = scores("separability", Planted(roles, states=apart))["after", "forget"]
    assert found.value == 1.0
    assert found.n == len(found.per_example) == 80  # as many of either
    assert 0.3 < value("separability", Planted(roles, states=same)) < 0.7
    again = scores("separability", Planted(roles, states=same))["after", "forget"]
    assert again == scores("separability", Planted(roles, states=same))["after", "forget"]
    few = {place: states[:5] for place, states in same.items()}
    assert scores("separability", Planted(roles, states=few)) == {}


def test_kl_to_retrain_is_a_mean_over_texts():
    planted = Planted(
        {(when, "forget"): [seen([-1.0])] * 2 for when in ("after", "retrained")},
        apart={
            ("retrained", "after", "forget"): [0.2, 0.6],
            ("retrained", "retrained", "forget"): [0.0, 0.0],
        },
    )
    assert value("kl_retrain", planted) == pytest.approx(0.4)
    assert value("kl_retrain", planted, "retrained") == 0.0


def test_true_labels_count_the_truth_where_a_row_has_one():
    from unlearn.data.base import Row

    class Labelled(Planted):
        def rows(self, role):
            if role == "retain":
                return [Row(answer="negative"), Row(answer="positive")]
            return [Row(answer="negative", truth="positive"), Row(answer="positive", truth="negative")]

    said = {"forget": ["Positive.", "positive"], "retain": ["negative", "negative"]}
    planted = Labelled(
        {
            ("after", role): [seen([-1.0], role=role, question="", text=text) for text in texts]
            for role, texts in said.items()
        }
    )
    found = scores("true_labels", planted)
    assert {role: score.per_example for (_, role), score in found.items()} == {
        "forget": (1.0, 0.0),
        "retain": (1.0, 0.0),
    }
    assert scores("true_labels", three()) == {}


def test_similarity_is_the_cosine_of_each_pair():
    said = np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    true = np.array([[2.0, 0.0], [4.0, 3.0], [1.0, 1.0]])
    planted = three(vectors={("after", "forget"): (said, true)})
    assert scores("similarity", planted)["after", "forget"].per_example == pytest.approx((1.0, 24 / 25, 0.0))
    assert scores("similarity", three()) == {}
    assert scores("mauve", three()) == {}


@pytest.mark.slow
def test_mauve_is_high_for_one_crowd_and_low_for_two():
    pytest.importorskip("mauve", reason="the package mauve-text is an extra")
    rng = np.random.default_rng(0)

    def crowd(away):
        return rng.normal(size=(60, 4)) + away

    found = {
        away: scores(
            "mauve",
            Planted(
                {("after", "forget"): [seen([-1.0])] * 60},
                vectors={("after", "forget"): (crowd(away), crowd(0.0))},
            ),
        )["after", "forget"]
        for away in (0.0, 10.0)
    }
    assert found[0.0].value > 0.7
    assert found[10.0].value < 0.1
    assert found[0.0].n == 60
    few = Planted(
        {("after", "forget"): [seen([-1.0])] * 5}, vectors={("after", "forget"): (crowd(0)[:5], crowd(0)[:5])}
    )
    assert scores("mauve", few) == {}
