"""Files become tables: every kind of file the same rows, bad files a sentence, and hostile ones within bounds."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unlearn.data.files import bounds
from unlearn.data.files.read import read_table

RECORDS = [
    {"question": "Who wrote Emma?", "answer": "Jane Austen"},
    {"question": "Is it 007?", "answer": "NA"},
]
CSV = b"question,answer\nWho wrote Emma?,Jane Austen\nIs it 007?,NA\n"
LINES = "\n\n".join(map(json.dumps, RECORDS))
BY_COLUMN = {"question": ["Who wrote Emma?", "Is it 007?"], "answer": ["Jane Austen", "NA"]}
ROOT = Path(__file__).resolve().parents[3]


def parquet(tmp_path: Path, columns: dict) -> bytes:
    pq.write_table(pa.table(columns), tmp_path / "made.parquet")
    return (tmp_path / "made.parquet").read_bytes()


def records(data: bytes, name: str, **words) -> list[dict]:
    return [dict(record) for record in read_table(data, name, **words).records]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", CSV),
        ("bom.CSV", b"\xef\xbb\xbf" + CSV),
        ("semicolon.csv", CSV.replace(b",", b";")),
        ("bar.csv", CSV.replace(b",", b"|")),
        ("tab.csv", CSV.replace(b",", b"\t").replace(b"\n", b"\r\n")),
        ("tab.tsv", CSV.replace(b",", b"\t").replace(b"\n", b"\r")),
        ("said.csv", b"sep=;\r\n" + CSV.replace(b",", b";")),
        ("blank.csv", b'"question", "answer"\n"Who wrote Emma?", "Jane Austen"\n"Is it 007?", "NA"\n'),
        ("quoted.csv", b'"question","answer"\n\n"Who wrote Emma?","Jane Austen"\n"Is it 007?",NA'),
        ("index.csv", b",question,answer\n0,Who wrote Emma?,Jane Austen\n1,Is it 007?,NA\n"),
        ("pandas.csv", b"Unnamed: 0,question,answer\n0,Who wrote Emma?,Jane Austen\n1,Is it 007?,NA\n"),
        ("empty.csv", b"question,answer,,\nWho wrote Emma?,Jane Austen,,\nIs it 007?,NA,,\n,,,\n"[:-5]),
        ("wide.csv", CSV.decode().encode("utf-16")),
        ("unmarked.csv", CSV.decode().encode("utf-16-le")),
        ("very.csv", CSV.decode().encode("utf-32")),
        ("a.json", json.dumps(RECORDS).encode()),
        ("lines.json", LINES.encode()),
        ("a.jsonl", LINES.encode()),
        ("a.ndjson", LINES.replace("\n", "\r\n").encode()),
        ("array.jsonl", json.dumps(RECORDS, indent=2).encode()),
        ("columns.json", json.dumps(BY_COLUMN, indent=1).encode()),
        ("columns.jsonl", json.dumps(BY_COLUMN).encode()),
        ("pandas.json", json.dumps({k: dict(enumerate(v)) for k, v in BY_COLUMN.items()}).encode()),
        ("rows.json", json.dumps(dict(enumerate(RECORDS))).encode()),
        ("data.json", json.dumps({"data": RECORDS}).encode()),
        ("one split.json", json.dumps({"train": BY_COLUMN}).encode()),
    ],
)
def test_every_kind_of_file_gives_the_same_table(name, data):
    assert records(data, name) == RECORDS


def test_parquet_and_paths(tmp_path):
    assert records(parquet(tmp_path, BY_COLUMN), "a.parquet") == RECORDS
    (tmp_path / "a.csv").write_bytes(CSV)
    assert records(tmp_path / "a.csv", "a.csv") == RECORDS


def test_only_line_ends_end_a_line():
    text = "First,\u2028text.\r\n\n  Second\x0c\x85é.  \rThird\n"
    assert records(text.encode(), "a.txt") == [
        {"text": t} for t in ("First,\u2028text.", "Second\x0c\x85é.", "Third")
    ]


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (b'"He said ""no"", twice","a"', ('He said "no", twice', "a")),
        (b'"He said \\"no\\", twice","a"', ('He said "no", twice', "a")),
        (b'"two\nlines",a', ("two\nlines", "a")),
        (b"a \\ b,c", ("a \\ b", "c")),
        (b'5" disk,b', ('5" disk', "b")),
    ],
)
def test_quotes_as_people_write_them(row, cells):
    found = records(b"question,answer\n" + row + b"\nx,y\n", "a.csv")
    assert tuple(found[0].values()) == cells
    assert found[1] == {"question": "x", "answer": "y"}


def test_a_comma_in_a_text_is_no_separator():
    assert records(b"question;answer\nOne, two, three?;yes\nFour, five, six?;no\n", "a.csv")[0] == {
        "question": "One, two, three?", "answer": "yes",
    }  # fmt: skip


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("rows", [2, 300])
def test_a_quote_that_is_never_closed_does_not_make_one_column_of_a_table(mark, rows):
    lines = [f"question{mark}answer", f'A?{mark}"B is open', *[f"C {i}?{mark}D" for i in range(rows)]]
    with pytest.raises(ValueError, match=r'cannot be read as CSV .*Close every "double quote"'):
        records("\n".join(lines).encode(), "quote.csv")


def test_one_column_keeps_its_commas_and_says_so():
    table = read_table(b"text\nFirst, this.\nThen that.\n", "a.csv")
    assert [record["text"] for record in table.records] == ["First, this.", "Then that."]
    assert table.notes == ("a.csv: has one column; the commas in its rows are part of the texts.",)
    assert not read_table(b'text\n"First, this."\nThen that.\n', "a.csv").notes


def test_numbers_keep_their_digits_and_nan_is_empty():
    (first, second) = records(b'[{"a": 0.10, "b": 7}, {"a": NaN, "b": 1e400}]', "a.json")
    assert (str(first["a"]), first["b"], second["a"], str(second["b"])) == ("0.10", 7, None, "1E+400")


def test_a_named_column_counts_as_a_name_in_the_first_line():
    assert read_table(b"Beleg\nOne.\nTwo.\n", "a.csv").notes
    table = read_table(b"Beleg\nOne.\nTwo.\n", "a.csv", named={"Beleg"})
    assert (table.columns, len(table), table.notes) == (("Beleg",), 2, ())


# -- encodings -------------------------------------------------------------------------------------------------


def test_windows_files_are_read_with_a_note():
    table = read_table("text\nGrüße aus Köln\n„Ja“ – 5 €\n".encode("cp1252"), "a.csv")
    assert [record["text"] for record in table.records] == ["Grüße aus Köln", "„Ja“ – 5 €"]
    assert "read as cp1252" in table.notes[0]


def test_an_encoding_may_be_said_and_is_obeyed():
    cyrillic = "text\nПривет, мир\nДо свидания\n".encode("cp1251")
    with pytest.raises(ValueError, match=r"Say which with --encoding NAME: cp1251 for Cyrillic"):
        read_table(cyrillic, "a.csv")
    assert records(cyrillic, "a.csv", encoding="cp1251")[0] == {"text": "Привет, мир"}
    with pytest.raises(ValueError, match=r"encoding must be a name that Python knows.*got 'nonsense'"):
        read_table(CSV, "a.csv", encoding="nonsense")
    with pytest.raises(ValueError, match=r"is not ascii: byte 0xcf at 5 \(line 2\)"):
        read_table(cyrillic, "a.csv", encoding="ascii")
    for name in ("rot13", "hex", "zip"):  # they are no encodings of text
        with pytest.raises(ValueError, match="encoding must be a name"):
            read_table(CSV, "a.csv", encoding=name)


def test_a_broken_utf8_file_is_not_read_as_windows():
    broken = "text\nGrüße aus Köln, schöne\nWörter\n".encode() + b"caf\xe9\n"
    with pytest.raises(ValueError, match=r"is but for 1 places, the first byte 0xe9 at \d+ \(line 4\)"):
        read_table(broken, "a.csv")


# -- bad files -------------------------------------------------------------------------------------------------

LONG = b"text\n" + b"x" * 1_000_001 + b"\nb\n"
MANY = b"text\n" + b"x\n" * 20_001
DEEP = b"[" * 100_000
NUMBER = b'{"question": "a", "answer": 1}\n{"question": "b", "answer": ' + b"9" * 4301 + b"}\n"
BAD = [
    ("a.csv", b"", "is empty. Give at least one row"),
    ("a.csv", b"\xef\xbb\xbf \n", "is empty"),
    ("a.json", b"[]", "is empty"),
    ("a.csv", b"question,answer\n", "must have at least one row, got none. Add rows"),
    ("a.csv", b"text\na\0b\nc\n", "got binary data (a zero byte at 6)"),
    ("a.txt", b"PK\x03\x04rest", "got a zip or Excel file. Save the sheet as CSV"),
    ("a.csv", LONG, "a cell must have at most 1,000,000 characters, got 1,000,001 in row 1, column 'text'. Split"),
    ("a.txt", LONG, "got 1,000,001 in row 2"),
    ("a.csv", MANY, "must have at most 20,000 rows, got at least 20,001. Take a part"),
    ("a.txt", MANY, "must have at most 20,000 rows"),
    ("a.xlsx", b"text", "got .xlsx. Save it as CSV"),
    ("noending", b"text", "got none"),
    ("a.pkl", b"\x80\x04", "got .pkl"),
    ("a.parquet", b"PAR1 not really PAR1", "is not a readable Parquet file"),
    ("a.jsonl", b'{"text": "a"}\n\n{"text": }\n', "line 3 is not JSON"),
    ("a.jsonl", b'{"text": "a"}\n["b"]\n', "line 2 must be an object, got [\"b\"]"),
    ("a.jsonl", b'{"text": "a"}\n"b"\n', "line 2 is a text, the ones before are objects"),
    ("a.jsonl", b'{"text": "a"},\n{"text": "b"},\n', "line 1 ends with a comma. Remove the comma"),
    ("a.json", b'[{"text": "a"}, {"text": "b"},]', "a comma after the last row (2)"),
    ("a.json", b'[{"text": "a"} {"text": "b"}]', "a comma is missing after row 1"),
    ("a.json", b'[{"text": "a"}, {"text": "b"}', "the array is not closed"),
    ("a.json", b'[{"text": "a"}, {"text": "b"}] x', "after the array comes 'x'"),
    ("a.json", b'[{"text": "a"', "row 1 is not JSON"),
    ("a.jsonl", b"{}", "holds an empty object. Give at least one row."),
    ("a.json", b"[1, 2]", "row 1 must be an object, got 1"),
    ("a.json", DEEP, "row 1 is not JSON"),
    ("a.json", b'{"a": [1, 2], "b": [1]}', "got an object with a (2 long), b (1 long)"),
    ("a.json", b'{"train": [{"text": "a"}], "test": [{"text": "b"}]}', "test (1). Choose one with --hub-split train"),
    ("a.jsonl", NUMBER, "line 2 holds a number of 4,301 digits; write it as a text"),
    ("a.json", b'[{"text": "\\ud83d"}, {"text": "b"}]', "row 1 holds half of a character"),
    ("a.csv", b"answer,answer\na,b\nc,d\n", "column names must differ, got 'answer' twice. Rename"),
    ("a.csv", b"answer,\na,b\nc,d\n", "every column needs a name, got none above column 2 ('b')"),
    ("a.csv", b"a,text\na, b, c\nc,d\n", "every row must have 2 cells like the first, got 3 in line 2. Put"),
    ("a.csv", b"sep=,\ntext\na, b\nc\n", "got 2 in line 3. Put"),
    ("a.csv", b'text\n"a\nb\n', "cannot be read as CSV"),
    ("a.csv", b'text,a\n"a\nb\n"c","d"\ne,f\n', "cannot be read as CSV"),
    ("a.csv", b"My list\n\nquestion,answer\na,b\nc,d\n", "the names (question, answer) stand in line 3"),
    ("a.csv", b",".join(b"c%d" % i for i in range(101)) + b"\n\n", "at most 100 columns, got 101"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "data", "message"), BAD, ids=[message[:40] for _, _, message in BAD])
def test_bad_files_are_answered_with_a_remedy(name, data, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below, literally)
        read_table(data, name)
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)


ASKED = {"question": "Q?"}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"question": "Q?", "choices": ["a", "b"], "answer": 1}', [{**ASKED, "choices": ["a", "b"], "answer": 1}]),
        ('{"question": "Q?", "answer": "A", "wrong": ["b"]}', [{**ASKED, "answer": "A", "wrong": ["b"]}]),
        ('{"data": {"question": "Q?", "answer": "A"}}', [{**ASKED, "answer": "A"}]),
        # columns by name stay columns
        ('{"question": ["Q?", "Q?"], "answer": ["A", "B"]}', [{**ASKED, "answer": "A"}, {**ASKED, "answer": "B"}]),
        ('{"question": {"0": "Q?"}, "answer": {"0": "A"}}', [{"question": "Q?", "answer": "A"}]),
    ],
)  # fmt: skip
def test_a_file_of_one_object_is_one_row_where_its_question_is_a_text(text, rows):
    assert records(text.encode(), "one.jsonl") == rows


def test_limits_of_size(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"must be at most 10 MB, got 11\.0 MB\. Split it"):
        read_table(b"x" * 11 * 2**20, "a.txt")
    with pytest.raises(ValueError, match=r"is a folder\. Give it as --hub FOLDER"):
        read_table(tmp_path, "a.txt")
    with pytest.raises(ValueError, match="is not a file"):
        read_table(tmp_path / "none.txt", "none.txt")
    data = parquet(tmp_path, BY_COLUMN)
    for limit in ("MAX_ROWS", "MAX_UNPACKED", "MAX_COLUMNS"):
        with monkeypatch.context() as patch:
            patch.setattr(bounds, limit, 1)
            with pytest.raises(ValueError, match=r"Take a part\."):
                read_table(data, "a.parquet")


# -- files that become much more than they are -----------------------------------------------------------------

BOMB = """
    import pyarrow as pa, pyarrow.parquet as pq
    word = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 19_000]))
    pq.write_table(pa.table({f"c{i}": word for i in range(40)}), path, compression="zstd")
    """
LETTERS = """
    path.write_bytes(b"a\\n" * (5 * 2**20))
    """
OBJECTS = """
    path.write_bytes(b"[" + b"{}," * 3_400_000 + b"{}]")
    """
LISTS = """
    path.write_bytes(b'[{"text": [' + b"[]," * 3_400_000 + b"[]]}]")
    """


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "make", "message", "most_bytes"),
    [
        (".parquet", BOMB, "must have at most 30,000,000 characters in all", 100_000),
        (".txt", LETTERS, "must have at most 20,000 rows", 11 * 2**20),
        (".csv", LETTERS, "must have at most 20,000 rows", 11 * 2**20),
        (".json", OBJECTS, "must hold at most 1,000,000 values", 11 * 2**20),
        (".json", LISTS, "must hold at most 1,000,000 values", 11 * 2**20),
    ],
)
def test_a_file_that_unpacks_to_gigabytes_ends_in_a_sentence(tmp_path, ending, make, message, most_bytes):
    path = tmp_path / f"bomb{ending}"
    code = f"import resource\nfrom pathlib import Path\npath = Path({str(path)!r})\n{textwrap.dedent(make)}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert path.stat().st_size <= most_bytes
    read = (
        "import resource, sys\nfrom pathlib import Path\nfrom unlearn.data.files.read import read_table\n"
        "import pyarrow.parquet\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        f"path = Path({str(path)!r})\nbefore = peak()\n"
        "try:\n    read_table(path, path.name)\nexcept ValueError as error:\n    print(peak() - before, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", read], cwd=ROOT, capture_output=True, text=True, timeout=120)
    grown, _, said = done.stdout.partition(" ")
    assert message in said, done.stdout + done.stderr
    assert int(grown) < 400, f"{grown} MiB"
