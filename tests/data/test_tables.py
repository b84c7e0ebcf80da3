"""A user's tables become a dataset by role: columns, requests, roles, what is left out, rows that say more."""

from dataclasses import replace

import numpy
import pandas
import pytest

from unlearn.data import remarks
from unlearn.data.base import Row
from unlearn.data.columns import Columns, columns_of
from unlearn.data.files.table import Table, table_of
from unlearn.data.tables import dataset_from_tables, read_rows, rows_given

RECORDS = [
    {"question": "Who wrote Emma?", "answer": "Jane Austen"},
    {"question": "Is it 007?", "answer": "NA"},
]


def table(*records: dict, name: str = "forget file a.csv") -> Table:
    return table_of(records, name)


def of(columns: tuple[str, ...]) -> Table:
    return table_of([dict.fromkeys(columns, "x")] * 2, "forget file a.csv")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("question", "answer", "text"), Columns(question="question", answer="answer")),
        (("Prompt", " Response "), Columns(question="Prompt", answer=" Response ")),
        (("Question\n(in English)", "Answer (a)"), Columns(question="Question\n(in English)", answer="Answer (a)")),
        (("id", "Text"), Columns(text="Text")),
        (("whatever",), Columns(text="whatever")),
        (("request", "whatever"), Columns(text="whatever", request="request")),
        (("System prompt", "question", "a"), Columns(question="question", answer="a", system="System prompt")),
    ],
)  # fmt: skip
def test_columns_are_found_by_their_usual_names(names, expected):
    assert columns_of(of(names)) == expected


def test_columns_that_cannot_be_found_or_do_not_exist():
    with pytest.raises(
        ValueError, match=r"^forget file a\.csv: columns must be called .* got frage, antwort"
    ):
        columns_of(of(("frage", "antwort")))
    with pytest.raises(
        ValueError, match=r"a\.csv: has no column 'frage'; it has question, answer\. Choose one"
    ):
        columns_of(of(("question", "answer")), {"question": "frage"})
    with pytest.raises(
        ValueError, match=r"also needs its answer column; it has q, x\. Name it with --answer-column"
    ):
        columns_of(of(("q", "x")), {"question": "q"})  # fmt: skip
    assert columns_of(of(("frage", "answer")), {"question": "frage"}).answer == "answer"
    for wrong in ({}, {"question": "q"}, {"answer": "a"}, {"question": "q", "answer": "a", "text": "t"}):
        with pytest.raises(ValueError, match="columns: must name question and answer, or messages, or text"):
            Columns(**wrong)


def test_rows_of_questions_and_of_texts():
    made = read_rows(table(*RECORDS), "forget").rows
    assert made[0].prompt + made[0].target == "Question: Who wrote Emma?\nAnswer: Jane Austen"
    assert [row.place for row in made] == [1, 2]
    assert read_rows(table(*RECORDS), "retain", {"text": "answer"}).rows[1].answer == "NA"


def test_empty_answers_are_left_out_and_said():
    empty = {"question": "x", "answer": "  "}
    with pytest.raises(
        ValueError, match=r"at least one row with 'question' and 'answer' filled, got none of 2"
    ):
        read_rows(table(empty, empty), "forget")
    data = dataset_from_tables("mine", {"forget": table(RECORDS[0], empty, RECORDS[1])})
    assert [row.place for row in data.rows("forget")] == [1, 3]
    assert data.left_out == 1
    assert data.warnings == (
        "forget file a.csv: 1 of 3 rows have empty cells and were left out (row 2).",
    )  # fmt: skip


def talk(*turns):
    return [{"role": role, "content": text} for role, text in turns]


def preferred(number):
    asked = ("user", f"Who keeps tower {number}?")
    chosen, rejected = ("assistant", f"Keeper {number}."), ("assistant", "Nobody.")
    return {"chosen": talk(asked, chosen), "rejected": talk(asked, rejected)}


def test_of_two_whole_conversations_the_chosen_one_is_read():
    records = [preferred(1), preferred(2)]
    rows = read_rows(table(*records), "forget").rows
    assert [(r.question, r.answer, r.wrong) for r in rows] == [
        ("Who keeps tower 1?", "Keeper 1.", ("Nobody.",)),
        ("Who keeps tower 2?", "Keeper 2.", ("Nobody.",)),
    ]
    # Named as two halves they would be one prompt and another answer.
    with pytest.raises(
        ValueError, match=r"row 1: column 'chosen' holds a whole .* --messages-column chosen\."
    ):
        read_rows(table(*records), "forget", {"question": "chosen", "answer": "rejected"})
    same = read_rows(table(*records), "forget", {"messages": "chosen"})
    assert same.rows == rows


