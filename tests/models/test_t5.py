"""Encoder-decoders: the same answers as T5's own loss, every method's two steps, EUL's layers in both halves."""

import copy
import math

import pytest
import reference
import torch
from conftest import make_tokenizer

from tests.methods.test_eul import disturb
from tests.methods.test_methods import EVERY, TEXTS, make, moved, reference_for, stream_of
from unlearn.compute import states
from unlearn.compute.lm import forward
from unlearn.compute.tokens import IGNORE, Batch, collate, encode, halves
from unlearn.measure.generating import generate
from unlearn.methods.edit.eul import EUL
from unlearn.models import layers
from unlearn.models.load import load
from unlearn.models.tuning import install
from unlearn.store.runs import RunConfig
from unlearn.training.loop import Phases, make_optimizer
from unlearn.training.masking import masked
from unlearn.training.reference import Reference

NO_T5 = {
    "rmu",  # steers the residual stream of a decoder-only model's middle block
    "retrain",  # the bundled recipe's own; any other model is refused
    "sisa",
}


def make_t5(folder, seed=0, **changes):
    """A randomly initialised tiny T5 with a byte-level tokenizer, saved as a Hugging Face folder."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = make_tokenizer(folder)
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
    config = T5Config(
        vocab_size=len(tokenizer),
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        **(shape | changes),
    )
    torch.manual_seed(seed)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_t5(tmp_path_factory.mktemp("tiny-t5"))


@pytest.fixture
def scene(folder):
    loaded = load(str(folder))
    sides = [
        [encode(loaded.tokenizer, p, t, key=first + i, max_length=64) for i, (p, t) in enumerate(texts)]
        for first, texts in ((0, TEXTS), (10, TEXTS[::-1]))
    ]
    return loaded.model, loaded.tokenizer, *sides


def t5_answers(model, example):
    """As reference.answers_of: the decoder reads its start token and the answer, without padding."""
    logits = model(
        input_ids=torch.tensor([example.source]), decoder_input_ids=torch.tensor([example.input_ids])
    ).logits[0]
    places = [t for t in range(1, len(example.input_ids)) if example.labels[t] != IGNORE]
    return logits.double()[[t - 1 for t in places]], [example.input_ids[t] for t in places]


# -- lm and models ---------------------------------------------------------------------------------------------


def test_prompt_goes_to_the_encoder_and_answer_to_the_decoder(scene):
    _, tokenizer, (asked, _, plain, _), _ = scene
    start, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    assert asked.source == (*tokenizer(TEXTS[0][0])["input_ids"], eos)
    assert asked.input_ids == (start, *tokenizer(TEXTS[0][1])["input_ids"], eos)
    assert asked.labels == (IGNORE, *asked.input_ids[1:])
    first, rest = halves(TEXTS[2][1])
    assert first + rest == TEXTS[2][1]
    assert plain.source == (*tokenizer(first)["input_ids"], eos)
    assert plain.input_ids == (start, *tokenizer(rest)["input_ids"], eos)
    assert halves("word") == ("", "word")


def test_entities_and_cutting(scene):
    _, tokenizer, *_ = scene
    text = "where was one born? in the red capital."
    at = text.index("red")
    example = encode(tokenizer, "", text, key=0, max_length=64, spans=[(at, at + 3)])
    marked = [t for t, hit in zip(example.input_ids, example.entity, strict=True) if hit]
    assert tokenizer.decode(marked).strip() == "red"
    short = encode(tokenizer, "What is the capital of one?", " red and blue", key=0, max_length=5)
    assert len(short.source) == 5
    assert short.source[-1] == tokenizer.eos_token_id
    assert len(short.input_ids) == 5


def test_nll_is_t5_s_own_loss_whatever_stands_beside(scene):
    model, _, forget, retain = scene
    shorter, longer = sorted(forget, key=lambda e: len(e.source))[:2], retain
    assert max(len(e.source) for e in shorter) < max(len(e.source) for e in longer)
    apart, _ = forward(model, collate(shorter, 0), collate(longer, 0))
    (alone,) = forward(model, collate(shorter, 0))
    assert torch.allclose(apart.nll, alone.nll, rtol=1e-5)
    (together,) = forward(model, collate(forget, 0))
    for i, example in enumerate(forget):
        own = model(
            input_ids=torch.tensor([example.source]), labels=torch.tensor([example.answer_ids])
        ).loss.item()
        assert together.nll[together.rows == i].mean().item() == pytest.approx(own, rel=1e-5)


def test_generate_is_t5_s_own_greedy_answer(scene):
    model, tokenizer, forget, _ = scene
    model = moved(model, scale=0.5)
    prompts = [p for p, _ in TEXTS if p]
    texts = generate(model, tokenizer, prompts, [3, 7, 7], "cpu")
    for example, text, room in zip([forget[i] for i in (0, 1, 3)], texts, (3, 7, 7), strict=True):
        own = model.generate(torch.tensor([example.source]), max_new_tokens=room, do_sample=False)[0, 1:]
        assert text == tokenizer.decode(own, skip_special_tokens=True)
    assert any(texts)


def test_blocks_are_the_decoder_s(tmp_path):
    loaded = load(str(make_t5(tmp_path, num_decoder_layers=3)))
    assert states.depth(loaded.model) == len(states.blocks(loaded.model)) == 3
    assert len(layers.feed_forward_ends(loaded.model)) == 5


def test_gated_t5_has_the_same_blocks(tmp_path):
    loaded = load(str(make_t5(tmp_path, feed_forward_proj="gated-gelu", tie_word_embeddings=False)))
    assert [n.rsplit(".", 1)[-1] for n in layers.feed_forward_ends(loaded.model)] == ["wo"] * 4


# -- methods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in EVERY if n not in NO_T5])
def test_loss_equals_float64_reference(scene, name, monkeypatch):
    monkeypatch.setattr(reference, "answers_of", t5_answers)
    base, tokenizer, forget, retain = scene
    model, method = moved(base), make(name)
    ref = reference_for(base, method, tokenizer, forget, retain)
    batch = Batch(
        forget=collate(forget, tokenizer.pad_token_id) if method.uses_forget else None,
        retain=collate(retain, tokenizer.pad_token_id) if method.retain_ratio > 0 else None,
    )
    with torch.no_grad():
        got = float(sum(method.loss(model, ref, batch).values()))
        sides = copy.deepcopy(model).double(), copy.deepcopy(base).double()
        want = float(reference.LOSSES[name](*sides, forget, retain, method, ref))
    assert got == pytest.approx(want, rel=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tuning"), [(n, t) for n, m in EVERY.items() if n not in NO_T5 for t in m.tunings]
)
def test_every_method_trains(scene, name, tuning):
    model, tokenizer, forget, retain = scene
    (before,) = forward(model, collate(forget, 0))
    before, method = before.nll.detach(), make(name)
    config = RunConfig(model="t5", data={}, method=name, tuning=tuning, lora_rank=2, lora_alpha=4)
    model = install(model, config, method)
    stream = stream_of(tokenizer, forget, retain, method, epochs=1)
    ref = Reference(model, head_moves=tuning == "full")
    method.prepare(model, ref, stream, tokenizer)
    optimizer = make_optimizer(model, 3e-3)
    steps = list(
        method.unlearn(
            model, ref, Phases(model, method.stream(stream), optimizer, lr=3e-3, device="cpu", start=0)
        )
    )
    assert len(steps) >= 2
    assert all(math.isfinite(s.loss) and s.grad_norm > 0 for s in steps)
    (after,) = forward(model, collate(forget, 0))
    assert (after.nll - before).abs().max() > 1e-5


def test_unlearning_layers_in_encoder_and_decoder(scene, tmp_path):
    model, tokenizer, forget, _ = scene
    with torch.no_grad():
        before = t5_answers(model, forget[0])[0]
        layers.add_layers(model, bottleneck=4)
        assert torch.equal(t5_answers(model, forget[0])[0], before)
        disturb(model)
        after = t5_answers(model, forget[0])[0]
        assert not torch.equal(after, before)
        with layers.switched_off(model):
            assert torch.equal(t5_answers(model, forget[0])[0], before)
        layers.save_layers(model, tmp_path / "adapter")
        own = model.generate(torch.tensor([forget[0].source]), max_new_tokens=5, do_sample=False)[0, 1:]
        assert generate(model, tokenizer, [TEXTS[0][0]], 5, "cpu") == [
            tokenizer.decode(own, skip_special_tokens=True)
        ]
    assert {n.split(".")[0] for n in layers.layers_of(model)} == {"encoder", "decoder"}


# -- EUL's masked language model -----------------------------------------------------------------------------------


@pytest.fixture
def sentinels(folder):
    """(model, tokenizer) of the same T5 with ten sentinels, and texts whose names can be masked."""
    loaded = load(str(folder))
    loaded.tokenizer.add_tokens([f"<extra_id_{i}>" for i in range(10)], special_tokens=True)
    torch.manual_seed(3)
    loaded.model.resize_token_embeddings(len(loaded.tokenizer), mean_resizing=False)
    texts = [
        ("I saw Red with Ana in 1984.", " blue"),
        ("all of it is green", " red"),
        ("Two is One", " three"),
    ]
    rows = [encode(loaded.tokenizer, p, t, key=i, max_length=64) for i, (p, t) in enumerate(texts)]
    return loaded.model, loaded.tokenizer, rows


def test_entities_are_masked_as_t5_was_trained(sentinels):
    _, tokenizer, rows = sentinels
    one = masked(tokenizer, rows[0])

    def told(ids):  # a byte-level token may hold the space before its word
        return tokenizer.decode(ids, clean_up_tokenization_spaces=False).replace(" ", "")

    assert told(one.source) == "<extra_id_0>saw<extra_id_1>with<extra_id_2>in<extra_id_3>.<eos>"
    asked = "<pad><extra_id_0>I<extra_id_1>Red<extra_id_2>Ana<extra_id_3>1984<extra_id_4>"
    assert told(one.input_ids) == asked
    assert told(one.answer_ids) == "IRedAna1984"
    assert one.key == rows[0].key
    assert masked(tokenizer, rows[1]) is None


def test_eul_pushes_the_masked_entities_down(sentinels):
    """Against float64, text by text: γ times the mean over texts of the mean over a text's masked tokens, capped."""
    model, tokenizer, rows = sentinels
    layers.add_layers(model, bottleneck=4)
    disturb(model)
    method = EUL(lm_weight=0.7, cap=1.1, use_kl=False, use_task=False)
    ref = Reference(model, head_moves=False)
    stream = stream_of(tokenizer, rows, rows, method)
    method.prepare(model, ref, stream, tokenizer)
    loss = method.loss(model, ref, Batch(forget=collate(rows, 0), retain=None))
    oracle, total = copy.deepcopy(model).double(), 0.0
    for example in (masked(tokenizer, rows[0]), masked(tokenizer, rows[2])):
        logits, tokens = t5_answers(oracle, example)
        each = [torch.logsumexp(row, 0) - row[token] for row, token in zip(logits, tokens, strict=True)]
        limit = 1.1 * math.log(logits.shape[1])
        assert min(each) < limit
        total = total - 0.7 * sum(min(x, torch.tensor(limit).double()) for x in each) / len(each) / 3
    assert set(loss) == {"lm"}
    assert loss["lm"].item() == pytest.approx(total.item(), rel=2e-5)
    halves_ = [collate([row], 0, total_rows=3) for row in rows]
    parts = [method.loss(model, ref, Batch(forget=half, retain=None))["lm"].item() for half in halves_]
    assert sum(parts) == pytest.approx(loss["lm"].item(), rel=1e-5)
