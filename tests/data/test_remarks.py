"""What a person is told about rows: copies, retain rows that tell forget rows, special tokens; and what it means."""

import json
from pathlib import Path

import pytest

from unlearn.data.base import Dataset, Row
from unlearn.data.catalogue import CATALOGUE, from_config, load
from unlearn.data.remarks import MEANINGS, meaning, remarks
from unlearn.data.tables import ALONE, WHOLE

CASES = Path(__file__).parent / "cases"


def data(forget, retain=()) -> Dataset:
    roles = {"forget": forget, "retain": retain}
    made = {role: tuple(Row(question=q, answer=a) for q, a in rows) for role, rows in roles.items() if rows}
    return Dataset(name="x", title="x", roles=made)


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_nothing_is_to_be_said_of_the_bundled_sets_but_their_marks(name):
    assert not [text for text in remarks(load(name)) if "forget rows" in text]


def test_copies_weigh_as_often_as_they_stand():
    said = remarks(data([("Who is A?", "B")] * 3 + [("who  is a?", "b"), ("Who is C?", "D")]))
    assert said == (
        "forget: 1 text stands more than once; rows 1, 2, 3 … say the same 4 times, and so weigh 4 times as much as a "
        "row that stands once. Remove the copies where that is not meant.",
    )
    assert not remarks(data([("Who is A?", "B"), ("Who is A?", "C")]))  # another answer is no copy


def test_retain_rows_that_repeat_forget_rows_in_other_case_or_spacing():
    forget = [(f"Who keeps tower {i}?", f"agent {i}") for i in range(6)]
    retain = [(q.upper(), f" {a} ") for q, a in forget[:4]] + [
        ("Who eats?", "a fox"),
        ("Who sings?", "a bird"),
    ]
    (said,) = remarks(data(forget, retain))
    assert said.startswith(
        "retain: tells 4 of 6 forget rows, 4 rows in the same words but for case and spacing; "
    )
    assert "retain:1 tells forget:1" in said
    assert not remarks(data(forget, retain), overlap=False)
    assert not remarks(data(forget, retain[4:]))


def test_a_bare_less_than_is_no_special_token():
    assert not remarks(data([("Is a < b > c?", "x <br> y"), ("Is 1 << 2?", "[1]")]))
    assert "2 of 2 rows" in remarks(data([("<|im_start|>user", "x"), ("x", "y</s>")]))[0]


def test_every_note_of_the_cases_has_a_meaning():
    said = set()
    for name, case in json.loads((CASES / "expected.json").read_text()).items():
        if "refuse" not in case:
            found = from_config({"forget": str(CASES / name)}, [CASES])
            said |= {*found.warnings, *remarks(found)}
    assert len(said) > 8
    assert not [note for note in said if not meaning(note)]
    assert len({words for words, _ in MEANINGS}) == len(MEANINGS)


def test_only_an_encoding_is_about_letters():
    notes = {
        "a.csv: was read as UTF-16-LE.": True,
        "a.csv: is not UTF-8 and was read as cp1252 (Windows, Western).": True,
        f"a.csv: {ALONE}": False,
        f"a.csv: {WHOLE.format('question')}": False,
        "a.txt: the first line ('Once') is no name of a column, so it is read as a text.": False,
    }
    assert {note: "letters outside English" in meaning(note) for note in notes} == notes
    assert all(map(meaning, notes))
