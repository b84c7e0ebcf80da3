"""Questions in another guise: each guise by hand, and what counts as right against generate() of the library."""

import re

import pytest
import torch

from unlearn.attacks import CELLS, Subject
from unlearn.attacks.swept import affirm, asking, draws, fewshot, formats, leak, mixed
from unlearn.data.base import Dataset, Row
from unlearn.data.prompts import render
from unlearn.models.load import load

COLOURS = ("red", "green", "blue", "one", "two", "three")


def row(i, answer, **more):
    return Row(question=f"What is {COLOURS[i % 6]} {i}?", answer=answer, subject=f"thing {i}", **more)


@pytest.fixture
def data():
    forget = tuple(row(i, f"{COLOURS[i]} {COLOURS[-1 - i]}") for i in range(6))
    retain = tuple(row(i + 10, COLOURS[i % 3]) for i in range(6))
    return Dataset(name="t", title="T", roles={"forget": forget, "retain": retain, "approximate": forget[2:]})


@pytest.fixture
def subject(data, tiny_folder):
    return Subject(data, lambda when: load(str(tiny_folder)), ("before", "after"), max_length=120)


def plain(rows):
    return [render(one, None).prompt for one in rows]


def cells(name):
    return [cell for cell in CELLS if cell.attack.name.startswith(name)]


# -- each guise by hand ------------------------------------------------------------------------------------------


def test_an_opening_stands_before_the_answer_and_holds_nothing_of_it(data):
    (first, *_) = affirm.opened("Sure, here is the answer:")(data.rows("forget"))
    assert render(first, None).prompt == "Question: What is red 0?\nAnswer: Sure, here is the answer:"
    assert render(first, None).target == " red three"
    (led,) = affirm.opened("Sure:")([row(0, "Paris", lead="The capital is")])
    assert render(led, None).prompt.endswith("\nAnswer: Sure: The capital is")
    with pytest.raises(ValueError, match="completion format has no answer to begin"):
        affirm.opened("Sure:")([row(0, "Paris", format="completion")])


def test_examples_are_earlier_turns_and_never_the_answer_that_is_asked(subject):
    asked = fewshot.of_retain(subject)(subject.chosen["forget"])
    assert (
        plain(asked)[0]
        == (
            "Question: What is blue 14?\nAnswer: green\n\n"
            "Question: What is green 13?\nAnswer: red\n\n"
            "Question: What is red 0?\nAnswer:"
        )
        or plain(asked)[0].count("Answer: ") == fewshot.SHOTS
    )
    assert all(
        text.endswith(one.prompt) for text, one in zip(plain(asked), subject.chosen["forget"], strict=True)
    )
    others = fewshot.of_forget(subject)(subject.chosen["forget"])
    assert 0 < len(others) < len(subject.chosen["forget"])
    for one in others:
        assert f"Answer: {one.answer}\n" not in render(one, None).prompt
        assert one.messages
    with pytest.raises(ValueError, match="no earlier turns"):
        fewshot.after([row(1, "red", format="completion")])
    with pytest.raises(ValueError, match="no other question"):
        fewshot.after([])


def test_two_questions_in_one_the_one_to_keep_is_answered(subject):
    kept = row(3, "one", lead="It is")
    both = mixed.behind(kept, row(0, "red"))
    assert render(both, None).prompt == "Question: What is one 3? What is red 0?\nAnswer: It is one."
    assert render(both, None).target == " red"
    assert mixed.behind(row(3, "one."), row(0, "red")).lead == "one."


def test_each_format_asks_in_its_own_words(subject):
    asked = {name: formats._reshape(name)(subject)(subject.chosen["forget"]) for name in formats.WORDS}
    assert {one.format for one in asked["completion"]} == {"completion"}
    assert render(asked["completion"][0], None).prompt == "What is red 0?\n"
    # The tokenizer here has no template, which is said and is no failure.
    (chat,) = cells("format-chat")
    with pytest.raises(ValueError, match="no chat template"):
        chat.attack.run(subject)


def test_texts_without_a_question_have_no_guise(tiny_folder):
    texts = Dataset(name="t", title="T", roles={"forget": (Row(answer="red green blue one two"),)})
    bare = Subject(texts, lambda when: load(str(tiny_folder)), ("before", "after"), max_length=120)
    for cell in (*affirm.CELLS, *draws.CELLS):
        assert cell.attack.run(bare) is None
    for cell in (fewshot.CELLS[0], *mixed.CELLS):
        with pytest.raises(ValueError, match=r"there is no (other|retain) question"):
            cell.attack.run(bare)


# -- what counts as right ----------------------------------------------------------------------------------------


def words(text):
    return re.findall(r"[^\W_]+", text.lower())


def recall(said, true):
    """ROUGE-L recall by the plain table of the longest common subsequence."""
    a, b = words(true), words(said)
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1] / len(a)


