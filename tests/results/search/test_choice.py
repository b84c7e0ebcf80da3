"""What came of a search: distance, utility kept, the best, the front and the sentence, on numbers made up here."""

import json
import math

import pytest

from unlearn.results.search import choice
from unlearn.results.search.pruning import at, hopeless
from unlearn.results.search.record import SearchConfig, Trial, create
from unlearn.results.search.space import axes
from unlearn.store.config import RunConfig
from unlearn.store.runs import RunStore

RUN = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo", lr=1e-3)

MODELS = {
    half: {"before": {"forget": 1.0, "utility": 0.8}, "target": target, "n": 45, "same": False}
    for half, target in (("chosen", 0.1), ("reported", 0.2))
} | {"whose": "the retrained model"}


def trial(number, forget, utility, **more):
    scores = {
        "chosen": {"forget": forget, "utility": utility},
        "reported": {"forget": forget, "utility": 0.76},
    }
    return Trial(
        **(
            {"number": number, "method": "npo", "settings": {"lr": 1e-3}, "runs": (f"r{number}",)}
            | scores
            | more
        )
    )


def asked(**changes):
    return SearchConfig(**({"runs": (RUN,), "axes": (axes(RUN),)} | changes))


def test_distance_is_to_the_target_on_either_side_and_kept_is_a_ratio():
    one = choice.judge(trial(0, 0.25, 0.72), MODELS)
    assert (one.distance, one.kept) == (pytest.approx(0.15), pytest.approx(0.9))
    assert choice.judge(trial(0, 0.0, 0.8), MODELS).distance == pytest.approx(0.1)
    assert choice.judge(trial(0, 0.25, 0.72), MODELS, "reported").distance == pytest.approx(0.05)
    assert not choice.judge(trial(0, math.nan, 0.8), MODELS).finite
    assert not choice.judge(trial(0, 0.1, 0.8), {}).finite


TRIALS = (
    trial(0, 1.0, 0.8, shipped=True),  # far, all kept
    trial(1, 0.12, 0.4),  # near, half kept
    trial(2, 0.3, 0.77),  # 96 % kept
    trial(3, 0.35, 0.76),  # beaten by 2 in both
    trial(4, 0.1, 0.8, state="pruned"),
    trial(5, math.nan, 0.8),
)


def test_the_front_holds_what_no_other_beats_in_both_and_only_what_came_to_its_end():
    assert [one.trial.number for one in choice.front(TRIALS, MODELS)] == [1, 2, 0]


def test_the_best_is_the_nearest_that_keeps_enough():
    assert choice.best(TRIALS, MODELS, asked()).trial.number == 2
    assert choice.best(TRIALS, MODELS, asked(kept=0.4)).trial.number == 1
    assert choice.best(TRIALS, MODELS, asked(aim="keep", within=0.05)).trial.number == 1
    assert choice.best(TRIALS, MODELS, asked(aim="keep", within=0.25)).trial.number == 2
    # Where none is inside the budget, the one that misses it least.
    assert choice.best(TRIALS[1:2], MODELS, asked()).trial.number == 1
    assert choice.best((), MODELS, asked()) is None


def test_what_forgets_nothing_is_not_the_best_because_it_keeps_all(tmp_path):
    """Seen on smollm2-tofu: of four settings one kept enough, and left 98 % of the answers."""
    found = (trial(0, 0.15, 0.65, shipped=True), trial(1, 0.0, 0.0), trial(2, 0.98, 0.8))
    assert choice.best(found, MODELS, asked()).trial.number == 0
    # Whoever asks for the first aim alone gets what keeps so much.
    assert choice.best(found, MODELS, asked(aim="forget")).trial.number == 2
    # Half of the way is 0.55 here, 0.9 from the start to the target; the first lacks 0.0075 of what is to be kept.
    for forget, number in ((0.54, 2), (0.56, 0)):
        near = (*found[:2], trial(2, forget, 0.78))
        assert choice.best(near, MODELS, asked(kept=0.82)).trial.number == number
    inside = [choice.inside(choice.judge(trial(0, p, 0.8), MODELS), asked(), MODELS) for p in (0.54, 0.56)]
    assert inside == [True, False]
    record = create(asked(), RunStore(tmp_path))
    record.append("models", **MODELS)
    for one in found:
        record.append("trial", **vars(one) | {"runs": list(one.runs), "curve": [], "seconds": 10.0})
    said = "None keeps 95 % of the utility and goes half of the way to the target; nearest to both is: NPO"
    assert said in choice.sentence(record)
    assert not choice.everything(record)["best"]["inside"]


