"""What is said before a run of a learning rate far from the tuned one."""

import pytest
from seed import config

from unlearn.methods import METHODS
from unlearn.work.preflight import far_lr, tuned_lr


def said(factor, method="ga"):
    tuned = METHODS[method].settings("tiny", "full", "tiny-authors")["lr"]
    asked = config(method=method, lr=factor * tuned)
    assert tuned_lr(asked) == tuned
    return " ".join(far_lr(asked, METHODS[method]()))


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (2500, "2,500 × the tuned rate"),
        (2500, "expect ruin"),
        (20, "may destroy"),
        (1 / 50, "50 times below"),
    ],
)
def test_a_rate_far_from_the_tuned_one_is_told(factor, words):
    assert words in said(factor)


@pytest.mark.parametrize("factor", [1, 10, 0.1])
def test_a_rate_near_it_is_not(factor):
    assert said(factor) == ""