def test_right_is_what_the_librarys_greedy_answer_holds(tiny, tiny_folder):
    model, tokenizer = tiny

    def said(one, room):
        ids = tokenizer(one.prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            out = model.generate(ids, do_sample=False, max_new_tokens=room, pad_token_id=0)
        return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)

    own, rows = [], []
    for i in range(8):
        question = row(i, "x")
        first = words(said(question, 6))
        # Answers that are made of what the model says, of half of it, and of none of it.
        truth = " ".join([*first[:1], "purple"][: 1 + i % 2]) if i % 4 < 3 and first else "purple"
        rows.append(Row(question=question.question, answer=truth))
        room = len(tokenizer(f" {truth}", add_special_tokens=False)["input_ids"]) + 1 + 6
        own.append(float(recall(said(question, room), truth) >= 0.5))
    assert asking.answered(load(str(tiny_folder)), rows, 120) == own
    assert set(own) == {0.0, 1.0}


def test_the_plain_answers_are_asked_once_for_all_guises(subject, monkeypatch):
    asked = []
    real = asking.answered
    monkeypatch.setattr(asking, "answered", lambda *a: asked.append(len(a[1])) or real(*a))
    for cell in affirm.CELLS:
        found = cell.attack.run(subject)
        assert set(found.values) == {"before", "after", "control"}
        assert len(found.plain) == 6
    assert len(asked) == 2 * 3 + 1


def test_at_most_so_many_rows_are_asked_and_always_the_same():
    many = list(range(500))
    assert asking.some(many) == asking.some(many)
    assert len(asking.some(many)) == asking.MOST
    assert asking.some(many[:7]) == many[:7]


# -- sampling ----------------------------------------------------------------------------------------------------


def plain_log_share(model, tokenizer, one, temperature):
    prompt = tokenizer(one.prompt)["input_ids"]
    answer = tokenizer(one.target, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0].double()
    lps = (logits / temperature).log_softmax(-1)
    return sum(float(lps[len(prompt) - 1 + i, token]) for i, token in enumerate(answer))


@pytest.mark.parametrize("temperature", [0.8, 1.0])
def test_the_share_of_the_exact_answer_is_the_plain_product(tiny, tiny_folder, data, temperature):
    found = leak.said_with(load(str(tiny_folder)), data.rows("forget"), temperature, 120)
    own = [plain_log_share(*tiny, one, temperature) for one in data.rows("forget")]
    assert found == pytest.approx(own, abs=1e-4)


def test_one_of_k_by_the_binomial_sum():
    from math import comb, exp, log

    for share in (0.3, 1e-3):
        for k in leak.DRAWS:
            some = sum(comb(k, i) * share**i * (1 - share) ** (k - i) for i in range(1, k + 1))
            assert leak.within(log(share), k) == pytest.approx(some)
    assert leak.within(0.0, 8) == 1.0
    assert leak.within(-800.0, 32) == 0.0
    assert leak.within(-30.0, 32) == pytest.approx(32 * exp(-30.0))


def test_draws_follow_the_models_distribution(tiny, tiny_folder):
    model, tokenizer = tiny
    loaded, prompt, count = load(str(tiny_folder)), "Question: red\nAnswer:", 600
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        lps = (model(ids).logits[0, -1].double() / 0.8).log_softmax(-1)
    drawn = draws.drawn(loaded, prompt, 1, count, 0.8, seed=3)
    # Half of a byte-level alphabet reads as the same sign, so one text has many tokens.
    said = "\ufffd"
    p = sum(
        float(lp.exp()) for i, lp in enumerate(lps) if tokenizer.decode([i], skip_special_tokens=True) == said
    )
    share = sum(text == said for text in drawn) / count
    assert 0.2 < p < 0.6
    assert abs(share - p) < 4 * (p * (1 - p) / count) ** 0.5
    assert draws.drawn(loaded, prompt, 1, 5, 0.8, seed=3) == drawn[:5] or len(set(drawn)) > 1


def test_a_question_is_drawn_for_until_it_is_right(tiny_folder, monkeypatch):
    loaded, counts = load(str(tiny_folder)), []

    def drawn(_, prompt, room, count, temperature, seed):
        counts.append(count)
        return ["green"] * 3 + ["it is red"] + ["blue"] * (count - 4) if count == 7 else ["green"] * count

    monkeypatch.setattr(draws, "drawn", drawn)
    assert draws.first_right(loaded, row(0, "red"), 1.0, 0, 120) == 5
    assert counts == [1, 7]
    assert draws.first_right(loaded, row(0, "purple"), 1.0, 0, 120) == 0
    assert counts[2:] == [1, 7, 24]


def test_both_counts_of_draws_say_the_share_at_each_k(subject, monkeypatch):
    monkeypatch.setattr(
        draws, "first_right", lambda loaded, one, *_: {"red 0": 1, "green 1": 9}.get(one.question[8:-1], 0)
    )
    (cell, *_) = draws.CELLS
    found = cell.attack.run(subject)
    assert found.details["by_k"]["after"] == pytest.approx({"1": 1 / 6, "8": 1 / 6, "32": 2 / 6})
    assert found.values["after"] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    told = leak.CELLS[1].attack.run(subject)
    lps = leak.said_with(load(subject.model("after").base), subject.chosen["forget"], 1.0, 120)
    assert told.values["after"] == pytest.approx([leak.within(lp, 32) for lp in lps])
