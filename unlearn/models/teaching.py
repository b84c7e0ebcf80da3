"""This module teaches a model rows in its chat template, so that it knows them and can be made to forget them.

smollm2-tofu and its exact retrains are made by it. One recipe, one order: they differ in their rows alone. What is
trained is an adapter (LoRA on every linear map). A teaching that is cut goes on from its checkpoint, to the bit.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from unlearn.compute import continuing
from unlearn.compute.lm import forward
from unlearn.compute.tokens import Batch, Example, collate
from unlearn.data.base import Row
from unlearn.data.prompts import in_format
from unlearn.metrics.memory.rouge import common, rouge_tokens
from unlearn.models.load import Loaded, add_lora, load
from unlearn.models.recipe import exactly
from unlearn.training.checkpoints import load_checkpoint, save_checkpoint
from unlearn.training.encoding import encode_rows, ends_of
from unlearn.training.loop import fit, make_optimizer

Progress = Callable[[str], None]
# Texts that are asked at once while what was learnt is checked.
ASKED = 32


@dataclass(frozen=True)
class Teaching:
    """The recipe. threads: one, so that the sums do not depend on how many there are.

    The rate is constant between the first `warmup` steps and the last `decay` epochs, in which it falls to a tenth.
    So a longer teaching begins as a shorter one does.
    """

    rank: int = 16
    alpha: int = 32
    lr: float = 1e-3
    batch: int = 8
    epochs: int = 8
    warmup: int = 30
    decay: float = 1.5
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Lessons:
    """The texts of each step: every epoch in another order, which seed and epoch alone decide."""

    texts: Sequence[Example]
    how: Teaching
    pad: int

    @property
    def an_epoch(self) -> int:
        """Return the number of steps in an epoch."""
        return -(-len(self.texts) // self.how.batch)

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps."""
        return self.an_epoch * self.how.epochs

    def step(self, number: int) -> list[Batch]:
        """Return the one batch of a step, which counts from 1."""
        epoch, within = divmod(number - 1, self.an_epoch)
        order = _order(len(self.texts), self.how.seed, epoch)[within * self.how.batch :][: self.how.batch]
        return [Batch(forget=None, retain=collate([self.texts[i] for i in order], self.pad))]

    def rate(self, step: int, steps: int, peak: float) -> float:
        """Return the learning rate of a step."""
        falling = self.how.decay * self.an_epoch
        left = min(1.0, (steps - step + 1) / falling) if falling else 1.0
        return peak * min(1.0, step / self.how.warmup) * (0.1 + 0.9 * left)


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    return random.Random(f"{seed} {epoch}").sample(range(count), count)


def lessons(loaded: Loaded, rows: Sequence[Row], how: Teaching) -> Lessons:
    """Return the steps of the recipe over these rows, asked in the model's chat template."""
    texts = encode_rows(loaded.tokenizer, in_format(rows, "chat"), max_length=loaded.fit_length(1024))
    return Lessons(texts, how, loaded.pad_id)


def teach(
    base: Path,
    rows: Sequence[Row],
    folder: Path,
    progress: Progress,
    how: Teaching = Teaching(),
    every: float = 120.0,
) -> Loaded:
    """Return the base under an adapter that was taught these rows. ValueError when the checkpoint is another
    recipe's.

    folder: where the checkpoint of each `every` seconds lies. Whoever calls again with the same folder goes on there,
    and ends at the same bits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load(str(base), tuning="lora", precision="bfloat16", device="cpu")
    with exactly(threads=how.threads):
        loaded.model = add_lora(loaded.model, rank=how.rank, alpha=how.alpha, seed=how.seed)
        stream = lessons(loaded, rows, how)
        optimizer = make_optimizer(loaded.model, how.lr)
        start = 0
        if (folder / "state.json").is_file():
            start = load_checkpoint(folder, loaded.model, optimizer)
            progress(f"{folder.name}: going on after step {start}")

        def loss(batch: Batch) -> dict[str, torch.Tensor]:
            (answers,) = forward(loaded.model, batch.retain)
            return {"nll": answers.mean_nll()}

        model, saved, began, losses = loaded.model, time.monotonic(), time.monotonic(), []
        for done in fit(
            model, loss, stream, optimizer, lr=how.lr, device="cpu", start=start, rate=stream.rate
        ):
            losses.append(done.loss)
            last = done.step % stream.an_epoch == 0
            if last or time.monotonic() - saved > every:
                save_checkpoint(folder, model, optimizer, done.step)
                saved = time.monotonic()
            if last or done.step % 25 == 0:
                mean, pace = sum(losses) / len(losses), done.tokens / (time.monotonic() - began)
                progress(
                    f"{folder.name}: step {done.step}/{done.of}, nll {mean:.4f}, {pace:.0f} tokens/s, lr {done.lr:.2e}"
                )
                losses.clear()
            if last:
                _say(loaded, rows, folder, done.step // stream.an_epoch, progress)
    return loaded


def _say(loaded: Loaded, rows: Sequence[Row], folder: Path, epoch: int, progress: Progress) -> None:
    """What the model answers after an epoch, on a small fixed sample of the rows."""
    found = known(loaded, random.Random(0).sample(list(rows), min(ASKED, len(rows))))
    progress(
        f"{folder.name}: epoch {epoch}: probability {found['probability']:.3f}, ROUGE-L {found['rouge']:.3f}"
    )
    with (folder / "epochs.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"epoch": epoch, **found}) + "\n")


@torch.no_grad()
def known(loaded: Loaded, rows: Sequence[Row]) -> dict[str, float]:
    """Return how well the model answers these rows in its chat template, as means over the rows: ROUGE-L recall
    of its greedy answer, and answer probability exp(-S/n).
    """
    texts = encode_rows(loaded.tokenizer, in_format(rows, "chat"), max_length=loaded.fit_length(1024))
    order = sorted(range(len(rows)), key=lambda i: len(texts[i].input_ids))
    recall, probability = 0.0, 0.0
    for at in range(0, len(order), ASKED):
        part = [(rows[i], texts[i]) for i in order[at : at + ASKED]]
        (answers,) = forward(loaded.model, collate([text for _, text in part], loaded.pad_id))
        probability += float((-answers.row_sum(answers.nll) / answers.row_count).exp().sum())
        prompts = [list(text.input_ids[: text.answer_at[0]]) for _, text in part]
        starts = [
            continuing.Start(i, len(prompt) - 1, prompt[-1], len(text.answer_at) + 10)
            for i, (prompt, (_, text)) in enumerate(zip(prompts, part, strict=True))
        ]
        kept = continuing.prefill(loaded.model, prompts)
        said = continuing.greedy(loaded.model, kept, starts, ends_of(loaded.tokenizer))
        for (row, _), ids in zip(part, said, strict=True):
            true = rouge_tokens(row.answer)
            words = rouge_tokens(loaded.tokenizer.decode(ids, skip_special_tokens=True))
            recall += common(true, words) / len(true) if true else 0.0
    return {"rouge": recall / len(rows), "probability": probability / len(rows), "n": len(rows)}
