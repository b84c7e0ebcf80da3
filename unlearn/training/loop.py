"""The function fit() is the only training loop. It is a generator, and its caller logs, draws, saves or
stops.

AdamW without weight decay, cosine schedule with 3 % warm-up, gradient norm clipped at 1: the set-up of
Yao et al. 2024 (arXiv 2402.15159, §4). Dropout stays off, since the reference may share these weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from unlearn.compute.lazy import Model, Tensor, lean, torch
from unlearn.compute.tokens import Batch
from unlearn.store.shapes import JsonObject
from unlearn.training import processes
from unlearn.training.batches import Batches
from unlearn.training.sharpness import Pass, Sharpness, plain

WARMUP = 0.03
MAX_GRAD_NORM = 1.0


class Stream(Protocol):
    """The batch stream that fit() needs, with its number of steps and the micro-batches of each."""

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps."""

    def step(self, number: int) -> list[Batch]:
        """Return the micro-batches of one step, which counts from 1."""


@dataclass(frozen=True)
class Step:
    """The record of one optimiser step. terms: the method's named terms. tokens: read so far. seconds: since
    fit() began. terms: the method's named terms; tokens: read so far; seconds: since fit() began.
    """

    step: int
    of: int
    terms: Mapping[str, float]
    loss: float
    grad_norm: float
    lr: float
    tokens: int
    seconds: float


