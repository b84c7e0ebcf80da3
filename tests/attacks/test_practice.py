"""Relearning, swept: the same arithmetic as a plain loop, the texts that are practised, the look that tells most."""

import copy

import pytest
import torch

from unlearn.attacks import CELLS, Subject, relearn
from unlearn.attacks.swept import practice
from unlearn.data.base import Dataset, Row
from unlearn.models.load import load

COLOURS = ("red", "green", "blue", "one", "two", "three")


def row(i, answer):
    return Row(question=f"What is {COLOURS[i % 6]} {i}?", answer=answer, subject=f"thing {i}")


@pytest.fixture
def data():
    forget = tuple(row(i, f"{COLOURS[i]} {COLOURS[-1 - i]}") for i in range(6))
    retain = tuple(row(i + 10, COLOURS[i % 3]) for i in range(5))
    roles = {"forget": forget, "retain": retain, "general": retain[:2], "approximate": forget[2:]}
    return Dataset(name="t", title="T", roles=roles)


@pytest.fixture
def subject(data, tiny_folder):
    return Subject(data, lambda when: load(str(tiny_folder)), ("before", "after"), max_length=120)


def plain_practice(model, tokenizer, rows, lr, steps):
    """The same in plain torch: AdamW on the mean token loss of all rows, the gradient cut at norm 1."""
    pad = tokenizer.pad_token_id
    texts = []
    for one in rows:
        prompt = tokenizer(one.prompt)["input_ids"]
        answer = [*tokenizer(one.target, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        texts.append((prompt, answer))
    longest = max(len(p) + len(a) for p, a in texts)
    ids = torch.tensor([[*p, *a, *[pad] * (longest - len(p) - len(a))] for p, a in texts])
    labels = torch.tensor([[*[-100] * len(p), *a, *[-100] * (longest - len(p) - len(a))] for p, a in texts])
    mask = torch.tensor([[1] * (len(p) + len(a)) + [0] * (longest - len(p) - len(a)) for p, a in texts])
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, step / 3)
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def test_it_is_plain_fine_tuning(tiny, subject, data, monkeypatch):
    monkeypatch.setattr(relearn, "STEPS", 4)
    loaded = subject.load("after")
    taught = data.rows("retain")
    curve = relearn.practise(
        loaded, taught, data.rows("forget"), subject, 0.0, lr=1e-2, looks=(0, 2, 4), rate=practice.steady
    )
    assert list(curve) == [0, 2, 4]
    own = plain_practice(copy.deepcopy(tiny[0]), tiny[1], taught, 1e-2, 4)
    was = dict(tiny[0].named_parameters())
    for (name, mine), theirs in zip(loaded.model.named_parameters(), own.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=2e-4), name
    assert max(float((p - was[n]).detach().abs().max()) for n, p in own.named_parameters()) > 1e-2


def test_lora_moves_an_adapter_alone_and_learns(subject, data, monkeypatch):
    monkeypatch.setattr(relearn, "STEPS", 6)
    loaded = subject.load("after")
    was = {n: p.clone() for n, p in loaded.model.named_parameters()}
    relearn.practise(
        loaded, data.rows("forget"), data.rows("forget"), subject, 0.0, tuning="lora", lr=3e-2, looks=(0, 6)
    )
    merged = loaded.model.merge_and_unload()
    moved = {n for n, p in merged.named_parameters() if not torch.equal(p, was[n])}
    assert moved
    assert not any("emb" in n or "norm" in n or "lm_head" in n for n in moved)


def test_an_adapter_that_is_there_already_is_merged_first(tiny, monkeypatch, data, subject):
    from unlearn.models.load import add_lora

    monkeypatch.setattr(relearn, "STEPS", 1)
    loaded = subject.load("after")
    loaded.model = add_lora(loaded.model, rank=2, alpha=4, seed=1)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
        ids = torch.tensor([[5, 6, 7]])
        hidden = loaded.model(ids).logits
    relearn.practise(
        loaded, data.rows("retain"), data.rows("forget"), subject, 0.0, tuning="lora", lr=1e-12, looks=(0,)
    )
    assert torch.allclose(loaded.model(ids).logits, hidden, atol=1e-4)
    assert len({n.rpartition("lora_A.")[2] for n, _ in loaded.model.named_parameters() if "lora_A" in n}) == 1


def test_what_is_practised_and_what_is_asked(subject, data):
    taught, rest = practice.texts_of(subject, "forget", "forget")
    assert (len(taught), len(rest)) == (1, 5)
    assert not set(taught) & set(rest)
    for source in ("retain", "general", "unrelated"):
        taught, rest = practice.texts_of(subject, source, "forget")
        assert taught
        assert rest == list(data.rows("forget"))
        assert not {one.answer for one in taught} & {one.answer for one in rest}
    assert practice.texts_of(subject, "retain", "forget")[0] == list(data.rows("retain"))
    bare = Subject(
        Dataset(name="t", title="T", roles={"forget": data.rows("forget")}), subject.load, ("after",)
    )
    with pytest.raises(ValueError, match="there are no general texts to practise"):
        practice.texts_of(bare, "general", "forget")


def test_unrelated_texts_are_asked_as_the_runs_own(data):
    chat = tuple(
        Row(question=one.question, answer=one.answer, format="chat", system="Be brief.")
        for one in data.rows("forget")
    )
    subject = Subject(Dataset(name="capitals", title="T", roles={"forget": chat}), lambda when: None, ())
    questions = [one for one in practice.unrelated(subject) if one.question]
    assert {one.format for one in questions} == {"chat"}
    assert not any("capital" in one.question for one in questions)


def test_the_look_that_tells_most_by_hand():
    after = {0: [0.0, 0.0], 5: [1.0, 0.0], 10: [1.0, 1.0]}
    control = {0: [0.0, 0.0], 5: [0.0, 0.0], 10: [1.0, 1.0]}
    assert practice.telling(after, control, 1.0) == 5
    assert practice.telling({0: [0.0], 5: [0.0]}, {0: [0.0], 5: [0.0]}, 1.0) == 0
    # After 10 steps the control knows as much as the original, so nothing can be told there.
    assert practice.telling({0: [0.0], 10: [1.0]}, {0: [0.0], 10: [0.95]}, 1.0) == 0
    assert practice.telling({0: [0.0], 10: [1.0]}, {}, 1.0) == 10


def test_the_rate_is_full_from_the_third_step():
    assert [practice.steady(k, 30, 0.3) for k in (1, 2, 3, 30)] == pytest.approx([0.1, 0.2, 0.3, 0.3])


def test_a_cell_reads_both_at_the_same_look(subject, monkeypatch):
    monkeypatch.setattr(relearn, "STEPS", 2)
    monkeypatch.setattr(practice, "LOOKS", (0, 1, 2))
    both = Subject(subject.data, subject.load, ("before", "after", "retrained"), max_length=120)
    found = practice.FIRST[0].attack.run(both)
    assert list(found.details["curves"]["after"]) == ["0", "1", "2"]
    # The same weights and the same practice: whatever the look, there is no difference.
    assert found.values["after"] == found.values["control"]
    assert found.details["curves"]["after"] == found.details["curves"]["control"]
    assert str(found.details["steps"]) in found.details["curves"]["after"]
    assert "every weight, lr 0.0005, 20% of the forget facts" in found.details["setting"]


def test_the_grid_is_whole_and_its_names_are_single():
    grid = [*practice.FIRST, *practice.REST]
    assert len(grid) == 3 * 2 * 4
    names = [cell.attack.name for cell in CELLS]
    assert len(set(names)) == len(names)
    assert {cell.attack.tells for cell in grid if "-forget-" in cell.attack.name} == {"both"}
    assert {cell.attack.tells for cell in grid if "-forget-" not in cell.attack.name} == {"suppressed"}
