"""Several runs that were launched together: one figure, one order, and the way to compare them."""

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from tests.results.test_conclusion import planted
from ui.race import panel


@pytest.mark.slow
def test_a_race_ends_in_verdicts_the_best_first(store):  # noqa: F811
    ruined = planted(store, forget=(48, 0, 1), retain=(49, 0, 49), ppl=(5.0, 900.0, 5.0), method="ga")
    good, leaky = planted(store, method="npo"), planted(store, forget=(48, 30, 1), method="undial")
    app = opened("launch", run=f"{ruined.id},{leaky.id},{good.id}")
    shown = words(app)
    places = [shown.index(f"**{i}. {name}**") for i, name in enumerate(("NPO", "UnDIAL"), 1)]
    places.append(shown.index("**3. Gradient ascent"))
    assert places == sorted(places)
    assert "It answers nothing any more" in shown
    assert [one.label for one in app.button if one.label.startswith("Compare")] == ["Compare the three"]


@pytest.mark.slow
def test_the_answers_of_all_stand_side_by_side_and_one_figure_shows_all(store):  # noqa: F811
    runs = [seed_run(store, method=name) for name in ("npo", "undial")]
    shown = words(opened("launch", run=",".join(run.id for run in runs)))
    # On a narrow screen a number stays beside its sign.
    shown = shown.replace("\\", "").replace("\u00a0", " ")
    assert "6 questions, the same for all" in shown
    assert (
        "To forget, likelihood of the right answers: NPO 95 % → under 1 %, UnDIAL 95 % → under 1 %" in shown
    )
    assert "(retrained under 1 %, n 2)" in shown


@pytest.mark.slow
def test_one_of_them_can_be_seen_by_itself(store):  # noqa: F811
    runs = [seed_run(store, method=name) for name in ("npo", "undial")]
    app = opened("launch", run=",".join(run.id for run in runs))
    picked = next(one for one in app.segmented_control if one.key == f"watch.{runs[0].id}")
    picked.set_value(runs[1].id).run()
    assert not app.exception
    assert any(metric.label.endswith("still answered") for metric in app.metric)


@pytest.mark.slow
def test_while_it_runs_each_run_says_how_far_it_is(store):  # noqa: F811
    going, waiting = seed_run(store, "running", method="npo"), seed_run(store, "queued", method="undial")
    with going.lock(), waiting.lock():
        app = opened("launch", run=f"{going.id},{waiting.id}")
    shown = words(app)
    assert "running" in shown
    assert "queued" in shown
    assert not [one for one in app.button if one.label.startswith("Compare")]


@pytest.mark.slow
def test_a_run_that_failed_says_why_and_the_others_are_ranked(store):  # noqa: F811
    failed, good = seed_run(store, "failed", method="npo"), planted(store, method="undial")
    shown = words(opened("launch", run=f"{failed.id},{good.id}")).replace("\\", "")
    assert "NPO failed: loss became nan" in shown
    assert "**1. UnDIAL**" in shown


def test_two_runs_of_one_method_have_two_names(store):  # noqa: F811
    runs = [seed_run(store, method="npo"), seed_run(store, method="npo"), seed_run(store, method="undial")]
    assert len(panel.named(runs)) == 3
    assert "UnDIAL" in panel.named(runs)
