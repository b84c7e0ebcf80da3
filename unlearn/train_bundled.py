"""The recipe of the bundled models: two that know their dataset by heart, each with its exact retrain.

The method Retrain takes it up again without some of the forget texts: rows_without, restart, steps.

Why they exist: with a model this small, "trained without the forget set" can be had in minutes, so each
approximate number can stand beside the truth. A model and its retrain share tokenizer, initial weights, seeds
and settings; they differ only in the forget texts. The models in assets/models were made by this module, with
train_bundled(Path("assets/models")).
"""

import json
import math
import os
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other

import tokenizers
import torch
import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearn.data import authors, snippets
from unlearn.data.base import Dataset, Row

VOCABULARY = 1024
SPECIAL = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<|pad|>"}
SHAPE = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6}
SEED, EPOCHS, BATCH, THREADS = 0, 24, 64, 2
LR, WARMUP, WEIGHT_DECAY, CLIP = 2e-3, 100, 0.05, 1.0


@dataclass(frozen=True)
class Recipe:
    """What one pair of models is made of. rows(with_forget): its training texts, in order.

    dataset: whose forget rows' subjects name what can be left out. facts: what else recipe.json says.
    """

    dataset: Callable[[], Dataset]
    rows: Callable[[bool], list[Row]]
    facts: Callable[[], dict[str, Any]] = dict


def _guess_rate() -> dict[str, Any]:
    guess = authors.guess_rates()
    return {"guess_rate": round(sum(guess.values()) / len(guess), 4)}


RECIPES = {
    "tiny-authors": Recipe(authors.dataset, authors.training_rows, _guess_rate),
    "tiny-snippets": Recipe(snippets.dataset, snippets.training_rows),
}


def make_tokenizer(name: str = "tiny-authors") -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of VOCABULARY entries, trained on all texts; it adds nothing to a text."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([row.prompt + row.target for row in RECIPES[name].rows(True)], trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        model_max_length=512,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **SPECIAL,
    )


def make_model(tokenizer: transformers.PreTrainedTokenizerFast) -> transformers.LlamaForCausalLM:
    """The untrained network; the same weights at every call."""
    torch.manual_seed(SEED)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SHAPE,
    )
    return transformers.LlamaForCausalLM(config)


def encode(rows: Sequence[Row], tokenizer: transformers.PreTrainedTokenizerFast) -> list[list[int]]:
    """Token ids of prompt + target + end of text."""
    texts = [row.prompt + row.target for row in rows]
    return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]


def padded(texts: Sequence[list[int]], pad: int) -> Tensor:
    """[texts, longest] token ids, padded at the right (harmless under causal attention)."""
    longest = max(map(len, texts))
    return torch.tensor([ids + [pad] * (longest - len(ids)) for ids in texts])


def batches(
    texts: Sequence[Any], rng: random.Random, size: int = BATCH, length: Callable[[Any], int] = len
) -> Iterator[list[Any]]:
    """One epoch in batches of texts of similar length (saves padding): sorted within pools of ten batches."""
    order = rng.sample(range(len(texts)), len(texts))
    made = []
    for start in range(0, len(order), 10 * size):
        pool = sorted(order[start : start + 10 * size], key=lambda i: length(texts[i]))
        made += [pool[i : i + size] for i in range(0, len(pool), size)]
    rng.shuffle(made)
    for batch in made:
        yield [texts[i] for i in batch]


