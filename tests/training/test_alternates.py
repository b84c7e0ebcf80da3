"""Other answers for AltPO: from the rows, from the model, from another text; never the true one; the same again."""

import pytest
from chat_templates import chat_tokenizer
from conftest import make_tokenizer

from tests.methods.test_methods import examples, moved, stream_of
from unlearn.data.base import Row
from unlearn.data.prompts import in_format
from unlearn.methods import METHODS
from unlearn.training import alternates
from unlearn.training.alternates import Alternate, alternate_examples, alternates_of, same, usable
from unlearn.training.encoding import encode_rows
from unlearn.training.reference import Reference


def stream(tokenizer, rows, **more):
    texts = encode_rows(tokenizer, rows, max_length=64)
    asked = {e.key: row for e, row in zip(texts, rows, strict=True)}
    return stream_of(tokenizer, texts, [], METHODS["ga"](), **more, asked=asked)


ROWS = [
    Row(question="What is red?", answer="blue green", wrong=("two", "one", "red")),
    Row(question="What is one?", answer="two"),
]


def test_the_rows_wrong_answers_come_first_and_repeat(tiny):
    model, tokenizer = tiny
    found = alternates_of(model, tokenizer, stream(tokenizer, ROWS), 5, "rows")
    assert found[0] == [Alternate(text, "rows") for text in ("two", "one", "red", "two", "one")]
    assert {one.source for one in found[1]} == {"model"}


def test_a_wrong_answer_of_the_rows_that_is_right_is_never_taught(tiny):
    model, tokenizer = tiny
    rows = [
        Row(question="What is red?", answer="blue green", wrong=(" Blue green.", "two", "one")),
        Row(question="What is one?", answer="two", wrong=("two",)),
    ]
    found = alternates_of(model, tokenizer, stream(tokenizer, rows), 2, "rows")
    assert [one.text for one in found[0]] == ["two", "one"]
    # None is left of the second row's, so the model is asked.
    assert {one.source for one in found[1]} == {"model"}


def test_the_model_is_asked_and_never_gives_the_truth(tiny, monkeypatch):
    model, tokenizer = tiny
    said = iter([["Two.", " red", "red"], ["blue", "", "two"]])
    monkeypatch.setattr(alternates, "_sampled", lambda *_: next(said))
    batches = stream(tokenizer, ROWS[1:])
    assert [one.text for one in alternates_of(model, tokenizer, batches, 2, "model")[0]] == [" red", "blue"]


def test_the_model_gives_the_same_answers_again_and_others_for_another_seed(tiny):
    model, tokenizer = tiny
    once, again, other = (
        alternates_of(model, tokenizer, stream(tokenizer, ROWS, seed=seed), 3, "model") for seed in (1, 1, 2)
    )
    assert once == again != other


def test_another_texts_answer_stands_in_where_the_model_says_nothing_else(tiny, monkeypatch):
    model, tokenizer = tiny
    monkeypatch.setattr(alternates, "_sampled", lambda *_: ["two", ""])
    batches = stream(tokenizer, [ROWS[1], Row(question="What is red?", answer="blue green")])
    assert (
        alternates_of(model, tokenizer, batches, 2, "model")[0]
        == [Alternate("blue green", "another text")] * 2
    )
    alone = stream(tokenizer, ROWS[1:])
    with pytest.raises(ValueError, match="give rows with wrong answers"):
        alternates_of(model, tokenizer, alone, 2, "model")


def test_each_gets_a_key_of_its_own(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    forget = examples(tokenizer)
    found = {e.key: [Alternate("two", "rows"), Alternate("one", "rows")] for e in forget}
    made = alternate_examples(tokenizer, forget, found)
    keys = [e.key for side in made.values() for e in side]
    assert len(set(keys)) == len(keys) == 2 * len(forget)
    assert max(keys) < 0


def test_marks_and_case_do_not_make_another_answer_and_more_words_do_not_make_a_wrong_one():
    assert same(" The  Capital.", "the capital")
    assert not same("the capital", "a capital")
    assert usable("red", "blue")
    assert not usable("Blue, of course.", "blue")
    assert not usable("...", "blue")


@pytest.mark.parametrize("name", ["chat", "plain", "completion"])
def test_the_asking_prompt_is_the_format_s_own_and_a_spelled_control_token_stays_text(tmp_path, name):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "chatml")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    asked = []
    for question in ("What is red?", "What is <|im_end|> red?"):
        (row,) = in_format([Row(question=question, answer="blue")], name)
        (example,) = encode_rows(tokenizer, [row], max_length=512)
        asked.append(alternates._prompt(tokenizer, example, row))
    assert [ids.count(end) for ids in asked] == [1 if name == "chat" else 0] * 2
    said = tokenizer.decode(asked[0])
    assert alternates.ASK.format(question="What is red?") in said
    assert said.endswith({"chat": "<|im_start|>assistant\n", "plain": "Answer:", "completion": "?\n"}[name])


def test_each_pass_takes_the_next_answer(tiny):
    model, tokenizer = tiny
    method = METHODS["altpo"](alternates=2, retain_weight=0.0)
    batches = stream(tokenizer, ROWS, batch_size=2, epochs=3)
    ref = Reference(model, head_moves=True)
    method.prepare(model, ref, batches, tokenizer)
    later = moved(model)
    first, second, third = (
        method.loss(later, ref, batches.step(number)[0].to("cpu"))["forget"].item() for number in (1, 2, 3)
    )
    # One step is one pass: the third takes the first one's answers again.
    assert first == pytest.approx(third, rel=1e-5)
    assert first != pytest.approx(second, rel=1e-3)
