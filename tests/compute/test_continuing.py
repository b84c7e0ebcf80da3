"""Continuations from kept keys and values are those of each text alone."""

import pytest
import torch

from unlearn.compute import chunks, continuing
from unlearn.compute.continuing import (
    Kept,
    Start,
    _Run,
    bytes_a_token,
    continues,
    greedy,
    joined,
    keep,
    prefill,
)

TEXTS = [[5, 9, 12, 7, 3, 8, 11], [4, 6, 10, 14], [13, 2, 9, 9, 5]]


def plain(model, ids, room, end=None):
    """One text at a time, without any cache."""
    ids, new = list(ids), []
    while len(new) < room and (not new or new[-1] != end):
        new.append(int(model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
    return new


@pytest.fixture
def adapted(tiny):
    from unlearn.models.load import add_lora

    model, _ = tiny
    model = add_lora(model, rank=4, alpha=8, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("rooms", [(8, 8, 8), (9, 1, 4), (0, 3, 12)])
def test_texts_of_any_length_go_on_as_each_would_alone(tiny, rooms):
    model, _ = tiny
    assert continues(model)
    starts = [Start(i, len(t) - 1, t[-1], room) for i, (t, room) in enumerate(zip(TEXTS, rooms, strict=True))]
    found = greedy(model, prefill(model, TEXTS), starts, ())
    assert found == [plain(model, t, room) for t, room in zip(TEXTS, rooms, strict=True)]


@torch.no_grad()
def test_a_text_goes_on_from_any_of_its_tokens_and_with_another_one(tiny):
    model, _ = tiny
    starts = [Start(0, 2, 12, 6), Start(0, 4, 1, 6), Start(1, 0, 4, 5)]
    found = greedy(model, prefill(model, TEXTS), starts, ())
    assert found == [
        plain(model, [5, 9, 12], 6), plain(model, [5, 9, 12, 7, 1], 6), plain(model, [4], 5)
    ]  # fmt: skip


@torch.no_grad()
def test_a_text_stops_at_its_end_and_the_others_go_on(tiny):
    model, _ = tiny
    whole = [plain(model, t, 12) for t in TEXTS]
    end = whole[0][2]
    starts = [Start(i, len(t) - 1, t[-1], 12) for i, t in enumerate(TEXTS)]
    found = greedy(model, prefill(model, TEXTS), starts, [end])
    assert found == [plain(model, t, 12, end) for t in TEXTS]
    assert found[0][-1] == end
    assert len(found[0]) <= 3


@torch.no_grad()
def test_a_batch_without_padding_leaves_its_keys_too(tiny):
    from unlearn.compute.lm import forward
    from unlearn.compute.tokens import Example, collate

    model, _ = tiny
    with keep() as kept:
        forward(model, collate([Example((5, 6, 7), (-100, 6, 7), 0), Example((8, 9, 4), (-100, 9, 4), 1)], 0))
    assert kept.pairs
    assert all(k.shape[0] == 2 for k, _ in kept.pairs.values())
    some = next(iter(kept.pairs.values()))[0]
    assert bytes_a_token(model) == 2 * len(kept.pairs) * some.shape[1] * some.shape[3] * some.element_size()


def test_a_model_whose_attention_is_its_own_is_left_to_the_library(tiny):
    model, _ = tiny
    model.config._attn_implementation = "eager"
    assert not continues(model)


@torch.no_grad()
def test_an_adapted_model_goes_on_as_it_would_alone(adapted):
    starts = [Start(i, len(t) - 1, t[-1], 8) for i, t in enumerate(TEXTS)]
    found = greedy(adapted, prefill(adapted, TEXTS), starts, ())
    assert found == [plain(adapted, t, 8) for t in TEXTS]


def test_a_window_shows_as_many_tokens_as_it_is_wide(tiny):
    """At position t a window w shows the tokens t - w + 1 … t, and the mask adds 0 there alone."""
    model, _ = tiny
    texts = [[5, 6, 7, 8], [5, 6, 7, 8, 9, 10]]
    kept = prefill(model, texts)
    starts = [Start(0, 4, 5, 2), Start(1, 6, 5, 2)]
    run = _Run(kept, starts, next(iter(kept.pairs.values()))[0])
    run.places[:, run.slot] = run.position
    seen = run.mask(3, run.places.device)[:, 0, 0] == 0
    assert [sorted(row[flags].tolist()) for row, flags in zip(run.places, seen, strict=True)] == [
        [2, 3, 4],
        [4, 5, 6],
    ]


@torch.no_grad()
def test_texts_of_several_passes_go_on_as_those_of_one(tiny, monkeypatch):
    model, _ = tiny
    starts = [Start(i, len(t) - 1, t[-1], 8) for i, t in enumerate(TEXTS)]
    whole = prefill(model, TEXTS)
    monkeypatch.setattr(chunks, "PASS", 8)
    parts = prefill(model, TEXTS)
    assert all(keys.shape == whole.pairs[module][0].shape for module, (keys, _) in parts.pairs.items())
    for module, pair in parts.pairs.items():
        for ours, theirs in zip(pair, whole.pairs[module], strict=True):
            for mine, one, text in zip(ours, theirs, TEXTS, strict=True):
                torch.testing.assert_close(mine[:, : len(text)], one[:, : len(text)])
    assert greedy(model, parts, starts, ()) == [plain(model, t, 8) for t in TEXTS]
    assert parts.pairs
    greedy(model, parts, starts, (), spent=True)
    assert not parts.pairs


def test_a_pass_that_kept_nothing_leaves_nothing_of_the_batch(tiny):
    model, _ = tiny
    assert not joined([prefill(model, TEXTS), Kept()]).pairs


def test_a_shorter_pass_is_joined_with_zeros_behind_it():
    module, short, long = torch.nn.Identity(), torch.ones(1, 1, 2, 3), torch.full((2, 1, 3, 3), 2.0)
    keys, values = joined([Kept({module: (short, -short)}), Kept({module: (long, -long)})]).pairs[module]
    assert keys[:, 0, :, 0].tolist() == [[1, 1, 0], [2, 2, 2], [2, 2, 2]]
    assert torch.equal(values, -keys)


@torch.no_grad()
def test_room_is_made_as_texts_go_on_and_lies_in_one_piece(tiny, monkeypatch):
    """A part of a larger tensor is copied before it is multiplied in 16 bits, at each token."""
    model, _ = tiny
    monkeypatch.setattr(continuing, "ROUND", 4)
    sizes = []
    real = _Run.states

    def states(run, model, tokens):
        found = real(run, model, tokens)
        pairs = list(run.pairs.values())
        assert all(x.is_contiguous() for pair in pairs for x in pair)
        sizes.append({x.shape[2] for pair in pairs for x in pair} | {run.end})
        return found

    monkeypatch.setattr(_Run, "states", states)
    starts = [Start(i, len(t) - 1, t[-1], 11) for i, t in enumerate(TEXTS)]
    assert greedy(model, prefill(model, TEXTS), starts, ()) == [plain(model, t, 11) for t in TEXTS]
    # The longest text has six tokens before the first that is continued.
    assert sizes == [{8}] * 2 + [{12}] * 4 + [{16}] * 4 + [{20}]
