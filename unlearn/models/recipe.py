"""The recipe of the bundled models states their training texts and each training step, to the bit.

Three take it up: train_bundled makes the models of it, and the methods Retrain and SISA go through it again without
some of the forget texts. So the same machine gives the same weights to whoever asks, and a change of a number here is
another model in assets/models.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from unlearn.compute.lazy import F, Model, Tensor, Tokenizer, torch
from unlearn.data import authors, snippets
from unlearn.data.base import Dataset, Row
from unlearn.store.shapes import JsonObject
from unlearn.training import pieces, processes

SHAPE = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6}
SEED, EPOCHS, BATCH, THREADS = 0, 24, 64, 2
LR, WARMUP, WEIGHT_DECAY, CLIP = 2e-3, 100, 0.05, 1.0


@dataclass(frozen=True)
class Recipe:
    """The ingredients of one pair of models. rows(with_forget): its training texts, in order.

    dataset: whose forget rows' subjects name what can be left out. facts: what else recipe.json says.
    """

    dataset: Callable[[], Dataset]
    rows: Callable[[bool], list[Row]]
    facts: Callable[[], JsonObject] = dict


def _guess_rate() -> JsonObject:
    guess = authors.guess_rates()
    return {"guess_rate": round(sum(guess.values()) / len(guess), 4)}


RECIPES = {
    "tiny-authors": Recipe(authors.dataset, authors.training_rows, _guess_rate),
    "tiny-snippets": Recipe(snippets.dataset, snippets.training_rows),
}


def rows_without(model: str, data: Dataset) -> tuple[Row, ...] | None:
    """Return this model's training texts without the subjects of data's forget rows, each text whole, in
    order.

    None for a model that another recipe made, and for rows whose subjects are not among this one's to forget.
    """
    recipe = RECIPES.get(model)
    if recipe is None:
        return None
    gone = {row.subject for row in data.rows("forget")}
    if not gone <= {row.subject for row in recipe.dataset().rows("forget")}:
        return None
    return tuple(text for text in all_rows(model) if text.subject not in gone)


def all_rows(model: str) -> tuple[Row, ...]:
    """Return this model's training texts, each text whole, in order. KeyError for a model that another recipe
    made.
    """
    rows = RECIPES[model].rows(True)
    return tuple(Row(answer=row.prompt + row.target, subject=row.subject) for row in rows)


def encode(rows: Sequence[Row], tokenizer: Tokenizer) -> list[list[int]]:
    """Return the token ids of prompt, target and end of text of each row."""
    texts = [row.prompt + row.target for row in rows]
    return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]


def padded(texts: Sequence[list[int]], pad: int) -> Tensor:
    """Return token ids [texts, longest], padded at the right, which is harmless under causal attention."""
    longest = max(map(len, texts))
    return torch.tensor([ids + [pad] * (longest - len(ids)) for ids in texts], device="cpu")


Text = TypeVar("Text", bound=Sized)


def batches(
    texts: Sequence[Text], rng: random.Random, size: int = BATCH, length: Callable[[Text], int] = len
) -> Iterator[list[Text]]:
    """Yield one epoch in batches of texts with similar length, sorted within pools of ten batches to save
    padding.
    """
    order = rng.sample(range(len(texts)), len(texts))
    made = []
    for start in range(0, len(order), 10 * size):
        pool = sorted(order[start : start + 10 * size], key=lambda i: length(texts[i]))
        made += [pool[i : i + size] for i in range(0, len(pool), size)]
    rng.shuffle(made)
    for batch in made:
        yield [texts[i] for i in batch]


@contextmanager
def exactly(device: str = "cpu", threads: int = THREADS) -> Iterator[None]:
    """Use deterministic kernels and this number of threads within the `with` block, so that the same machine gives
    the same weights.
    """
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(device == "cpu" or strict)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Trained:
    """The record of one step of the recipe. tokens: of this step, without padding."""

    step: int
    of: int
    loss: float
    grad_norm: float
    lr: float
    tokens: int


def steps(
    model: Model,
    texts: Sequence[Text],
    loss: Callable[[list[Text]], Tensor],
    *,
    epochs: int = EPOCHS,
    lr: float = LR,
    batch: int = BATCH,
    seed: int = SEED,
    length: Callable[[Text], int] = len,
    threads: int = THREADS,
) -> Iterator[Trained]:
    """Train the model in place by AdamW, with warm-up and cosine decay, on loss(batch of texts). Yields after
    each step.

    Threads and determinism are the recipe's while it computes only, so that whoever iterates keeps their own. Several
    processes that hold the model in parts keep their threads; loss() is then of the texts that this one reads.
    """
    threads = threads if processes.size() == 1 else torch.get_num_threads()
    of = epochs * -(-len(texts) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.95))
    scale = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / WARMUP) * (0.51 + 0.49 * math.cos(math.pi * min(1.0, step / of))),
    )
    rng, device = random.Random(seed), next(model.parameters()).device.type
    epoch = (part for _ in range(epochs) for part in batches(texts, rng, batch, length))
    for step, part in enumerate(epoch, 1):
        with exactly(device, threads):
            model.train()
            value = loss(part)
            optimizer.zero_grad()
            value.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            rate = float(scale.get_last_lr()[0])
            optimizer.step()
            scale.step()
            model.eval()
            told = processes.summed({"loss": value})["loss"], processes.whole(norm)
        yield Trained(step, of, *told, rate, sum(map(length, part)))


def loss_of(model: Model, pad: int) -> Callable[[list[list[int]]], Tensor]:
    """Return a function from token ids of texts to their mean next-token loss on every token but the padding.

    Without a mask, which a causal model needs none of: a masked pass rounds otherwise, and over a thousand steps that
    is another model.
    """
    device = next(model.parameters()).device

    def loss(batch: list[list[int]]) -> Tensor:
        own, counts = processes.own_texts(batch)
        ids = padded(own, pad).to(device)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        mean = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=pad)
        if own is batch:
            return mean
        return mean * (targets(own, pad) / targets(batch, pad) if counts else 0.0)

    return loss


def targets(texts: Sequence[list[int]], pad: int) -> int:
    """Return the number of tokens of these texts that a loss is computed of."""
    return sum(token != pad for text in texts for token in text[1:])


def restart(model: Model) -> None:
    """Put the untrained weights of make_model() back in place, for a model of that shape."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        fresh = cast(Any, type(model))(model.config)
    pieces.put(model, fresh.state_dict())
