"""A file of settings is checked whole, and what it leaves unsaid is what its method was tuned to."""

import pytest

from ui.launch.stated import whole
from unlearn.methods import METHODS

ASKED = {"model": "tiny-authors", "data": {"name": "authors"}, "method": "npo"}


def test_what_a_file_leaves_unsaid_is_tuned():
    tuned = METHODS["npo"].settings("tiny", "full", "tiny-authors")
    found = whole(ASKED | {"epochs": 2, "knobs": {"beta": 0.5}})
    assert (found.epochs, found.lr, found.batch_size) == (2, tuned["lr"], tuned["batch_size"])
    assert found.knobs == tuned["knobs"] | {"beta": 0.5}
    assert found.tuning == "full"
    assert whole(found.to_json()) == found


def test_a_file_that_trains_in_several_formats_takes_what_was_tuned_for_them(monkeypatch):
    npo = METHODS["npo"]
    key = (npo.settings_of("tiny", "tiny-authors"), "full")
    monkeypatch.setattr(npo, "several", {key: {"lr": 7e-4, "beta": 0.3}})
    for prompt in ("plain", "plain+completion"):
        found = whole(ASKED | {"prompt": prompt})
        tuned = npo.settings("tiny", "full", "tiny-authors", prompt)
        assert (found.prompt, found.lr, found.knobs) == (prompt, tuned["lr"], tuned["knobs"])
        assert (found.lr == 7e-4) == (prompt != "plain")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"knobs": {"beta": "x"}}, "NPO: beta must lie in"),
        ({"knobs": {"beta": None}}, "NPO: beta must lie in"),
        ({"knobs": {"gamma": 3}}, "NPO: no knob gamma; it has"),
        ({"knobs": {"beta": 7}}, "got 7"),
        ({"knobs": [1]}, "run: knobs must be an object"),
        ({"lr": "fast"}, "run: lr must lie in"),
        ({"method": "nope"}, "method: must be among"),
        ({"colour": 1}, "config: unknown field colour"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(more, said):
    with pytest.raises(ValueError, match=r"^(NPO|run|method|config)") as error:
        whole(ASKED | more)
    assert said in str(error.value)


@pytest.mark.parametrize("given", [None, 3, "npo", [ASKED]])
def test_what_is_no_object_is_refused(given):
    with pytest.raises(ValueError, match="config: must be an object"):
        whole(given)