def test_the_sentence_speaks_of_the_rows_that_took_no_part_in_the_choice(tmp_path):
    record = create(asked(), RunStore(tmp_path))
    assert choice.sentence(record) == "No setting has been tried to its end yet."
    record.append("models", **MODELS)
    for one in TRIALS[:5]:
        record.append("trial", **vars(one) | {"runs": list(one.runs), "curve": [], "seconds": 10.0})
    said = choice.sentence(record)
    assert (
        "5 settings tried in 50 s (1 given up early). Nearest to the target among those that keep 95 %"
        in said
    )
    # A page says the outcome first, and by itself.
    assert choice.sentences(record)[0].startswith("On the 45 forget rows that took no part in the choice")
    assert "NPO with learning rate 0.001" in said
    assert (
        "On the 45 forget rows that took no part in the choice the right answers have a mean probability of 30 %;"
        in said
    )
    assert "the retrained model 20 %, before 100 %. 95 % of the utility is kept." in said
    assert said.endswith(
        "The settings that ship with the method: probability 100 %, 95 % of the utility kept."
    )
    first = create(asked(), RunStore(tmp_path))
    first.append("models", **MODELS)
    first.append("trial", **vars(TRIALS[0]) | {"runs": list(TRIALS[0].runs), "curve": [], "seconds": 10.0})
    assert "1 setting tried in 10 s" in choice.sentence(first)
    told = choice.everything(record)
    json.dumps(told, allow_nan=False)
    assert (told["best"]["trial"], told["front"]) == (2, [1, 2, 0])
    assert "--method npo" in told["best"]["command"]
    assert told["trials"][4]["state"] == "pruned"


def test_what_is_asked_survives_json_and_has_a_budget():
    config = asked(minutes=3, seeds=(0, 1), aim="forget")
    assert SearchConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert asked().trials == 30
    assert config.trials == 0
    assert config.run("npo", {"lr": 2e-3, "beta": 0.3}, 7).seed == 7
    for changes, said in (
        ({"aim": "all"}, "aim must be among both, forget, keep"),
        ({"kept": 2}, r"kept must lie in \[0, 1\], got 2"),
        ({"seeds": ()}, "seeds is empty"),
        ({"runs": ()}, "methods must be one or more"),
    ):
        with pytest.raises(ValueError, match=said):
            asked(**changes)


# -- giving up ---------------------------------------------------------------------------------------------------

EARLIER = [((0.0, 1.0, 1.0), (0.5, p, 0.8), (1.0, p, 0.8)) for p in (0.2, 0.3, 0.4, 0.5, 0.6)]


def test_a_trial_is_hopeless_only_behind_the_middle_in_both():
    assert hopeless((0.5, 0.45, 0.7), EARLIER, 0.1)
    assert not hopeless((0.5, 0.35, 0.7), EARLIER, 0.1)  # forgets more than the middle
    assert not hopeless((0.5, 0.45, 0.9), EARLIER, 0.1)  # keeps more
    assert not hopeless((0.2, 0.45, 0.1), EARLIER, 0.1)  # too early
    assert not hopeless((1.0, 0.45, 0.1), EARLIER, 0.1)  # it is done anyway
    assert not hopeless((0.5, 0.45, 0.7), EARLIER[1:], 0.1)  # too few to have a middle
    assert not hopeless((0.5, 0.45, 0.7), EARLIER, math.nan)


def test_a_curve_tells_its_last_point_up_to_a_share():
    assert at(EARLIER[0], 0.7) == (0.5, 0.2, 0.8)
    assert at(EARLIER[0][:2], 0.7) is None
    assert at((), 0.5) is None