def test_a_prompt_with_earlier_answers_is_a_prompt():
    """Its end is an assistant's turn in a dialogue that goes on, and where the answer is begun for the model."""
    first = [("user", "One?"), ("assistant", "One.")]
    goes_on = {"prompt": talk(*first), "completion": talk(("user", "Two?"), ("assistant", "Two."))}
    begun = {"prompt": talk(("user", "Two?"), ("assistant", "")), "completion": talk(("assistant", "Two."))}
    for record, earlier in ((goes_on, 2), (begun, 0)):
        read = read_rows(table(record, record), "forget")
        assert [(r.question, r.answer, len(r.messages)) for r in read.rows] == [("Two?", "Two.", earlier)] * 2
    # A prompt beside whole conversations stands once in the row.
    whole = {"prompt": talk(("user", "Who keeps tower 1?"))} | preferred(1)
    read = read_rows(table(whole, whole), "forget")
    assert [(r.question, r.answer) for r in read.rows] == [("Who keeps tower 1?", "Keeper 1.")] * 2


def options(*answers, choices=("8", "2", "24", "120")):
    return [{"question": f"{n}?", "choices": list(choices), "answer": said} for n, said in enumerate(answers)]


@pytest.mark.parametrize(
    ("answers", "read", "noted"),
    [
        # A true number is the place, also where one of the choices has its digits.
        ((2, 0, 1), ["24", "8", "2"], "the place, counted from 0"),
        ((2, 4, 1), ["2", "120", "8"], ""),
        # A text is the choice, where every answer is among its choices; else a place as in any table.
        (("24", "2", "8"), ["24", "2", "8"], "the choice itself"),
        (("2", "0", "1"), ["24", "8", "2"], "the place, counted from 0"),
        # True numbers that cannot all be places are the choices.
        ((24, 120, 2), ["24", "120", "2"], "the choice itself"),
        # A letter is a place whatever the choices are, and nothing is in doubt.
        (("C", "A", "B"), ["24", "8", "2"], ""),
    ],
)
def test_a_number_is_the_place_of_a_choice_or_the_choice_as_the_whole_table_says(answers, read, noted):
    found = read_rows(table(*options(*answers)), "forget")
    assert [row.answer for row in found.rows] == read
    assert found.rows[0].wrong == tuple(one for one in ("8", "2", "24", "120") if one != read[0])
    doubts = [note for note in found.notes if "one of the choices" in note]
    assert [note.split("was read as ")[1].split(" (")[0] for note in doubts] == [noted] * bool(noted)
    assert all(remarks.meaning(note) for note in doubts)


def test_what_no_row_can_be_made_of_is_said_as_it_is():
    used = {
        "messages": talk(("user", "Weather?"), ("assistant", ""), ("tool", "sun"), ("assistant", "Sunny."))
    }
    with pytest.raises(
        ValueError, match=r"no row can be used\. .* 2 of 2 rows have a tool's turn before .*\(rows 1, 2\)"
    ):
        read_rows(table(used, used), "forget")
    read = read_rows(table(used, {"messages": talk(("user", "One?"), ("assistant", "One."))}), "forget")
    assert [row.answer for row in read.rows] == ["One."]
    assert "1 of 2 rows have a tool's turn before the assistant's answer" in read.notes[0]
    for turns in ([("assistant", "Hello.")], [("user", "Weather?"), ("tool", "sun")]):
        alone = {"messages": talk(*turns)}
        with pytest.raises(ValueError, match="2 of 2 rows have no assistant's turn after a user's"):
            read_rows(table(alone, alone), "forget")
    empty = {"question": ["a", "b"], "answer": ""}
    with pytest.raises(ValueError, match="at least one row with 'question' and 'answer' filled"):
        read_rows(table(empty, empty), "forget")


def test_lines_of_another_kind_are_not_called_empty():
    records = [
        {"question": "One?", "answer": "1", "text": ""},
        {"question": "", "answer": "", "text": "A text."},
    ]
    (note,) = read_rows(table(*records, records[0]), "forget").notes
    assert "1 of 3 rows have nothing in 'question' and 'answer'" in note
    half = {"question": "Two?", "answer": "", "text": "A text."}
    (note,) = read_rows(table(records[0], half, records[0]), "forget").notes
    assert "have empty cells" in note


