"""Texts as vectors: the mean over tokens of an encoder made here, and what is said of a folder that is none."""

import numpy as np
import pytest
import torch
from conftest import make_tokenizer

from unlearn.measure.encoder import TextEncoder

TEXTS = ["the capital of one is red", "blue", "", "where was two born in the green capital"]


def make_encoder(folder, seed=0):
    """A BERT of one layer that was never trained."""
    from transformers import BertConfig, BertModel

    tokenizer = make_tokenizer(folder)
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=512, pad_token_id=tokenizer.pad_token_id, **shape
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return TextEncoder(make_encoder(tmp_path_factory.mktemp("encoder")))


def test_a_vector_is_the_mean_over_the_text_s_own_tokens(encoder):
    found = encoder.vectors(TEXTS)
    model, tokenizer = encoder._parts
    for text, vector in zip(TEXTS, found, strict=True):
        ids = tokenizer(text)["input_ids"]
        if not ids:
            assert not vector.any()
            continue
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        assert np.allclose(vector, states.mean(0).numpy(), atol=1e-5)


def test_an_encoder_decoder_serves_with_its_first_half(tmp_path):
    from tests.models.test_t5 import make_t5

    found = TextEncoder(make_t5(tmp_path)).vectors(TEXTS)
    assert found.shape == (4, 32)
    assert np.isfinite(found).all()


def test_a_folder_without_an_encoder_is_refused_with_what_serves(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"must be a folder with config\.json and \*\.safetensors"):
        TextEncoder(tmp_path)


def test_another_encoder_has_another_hash(encoder, tmp_path):
    assert encoder.hash != TextEncoder(make_encoder(tmp_path, seed=1)).hash
