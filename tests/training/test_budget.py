"""A clock that tells steps from what is beside them, and what it still allows."""

import pytest

from unlearn.training.budget import Clock


class Now:
    at = 100.0

    def __call__(self):
        return self.at


def test_what_is_beside_the_steps_is_not_training():
    now = Now()
    clock = Clock(now)
    now.at += 10
    with clock.beside("probes"):
        now.at += 3

    def fail():
        with clock.beside("checkpoints"):
            now.at += 2
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    now.at += 5
    assert clock.trained == 15
    assert clock.spent == {"probes": 3, "checkpoints": 2}
    assert clock.last == {"probes": 3, "checkpoints": 2}


def test_one_more_is_affordable_when_all_of_them_stay_within_the_share():
    now = Now()
    clock = Clock(now)
    now.at += 100
    assert clock.affords("x", 0.05)
    assert not clock.affords("x", 0.05, 5.1)
    with clock.beside("x"):
        now.at += 3
    assert not clock.affords("x", 0.05)  # 3 and 3 are more than 5
    assert clock.affords("x", 0.05, 2)
    now.at += 20
    assert clock.affords("x", 0.05)
    assert clock.affords("y", 0.01, 1)  # each kind has a share of its own
