"""The bundled T5 models: one summarises dialogues, one labels reviews, each with its exact retrain.

EUL's paper works with T5-base and T5-3B (Chen and Yang 2023, arXiv 2310.20150). These are of its architecture and small
enough to be trained in a minute, so that every deletion stands beside the truth. They know no other language than that
of their data, and no sentinels: they never filled masks. The models in assets/models were made by this module.
"""

import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tokenizers
import torch
import transformers

from unlearn.compute import lm
from unlearn.compute.lazy import Model
from unlearn.compute.tokens import Example, collate, encode
from unlearn.data.base import Row
from unlearn.data.eul import dialogues, reviews
from unlearn.models import recipe
from unlearn.models.bundle import tokenizer_for
from unlearn.models.load import in_memory
from unlearn.models.recipe import Recipe
from unlearn.store.shapes import JsonObject

SHAPE = {"d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
VOCABULARY = 768
# A longer dialogue or summary does not occur.
MAX_LENGTH = 256
# One thread: for products of this size more of them only wait for each other.
EPOCHS, BATCH, LR, THREADS = 40, 32, 3e-3, 1
RECIPES = {
    "tiny-dialogues": Recipe(dialogues.dataset, dialogues.training_rows),
    "tiny-reviews": Recipe(reviews.dataset, reviews.training_rows),
}


def make_tokenizer(name: str) -> transformers.PreTrainedTokenizerFast:
    """Return the tokenizer of this recipe, trained on all of its texts."""
    return tokenizer_for([row.prompt + row.target for row in RECIPES[name].rows(True)], VOCABULARY)


def make_model(tokenizer: transformers.PreTrainedTokenizerFast) -> transformers.T5ForConditionalGeneration:
    """Return the untrained network, which has the same weights at every call."""
    torch.manual_seed(recipe.SEED)
    ends = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    config = transformers.T5Config.from_dict(
        {"vocab_size": len(tokenizer), "dropout_rate": 0.0} | ends | SHAPE
    )
    return transformers.T5ForConditionalGeneration(config)


def lessons(tokenizer: transformers.PreTrainedTokenizerFast, rows: Sequence[Row]) -> list[Example]:
    """Return the rows as an encoder and a decoder read them. The tokenizer must know where the decoder starts."""
    return [
        encode(tokenizer, row.prompt, row.target, key=key, max_length=MAX_LENGTH)
        for key, row in enumerate(rows)
    ]


def read(example: Example) -> int:
    """Return the number of tokens that encoder and decoder read of a text."""
    return len(example.source) + len(example.input_ids)


@torch.no_grad()
def exact_rate(model: Model, texts: Sequence[Example], pad: int) -> float:
    """Return the share of texts of which greedy decoding gives the whole answer and its end."""
    right = 0
    for start in range(0, len(texts), recipe.BATCH):
        (answers,) = lm.forward(model, collate(texts[start : start + recipe.BATCH], pad))
        _, best = lm.nll_and_best(answers)
        missed = answers.row_sum((best != answers.labels).float())
        right += int((missed == 0).sum())
    return right / len(texts)


def train_bundled(
    out: Path, progress: Callable[[str], None] = print, names: Sequence[str] = tuple(RECIPES)
) -> None:
    """Make out/NAME and out/NAME-retrain of each of these recipes: Hugging Face folders with a recipe.json.

    About a minute a pair. The same machine and versions give the same weights again.
    """
    for name in names:
        for with_forget in (True, False):
            _make(out / (name if with_forget else f"{name}-retrain"), name, with_forget, progress)


def _make(folder: Path, name: str, with_forget: bool, progress: Callable[[str], None]) -> None:
    loaded = in_memory(make_model(tokenizer := make_tokenizer(name)), tokenizer, folder.name)
    model, pad = loaded.model, tokenizer.pad_token_id
    texts = lessons(tokenizer, RECIPES[name].rows(with_forget))
    progress(f"{folder.name}: {loaded.parameters:,} parameters, {len(texts):,} texts")
    began = time.perf_counter()

    def loss(batch: list[Example]) -> torch.Tensor:
        (answers,) = lm.forward(model, collate(batch, pad))
        return answers.mean_nll()

    steps = recipe.steps(
        model,
        texts,  # type: ignore[type-var]  # an Example has no length of its own; `length` gives it
        loss,
        epochs=EPOCHS,
        lr=LR,
        batch=BATCH,
        length=read,
        threads=THREADS,
    )
    for done in steps:
        if done.step % (done.of // 6) == 0:
            progress(f"step {done.step}/{done.of}: loss {done.loss:.3f}")
    seconds = time.perf_counter() - began
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = {"model": folder.name, "trained_on_forget": with_forget}
    record |= _record(name, model, tokenizer, texts, seconds)
    (folder / "recipe.json").write_text(json.dumps(record, indent=1) + "\n")
    progress(f"{folder.name}: {seconds:.0f} s, exact answers {record['exact']}")


def _record(
    name: str,
    model: Model,
    tokenizer: transformers.PreTrainedTokenizerFast,
    texts: Sequence[Example],
    seconds: float,
) -> JsonObject:
    """What recipe.json says: settings, costs (tokens_trained: all epochs, without padding) and rates."""
    data = RECIPES[name].dataset()
    tokens = sum(map(read, texts))
    exact = {
        role: exact_rate(model, lessons(tokenizer, data.rows(role)), tokenizer.pad_token_id)
        for role in data.roles
    }
    return {
        "dataset": data.name,
        "dataset_hash": data.hash(),
        "parameters": model.num_parameters(),
        "texts": len(texts),
        "tokens_per_epoch": tokens,
        "tokens_trained": EPOCHS * tokens,
        "seed": recipe.SEED,
        "epochs": EPOCHS,
        "batch": BATCH,
        "lr": LR,
        "warmup_steps": recipe.WARMUP,
        "weight_decay": recipe.WEIGHT_DECAY,
        "clip": recipe.CLIP,
        "threads": THREADS,
        "seconds": round(seconds),
        "exact": {role: round(rate, 4) for role, rate in exact.items()},
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, transformers, tokenizers)},
        },
        "command": f"python -m unlearn train-bundled --model {name}",
    }