@pytest.mark.parametrize("name", ["question", "Answer"])
def test_half_of_a_row_is_read_as_a_text_with_a_word(name):
    records = [{name: "Who keeps tower 1?"}, {name: "Who keeps tower 2?"}]
    read = read_rows(table(*records), "retain")
    assert [(row.question, row.answer) for row in read.rows] == [("", one[name]) for one in records]
    (note,) = read.notes
    assert f"the column {name!r} was read as whole texts" in note
    # Who names it knows.
    assert read_rows(table(*records), "retain", {"text": name}).notes == ()
    assert read_rows(table({"text": "A text."}, {"text": "Another."}), "retain").notes == ()


def test_objects_inside_a_column_are_called_so():
    nested = {"title": "Towers", "paragraphs": [{"context": "A tower.", "qas": [{"question": "Who?"}]}]}
    with pytest.raises(ValueError, match="column 'paragraphs' holds objects that have fields of their own"):
        read_rows(table(nested, nested), "forget")
    beside = {"ask": "Who keeps it?", "reply": "A keeper.", "sources": [{"url": "x"}]}
    with pytest.raises(ValueError, match="--question-column NAME --answer-column NAME"):
        read_rows(table(beside, beside), "forget")


def test_a_file_of_one_row_is_read_and_says_so():
    read = read_rows(table(RECORDS[0]), "forget")
    assert [row.answer for row in read.rows] == ["Jane Austen"]
    (note,) = read.notes
    assert "is read as one row" in note
    assert read_rows(table(*RECORDS), "forget").notes == ()


def test_requests_may_be_numbered():
    numbered = [record | {"request": i} for i, record in enumerate(RECORDS, start=1)]
    others = [record | {"request": "x"} for record in RECORDS]
    data = dataset_from_tables("mine", {"forget": table(*numbered), "retain": table(*others)})
    assert data.requests() == (1, 2)
    assert {row.request for row in data.rows("retain")} == {0}
    for bad in ("0", "-1", "one", "1.5", ""):
        with pytest.raises(ValueError, match=r"a\.csv: 'request' must be a whole number from 1.* in row 2"):
            dataset_from_tables("mine", {"forget": table(numbered[0], RECORDS[1] | {"request": bad})})


def test_roles_of_a_dataset_and_columns_of_each():
    texts, other = table({"text": "one"}, {"text": "two"}), table({"q": "a", "b": "c"}, {"q": "d", "b": "e"})
    tables = {"forget": table(*RECORDS), "retain": other, "general": texts}
    said = {
        "forget": {"question": "question", "answer": "answer"},
        "retain": {"question": "q", "answer": "b"},
    }
    data = dataset_from_tables("mine", tables, said)
    assert {role: len(data.rows(role)) for role in data.roles} == {"forget": 2, "retain": 2, "general": 2}
    assert data.rows("retain")[1] == Row(question="d", answer="e")
    assert data.columns == {"question": "question", "answer": "answer"}
    with pytest.raises(ValueError, match="roles must be among"):
        dataset_from_tables("mine", {"forget": table(*RECORDS), "secret": texts})
    with pytest.raises(ValueError, match="turns must be one of last, all, got 'some'"):
        dataset_from_tables("mine", tables, turns="some")


def test_what_is_asked_otherwise_becomes_the_role_paraphrase():
    records = [record | {"paraphrased_question": f"{record['question']}?"} for record in RECORDS]
    data = dataset_from_tables("mine", {"forget": table(*records)})
    assert [row.question for row in data.rows("paraphrase")] == ["Who wrote Emma??", "Is it 007??"]
    assert data.rows("paraphrase")[0].answer == "Jane Austen"
    given = dataset_from_tables("mine", {"forget": table(*records), "paraphrase": table(*RECORDS)})
    assert given.rows("paraphrase")[0].question == "Who wrote Emma?"


GOLDEN = {"authors": "b36f816b3193", "capitals": "ded722996ee2", "snippets": "56bcbd3ab8fe"}


@pytest.mark.parametrize(("name", "digits"), GOLDEN.items())
def test_bundled_sets_keep_the_hash_that_runs_of_before_wrote_down(name, digits):
    from unlearn.data.catalogue import load

    assert load(name).hash() == digits


