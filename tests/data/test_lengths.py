"""Rows longer than a model reads: counted as the model's own tokenizer does, then cut, left out or refused."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from unlearn.data.base import Dataset, Row
from unlearn.data.lengths import KEPT, fitted, reader_in

MODEL = Path(__file__).resolve().parents[2] / "assets" / "models" / "tiny-authors"
LONG = " ".join(f"The keeper of tower {i} was agent {i * 7} of the north." for i in range(40))


@pytest.fixture
def reader():
    return reader_in(MODEL, "tiny-authors", 64)


def data(*rows: Row, **roles) -> Dataset:
    return Dataset(name="mine", title="mine", roles={"forget": rows, **roles})


SHORT, ASKED = Row(answer="A short text."), Row(question="Who?", answer="agent 7")
TEXT, TOO_LONG = Row(answer=LONG, place=6, wrong=("x",)), Row(question=LONG, answer="agent 7", place=9)


def test_the_count_is_that_of_the_models_own_tokenizer(reader):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    rows = [SHORT, ASKED, TEXT, TOO_LONG]
    own = [
        len(tokenizer(row.prompt + row.target, split_special_tokens=True)["input_ids"]) + 1 for row in rows
    ]
    assert reader.lengths(rows) == own
    assert reader.limit == 64
    assert reader_in(MODEL, "x", 4096).limit == 512
    assert reader_in(MODEL.parent, "x", 64) is None


def test_what_fits_is_the_same_dataset(reader):
    whole = data(SHORT, ASKED)
    assert fitted(whole, reader) is whole
    assert fitted(data(TEXT), None).rows("forget") == (TEXT,)


def test_a_long_text_is_cut_into_windows_that_hold_all_of_it(reader):
    found = fitted(data(SHORT, TEXT, retain=(TEXT, SHORT)), reader)
    pieces = found.rows("forget")[1:]
    assert " ".join(piece.answer for piece in pieces) == LONG
    assert max(reader.lengths(pieces)) <= 64
    assert {piece.place for piece in pieces} == {6}
    assert not any(piece.wrong for piece in pieces)
    assert found.warnings[0] == (
        f"forget of mine: 1 row is longer than the 64 tokens that tiny-authors reads of a row (row 6 of "
        f"{reader.lengths([TEXT])[0]:,} tokens), and cut into {len(pieces)} windows that fit."
    )
    assert found.warnings[1].startswith("retain of mine: 1 row")


def test_a_text_without_blanks_is_cut_too(reader):
    row = Row(answer="x9" * 500)
    pieces = fitted(data(row), reader).rows("forget")
    assert "".join(piece.answer for piece in pieces) == row.answer
    assert max(reader.lengths(pieces)) <= 64


def test_spans_follow_their_words_into_the_windows(reader):
    spans = tuple((at, at + 5) for at in range(len(LONG)) if LONG.startswith("agent", at))
    pieces = fitted(data(Row(answer=LONG, entities=spans)), reader).rows("forget")
    marked = [piece.answer[a:b] for piece in pieces for a, b in piece.entities]
    assert set(marked) == {"agent"}
    assert len(marked) >= len(spans) - len(pieces)


def test_a_long_question_is_refused_with_row_and_count(reader):
    said = r"forget of mine: 1 row is longer than the 64 tokens .* \(row 9 of [\d,]+ tokens\)\. Shorten.*--long skip"
    for long in ("", "windows", "refuse"):
        with pytest.raises(ValueError, match=said):
            fitted(data(ASKED, TOO_LONG), reader, long)
    with pytest.raises(ValueError, match="or cut them with --long windows"):
        fitted(data(TEXT), reader, "refuse")


def test_long_rows_may_be_left_out(reader):
    found = fitted(data(ASKED, TOO_LONG, TEXT), reader, "skip")
    assert found.rows("forget") == (ASKED,)
    assert "2 rows are longer" in found.warnings[0]
    assert found.warnings[0].endswith("and left out.")
    with pytest.raises(ValueError, match="None is left"):
        fitted(data(TOO_LONG), reader, "skip")


def test_looking_changes_nothing_and_says_what_a_run_would_do(reader):
    found = fitted(data(ASKED, TOO_LONG), reader, "note")
    assert found.rows("forget") == (ASKED, TOO_LONG)
    assert "A run refuses it, unless --long skip leaves it out" in found.warnings[0]
    assert "cuts it into windows" in fitted(data(TEXT), reader, "note").warnings[0]
    with pytest.raises(ValueError, match="long must be one of windows, skip, refuse, got 'some'"):
        fitted(data(TEXT), reader, "some")


def test_an_encoder_and_its_decoder_read_up_to_the_limit_each(tmp_path):
    for name in ("tokenizer.json",):
        (tmp_path / name).write_bytes((MODEL / name).read_bytes())
    (tmp_path / "config.json").write_text('{"is_encoder_decoder": true}')
    apart = reader_in(tmp_path, "t5", 64)
    half = Row(question=LONG[:150], answer=LONG[:150])
    assert apart.lengths([half])[0] < reader_in(MODEL, "x", 64).lengths([half])[0]


def test_what_was_counted_is_not_counted_again(reader):
    asked = []

    class Watched:
        def encode_batch(self, texts):
            asked.append(len(texts))
            return reader.tokenizer.encode_batch(texts)

    mine = replace(reader, tokenizer=Watched(), _known={})
    texts = ["Leo Falk was born", "", "Leo Falk"]
    assert mine.count(texts) == mine.count(list(texts)) == reader.count(texts)
    assert replace(mine, chat=len).count(texts) == mine.count(texts)
    assert asked == [3]
    # The same letters in other places are other texts.
    assert mine.count(["ab", "c"]) != mine.count(["a", "bc", ""])
    for at in range(2 * KEPT):
        mine.count([str(at)])
    assert len(mine._known) == KEPT


@pytest.mark.parametrize(
    ("wanted", "remedy"),
    [
        (64, "raise --max-length, which is 64 (the model reads 512)."),
        (4096, "choose a model that reads more."),
    ],
)
def test_the_remedy_names_what_cuts_the_rows(wanted, remedy):
    """The setting where the model reads more than it allows, and the model else."""
    row = replace(TOO_LONG, question=LONG * 9)
    for long in ("", "skip"):
        with pytest.raises(ValueError, match=re.escape(remedy) + "$"):
            fitted(data(row), reader_in(MODEL, "tiny-authors", wanted), long)
