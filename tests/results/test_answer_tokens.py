"""How likely an answer is, by hand: the token that ends it does not count, and no probability is a long number."""

import math

import pytest

from unlearn.results import answer_tokens


def tokens(*probabilities, texts=(" Lis", "bon", "<|eos|>")):
    return [{"token": t, "lp": math.log(p)} for t, p in zip(texts, probabilities, strict=False)]


def test_the_end_token_does_not_count():
    whole = tokens(0.5, 0.5, 1e-6)
    assert len(answer_tokens.without_end(whole, " Lisbon")) == 2
    assert answer_tokens.probability(whole, " Lisbon") == pytest.approx(0.25)
    # A plain text has none: all of its tokens are its text.
    assert answer_tokens.probability(whole[:2], " Lisbon") == pytest.approx(0.25)
    assert answer_tokens.probability(whole[:1], " Lis") == pytest.approx(0.5)
    assert math.isnan(answer_tokens.probability([], " Lisbon"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.951, "95 %"),
        (0.0949, "9.5 %"),
        (0.0062, "0.62 %"),
        (1e-4, "0.01 %"),
        (9e-5, "< 0.01 %"),
        (0.0, "< 0.01 %"),
        (math.nan, "no number"),
    ],
)
def test_probabilities_in_words(value, said):
    assert answer_tokens.percent(value) == said


def test_before_and_after_in_a_sentence():
    before, after = {"tokens": tokens(1.0, 0.95, 0.9)}, {"tokens": tokens(0.1, 0.5, 0.9)}
    assert (
        answer_tokens.shift_words(before, after, " Lisbon", "after")
        == "probability 95 % before, 5 % after (the whole answer, without its end token)"
    )
    said = answer_tokens.shift_words(before, after, "something else", "Retrained without it")
    assert said.endswith("retrained without it (the whole answer)")
