"""The figure of a search: what is drawn of which trial, and where good is."""

import pytest

from unlearn.figures.search import front
from unlearn.results.search.record import SearchConfig, Trial
from unlearn.results.search.space import axes
from unlearn.store.config import RunConfig

RUN = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo", lr=1e-3)
CONFIG = SearchConfig(runs=(RUN,), axes=(axes(RUN, ["lr"]),))
MODELS = {
    "chosen": {
        "before": {"forget": 1.0, "utility": 0.8},
        "retrained": {"forget": 0.1, "utility": 0.84},
        "target": 0.1,
        "n": 45,
    }
}


def trial(number, forget, utility, **more):
    scores = {"forget": forget, "utility": utility}
    return Trial(
        number=number, method="npo", settings={"lr": 1e-3}, runs=(f"r{number}",), chosen=scores, **more
    )


@pytest.mark.parametrize("dark", [False, True])
def test_every_finished_trial_is_drawn_once_and_the_best_stands_out(dark):
    trials = [
        trial(0, 0.6, 0.8, shipped=True),
        trial(1, 0.2, 0.78),
        trial(2, 0.5, 0.4),
        trial(3, 0.05, 0.2),
        trial(4, 0.0, 0.0, state="pruned"),
    ]
    drawn = front(trials, MODELS, CONFIG, {"npo": "NPO"}, dark)
    by_name = {trace.name: trace for trace in drawn.data}
    assert list(by_name["taken"].x) == [0.2]
    assert by_name["taken"].customdata[0][0] == "r1"
    assert "trial 2, NPO<br>learning rate 0.001" in by_name["taken"].customdata[0][1]
    assert list(by_name["tried"].x) == [0.5, 0.05]
    assert list(by_name["shipped settings"].x) == [0.6]
    assert (by_name["original"].x[0], by_name["original"].y[0]) == (1.0, 1.0)
    assert by_name["retrained"].y[0] == pytest.approx(1.05)
    assert list(by_name["no other is better in both"].x) == [0.05, 0.2, 0.6]
    assert drawn.layout.title.text == (
        "Of 4 settings the one taken leaves the forget answers at 20 % (target 10 %) and keeps 98 % of the utility"
    )
    alone = front(trials[1:2], MODELS, CONFIG, {"npo": "NPO"}, dark).layout.title.text
    assert alone.startswith("The one setting tried leaves the forget answers at 20 %")
    assert drawn.layout.xaxis.tickformat == ".0%"


def test_without_a_trial_it_says_so():
    assert front([], {}, CONFIG, {}).layout.title.text == "No setting has been tried to its end yet"