class Diverged(ArithmeticError):
    """Signals that a term or the gradient is not finite. The message names step, term and remedy, and `step`
    holds the values.
    """

    def __init__(self, message: str, step: Step) -> None:
        super().__init__(message)
        self.step = step


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step: linear warm-up over the first 3 %, then cosine to zero after the
    last step. step counts from 1.
    """
    warm = max(1, math.ceil(WARMUP * steps))
    if step <= warm:
        return peak * step / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm + 1)))


def make_optimizer(model: Model, lr: float, memory: str = "usual") -> torch.optim.Optimizer:
    """Return an AdamW optimiser over all parameters that may be trained. ValueError when none may.

    memory: "lean" for the one that lets gradients go inside the backward pass (unlearn.compute.lean).
    """
    moving = [p for p in model.parameters() if p.requires_grad]
    if not moving:
        raise ValueError("method: no parameter may be trained; choose another tuning or method.")
    if memory == "lean":
        return lean.LeanAdamW(moving, lr=lr)
    fused = moving[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(moving, lr=lr, weight_decay=0.0, fused=fused)


def fit(
    model: Model,
    loss: Callable[[Batch], Mapping[str, Tensor]],
    stream: Stream,
    optimizer: torch.optim.Optimizer,
    *,
    lr: float,
    device: str,
    start: int = 0,
    rate: Callable[[int, int, float], float] = learning_rate,
    max_grad_norm: float = MAX_GRAD_NORM,
    before_update: Callable[[], None] = lambda: None,
    sharpness: Sharpness | None = None,
) -> Iterator[Step]:
    """Train the model and yield after each optimiser step from start + 1 to stream.steps. Raises Diverged
    before a non-finite update.

    rate(step, steps, peak): the learning rate of a step.
    max_grad_norm: where the gradient is cut, 0 for nowhere. before_update: called before the weights of a step change.
    sharpness: SAM, where a step's gradient is to be taken so.
    A lean optimizer updates inside the backward pass: what of a gradient is finite may be taken before the rest is not.
    """
    model.eval()
    moving = [p for group in optimizer.param_groups for p in group["params"]]
    began, tokens = time.perf_counter(), 0

    def own(batch: Batch) -> Mapping[str, Tensor]:
        # Counted and shared out on the host, and only then brought to the device.
        return loss(processes.own_share(batch).to(device))

    within = _within_backward(optimizer, before_update, max_grad_norm)
    with within as taken:
        for number in range(start + 1, stream.steps + 1):
            processes.take_turn(model)
            now = rate(number, stream.steps, lr)
            for group in optimizer.param_groups:
                group["lr"] = now
            optimizer.zero_grad(set_to_none=True)
            found, norm = Pass(), math.nan
            micros = stream.step(number)
            if sharpness is None:
                plain(own, micros, found)
            else:
                sharpness.add(own, micros, found, moving, before_update)
            tokens += found.tokens
            if found.finite:
                processes.add_up(moving)
                norm = taken.norm() if taken else _cut(moving, max_grad_norm)
            sums = found.sums
            seconds = time.perf_counter() - began
            done = Step(number, stream.steps, sums, sum(sums.values()), norm, now, tokens, seconds)
            _check(done, lr)
            if taken is None:
                before_update()
                optimizer.step()
            yield done


def _within_backward(
    optimizer: torch.optim.Optimizer, before_update: Callable[[], None], max_grad_norm: float
) -> AbstractContextManager[lean.Taken | None]:
    """What of a pass a lean optimizer takes at once; None for the usual one, which takes all of it behind the pass."""
    if not hasattr(optimizer, "within_backward"):
        return nullcontext()
    if max_grad_norm:
        raise ValueError("train: gradients that are taken one by one have no common norm to be cut at.")
    return optimizer.within_backward(before_update)


def _cut(moving: list[Tensor], max_grad_norm: float) -> float:
    """The norm of the gradient, which is cut there where a limit is set."""
    return processes.whole(torch.nn.utils.clip_grad_norm_(moving, max_grad_norm or math.inf))


def _check(done: Step, lr: float) -> None:
    """Diverged where a term or the gradient is not finite."""
    bad = next((name for name, value in done.terms.items() if not math.isfinite(value)), "")
    if bad or not math.isfinite(done.grad_norm):
        what, broken = (f"term {bad}", done.terms[bad]) if bad else ("the gradient", done.grad_norm)
        raise Diverged(
            f"{what} became {broken} at step {done.step} of {done.of}; lower lr (now {lr:g}).", done
        )


class Phases:
    """The function that a method's unlearn() calls to train. Each call is one phase over a fresh stream, and
    the steps count on.

    phases(loss) trains with the run's own stream, optimiser and learning rate. Options: lr, epochs, and
    stream to train on something else. Only the first phase can start from a checkpoint. note(sentence) says something
    on the run's page, before_update() is called before weights change, counts holds what the method counted, cache
    is a folder for what need not be made twice, and settled is false while the weights are not yet the method's result.
    """

    def __init__(
        self,
        model: Model,
        stream: Stream,
        optimizer: torch.optim.Optimizer,
        *,
        lr: float,
        device: str,
        start: int,
        max_grad_norm: float = MAX_GRAD_NORM,
        sharpness: Sharpness | None = None,
    ):
        self.model, self.stream, self.optimizer = model, stream, optimizer
        self.lr, self.device, self.start = lr, device, start
        self.tokens = self.steps = self.calls = 0
        self.max_grad_norm = max_grad_norm
        self.sharpness = sharpness
        self.before_update: Callable[[], None] = lambda: None
        self.note: Callable[[str], None] = lambda text: None
        self.counts: JsonObject = {}
        # Whether the weights between two steps are the method's result so far, and not those of a phase before.
        self.settled = True
        self.cache: Path | None = None
        self.seconds, self.began = 0.0, time.perf_counter()

    def __call__(
        self,
        loss: Callable[[Batch], Mapping[str, Tensor]],
        *,
        lr: float | None = None,
        epochs: int | None = None,
        stream: Stream | None = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> Iterator[Step]:
        stream = stream or self.stream
        if epochs is not None:
            stream = replace(as_batches(stream), epochs=epochs)
        start, self.calls = (self.start if self.calls == 0 else 0), self.calls + 1
        offset, tokens, seconds = self.steps, self.tokens, self.seconds

        def counted(done: Step) -> Step:
            self.steps, self.tokens = offset + done.step, tokens + done.tokens
            self.seconds = seconds + done.seconds
            of = offset + done.of
            return replace(done, step=self.steps, of=of, tokens=self.tokens, seconds=self.seconds)

        try:
            for done in fit(
                self.model,
                loss,
                stream,
                optimizer or self.optimizer,
                lr=lr or self.lr,
                device=self.device,
                start=start,
                max_grad_norm=self.max_grad_norm,
                before_update=self.before_update,
                sharpness=self.sharpness,
            ):
                yield counted(done)
        except Diverged as error:
            error.step = counted(error.step)
            raise
        # This is also right where a checkpoint of the last step left nothing to do.
        self.steps = offset + stream.steps

    @property
    def batches(self) -> Batches:
        """Return the run's stream with its texts and settings, for a method that uses the plain stream."""
        return as_batches(self.stream)

    def step(
        self, step: int, of: int, terms: Mapping[str, float], norm: float, lr: float, tokens: int
    ) -> Step:
        """Return the record of one step of a method's own loop. tokens: of this step. Raises Diverged as
        fit() does.
        """
        self.steps, self.tokens = step, self.tokens + tokens
        seconds = time.perf_counter() - self.began
        done = Step(step, of, dict(terms), sum(terms.values()), norm, lr, self.tokens, seconds)
        if not math.isfinite(done.loss) or not math.isfinite(norm):
            raise Diverged(
                f"the loss became {done.loss} at step {step} of {of}; lower lr (now {lr:g}).", done
            )
        return done

    @property
    def resumable(self) -> bool:
        """Return whether a run can be resumed from a checkpoint taken now. A checkpoint does not hold the
        result of an earlier phase.
        """
        return self.calls <= 1


def as_batches(stream: Stream) -> Batches:
    """Return the stream itself. TypeError for one with an order of its own, which has no epochs to change."""
    if not isinstance(stream, Batches):
        raise TypeError(f"train: this needs plain Batches, got {type(stream).__name__}.")
    return stream
