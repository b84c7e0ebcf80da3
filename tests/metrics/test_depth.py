"""The Unlearning Depth Score from its algebra, on planted log-probs: both ends, weights, threshold, what is left."""

import math

import pytest
from planted import Planted, seen

from unlearn.metrics import METRICS
from unlearn.metrics.depth.uds import THRESHOLD, depth

FULL = [[-0.5, -0.5, -0.5], [-1.0, -1.0, -1.0]]
RETRAINED = [[-0.54, -2.5, -4.5], [-1.0, -3.0, -1.01]]


def planted(after, retrained=RETRAINED, models=("before", "after", "retrained")):
    said = {"before": FULL, "after": after, "retrained": retrained}
    texts = {(when, "forget"): [seen([-1.0], index=i) for i in range(len(FULL))] for when in models}
    return Planted(texts, left={(when, "forget"): said[when] for when in models})


def measured(*args, **more):
    return METRICS["uds"].measure(planted(*args, **more))


@pytest.mark.parametrize(
    ("lacked", "lost", "want"),
    [
        ([1.0, 3.0], [1.0, 3.0], 1.0),
        ([1.0, 3.0], [0.0, 0.0], 0.0),
        ([1.0, 3.0], [0.5, 1.5], 0.5),
        ([1.0, 3.0], [1.0, 0.0], 0.25),  # a layer weighs what the retrained model lacks there
        ([1.0, 3.0], [0.0, 3.0], 0.75),
        ([1.0, 3.0], [9.0, 9.0], 1.0),  # more than the retrained model lacks is no more than erased
        ([1.0, 3.0], [-9.0, 3.0], 0.75),  # a layer that helps counts as one that holds it
        ([THRESHOLD, 2.0], [5.0, 1.0], 0.5),  # at the threshold a layer does not count yet
        ([-1.0, 2.0], [5.0, 1.0], 0.5),
        ([THRESHOLD, -1.0], [1.0, 1.0], None),
        ([1.0, math.nan], [1.0, 1.0], math.nan),
        ([1.0, 1.0], [math.nan, 1.0], math.nan),  # a ruined model is not "erased"
        ([1.0, 0.0], [1.0, math.nan], 1.0),  # where the layer does not count anyway
        ([1.0, 1.0], [math.inf, 0.0], 0.5),
    ],
)
def test_depth_of_a_text(lacked, lost, want):
    found = depth(lacked, lost)
    assert found == want or found == pytest.approx(want, nan_ok=True, abs=1e-12)


def test_the_original_is_at_0_and_the_retrained_at_1():
    found = measured(FULL)
    assert found["before", "forget"].value == found["after", "forget"].value == 0.0
    assert found["retrained", "forget"].value == pytest.approx(1.0)
    assert measured(RETRAINED)["after", "forget"].value == pytest.approx(1.0)


def test_the_mean_is_over_texts_with_its_interval_and_its_profile():
    score = measured([[-0.5, -1.5, -0.5], [-1.0, -3.0, -1.0]])["after", "forget"]
    # Text 1: layers 2 and 3 count, lacked 2 and 4, lost 1 and 0. Text 2: layer 2 counts, all of it is lost.
    assert score.per_example == pytest.approx((1 / 6, 1.0))
    assert (score.value, score.n) == (pytest.approx((1 / 6 + 1) / 2), 2)
    low, high = score.details["interval"]
    assert 1 / 6 - 1e-12 <= low <= score.value <= high <= 1 + 1e-12
    assert low < high
    assert score.details["lacked"] == pytest.approx([0.02, 2.0, 2.005])
    assert score.details["lost"] == pytest.approx([0.0, 1.5, 0.0])
    assert score.details["counted"] == [0, 2, 1]
    assert score.details["left_out"] == 0


def test_a_text_that_the_retrained_model_knows_as_well_is_left_out():
    score = measured(FULL, retrained=[FULL[0], RETRAINED[1]])["after", "forget"]
    assert (score.n, score.details["left_out"]) == (1, 1)
    assert measured(FULL, retrained=FULL) == {}


def test_without_a_retrained_model_of_the_same_shape_there_is_none():
    assert measured(FULL, models=("before", "after")) == {}
    assert measured(FULL, retrained=[]) == {}
    assert set(measured([])) == {("before", "forget"), ("retrained", "forget")}
    assert "--retrained MODEL" in METRICS["uds"].needs
