"""Records are looked after until the engine has none of them any more; Ctrl-C asks for their end once."""

import pytest

from unlearn.store import engine as engines
from unlearn.store.engine import Where, looked_after


class Counting:
    """An engine that has each record for so many looks. stopped: those whose end was asked for."""

    def __init__(self, **looks):
        self.looks, self.stopped = looks, []

    def where(self, record):
        self.looks[record] -= 1
        return Where(0, words=record) if self.looks[record] >= 0 else None

    def stop(self, record):
        self.stopped.append(record)
        self.looks[record] = 0


def test_each_is_told_until_it_has_ended_and_its_end_once(monkeypatch):
    slept = []
    monkeypatch.setattr(engines.time, "sleep", slept.append)
    seen = [
        (name, where is None) for name, where in looked_after(Counting(one=2, two=0), ["one", "two"], 0.3)
    ]
    assert seen == [("one", False), ("two", True), ("one", False), ("one", True)]
    # After the last end nobody waits.
    assert slept == [0.3, 0.3, 0.0]
    assert list(looked_after(Counting(), [], 0.3)) == []


def test_the_first_ctrl_c_asks_for_the_end_of_all_that_are_left_and_the_second_leaves_them(monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(engines.time, "sleep", interrupted)
    asked = Slow(one=9, two=0, three=9)
    seen = []
    with pytest.raises(KeyboardInterrupt):
        look(asked, seen)
    assert asked.stopped == ["one", "three"]
    assert seen == [("one", False), ("two", True), ("three", False), ("one", True), ("three", False)]


class Slow(Counting):
    """An engine in which the third record does not end when it is asked to."""

    def stop(self, record):
        super().stop(record)
        self.looks["three"] = 9


def look(engine, seen):
    """Put what is told into `seen`, which stays when an interrupt comes."""
    for name, where in looked_after(engine, ["one", "two", "three"], 0.3):
        seen.append((name, where is None))
