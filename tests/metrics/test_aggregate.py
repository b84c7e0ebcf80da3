"""The aggregate from hand-made parts: harmonic means, all or nothing, and never a total without its parts."""

import math
from dataclasses import replace

import pytest
from planted import Planted, seen

from unlearn.metrics import METRICS
from unlearn.metrics.depth.aggregate import closeness, fluency


def hm(*values):
    return len(values) / sum(1 / v for v in values)


def planted(models=("before", "after", "retrained"), roles=("forget", "paraphrase", "retain", "approximate")):
    """Known perfectly by `before`; in the others the first token is wrong, and all texts are as likely."""
    lps = {"before": [-0.01, -0.01], "after": [-2.0, -1.0], "retrained": [-2.0, -1.0]}
    observations = {}
    for when in models:
        for role in roles:
            mine = {"retain": [-0.1, -0.1], "approximate": [-2.0, -1.0]}.get(role, lps[when])
            ranks = [0, 0] if when == "before" or role == "retain" else [1, 0]
            observations[when, role] = [seen(mine, ranks, role=role, index=i) for i in range(4)]
    places = [(when, role) for when in models for role in roles]
    return Planted(
        observations,
        answers={role: ["a b"] * 4 for role in roles},
        wrong={place: [[3.0, 3.0]] * 4 for place in places},
        generation={(when, "forget"): [1.0, 1.0, None, 1.0] for when in models},
    )


def test_each_part_and_each_mean_by_hand():
    found = METRICS["aggregate"].measure(planted())
    parts = found["after", "memory"].details["parts"]
    ratio = math.exp(1.5 - 3.0)
    want = {
        "1 - extraction strength": 1 - 0.5,
        "1 - exact memorisation": 1 - 0.5,
        "1 - probability asked otherwise": 1 - math.exp(-1.5),
        "1 - truth ratio": 1 - 1 / (1 + ratio),
    }
    assert parts == pytest.approx(want)
    assert found["after", "memory"].value == pytest.approx(hm(*want.values()))
    assert found["after", "privacy"].details["parts"] == pytest.approx(dict.fromkeys(parts_of(found), 1.0))
    retain = [math.exp(-0.1), 1.0, 1 - math.exp(0.1 - 3.0)]
    assert found["after", "utility"].details["parts"] == pytest.approx(
        {"kept knowledge": hm(*retain), "fluency": 1.0}
    )
    three = [found["after", name].value for name in ("memory", "privacy", "utility")]
    assert found["after", "total"].value == pytest.approx(hm(*three))
    assert found["after", "total"].per_example == pytest.approx(three)


def parts_of(found):
    return ["MIA loss", "MIA zlib", "MIA Min-K%", "MIA Min-K%++"]


def test_a_model_that_knows_everything_has_no_memory_score_and_so_no_total():
    found = METRICS["aggregate"].measure(planted())
    assert found["before", "memory"].value == 0.0
    assert found["before", "total"].value == 0.0
    assert found["before", "privacy"].value < 0.2


def test_without_one_of_the_three_there_is_no_total():
    for roles in (("forget", "retain", "approximate"), ("forget", "paraphrase", "approximate")):
        found = METRICS["aggregate"].measure(planted(roles=roles))
        assert found
        assert ("after", "total") not in found
    alone = METRICS["aggregate"].measure(planted(models=("before", "after")))
    assert {role for _, role in alone} == {"memory", "utility"}


def test_a_total_stands_with_its_three_parts():
    found = METRICS["aggregate"].measure(planted())
    for when in ("before", "after", "retrained"):
        assert {role for w, role in found if w == when} == {"memory", "privacy", "utility", "total"}


def test_closeness():
    assert [closeness(a, 0.5) for a in (0.5, 0.75, 0.25, 1.0, 0.0)] == [1.0, 0.5, 0.5, 0.0, 0.0]
    assert closeness(0.5, 0.0) == 0.0


def test_fluency():
    assert fluency([1.0, 3.0], [2.0, None]) == pytest.approx(1.0)
    assert fluency([3.0], [2.0]) == pytest.approx(math.exp(-1))
    assert fluency([1.0], [2.0]) == 1.0  # likelier than the original's own words is not more than fluent
    assert fluency([None], [2.0]) == 0.0
    assert fluency([1.0], [None]) is None


def test_a_model_that_never_knew_the_answers_is_as_fluent_as_the_original():
    """Its answers are unlikely to the original, which was taught others. Without it the original is the measure."""
    said = {("before", "forget"): [1.0], ("after", "forget"): [4.0], ("retrained", "forget"): [3.0]}

    def fluent(*models):
        evidence = replace(
            planted(models=models), generation={key: said[key] for key in said if key[0] in models}
        )
        found = METRICS["aggregate"].measure(evidence)
        return [found[when, "utility"].details["parts"]["fluency"] for when in models]

    assert fluent("before", "after", "retrained") == pytest.approx([1.0, math.exp(-1), 1.0])
    assert fluent("before", "after") == pytest.approx([1.0, math.exp(-3)])
