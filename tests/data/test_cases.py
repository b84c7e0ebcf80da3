"""Every file of cases/ gives what cases/expected.json says, through the library and through `unlearn data --json`."""

import json
from pathlib import Path

import pytest

from unlearn.__main__ import main
from unlearn.data.catalogue import from_config

CASES = Path(__file__).parent / "cases"
EXPECTED = json.loads((CASES / "expected.json").read_text(encoding="utf-8"))
REFUSED = {name: case["refuse"] for name, case in EXPECTED.items() if "refuse" in case}
READ = {name: case for name, case in EXPECTED.items() if "refuse" not in case and "as_retain_of" not in case}


def told(capsys, *words) -> dict:
    assert main(["data", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def said(shape: dict) -> dict:
    """What expected.json asks for, as the command says it."""
    first, second = shape["items"][:2]
    return {
        **{name: first.get(name) for name in ("question", "answer", "system", "wrong", "paraphrase", "text")},
        "rows": shape["rows"], "second_question": second.get("question"), "second_answer": second.get("answer"),
    }  # fmt: skip


def test_every_file_is_expected():
    assert {p.name for p in CASES.iterdir()} == {*EXPECTED, "expected.json", "README.md"}
    assert len(READ) + len(REFUSED) == len(EXPECTED) - 1


@pytest.mark.parametrize("name", READ)
def test_a_file_is_read_as_expected(name, capsys):
    case = dict(READ[name])
    shape = told(capsys, CASES / name)
    notes = case.pop("note", [])
    assert not notes or any(all(word in text for word in notes) for text in shape["notes"]), shape["notes"]
    starts, ends = case.pop("text_starts", ""), case.pop("text_ends", "")
    found = said(shape)
    assert {name: found[name] for name in case} == case
    assert starts + ends == "" or (found["text"].startswith(starts) and found["text"].endswith(ends))
    assert shape["roles"]["forget"] == shape["rows"] == len(shape["items"])


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_is_refused_in_words_that_help(name, capsys):
    assert main(["data", str(CASES / name), "--json"]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in [name, *REFUSED[name]]), error


def test_columns_may_be_named(capsys):
    case = EXPECTED["german.csv"]["with_columns"]
    words = ("--question-column", case["question"], "--answer-column", case["answer"])
    shape = told(capsys, CASES / "german.csv", *words)
    assert shape["rows"] == case["rows"]
    assert shape["columns"] == {"question": "Frage", "answer": "Antwort"}


def test_retain_rows_that_repeat_forget_rows_are_said(capsys):
    case = EXPECTED["keep_has_forget.csv"]
    shape = told(capsys, CASES / case["as_retain_of"], "--retain", CASES / "keep_has_forget.csv")
    assert any(all(word in text for word in case["note"]) for text in shape["notes"]), shape["notes"]


def test_a_split_of_a_file_that_holds_several_may_be_chosen(capsys):
    assert told(capsys, CASES / "splits.json", "--hub-split", "val")["rows"] == 12
    assert main(["data", str(CASES / "splits.json"), "--hub-split", "test"]) == 2
    assert "there is no 'test'" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_no_id_of_the_hub(capsys):
    assert main(["data", "some/where.csv"]) == 2
    assert "data: some/where.csv is not a file. Check the path." in capsys.readouterr().err


def test_the_remedies_work_as_they_are_written(tmp_path):
    """What the refusals tell a person to do, done."""
    lines = (CASES / "trailing_comma.jsonl").read_text().rstrip().splitlines()
    (tmp_path / "a.jsonl").write_text("\n".join(line.rstrip(",") for line in lines))
    (tmp_path / "b.jsonl").write_text("[\n" + "\n".join(lines).rstrip(",") + "\n]")
    (tmp_path / "c.csv").write_text("question,answer\n" + (CASES / "headerless_two.csv").read_text())
    (tmp_path / "d.csv").write_text((CASES / "title_above.csv").read_text().split("\n", 2)[2])
    for name in ("a.jsonl", "b.jsonl", "c.csv", "d.csv"):
        first = from_config({"forget": str(tmp_path / name)}, [tmp_path]).rows("forget")
        assert len(first) == 12, name
        assert first[0].answer == "The keeper is agent 0."
