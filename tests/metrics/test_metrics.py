"""The five scores of every run, against values worked out by hand and against rouge-score itself."""

import math

import pytest

from unlearn.metrics import METRICS, Observation
from unlearn.metrics.memory.exact import begins_with, normalise_words


def seen(text="", answer="Paris", question="Where?", lps=(-0.5, -1.5), ranks=(0, 3)):
    tokens = tuple(
        {"token": "t", "id": 1, "logit": 0.0, "lp": lp, "rank": r, "top": []}
        for lp, r in zip(lps, ranks, strict=True)
    )
    return Observation("forget", 0, question, "prompt", answer, text, tokens)


def value(name, *observations):
    score = METRICS[name](observations)
    return score and score.value


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        (" Paris.", " Paris", True),
        ("paris", "Paris", True),
        (" Paris is the capital of France.", "Paris", True),
        ("\n\nParis", "Paris", True),
        ("**Paris**", "Paris", True),
        ("Parisian", "Paris", False),
        ("It is Paris", "Paris", False),
        ("The Hague", "Hague", False),
        ("New York", "New York City", False),
        ("New\nYork, City", "New York City", True),
        ("19", "1984", False),
        ("1984!", "1984", True),
        ("Sa\u0303o Paulo", "S\u00e3o Paulo", True),  # the same word, composed and decomposed
        ("Москва.", "москва", True),
        ("", "Paris", False),
        ("...", "...", False),  # an answer without words is never given
    ],
)
def test_exact_compares_words_and_ends_at_a_word(text, answer, right):
    assert begins_with(text, answer) is right
    assert value("exact", seen(text, answer)) == float(right)


def test_exact_does_not_apply_to_plain_text():
    assert METRICS["exact"]([seen("Paris", question="")]) is None
    mixed = METRICS["exact"]([seen("Paris"), seen("Rome"), seen("Paris", question="")])
    assert (mixed.value, mixed.per_example, mixed.n) == (0.5, (1.0, 0.0), 2)


def test_words_of_any_script():
    assert normalise_words("L'été, 東京! x_1") == ["l", "été", "東京", "x_1"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("the cat sat on the mat", "the cat lay on a mat"),
        ("Mat! the on; cat", "the cat sat on the mat"),
        ("", "something"),
        ("don't stop-now", "do not stop now"),
        ("a b c a b", "a c b"),
        ("snake_case 3.14", "snake case 3 14"),
    ],
)
def test_rouge_is_that_of_rouge_score_on_ascii(text, answer):
    from rouge_score.rouge_scorer import RougeScorer

    want = RougeScorer(["rougeL"], use_stemmer=False).score(answer, text)["rougeL"]
    assert value("rougeL", seen(text, answer)) == pytest.approx(want.recall)
    assert value("rougeL", seen(text, answer, question="")) == pytest.approx(want.fmeasure)


def test_rouge_by_hand_and_in_other_scripts():
    assert value("rougeL", seen("a x b y", "a b c d")) == 0.5  # "a b" of four words
    assert value("rougeL", seen("a x b y", "a b c", question="")) == pytest.approx(
        2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3)
    )
    assert value("rougeL", seen("Москва большая", "Москва")) == 1.0


def test_nll_perplexity_and_accuracy_are_means_over_texts():
    one, two = seen(lps=(-1.0, -3.0), ranks=(0, 1)), seen(lps=(-4.0,), ranks=(0,))
    assert value("nll", one, two) == pytest.approx((2.0 + 4.0) / 2)  # texts count alike, however long
    assert value("ppl", one, two) == pytest.approx(math.exp(3.0))
    assert value("accuracy", one, two) == pytest.approx((0.5 + 1.0) / 2)
    assert METRICS["nll"]([one, two]).per_example == (2.0, 4.0)


def test_a_collapsed_model_has_infinite_perplexity_and_no_error():
    assert value("ppl", seen(lps=(-900.0, -900.0))) == math.inf
