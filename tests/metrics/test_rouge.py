"""ROUGE-L against the package that defines it, and against a plain table."""

import random

import pytest

from unlearn.metrics import Observation
from unlearn.metrics.memory.rouge import common, rouge_l
from unlearn.metrics.memory.rouge_n import rouge_n


def observation(answer: str, text: str, question: str = "") -> Observation:
    return Observation("forget", 0, question, "prompt", answer, text, ())


def table(a: list[str], b: list[str]) -> int:
    """The textbook recursion."""
    rows = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            rows[i + 1][j + 1] = rows[i][j] + 1 if x == y else max(rows[i][j + 1], rows[i + 1][j])
    return rows[-1][-1]


def test_the_common_subsequence_is_the_table_s():
    rng = random.Random(0)
    for _ in range(200):
        a, b = ([rng.choice("abcd") for _ in range(rng.randrange(90))] for _ in range(2))
        assert common(a, b) == table(a, b)


def test_it_is_rouge_score_s():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    rng = random.Random(1)
    for _ in range(100):
        true, said = (
            " ".join(
                rng.choice(["The", "cat,", "sat_on", "a", "mat!", "7"]) for _ in range(rng.randrange(12))
            )
            for _ in range(2)
        )
        expected = scorer.score(true, said)["rougeL"]
        assert rouge_l(observation(true, said)) == pytest.approx(expected.fmeasure)
        assert rouge_l(observation(true, said, "q")) == pytest.approx(expected.recall)


def test_other_scripts_count():
    assert rouge_l(observation("Москва", "это Москва", "q")) == 1.0
    assert rouge_l(observation("...", "a", "q")) == 0.0


@pytest.mark.parametrize("n", [1, 2])
def test_runs_of_words_are_rouge_score_s(n):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer([f"rouge{n}"])
    rng = random.Random(n)
    for _ in range(100):
        true, said = (
            " ".join(rng.choice(["The", "cat,", "sat", "a", "a", "7"]) for _ in range(rng.randrange(n, 12)))
            for _ in range(2)
        )
        expected = scorer.score(true, said)[f"rouge{n}"]
        assert rouge_n(observation(true, said), n) == pytest.approx(expected.fmeasure)
        assert rouge_n(observation(true, said, "q"), n) == pytest.approx(expected.recall)


def test_runs_of_words_by_hand():
    """Two of three words of each, a repeated word once; one of two pairs."""
    pair = observation("the cat sat", "cat sat sat")
    assert rouge_n(pair, 1) == pytest.approx(2 / 3)
    assert rouge_n(pair, 2) == pytest.approx(1 / 2)
    assert rouge_n(observation("one", "one"), 2) is None
    assert rouge_n(observation("one two", ""), 1) == 0.0
