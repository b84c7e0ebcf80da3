"""Decoders with positions of their own (learned tables, ALiBi, rotary halves) score and continue together as alone.

An older release of transformers lets some of them count positions from the padding on, without a word. Whichever do so,
the answers must be the same.
"""

import pytest
import torch

from tests.compute.test_packing import family
from tests.compute.test_together import WORDS, Letters, plain_nll, texts
from unlearn.compute.lm import forward
from unlearn.compute.tokens import collate
from unlearn.measure.evaluate import generate

WIDE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
KINDS = {
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 128,
                "attention_types": [[["global", "local"], 1]], "window_size": 44},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "biogpt": WIDE | {"intermediate_size": 64, "max_position_embeddings": 128},
    "xglm": {"d_model": 32, "ffn_dim": 64, "num_layers": 2, "attention_heads": 4, "max_position_embeddings": 128},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "codegen": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "rotary_dim": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128},
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}  # fmt: skip


@pytest.fixture(params=KINDS)
def model(request):
    made = family(request.param, vocab_size=WORDS, **KINDS[request.param])
    with torch.no_grad():
        for parameter in made.parameters():
            # So that attention and positions matter.
            parameter.mul_(2.0)
    return made


def test_texts_score_as_they_do_alone(model):
    with torch.no_grad():
        (answers,) = forward(model, collate(texts(), 0))
        found = answers.nll.split(answers.row_count.tolist())
    for example, got in zip(texts(), found, strict=True):
        assert float((got - plain_nll(model, example)).abs().max()) < 1e-4


def test_prompts_are_continued_as_they_are_alone(model):
    prompts = [" ".join(map(str, example.input_ids)) for example in texts()]
    rooms = [6] * len(prompts)
    for prompt, got in zip(prompts, generate(model, Letters(), prompts, rooms, "cpu"), strict=True):
        ids = torch.tensor([[int(word) for word in prompt.split()]])
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, pad_token_id=0,
            eos_token_id=None,
        )  # fmt: skip
        assert got == " ".join(map(str, out[0, ids.shape[1] :].tolist()))
