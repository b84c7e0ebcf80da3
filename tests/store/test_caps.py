"""The caps of a visitor: one place, read from one text, refused in a sentence where it is wrong."""

import pytest

from unlearn.store import caps as module
from unlearn.store.caps import Caps, caps, is_visitor, mode


def test_a_text_changes_some_and_leaves_the_rest():
    given = Caps.read(" run_minutes=0.5, queue=20 ,")
    assert (given.run_minutes, given.queue) == (0.5, 20)
    assert given.queue_each == Caps().queue_each
    assert Caps.read("") == Caps()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("que=1", "there is no cap 'que'; did you mean queue"),
        ("nothing", "there is no cap 'nothing'"),
        ("queue=-1", r"queue must lie in \[0, 10000\], got -1"),
        ("queue=1.5", "queue must be a whole number"),
        ("run_minutes=long", "run_minutes must lie in"),
        ("run_minutes", "run_minutes must lie in"),
    ],
)
def test_what_is_no_cap_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        Caps.read(text)


def test_the_environment_says_the_caps(monkeypatch):
    monkeypatch.setenv("UNLEARN_CAPS", "uploads_each=7")
    assert caps().uploads_each == 7
    monkeypatch.delenv("UNLEARN_CAPS")
    assert caps() == Caps()


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ""), ("0", ""), ("1", "demo"), ("class", "class"), ("Class ", "class"), ("yes", "demo")],
)
def test_what_cannot_be_read_allows_the_least(monkeypatch, text, found):
    monkeypatch.setenv("UNLEARN_DEMO", text)
    assert mode() == found


def test_each_cap_has_a_sentence_and_each_of_all_has_one_of_one_visitor():
    names = [k.name for k in Caps.knobs()]
    assert all(k.help.endswith(".") for k in Caps.knobs())
    single = {"run_minutes", "upload_mb"}
    assert {n for n in names if not n.endswith("_each")} - single == {
        n.removesuffix("_each") for n in names if n.endswith("_each")
    }
    assert [line["cap"] for line in Caps().table()] == names


def test_a_visitor_is_known_by_its_owner():
    assert is_visitor(module.NOBODY)
    assert is_visitor(f"{module.VISITOR}0123")
    assert not is_visitor("")
    assert not is_visitor("0123456789abcdef")
