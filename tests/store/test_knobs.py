"""A setting's line is its rule: values of its kind pass in its type, others are refused in a sentence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from unlearn.store.knobs import check, knob, knobs_of, nearest


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: float = knob(0.1, 0.0, 1.0, "A rate.", label="The rate")
    count_of: int = knob(3, 1, 10)
    on: bool = knob(False)
    way: str = knob("left", choices={"left": "To the left", "right": "To the right"})
    name: str = knob("")
    names: tuple[str, ...] = knob(())
    more: Mapping[str, int] = knob({}, kind="table")
    given: str = knob(kind="text")


KNOBS = {k.name: k for k in knobs_of(Settings)}


def test_a_line_says_everything():
    kinds = ["float", "int", "bool", "choice", "text", "names", "table", "text"]
    assert [k.kind for k in KNOBS.values()] == kinds
    assert (KNOBS["rate"].label, KNOBS["count_of"].label) == ("The rate", "Count of")
    assert KNOBS["way"].title("right") == "To the right"
    assert [k.reach() for k in KNOBS.values()][:4] == ["0 to 1", "1 to 10", "true, false", "left, right"]
    assert Settings(given="x").more == {}
    assert Settings(given="x").more is not Settings(given="y").more


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("rate", 1, 1.0),
        ("rate", "1e-4", 1e-4),
        ("count_of", 4.0, 4),
        ("count_of", "7", 7),
        ("on", True, True),
        ("on", "False", False),
        ("way", "right", "right"),
        ("names", ["a", "b"], ("a", "b")),
        ("more", {"a": 1}, {"a": 1}),
    ],
)
def test_good_values_take_the_kind_of_their_setting(name, value, becomes):
    got = check("here", KNOBS[name], value)
    assert (got, type(got)) == (becomes, type(becomes))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("rate", 2, "here: rate must lie in [0, 1], got 2."),
        ("rate", "2", "here: rate must lie in [0, 1], got 2."),
        ("rate", math.nan, "here: rate must lie in [0, 1], got nan."),
        ("rate", "nan", "here: rate must lie in [0, 1], got 'nan'."),
        ("rate", True, "here: rate must lie in [0, 1], got True."),
        ("rate", None, "here: rate must lie in [0, 1], got None."),
        ("count_of", 10**400, "here: count_of must lie in [1, 10], got 1000"),
        ("count_of", 2.5, "here: count_of must be a whole number, got 2.5."),
        ("on", "yes", "here: on must be true or false, got 'yes'."),
        ("on", 1, "here: on must be true or false, got 1."),
        ("way", "up", "here: way must be among left, right, got 'up'."),
        ("way", ["left"], "here: way must be among left, right, got ['left']."),
        ("name", 5, "here: name must be text, got 5."),
        ("names", "a", "here: names must be a list of names, got 'a'."),
        ("names", [1], "here: names must be a list of names, got (1,)."),
        ("more", [], "here: more must be an object of names and values, got []."),
    ],
)
def test_bad_values_are_refused_by_place_rule_and_value(name, value, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        check("here", KNOBS[name], value)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 300


def test_the_nearest_name_is_offered_and_no_far_one():
    assert nearest("epoch", ["epochs", "seed"]) == "; did you mean epochs?"
    assert nearest("colour", ["epochs", "seed"]) == ""


def test_the_ends_of_a_whole_number_are_written_out():
    @dataclass(frozen=True)
    class Long:
        seed: int = knob(0, 0, 2**31 - 1)

    (seed,) = knobs_of(Long)
    with pytest.raises(ValueError, match=r"\[0, 2147483647\]"):
        check("here", seed, -1)
