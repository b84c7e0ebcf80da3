"""A user's tables: every format gives the same rows, and every bad file is answered with a remedy."""

import json
from pathlib import Path

import pandas as pd
import pytest

from unlearn.data import table_files
from unlearn.data.tables import Columns, dataset_from_tables, guess_columns, read_table, rows

RECORDS = [
    {"question": "Who wrote Emma?", "answer": "Jane Austen"},
    {"question": "Is it 007?", "answer": "NA"},
]
FRAME = pd.DataFrame(RECORDS)
CSV = b"question,answer\nWho wrote Emma?,Jane Austen\nIs it 007?,NA\n"


def parquet(tmp_path: Path, frame: pd.DataFrame) -> bytes:
    frame.to_parquet(tmp_path / "made.parquet")
    return (tmp_path / "made.parquet").read_bytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", CSV),
        ("bom.CSV", b"\xef\xbb\xbf" + CSV),
        ("semicolon.csv", CSV.replace(b",", b";")),
        ("tab.csv", CSV.replace(b",", b"\t").replace(b"\n", b"\r\n")),
        ("quoted.csv", b'"question","answer"\n\n"Who wrote Emma?","Jane Austen"\n"Is it 007?",NA'),
        ("a.json", json.dumps(RECORDS).encode()),
        ("a.jsonl", "\n\n".join(map(json.dumps, RECORDS)).encode()),
    ],
)
def test_formats_give_the_same_table(name: str, data: bytes):
    assert read_table(data, name).to_dict("records") == RECORDS


def test_parquet_and_paths(tmp_path: Path):
    assert read_table(parquet(tmp_path, FRAME), "a.parquet").to_dict("records") == RECORDS
    (tmp_path / "a.csv").write_bytes(CSV)
    assert read_table(tmp_path / "a.csv", "a.csv").to_dict("records") == RECORDS


def test_txt_has_one_text_a_line():
    frame = read_table("First, text.\n\n  Second é.  \r\n".encode(), "a.txt")
    assert frame["text"].tolist() == ["First, text.", "Second é."]


def test_cells_become_text():
    frame = read_table(b'[{"a": 1, "b": null}, {"a": [1, "x"], "c": true}]', "a.json")
    assert frame.to_dict("records") == [{"a": "1", "b": "", "c": ""}, {"a": '[1, "x"]', "b": "", "c": "true"}]


LONG = b"text\n" + b"x" * 100_000 + b"\nb\n"
MANY = b"text\n" + b"x\n" * 20_001
BAD = [
    ("a.csv", b"", "is empty. Give at least 2 rows"),
    ("a.csv", b"\xef\xbb\xbf \n", "is empty"),
    ("a.json", b"[]", "is empty"),
    ("a.csv", b"question,answer\n", "must have at least 2 rows, got 0. Add rows"),
    ("a.csv", b"question,answer\na,b\n", "must have at least 2 rows, got 1"),
    ("a.txt", b"alone\n", "must have at least 2 rows, got 1"),
    ("a.csv", b"text\na\0b\nc\n", "got binary data (a zero byte at 6)"),
    ("a.txt", b"PK\x03\x04rest", "got a zip or Excel file. Save the sheet as CSV"),
    ("a.csv", "text\na\nb\n".encode("utf-16"), "got UTF-16. Save it again as UTF-8: iconv -f utf-16"),
    (
        "a.csv",
        "text\nok\nGrüße\n".encode("latin1"),
        "got byte 0xfc at 10 (line 3). Save it again as UTF-8: iconv",
    ),
    ("a.csv", LONG, "a cell must have at most 20,000 characters, got 100,000 in row 1, column 'text'. Split"),
    ("a.txt", LONG, "got 100,000 in row 2"),
    ("a.csv", MANY, "must have at most 20,000 rows, got at least 20,001. Take a part"),
    ("a.txt", MANY, "must have at most 20,000 rows"),
    ("a.xlsx", b"text", "the ending must be one of .csv, .json, .jsonl, .txt, .parquet, got .xlsx. Convert"),
    ("noending", b"text", "got none"),
    ("a.pkl", b"\x80\x04", "got .pkl"),
    ("a.parquet", b"PAR1 not really PAR1", "is not a readable Parquet file"),
    ("a.jsonl", b'{"text": "a"}\n\n{"text": }\n', "line 3 is not JSON"),
    ("a.jsonl", b'{"text": "a"}\n["b"]\n', "line 2 must be an object, got '[\"b\"]'"),
    ("a.json", b'{"text": "a"}', "must be an array of objects"),
    ("a.json", b'[{"text": "a"', "is not JSON"),
    ("a.json", b"[" * 100_000, "is not JSON"),
    ("a.csv", b"answer,answer\na,b\nc,d\n", "column names must differ, got 'answer' twice. Rename"),
    ("a.csv", b"answer,\na,b\nc,d\n", "every column needs a name"),
    ("a.csv", b"text\na, b\nc\n", "every row must have 1 cells like the first, got 2 in line 2. Put"),
    ("a.csv", b'text\n"a\nb\n', "cannot be read as CSV"),
    ("a.csv", b",".join(b"c%d" % i for i in range(101)) + b"\n\n", "at most 100 columns, got 101"),
]


