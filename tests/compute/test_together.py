"""Reading together: what each architecture bears is found out, and texts score and continue as they do alone."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, BartConfig

from tests.compute.test_packing import SMALL, family
from unlearn.compute import lm, together
from unlearn.compute.lm import forward
from unlearn.compute.tokens import IGNORE, Example, collate
from unlearn.measure.generating import generate

WORDS = 300
LENGTHS = (37, 5, 64, 1, 18, 90, 2, 51)
PLACES = {"max_position_embeddings": 128}
KINDS = {  # name: (config, packs, bears padding on the right, on the left)
    "llama": (SMALL | PLACES | {"num_key_value_heads": 2}, True, True, True),
    "gpt2": ({"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}, True, True, True),
    "opt": ({"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "word_embed_proj_dim": 32} | PLACES, True, True, True),
    # The window is in the mask alone, which a packed pass does not have.
    "phimoe": (SMALL | PLACES | {"num_key_value_heads": 2, "num_local_experts": 4, "sliding_window": 44},
               False, True, True),
    # The places that are seen are chosen among all of the batch's width.
    "doge": (SMALL | PLACES | {"num_key_value_heads": 2, "keep_window_size": 44}, False, False, False),
    # A state that runs through padding.
    "rwkv": ({"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2, "context_length": 128},
             False, True, False),
    "recurrent_gemma": (SMALL | {"num_key_value_heads": 1, "lru_width": 32, "attention_window_size": 44,
                                 "num_hidden_layers": 3}, False, True, True),
    "gemma2": (SMALL | PLACES | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 44}, None, True, True),
}  # fmt: skip


def made(name):
    model = family(name, vocab_size=WORDS, **KINDS[name][0])
    with torch.no_grad():
        for parameter in model.parameters():  # attention that matters
            parameter.mul_(2.0)
    return model


def texts():
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(3, WORDS, (n + 1,), generator=generator).tolist() for n in LENGTHS]
    return [Example(tuple(r), (IGNORE, *r[1:]), key) for key, r in enumerate(rows)]


def plain_nll(model, example):
    """By transformers alone, one text without padding."""
    ids = torch.tensor([example.input_ids])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")


@pytest.mark.parametrize("name", KINDS)
def test_what_a_model_bears_is_found_out(name):
    model, (_, packs, right, left) = made(name), KINDS[name]
    longest = max(LENGTHS) + 1
    if packs is not None:
        assert together.packs(model, longest) is packs
    assert together.pads(model, longest) is right
    assert together.continues(model, longest) is left


@pytest.mark.parametrize(("window", "right"), [(None, True), (44, False)])
def test_a_ruined_model_of_16_bits_is_judged_by_its_architecture(window, right, monkeypatch):
    """Experts are chosen by the last bit, so that sixteen bits cannot tell rounding from a window that is not seen."""
    config = KINDS["phimoe"][0] | {"sliding_window": window, "num_hidden_layers": 6}
    model = family("phimoe", vocab_size=WORDS, **config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(20.0 if parameter.ndim > 1 else 1.0)
    model = model.to(torch.bfloat16)
    assert together.packs(model, max(LENGTHS)) is right
    assert all(parameter.dtype == torch.bfloat16 for parameter in model.parameters())
    together._tried.clear()
    monkeypatch.setattr(together, "COPIED", 0)
    assert not together.packs(model, max(LENGTHS))


@pytest.mark.parametrize("name", KINDS)
def test_texts_score_as_they_do_alone(name):
    model = made(name)
    with torch.no_grad():
        (answers,) = forward(model, collate(texts(), 0))
        found = answers.nll.split(answers.row_count.tolist())
    for example, got in zip(texts(), found, strict=True):
        assert float((got - plain_nll(model, example)).abs().max()) < 1e-4


class Letters:
    """A tokenizer of numbers between blanks."""

    pad_token_id, eos_token_id = 0, None

    def __call__(self, text, **_):
        return {"input_ids": [int(word) for word in text.split()]}

    def batch_decode(self, rows, skip_special_tokens):
        return [" ".join(map(str, row)) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_prompts_are_continued_as_they_are_alone(name):
    model = made(name)
    prompts = [" ".join(map(str, example.input_ids)) for example in texts()]
    rooms = [6 + 3 * i for i in range(len(prompts))]
    for prompt, room, got in zip(
        prompts, rooms, generate(model, Letters(), prompts, rooms, "cpu"), strict=True
    ):
        ids = torch.tensor([[int(word) for word in prompt.split()]])
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=room, do_sample=False,
            pad_token_id=0, eos_token_id=None,
        )  # fmt: skip
        assert got == " ".join(map(str, out[0, ids.shape[1] :].tolist()))


def test_an_encoder_that_counts_padding_does_not_continue_together():
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=WORDS, d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
    )  # fmt: skip
    model = AutoModelForSeq2SeqLM.from_config(config).eval()
    assert together.pads(model)
    assert not together.continues(model)


def test_a_text_beyond_a_window_is_tried_when_it_comes(monkeypatch):
    tried, real = [], together.last_states
    monkeypatch.setattr(
        together, "last_states", lambda m, i: (tried.append(i["input_ids"].shape), real(m, i))[1]
    )
    model = made("phimoe")
    assert together.packs(model, 40)
    assert len(tried) == 1 + len(together.LENGTHS)
    tried.clear()
    assert together.packs(model, 30)
    assert not tried, "found out before"
    assert not together.packs(model, 60)
    assert tried
    tried.clear()
    assert not together.packs(model, 10), "what failed once is not used again"
    assert not tried


def test_numbers_at_which_a_model_may_turn_are_read_from_its_config():
    config = SimpleNamespace(
        to_dict=lambda: {
            "sliding_window": 512, "hidden_size": 64, "keep_window_size": None, "use_sliding_window": True,
            "text_config": {"attention_chunk_size": 8192, "rope": {"original_max_position_embeddings": 4096}},
        }
    )  # fmt: skip
    assert together.turns(config) == [512, 4096, 8192]


def test_an_adapted_model_is_not_tried_again(monkeypatch):
    from unlearn.models.load import add_lora

    model = made("llama")
    assert together.packs(model)
    monkeypatch.setattr(together, "last_states", None)
    assert together.packs(add_lora(model, rank=2, alpha=4.0, seed=0))


def test_one_at_a_time_has_the_gradients_of_the_batch(monkeypatch):
    found = []
    for way in ("packed", "padded", "alone"):
        monkeypatch.setattr(lm, "packs", lambda *_, way=way: way == "packed")
        monkeypatch.setattr(lm, "pads", lambda *_, way=way: way == "padded")
        model = made("llama")
        (answers,) = forward(model, collate(texts(), 0))
        answers.mean_nll().backward()
        found.append([p.grad for p in model.parameters()])
    for got in found[1:]:
        for a, b in zip(got, found[0], strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()))
