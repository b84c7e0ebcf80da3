"""Continuations from one pass over each text are the library's own, and what answers share is read once."""

import pytest
import torch
from chat_templates import chat_tokenizer
from conftest import make_model

from unlearn.compute import continuing
from unlearn.data.base import Row
from unlearn.data.prompts import in_format
from unlearn.measure import following, generating
from unlearn.measure.reader import Reader
from unlearn.models.load import in_memory
from unlearn.training.encoding import encode_rows

TEXTS = [[3, 9, 14, 7, 11, 20, 5, 8], [4, 6, 3], [12, 9, 14, 7, 2, 11, 13]]
PLACES = [(0, 7), (0, 2), (2, 3), (1, 1), (2, 6), (0, 1)]


def starts():
    return [continuing.Start(row, at - 1, TEXTS[row][at - 1], room=6) for row, at in PLACES]


@pytest.mark.parametrize("budget", [2**30, 1])
def test_places_of_texts_go_on_as_the_library_goes_on(tiny, budget, monkeypatch):
    """Also where memory allows one text at a time. The pass over each text serves all of its places."""
    model, tokenizer = tiny
    monkeypatch.setattr(following, "CACHE_BYTES", budget)
    passed, prefill = [], continuing.prefill

    def counted(model, texts):
        passed.extend(map(tuple, texts))
        return prefill(model, texts)

    monkeypatch.setattr(continuing, "prefill", counted)
    told = []
    # A token that the model does say ends what it says.
    (first,) = generating.continue_places(model, TEXTS, starts()[:1], [])
    for ends in ([], [first[2]]):
        passed.clear()
        found = generating.continue_places(model, TEXTS, starts(), ends, lambda *said: told.append(said))
        assert sorted(passed) == sorted(map(tuple, TEXTS))
        for (row, at), ids in zip(PLACES, found, strict=True):
            out = generating.by_library(model, tokenizer, [TEXTS[row][:at]], [()], 6, ends, "cpu")[0]
            assert ids == (out[: out.index(ends[0])] if ends and ends[0] in out else out)
    assert len(first) == 6
    assert told[-1][1] == 1.0


def test_answers_to_one_question_stay_together_and_their_prompt_is_read_once(tiny, monkeypatch):
    model, tokenizer = tiny
    # By their lengths alone, each batch would hold answers to both questions.
    monkeypatch.setattr(following, "BATCH", 3)
    loaded = in_memory(model, tokenizer)
    questions = [
        f"{word} was the one who writes the novel of the capital of red born in ?"
        for word in ("Where", "Who")
    ]
    rows = [
        Row(question=q, answer=a)
        for a in ("blue", "green one two", "one two three red blue")
        for q in questions
    ]
    reader = Reader(lambda when: loaded, 128, lambda phrase, fraction: None)
    examples = reader.encode("after", rows)
    seen = []
    embeddings = model.get_input_embeddings()
    handle = embeddings.register_forward_hook(lambda _m, args, _o: seen.append(args[0].numel()))
    try:
        reader.mean_nlls("after", examples)  # the first one may try the model
        seen.clear()
        found = reader.mean_nlls("after", examples)
    finally:
        handle.remove()
    prompt = examples[0].answer_at[0]
    assert prompt > 16
    wanted = [prompt + sum(len(e.input_ids) - prompt for e in examples[which::2]) for which in (0, 1)]
    # Rows are filled up to a multiple of 16.
    assert len(seen) == 2
    assert all(count < need + 16 for count, need in zip(seen, wanted, strict=True))
    for example, value in zip(examples, found, strict=True):
        assert value == pytest.approx(plain_nll(model, example), abs=1e-5)


def test_wrong_answers_in_a_chat_score_as_in_plain_transformers(tmp_path):
    """The template, the question and the answer as one text, read alone."""
    model, tokenizer = make_model(tmp_path, max_position_embeddings=256)
    tokenizer = chat_tokenizer(tokenizer, "smollm2")
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    loaded = in_memory(model.eval(), tokenizer)
    rows = in_format(
        [Row(question="What is red?", answer=a) for a in ("two", "one two", "green novel")], "chat"
    )
    reader = Reader(lambda when: loaded, 256, lambda phrase, fraction: None)
    examples = encode_rows(tokenizer, rows, max_length=256)
    for row, example, value in zip(rows, examples, reader.mean_nlls("after", examples), strict=True):
        turns = [{"role": "user", "content": row.question}, {"role": "assistant", "content": row.answer}]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        whole = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert list(example.input_ids) == whole[: len(example.input_ids)]
        assert value == pytest.approx(plain_nll(model, example), abs=1e-5)


def plain_nll(model, example):
    with torch.no_grad():
        lps = model(input_ids=torch.tensor([example.input_ids])).logits[0].double().log_softmax(-1)
    return -sum(float(lps[at - 1, example.input_ids[at]]) for at in example.answer_at) / len(
        example.answer_at
    )