@contextmanager
def exactly(device: str = "cpu") -> Iterator[None]:
    """Same machine, same weights: deterministic kernels and THREADS threads here, and afterwards as before."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(device == "cpu" or strict)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Trained:
    """One step of the recipe. tokens: of this step, without padding."""

    step: int
    of: int
    loss: float
    grad_norm: float
    lr: float
    tokens: int


def steps(
    model: Any,
    texts: Sequence[Any],
    loss: Callable[[list[Any]], Tensor],
    *,
    epochs: int = EPOCHS,
    lr: float = LR,
    batch: int = BATCH,
    seed: int = SEED,
    length: Callable[[Any], int] = len,
) -> Iterator[Trained]:
    """AdamW with warm-up and cosine decay on loss(batch of texts), in place; yields after each step.

    Threads and determinism are the recipe's while it computes only, so that whoever iterates keeps their own.
    """
    of = epochs * -(-len(texts) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.95))
    scale = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / WARMUP) * (0.51 + 0.49 * math.cos(math.pi * min(1.0, step / of))),
    )
    rng, device = random.Random(seed), next(model.parameters()).device.type
    epoch = (part for _ in range(epochs) for part in batches(texts, rng, batch, length))
    for step, part in enumerate(epoch, 1):
        with exactly(device):
            model.train()
            value = loss(part)
            optimizer.zero_grad()
            value.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            rate = scale.get_last_lr()[0]
            optimizer.step()
            scale.step()
            model.eval()
        yield Trained(step, of, value.item(), norm.item(), rate, sum(map(length, part)))


def loss_of(model: Any, pad: int) -> Callable[[list[list[int]]], Tensor]:
    """Token ids of texts → mean next-token loss on every token but the padding.

    Without a mask, which a causal model needs none of: a masked pass rounds otherwise, and over a thousand steps that
    is another model.
    """
    device = next(model.parameters()).device

    def loss(batch: list[list[int]]) -> Tensor:
        ids = padded(batch, pad).to(device)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=pad)

    return loss


def train(
    model: transformers.LlamaForCausalLM, texts: list[list[int]], pad: int, progress: Callable[[str], None]
) -> None:
    """The whole recipe, from a fresh model to a trained one."""
    began, losses = time.perf_counter(), []
    for done in steps(model, texts, loss_of(model, pad)):
        losses.append(done.loss)
        if done.step % (done.of // EPOCHS) == 0:
            mean, took = sum(losses) / len(losses), time.perf_counter() - began
            progress(f"epoch {done.step * EPOCHS // done.of}/{EPOCHS}: loss {mean:.3f}, {took:.0f} s")
            losses.clear()


def restart(model: Any) -> None:
    """Put the untrained weights back, in place: those of make_model(), for a model of that shape."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        fresh = type(model)(model.config)
    model.load_state_dict(fresh.state_dict())


def rows_without(model: str, data: Dataset) -> tuple[Row, ...] | None:
    """What this model was trained on but for the subjects of data's forget rows, each text whole, in order.

    None for a model that another recipe made, and for rows whose subjects are not among this one's to forget.
    """
    recipe = RECIPES.get(model)
    if recipe is None:
        return None
    gone = {row.subject for row in data.rows("forget")}
    if not gone <= {row.subject for row in recipe.dataset().rows("forget")}:
        return None
    kept = [row for row in recipe.rows(True) if row.subject not in gone]
    return tuple(Row(answer=row.prompt + row.target, subject=row.subject) for row in kept)


@torch.no_grad()
def exact_rate(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerFast, rows: Sequence[Row]
) -> float:
    """Share of prompts whose greedy continuation is the answer and then the end of the text.

    One forward pass instead of generation: greedy decoding gives the answer exactly if each answer token, and
    the end, is the most likely one after the right tokens before it. Plain texts among rows are left out.
    """
    asked = [row for row in rows if row.prompt]
    right = 0
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
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


def _make(out: Path, name: str, tokenizer: Any, with_forget: bool, progress: Callable[[str], None]) -> None:
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
) -> dict[str, Any]:
    """What recipe.json says: settings, costs (tokens_trained: all epochs, without padding) and rates."""
    recipe = RECIPES[name]
    data = recipe.dataset()
    return {
        "dataset": data.name,
        "dataset_hash": data.hash(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "texts": len(texts),
        "tokens_per_epoch": sum(map(len, texts)),
        "tokens_trained": EPOCHS * sum(map(len, texts)),
        **{"seed": SEED, "epochs": EPOCHS, "batch": BATCH, "lr": LR, "warmup_steps": WARMUP},
        **{"weight_decay": WEIGHT_DECAY, "clip": CLIP, "threads": THREADS, "seconds": round(seconds)},
        "exact": {role: round(exact_rate(model, tokenizer, data.rows(role)), 4) for role in data.roles},
        **recipe.facts(),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, transformers, tokenizers)},
        },
        "command": f"python -m unlearn train-bundled --model {name}",
    }