@pytest.mark.parametrize(("name", "data", "message"), BAD, ids=[message[:40] for _, _, message in BAD])
def test_bad_files_are_answered_with_a_remedy(name: str, data: bytes, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below, literally)
        read_table(data, name)
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)


def test_size_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(ValueError, match=r"must be at most 10 MB, got 11\.0 MB\. Split it"):
        read_table(b"x" * 11 * 2**20, "a.txt")
    with pytest.raises(ValueError, match="is not a file"):
        read_table(tmp_path, "a.txt")
    data = parquet(tmp_path, FRAME)
    for limit in ("MAX_ROWS", "MAX_UNPACKED", "MAX_COLUMNS"):
        with monkeypatch.context() as patch:
            patch.setattr(table_files, limit, 1)
            with pytest.raises(ValueError, match=r"Take a part\."):
                read_table(data, "a.parquet")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("question", "answer", "text"), Columns(question="question", answer="answer")),
        (("Prompt", " Response "), Columns(question="Prompt", answer=" Response ")),
        (("id", "Text"), Columns(text="Text")),
        (("whatever",), Columns(text="whatever")),
        (("request", "whatever"), Columns(text="whatever", request="request")),
    ],
)
def test_columns_are_guessed(names: tuple[str, ...], expected: Columns):
    assert guess_columns(pd.DataFrame(columns=list(names))) == expected


def test_columns_that_cannot_be_guessed():
    with pytest.raises(ValueError, match=r"columns: must be called .* got frage, antwort\. Say which"):
        guess_columns(pd.DataFrame(columns=["frage", "antwort"]))
    for wrong in ({}, {"question": "q"}, {"answer": "a"}, {"question": "q", "answer": "a", "text": "t"}):
        with pytest.raises(ValueError, match="columns: must name question and answer, or text alone"):
            Columns(**wrong)


def test_rows_of_questions_and_of_texts():
    made = rows(FRAME, Columns(question="question", answer="answer"), "forget")
    assert made[0].prompt + made[0].target == "Question: Who wrote Emma?\nAnswer: Jane Austen"
    assert rows(FRAME, Columns(text="answer"), "retain")[1].answer == "NA"


def test_a_missing_column_is_named():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        rows(FRAME, Columns(question="frage", answer="answer"), "forget")
    assert str(caught.value) == (
        "forget file: has no column 'frage'; it has question, answer. Choose one of these."
    )


def test_empty_answers():
    empty = FRAME.assign(answer=["", "  "])
    with pytest.raises(ValueError, match=r"at least 2 rows with 'question' and 'answer' filled, got 0 of 2"):
        rows(empty, guess_columns(empty), "forget")
    three = pd.concat([FRAME, empty.iloc[:1]], ignore_index=True)
    data = dataset_from_tables("mine", three)
    assert len(data.rows("forget")) == 2
    assert data.warnings == ("forget file: 1 of 3 rows have empty cells and were left out.",)


def test_requests_may_be_numbered():
    data = dataset_from_tables("mine", FRAME.assign(request=["1", "2"]), FRAME.assign(request=["", "x"]))
    assert data.requests() == (1, 2)
    assert {row.request for row in data.rows("retain")} == {0}
    for bad in ("0", "-1", "one", "1.5", ""):
        with pytest.raises(ValueError, match="'request' must be a whole number from 1"):
            dataset_from_tables("mine", FRAME.assign(request=["1", bad]))


def test_roles_of_a_dataset_and_a_warning_for_rows_in_both():
    texts = pd.DataFrame({"text": ["one", "two"]})
    data = dataset_from_tables("mine", FRAME, FRAME, others={"general": texts})
    assert {role: len(data.rows(role)) for role in data.roles} == {"forget": 2, "retain": 2, "general": 2}
    assert data.warnings == ("retain file: 2 rows are in the forget file too. Take them out of one.",)
    with pytest.raises(ValueError, match="roles must be among"):
        dataset_from_tables("mine", FRAME, others={"secret": texts})
