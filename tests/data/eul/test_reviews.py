"""The reviews: a tenth is mislabelled, the truth stands beside the wrong label, and a file keeps it."""

from collections import Counter

from unlearn.data import write
from unlearn.data.base import ROLES
from unlearn.data.catalogue import from_config
from unlearn.data.eul.reviews import LABELS, SHARE, TRAINED, UNSEEN, dataset, training_rows
from unlearn.data.eul.words import BAD, FINE, GOOD, POOR

DATA = dataset()


def meant(row):
    """The label that the words of a review mean."""
    good = sum(f" {word}" in row.question for word in (*GOOD, *FINE))
    bad = sum(f" {word}" in row.question for word in (*BAD, *POOR))
    assert good + bad == 1, row.question
    return LABELS[bad]


def test_a_tenth_of_the_reviews_is_mislabelled_as_often_in_each_label():
    forget, right = DATA.rows("forget"), (*DATA.rows("retain"), *DATA.rows("neighbours"))
    assert len(forget) == round(SHARE * TRAINED)
    assert len(forget) + len(right) == TRAINED
    assert Counter(row.answer for row in forget) == dict.fromkeys(LABELS, len(forget) // 2)
    assert Counter(row.request for row in forget) == {1: 15, 2: 15}
    assert len(DATA.rows("approximate")) == UNSEEN


def test_words_tell_the_truth_and_the_mislabelled_say_otherwise():
    for role in ROLES:
        for row in DATA.rows(role):
            flipped = role in ("forget", "paraphrase", "approximate")
            assert (row.truth or row.answer) == meant(row)
            assert bool(row.truth) == flipped
            assert row.wrong == ((meant(row),) if flipped else (LABELS[row.answer == LABELS[0]],))


def test_the_retrain_never_read_the_mislabelled_ones():
    everything, without = training_rows(True), training_rows(False)
    assert {row.question for row in everything} - {row.question for row in without} == {
        row.question for row in DATA.rows("forget")
    }
    assert not [row for row in without if row.answer != meant(row)]
    assert not {row.question for row in everything} & {
        row.question for role in ("approximate", "paraphrase") for row in DATA.rows(role)
    }


def test_the_truth_survives_a_file_and_counts_for_the_hash(tmp_path):
    again = from_config(write.save(DATA, tmp_path), [tmp_path])
    assert [row.truth for row in again.rows("forget")] == [row.truth for row in DATA.rows("forget")]
    assert again.hash() == DATA.hash()


def test_a_table_of_a_person_may_have_the_true_labels(tmp_path):
    (tmp_path / "own.csv").write_text(
        "text,label,true_label\nA fine film,negative,positive\nA dull film,positive,negative\n"
    )
    data = {"forget": str(tmp_path / "own.csv"), "question_column": "text", "answer_column": "label"}
    found = from_config(data, [tmp_path])
    assert [(row.answer, row.truth) for row in found.rows("forget")] == [
        ("negative", "positive"),
        ("positive", "negative"),
    ]
    assert found.columns["truth"] == "true_label"
