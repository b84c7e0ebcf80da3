"""The space of a search: bounds out of what each setting says of itself, and what is refused."""

from dataclasses import replace

import pytest

from unlearn.methods import METHODS
from unlearn.results.search.space import Axis, axes, setting, varied, with_settings
from unlearn.store.config import RunConfig

RUN = RunConfig(
    model="tiny-authors",
    data={"name": "authors"},
    method="npo",
    lr=1e-3,
    epochs=5,
    knobs={"beta": 1.0, "retain_weight": 1.0, "retain_source": "general", "retain_per_forget": 2.0},
)


def by_name(found):
    return {axis.name: axis for axis in found}


def test_bounds_are_a_tenth_and_ten_times_the_tuned_value_inside_the_settings_own_range():
    found = by_name(axes(RUN))
    assert list(found) == ["lr", "epochs", "retain_weight", "retain_per_forget", "beta"]
    assert found["lr"] == Axis(name="lr", low=1e-4, high=1e-2, log=True)
    assert (found["epochs"].low, found["epochs"].high, found["epochs"].whole) == (1.0, 15.0, True)
    # The knob itself ends at 1, and at 16.
    assert (found["beta"].low, found["beta"].high) == (0.1, 1.0)
    assert (found["retain_per_forget"].low, found["retain_per_forget"].high) == (0.25, 16.0)


def test_the_rank_is_varied_under_an_adapter_alone():
    assert "lora_rank" not in by_name(axes(RUN))
    found = by_name(axes(replace(RUN, tuning="lora")))["lora_rank"]
    assert (found.low, found.high, found.whole, found.log) == (2.0, 24.0, True, True)
    with pytest.raises(ValueError, match="lora_rank is no setting of npo that can be varied"):
        axes(RUN, ["lora_rank"])


def test_a_weight_of_nothing_and_a_share_have_a_linear_scale():
    undial = replace(RUN, method="undial", knobs={"retain_weight": 0.0})
    assert by_name(axes(undial))["retain_weight"] == Axis(name="retain_weight", low=0.0, high=10.0)
    rmu = replace(RUN, method="rmu", knobs={})
    assert by_name(axes(rmu, ["layer_at"]))["layer_at"] == Axis(name="layer_at", low=0.0, high=1.0)


def test_what_a_person_gives_counts_and_is_varied_too():
    found = by_name(axes(RUN, ["lr"], {"lr": "1e-5..1e-4", "retain_source": "general,both"}))
    assert found["lr"] == Axis(name="lr", low=1e-5, high=1e-4, log=True)
    assert found["retain_source"].choices == ("general", "both")
    assert set(by_name(axes(RUN, fixed=["lr", "epochs"]))) == {"retain_weight", "retain_per_forget", "beta"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"names": ["betta"]}, "betta is no setting of npo that can be varied; did you mean beta"),
        ({"given": {"lr": "1e-3"}}, "range of lr must be such as 1e-5..1e-2, got '1e-3'"),
        ({"given": {"lr": "1e-2..1e-3"}}, "must begin with the smaller number"),
        ({"given": {"beta": "0.1..2"}}, r"beta must lie in \[0.01, 1\], got 2"),
        ({"given": {"retain_source": "moon"}}, "retain_source must be among"),
        ({"names": ["lr"], "fixed": ["lr"]}, "lr is given a value and varied too"),
        ({"names": ["lr"], "fixed": ["beta"], "given": {"beta": "0.1..1"}}, "beta is given a value"),
    ],
)
def test_what_cannot_be_varied_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        axes(RUN, **given)


def test_a_value_has_few_digits_and_stays_inside():
    axis = Axis(name="lr", low=1e-4, high=1e-2, log=True)
    assert axis.value(0.000123456) == 0.000123
    assert axis.value(0.0100001) == 1e-2
    assert Axis(name="epochs", low=1, high=9, whole=True).value(4.0) == 4
    assert Axis(name="on", choices=(False, True)).value(True) is True
    assert axis.holds(1e-3)
    assert not axis.holds(1e-5)


def test_a_run_with_settings_has_them_where_they_belong():
    made = with_settings(RUN, {"lr": 2e-3, "beta": 0.5})
    assert (made.lr, made.knobs["beta"], made.knobs["retain_weight"], made.epochs) == (2e-3, 0.5, 1.0, 5)
    assert setting(made, "beta") == 0.5
    with pytest.raises(ValueError, match="no knob gamma"):
        with_settings(RUN, {"gamma": 1.0})


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.continues])
def test_every_method_can_be_searched_and_holds_its_own_settings(name):
    method = METHODS[name]
    tuning = method.tuning_for("full")
    tuned = dict(method.settings("tiny", tuning, "tiny-authors"))
    run = RunConfig(model="tiny-authors", data={"name": "authors"}, method=name, tuning=tuning, **tuned)
    found = axes(run)
    assert found
    for axis in found:
        assert axis.low < axis.high
        assert axis.holds(setting(run, axis.name)), axis
    assert set(by_name(found)) <= set(varied(run))
    assert Axis.from_json(found[0].to_json()) == found[0]
