"""Another answer behind the same prompt: what plain encoding of that other row gives, in every format."""

from dataclasses import replace

import pytest
from chat_templates import TEMPLATES, chat_tokenizer
from conftest import make_tokenizer

from unlearn.compute.tokens import encode
from unlearn.data import prompts
from unlearn.data.base import Row
from unlearn.training.answers import with_answer
from unlearn.training.encoding import encode_rows

ROW = Row(
    question="What is the capital of red?", answer="blue green", lead="The capital is", entities=((0, 4),)
)


def encoded(tokenizer, row, name):
    (example,) = encode_rows(tokenizer, prompts.in_format([row], name), max_length=512)
    return example


@pytest.mark.parametrize("name", ["chat", "plain", "completion"])
@pytest.mark.parametrize("family", TEMPLATES)
def test_it_is_the_encoding_of_the_row_with_that_answer(tmp_path, family, name):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), family)
    want = encoded(tokenizer, replace(ROW, answer="two red", entities=()), name)
    made = with_answer(tokenizer, encoded(tokenizer, ROW, name), "two red", key=-5)
    assert (made.input_ids, made.labels, made.key) == (want.input_ids, want.labels, -5)
    assert not any(made.entity)
    assert len(made.entity) == len(made.input_ids)


def test_what_an_encoder_reads_stays(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    tokenizer.decoder_start_id = tokenizer.pad_token_id
    example, want = (
        encode(tokenizer, "What is the capital of red?", f" {answer}", key=3, max_length=64)
        for answer in ("blue green", "two red")
    )
    made = with_answer(tokenizer, example, "two red", key=3)
    assert made.source == want.source != ()
    assert made.answer_ids == want.answer_ids


def test_a_cut_answer_gets_the_end_of_text_and_an_empty_one_is_refused(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    cut = encode(tokenizer, "red blue", " green two red", key=0, max_length=10)
    assert with_answer(tokenizer, cut, "two", key=1).input_ids[-1] == tokenizer.eos_token_id
    with pytest.raises(ValueError, match="says nothing"):
        with_answer(tokenizer, cut, "", key=1)
