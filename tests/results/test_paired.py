"""Two runs over the same texts: McNemar's exact test and the sign flips by hand, and the sentence."""

import re
from itertools import product
from math import comb

import pytest
from seed import config

from unlearn.results import paired
from unlearn.store.disk import append_line
from unlearn.store.runs import RunStore


def lists(both, mine, theirs, none):
    a = [1.0] * (both + mine) + [0.0] * (theirs + none)
    b = [1.0] * both + [0.0] * mine + [1.0] * theirs + [0.0] * none
    return a, b


@pytest.mark.parametrize(("mine", "theirs"), [(9, 1), (3, 2), (0, 6), (5, 5)])
def test_mcnemar_is_the_binomial_tail_of_the_texts_that_differ(mine, theirs):
    found = paired.compared(*lists(10, mine, theirs, 15))
    n, few = mine + theirs, min(mine, theirs)
    tail = sum(comb(n, k) for k in range(few + 1)) / 2**n
    assert found["p"] == pytest.approx(min(1.0, 2 * tail))
    assert found["test"] == paired.MCNEMAR
    assert found["difference"] == pytest.approx((mine - theirs) / (25 + n))


def test_the_interval_by_hand_and_where_nothing_differs():
    _, (low, high), _ = paired.shares(*lists(10, 9, 1, 15))
    one, other, n = 10 / 37, 2 / 37, 37
    half = 1.959964 * ((one + other - (one - other) ** 2) / n) ** 0.5
    assert (low, high) == pytest.approx((one - other - half, one - other + half))
    _, (low, high), p = paired.shares([1.0] * 30, [1.0] * 30)
    assert p == 1.0
    assert low < 0 < high
    assert high > 0.05


def test_sign_flips_are_all_of_them_where_few_texts_differ():
    a, b = [1.5, 2.0, 0.3, 0.9, 2.2], [1.0, 1.4, 0.5, 0.2, 1.0]
    apart = [x - y for x, y in zip(a, b, strict=True)]
    means = [sum(s * d for s, d in zip(signs, apart, strict=True)) for signs in product((1, -1), repeat=5)]
    own = sum(abs(m) >= abs(sum(apart)) - 1e-9 for m in means) / len(means)
    found = paired.compared(a, b)
    assert found["p"] == pytest.approx(own)
    assert found["test"] == paired.FLIPS
    assert found["interval"][0] < found["difference"] < found["interval"][1]
    assert paired.numbers([1.5, 2.5], [1.5, 2.5])[2] == 1.0


def test_the_sentence_never_calls_two_runs_equal():
    none = paired.compared(*lists(10, 3, 2, 15), "questions")["sentence"]
    assert none.startswith(
        "3 questions A alone has right, 2 B alone: no difference was seen, which does not make them equal"
    )
    assert "points; McNemar's exact test p 1, n 30 questions)" in none
    some = paired.compared(*lists(10, 9, 1, 15), "questions")["sentence"]
    assert some.startswith("9 questions A alone has right, 1 B alone: A has more (95 % interval +")
    fewer = paired.compared(*reversed(lists(10, 9, 1, 15)), "questions")["sentence"]
    assert ": A has fewer (" in fewer
    less = paired.compared([1.0 + i / 50 for i in range(20)], [2.0 + i / 50 for i in range(20)])["sentence"]
    assert less.startswith("The mean of A is −1 from that of B: A has less (")
    for said in (none, some, fewer, less):
        assert not re.search(r"\b(same|identical|as much as)\b", said)


def test_lists_over_other_texts_are_refused():
    with pytest.raises(ValueError, match="must be over the same texts, got 2 and 3"):
        paired.compared([1.0, 0.0], [1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="got 0 and 0"):
        paired.compared([], [])


def run_with(store, hits, prompts=range(20), role="forget", exact=True, when="after"):
    run = store.create(config())
    for i, prompt in enumerate(prompts):
        append_line(
            run.path / "samples.jsonl",
            {
                "when": when, "role": role, "index": i, "prompt": f"q {prompt}", "answer": f"a {prompt}",
                "nll": 0.1 * i if prompt in hits else 5.0, "tokens": [], "text": "",
                "exact": prompt in hits if exact else None,
            },
        )  # fmt: skip
    return run


def test_two_runs_are_compared_over_the_texts_that_both_were_asked(tmp_path):
    store = RunStore(tmp_path)
    a, b = run_with(store, set(range(12))), run_with(store, set(range(2)), prompts=range(5, 25))
    found = paired.runs(a, b)
    # Texts 5 to 19: A has 7 of them, B none.
    assert (found["n"], found["a"], found["b"]) == (15, 7 / 15, 0.0)
    assert found["p"] == pytest.approx(2 / 2**7)
    assert "15 forget questions" in found["sentence"]
    assert paired.runs(a, run_with(store, {1}, prompts=range(100, 120))) == {}
    assert paired.runs(a, b, "retain") == {}
    assert paired.runs(a, run_with(store, {1}, when="before")) == {}


def test_texts_without_a_question_are_compared_by_their_nll(tmp_path):
    store = RunStore(tmp_path)
    a, b = (run_with(store, hits, exact=False) for hits in (set(range(20)), set()))
    found = paired.runs(a, b)
    assert found["test"] == paired.FLIPS
    assert found["difference"] < -3
    assert "forget texts, NLL" in found["sentence"]
