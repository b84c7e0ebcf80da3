"""The bundled models are two that know their dataset by heart, each with its exact retrain.
unlearn.models.recipe makes them.

Why they exist: with a model this small, "trained without the forget set" can be had in minutes, so each
approximate number can stand beside the truth. A model and its retrain share tokenizer, initial weights, seeds
and settings; they differ only in the forget texts. The models in assets/models were made by this module, with
train_bundled(Path("assets/models")).
"""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from unlearn.store.shapes import JsonObject

# This must be set before torch is imported, because spinning threads slow each other down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tokenizers
import torch
import transformers

from unlearn.data.base import Row
from unlearn.models import recipe
from unlearn.models.recipe import RECIPES, encode, padded

VOCABULARY = 1024
SPECIAL = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<|pad|>"}


def make_tokenizer(name: str = "tiny-authors") -> transformers.PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of VOCABULARY entries, trained on all texts of this recipe."""
    return tokenizer_for([row.prompt + row.target for row in RECIPES[name].rows(True)], VOCABULARY)


def tokenizer_for(texts: Sequence[str], entries: int) -> transformers.PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of at most so many entries, trained on these texts. It adds nothing to a
    text.
    """
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        model_max_length=512,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **SPECIAL,
    )


def make_model(tokenizer: transformers.PreTrainedTokenizerFast) -> transformers.LlamaForCausalLM:
    """Return the untrained network, which has the same weights at every call."""
    torch.manual_seed(recipe.SEED)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **recipe.SHAPE,  # type: ignore[arg-type]  # numbers by name; mypy sees one type for all
    )
    return transformers.LlamaForCausalLM(config)


def train(
    model: transformers.LlamaForCausalLM, texts: list[list[int]], pad: int, progress: Callable[[str], None]
) -> None:
    """Train a fresh model by the whole recipe, in place."""
    began, losses = time.perf_counter(), []
    for done in recipe.steps(model, texts, recipe.loss_of(model, pad)):
        losses.append(done.loss)
        if done.step % (done.of // recipe.EPOCHS) == 0:
            mean, took = sum(losses) / len(losses), time.perf_counter() - began
            epoch = done.step * recipe.EPOCHS // done.of
            progress(f"epoch {epoch}/{recipe.EPOCHS}: loss {mean:.3f}, {took:.0f} s")
            losses.clear()


@torch.no_grad()
def exact_rate(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerFast, rows: Sequence[Row]
) -> float:
    """Return the share of prompts whose greedy continuation is the answer and then the end of the text.

    One forward pass instead of generation: greedy decoding gives the answer exactly if each answer token, and
    the end, is the most likely one after the right tokens before it. Plain texts among rows are left out.
    """
    asked = [row for row in rows if row.prompt]
    right = 0
    for start in range(0, len(asked), recipe.BATCH):
        part = asked[start : start + recipe.BATCH]
        texts = encode(part, tokenizer)
        ids = padded(texts, tokenizer.pad_token_id)
        hit = model(input_ids=ids).logits[:, :-1].argmax(-1) == ids[:, 1:]
        for i, (row, text) in enumerate(zip(part, texts, strict=True)):
            first = len(tokenizer(row.prompt)["input_ids"])
            right += bool(hit[i, first - 1 : len(text) - 1].all())
    return right / len(asked)


def train_bundled(
    out: Path, progress: Callable[[str], None] = print, names: Sequence[str] = tuple(RECIPES)
) -> None:
    """Make out/NAME and out/NAME-retrain of each of these recipes: Hugging Face folders with a recipe.json.

    About ten minutes a pair on two free cores. The same machine and versions give the same weights again.
    ValueError for a name without a recipe.
    """
    if unknown := [name for name in names if name not in RECIPES]:
        raise ValueError(f"model: recipes are {', '.join(RECIPES)}, got {', '.join(unknown)}.")
    for name in names:
        tokenizer = make_tokenizer(name)
        for with_forget in (True, False):
            _make(out, name, tokenizer, with_forget, progress)


def _make(
    out: Path,
    name: str,
    tokenizer: transformers.PreTrainedTokenizerFast,
    with_forget: bool,
    progress: Callable[[str], None],
) -> None:
    folder = out / (name if with_forget else f"{name}-retrain")
    texts = encode(RECIPES[name].rows(with_forget), tokenizer)
    model = make_model(tokenizer)
    size = sum(weight.numel() for weight in model.parameters())
    progress(f"{folder.name}: {size:,} parameters, {len(texts):,} texts of {sum(map(len, texts)):,} tokens")
    began = time.perf_counter()
    train(model, texts, tokenizer.pad_token_id, progress)
    seconds = time.perf_counter() - began
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = _record(name, model, tokenizer, texts, seconds)
    record = {"model": folder.name, "trained_on_forget": with_forget} | record
    (folder / "recipe.json").write_text(json.dumps(record, indent=1) + "\n")
    progress(f"{folder.name}: {seconds:.0f} s, exact answers {record['exact']}")


def _record(
    name: str,
    model: transformers.LlamaForCausalLM,
    tokenizer: transformers.PreTrainedTokenizerFast,
    texts: list[list[int]],
    seconds: float,
) -> JsonObject:
    """What recipe.json says: settings, costs (tokens_trained: all epochs, without padding) and rates."""
    made = RECIPES[name]
    data = made.dataset()
    return {
        "dataset": data.name,
        "dataset_hash": data.hash(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "texts": len(texts),
        "tokens_per_epoch": sum(map(len, texts)),
        "tokens_trained": recipe.EPOCHS * sum(map(len, texts)),
        "seed": recipe.SEED,
        "epochs": recipe.EPOCHS,
        "batch": recipe.BATCH,
        "lr": recipe.LR,
        "warmup_steps": recipe.WARMUP,
        "weight_decay": recipe.WEIGHT_DECAY,
        "clip": recipe.CLIP,
        "threads": recipe.THREADS,
        "seconds": round(seconds),
        "exact": {role: round(exact_rate(model, tokenizer, data.rows(role)), 4) for role in data.roles},
        **made.facts(),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, transformers, tokenizers)},
        },
        "command": f"python -m unlearn train-bundled --model {name}",
    }
