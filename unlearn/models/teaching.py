"""This module teaches a model rows in its chat template, so that it knows them and can be made to forget them.

smollm2-tofu and its exact retrains are made by it. One recipe, one order: they differ in their rows alone. What is
trained is an adapter (LoRA on every linear map). A teaching that is cut goes on from its checkpoint, to the bit.
"""

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch

from unlearn.compute import continuing
from unlearn.compute.lazy import Model
from unlearn.compute.lm import forward
from unlearn.compute.tokens import Batch, Example, collate
from unlearn.data.base import Row
from unlearn.data.prompts import in_format
from unlearn.metrics.memory.rouge import common, rouge_tokens
from unlearn.models.load import Loaded, add_lora, load
from unlearn.models.recipe import exactly
from unlearn.store.disk import read_json, write_json
from unlearn.store.shapes import JsonObject
from unlearn.training.checkpoints import load_checkpoint, save_checkpoint
from unlearn.training.encoding import encode_rows, ends_of
from unlearn.training.loop import Step, fit, make_optimizer

Progress = Callable[[str], None]
# Texts that are asked at once while what was learnt is checked.
ASKED = 32
# Beside a checkpoint: what it is of, the folder of the last one before the learning rate fell, and what it took.
RECIPE, CONSTANT, SPENT = "teaching.json", "constant", "seconds.json"


@dataclass(frozen=True)
class Teaching:
    """The recipe that all three models follow. threads: one, so that sums do not depend on how many there are.

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

    @property
    def constant(self) -> int:
        """Return the last step before the learning rate falls."""
        return math.floor(self.steps + 1 - self.how.decay * self.an_epoch)

    def digest(self) -> str:
        """Return twelve hex digits of the texts."""
        told = json.dumps([[text.input_ids, text.labels] for text in self.texts])
        return hashlib.sha256(told.encode()).hexdigest()[:12]

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
) -> tuple[Loaded, float]:
    """Return the base under an adapter that was taught these rows, and the CPU seconds that it took. ValueError when
    the checkpoint is another recipe's.

    folder: where the checkpoint of each `every` seconds lies. Whoever calls again with the same folder goes on there,
    and ends at the same bits. More or fewer epochs than before go on where the rate began to fall.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load(str(base), tuning="lora", precision="bfloat16", device="cpu")
    with exactly(threads=how.threads):
        model = loaded.model = add_lora(loaded.model, rank=how.rank, alpha=how.alpha, seed=how.seed)
        stream = lessons(loaded, rows, how)
        optimizer = make_optimizer(model, how.lr)
        start = _begun(folder, stream, model, optimizer)
        if start:
            progress(f"{folder.name}: going on after step {start}")

        def loss(batch: Batch) -> dict[str, torch.Tensor]:
            (answers,) = forward(model, batch.retain)
            return {"nll": answers.mean_nll()}

        teller = _Teller(folder.name, stream, progress)
        before = read_json(folder / SPENT)["seconds"] if start and (folder / SPENT).is_file() else 0.0
        saved, began = time.monotonic(), time.process_time()
        for done in fit(
            model, loss, stream, optimizer, lr=how.lr, device="cpu", start=start, rate=stream.rate
        ):
            ended = done.step % stream.an_epoch == 0
            if ended or time.monotonic() - saved > every:
                save_checkpoint(folder, model, optimizer, done.step)
                write_json(folder / SPENT, {"seconds": before + time.process_time() - began})
                saved = time.monotonic()
            if done.step == stream.constant:
                save_checkpoint(folder / CONSTANT, model, optimizer, done.step)
            teller.step(done, ended)
            if ended:
                teller.epoch(known(loaded, _sample(rows)), done.step // stream.an_epoch)
    return loaded, before + time.process_time() - began


def _begun(folder: Path, stream: Lessons, model: Model, optimizer: torch.optim.Optimizer) -> int:
    """The step of the checkpoint that was loaded, or 0. The recipe is written beside it and compared."""
    said: JsonObject = {**asdict(stream.how), "texts": stream.digest()}
    before = read_json(folder / RECIPE) if (folder / RECIPE).is_file() else said
    if {**before, "epochs": 0} != {**said, "epochs": 0}:
        raise ValueError(
            f"model: the checkpoint in {folder} belongs to another recipe or other rows; delete that folder, or give "
            "another one with --work."
        )
    other = before["epochs"] != said["epochs"]
    write_json(folder / RECIPE, said)
    for place in (folder / CONSTANT,) if other else (folder, folder / CONSTANT):
        if (place / "state.json").is_file():
            step = load_checkpoint(place, model, optimizer)
            if step <= stream.steps:
                return step
    return 0


class _Teller:
    """Says how a teaching goes on, every 25 steps and after each epoch."""

    def __init__(self, name: str, stream: Lessons, progress: Progress) -> None:
        self.name, self.stream, self.progress = name, stream, progress
        self.losses: list[float] = []

    def step(self, done: Step, ended: bool) -> None:
        """Take in one step."""
        self.losses.append(done.loss)
        if ended or done.step % 25 == 0:
            mean, pace = sum(self.losses) / len(self.losses), done.tokens / done.seconds
            rate = f"{pace:.0f} tokens/s, lr {done.lr:.2e}"
            self.progress(f"{self.name}: step {done.step}/{done.of}, nll {mean:.4f}, {rate}")
            self.losses.clear()

    def epoch(self, found: Mapping[str, float], epoch: int) -> None:
        """Say what the model answers after an epoch."""
        shares = f"probability {found['probability']:.3f}, ROUGE-L {found['rouge']:.3f}"
        self.progress(f"{self.name}: epoch {epoch}: {shares}")


def _sample(rows: Sequence[Row]) -> list[Row]:
    return random.Random(0).sample(list(rows), min(ASKED, len(rows)))


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
