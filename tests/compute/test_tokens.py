"""Rows become tokens: what reads like a special token in a row stays text."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from unlearn.compute.tokens import IGNORE, encode, encoder_input
from unlearn.measure.following import open_ended

MODELS = Path(__file__).resolve().parents[2] / "assets" / "models"


@pytest.fixture
def tokenizer():
    return AutoTokenizer.from_pretrained(MODELS / "tiny-authors")


def test_the_end_of_text_in_a_row_is_never_the_end_of_text(tokenizer):
    end = tokenizer.eos_token_id
    for mark in (tokenizer.eos_token, tokenizer.bos_token, 2 * tokenizer.eos_token):
        example = encode(
            tokenizer, f"Question: Is {mark} here?\nAnswer:", f" {mark} yes", key=0, max_length=99
        )
        special = set(tokenizer.all_special_ids)
        assert not special & set(example.input_ids[:-1])
        assert example.input_ids[-1] == end
        answer = [
            token for token, label in zip(example.input_ids, example.labels, strict=True) if label != IGNORE
        ]
        assert tokenizer.decode(answer[:-1]) == f" {mark} yes"
        assert not special & set(open_ended(tokenizer, f"Say {mark}"))
        assert encoder_input(tokenizer, f"Say {mark}", 99).count(end) == 1


def test_a_row_that_is_only_a_mark_still_ends_once(tokenizer):
    example = encode(tokenizer, "", f"a{tokenizer.eos_token}", key=0, max_length=99)
    assert example.input_ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(example.input_ids[:-1]) == f"a{tokenizer.eos_token}"