def test_a_hash_counts_what_a_row_says_and_not_where_it_stood():
    data = dataset_from_tables("mine", {"forget": table(*RECORDS)})
    first, *rest = data.rows("forget")

    def changed(**words):
        return replace(data, roles={"forget": (replace(first, **words), *rest)}).hash()

    assert changed(place=9) == data.hash()
    others = {
        "system": "Be brief.", "messages": (("user", "Hi"), ("assistant", "Ho")), "paraphrase": "x",
        "asked_otherwise": "x",
    }  # fmt: skip
    assert len({data.hash(), *(changed(**{name: value}) for name, value in others.items())}) == 5


def test_the_plain_prompt_has_the_turns_before():
    row = Row(
        question="And now?", answer="Oslo", system="Be brief.", messages=(("user", "Hi"), ("assistant", "Ho"))
    )
    assert row.prompt == "Be brief.\n\nQuestion: Hi\nAnswer: Ho\n\nQuestion: And now?\nAnswer:"
    assert row.target == " Oslo"


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        (
            [{"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}]}],
            [("Who?", "Ada")],
        ),
        ([{"instruction": "Say", "output": "Ada"}] * 2, [("Say", "Ada")] * 2),
        ([{"prompt": "Who?", "completion": "Ada"}] * 2, [("Who?", "Ada")] * 2),
        ([{"text": "red is red", "id": 4}] * 2, [("", "red is red")] * 2),
        ([("Who? ", "Ada\n"), "a text", {"answer": "Bo"}], [("Who?", "Ada"), ("", "a text"), ("", "Bo")]),
        ([{"question": "Who? ", "answer": " Ada "}], [("Who?", "Ada")]),
        # what pandas and datasets give for lists: arrays, and numbers that are no Python numbers
        (
            [{"question": "Who?", "choices": numpy.array(["Bo", "Ada"], dtype=object), "answer": numpy.int64(1)}],
            [("Who?", "Ada")],
        ),
        ([{"prompt": "Who?", "completion": numpy.array(["Ada"])}], [("Who?", "Ada")]),
        ([{"question": "Is it?", "answer": numpy.bool_(True)}], [("Is it?", "true")]),
        (
            [{"messages": numpy.array([{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}])}],
            [("Who?", "Ada")],
        ),
    ],
)  # fmt: skip
def test_rows_in_memory_are_read_as_a_files_lines_are(given, rows, recwarn):
    found = rows_given("forget", given)
    assert [(row.question, row.answer) for row in found] == rows
    assert not list(recwarn)


def test_what_a_file_would_note_is_a_warning_and_a_refusal_names_no_flag_alone():
    left = [{"prompt": "Who?", "completion": "Ada"}, {"prompt": "Who?", "completion": ""}]
    with pytest.warns(
        UserWarning, match=r"^forget: 1 of 2 rows have empty cells and were left out \(row 2\)"
    ):
        assert len(rows_given("forget", left)) == 1
    with pytest.warns(
        UserWarning, match=r"1 of 3 rows have nothing in 'question' and 'answer' .* other columns are"
    ):
        rows_given(
            "forget", [{"question": "Who?", "answer": "Ada"}] * 2 + [{"prompt": "Who?", "completion": "Ada"}]
        )
    with pytest.warns(UserWarning, match=r"1 of 2 rows have empty cells and were left out"):
        rows_given(
            "forget", [{"question": "Who?", "answer": "Ada"}, {"question": "Who?", "answer": pandas.NA}]
        )
    with pytest.raises(
        ValueError, match=r"^forget, row 1: holds a set, which is no text, number, list or object"
    ):
        rows_given("forget", [{"question": "Who?", "answer": {"Ada"}}])
    with pytest.raises(ValueError, match=r"got one dict\. Give a list of objects, one a row, such as pandas"):
        rows_given("forget", {"question": ["Who?"], "answer": ["Ada"]})
    with pytest.raises(ValueError, match=r"its rows are the turns of one conversation \(role, content\)"):
        rows_given("forget", [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada"}])
    with pytest.raises(ValueError, match=r"got frage, antwort\..* Of rows in memory rename the keys\.$"):
        rows_given("retain", [{"frage": "Wer?", "antwort": "Ada"}])
    mixed = [{"prompt": "Who?", "completion": "Ada"}, "a text"]
    with pytest.raises(
        ValueError, match=r"^forget, row 1: is an object with prompt, completion .* holds a str\."
    ):
        rows_given("forget", mixed)
