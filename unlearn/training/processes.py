"""Several processes that train one model take turns, share each step's texts and add up what they computed.

Process 0 owns the run: it scores, probes, saves and decides when a step begins. The others follow it. Before each step,
and before each pass of its own through the model that they hold together, it says which is coming; so nothing that
process 0 alone knows (a clock, a wish to stop) can make two processes wait for different things.

A loss is a sum over texts, divided by what the whole step holds (Tokens.total_tokens, total_rows). So each process
computes its texts' part of the loss, and the parts, like the gradients, are added up. Outside joined() there is one
process, and nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import IntEnum
from typing import TypeVar

from unlearn.compute.lazy import Model, Tensor, torch
from unlearn.compute.tokens import Batch, Tokens
from unlearn.store import environment

# So long may a process wait for the others: process 0 may score for hours. A process that dies is noticed by whoever
# started them, not by waiting.
PATIENCE = timedelta(days=7)
# The divisor of the means of a process that has no text of a side. It reads one of another's, so that all compute
# alike, and what comes of it adds nothing to any sum of float32.
NOTHING = 1e30

Done = TypeVar("Done")
Text = TypeVar("Text")


class Word(IntEnum):
    """What process 0 says is coming: a step, a pass of its own, a checkpoint, or the end of the training."""

    STEP = 1
    PASS = 2
    SAVE = 3
    END = 4


class Ended(Exception):
    """Process 0 has ended the training."""


@dataclass
class Group:
    """The processes that train together, seen from one of them. rank: its number, from 0. size: how many there are.

    save(step): what a follower does for a checkpoint.
    """

    rank: int
    size: int
    save: Callable[[int], None] = field(default=lambda step: None)

    def say(self, word: Word, number: int = 0) -> None:
        """Tell the others what is coming. number: of the step of a checkpoint."""
        self._send(torch.tensor([int(word), number], device="cpu"))

    def hear(self) -> tuple[Word, int]:
        """Wait for what process 0 says."""
        word, number = self._send(torch.zeros(2, dtype=torch.long, device="cpu")).tolist()
        return Word(word), number

    def _send(self, message: Tensor) -> Tensor:
        torch.distributed.broadcast(message, 0)
        return message


_group: ContextVar[Group | None] = ContextVar("group", default=None)
_joint: ContextVar[bool] = ContextVar("joint", default=False)


def group() -> Group | None:
    """Return the processes that this one trains with, or None where it trains alone."""
    return _group.get()


def is_first() -> bool:
    """Return whether this process owns the run: process 0, or one that trains alone."""
    found = _group.get()
    return found is None or found.rank == 0


def size() -> int:
    """Return the number of processes that train together."""
    found = _group.get()
    return 1 if found is None else found.size


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """Train together with the other processes of this launch within the `with` block.

    torchrun and accelerate tell each process its place by the environment. Numbers on the host travel by gloo, those on
    a GPU by NCCL.
    """
    cuda = torch.cuda.is_available() and (environment.DEVICE.text() or "cuda").startswith("cuda")
    if cuda:
        # From here on "cuda" is this process's own GPU.
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    found = Group(torch.distributed.get_rank(), torch.distributed.get_world_size())
    token = _group.set(found)
    try:
        yield found
    finally:
        _group.reset(token)
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Train without the others within the `with` block, each process for itself."""
    token = _group.set(None)
    try:
        yield
    finally:
        _group.reset(token)


def meet() -> None:
    """Wait until all processes have come here."""
    if _group.get() is not None:
        torch.distributed.barrier()


def take_turn(model: Model) -> None:
    """Begin a step. The others wait for it, and take part in all that process 0 does before."""
    found = _group.get()
    if found is None:
        return
    if found.rank == 0:
        found.say(Word.STEP)
    else:
        follow(model, found)


def follow(model: Model, found: Group) -> None:
    """Take part in what process 0 does until a step begins. Raises Ended where it ends the training instead."""
    while True:
        word, number = found.hear()
        if word == Word.STEP:
            return
        if word == Word.END:
            raise Ended
        if word == Word.SAVE:
            found.save(number)
        else:
            _lend(model)


def _lend(model: Model) -> None:
    """Take part in a pass of process 0, which needs this one's part of the weights; the text does not matter."""
    device = next(model.parameters()).device
    ids = torch.zeros((1, 1), dtype=torch.long, device=device)
    with torch.no_grad():
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)


@contextlib.contextmanager
def jointly(model: Model) -> Iterator[None]:
    """Do the same in all processes within the `with` block, also in passes that keep no gradient."""
    take_turn(model)
    let_go(model)
    token = _joint.set(True)
    try:
        yield
    finally:
        _joint.reset(token)
        let_go(model)


def let_go(model: Model) -> None:
    """Let go of the weights that a pass without gradients has left together, in all processes."""
    if _group.get() is not None:
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def in_turn(model: Model, steps: Iterator[Done]) -> Iterator[Done]:
    """Yield these steps of a loop of a method's own. All processes begin each of them together."""
    while True:
        take_turn(model)
        let_go(model)
        try:
            done = next(steps)
        except StopIteration:
            return
        yield done


def announce(found: Group) -> None:
    """Tell the others of a pass that keeps no gradient: outside jointly(), such a one is process 0's own."""
    if found.rank == 0 and not torch.is_grad_enabled() and not _joint.get():
        found.say(Word.PASS)


def own_share(batch: Batch) -> Batch:
    """Return the texts of a micro-batch that this process reads. The totals stay those of the whole step."""
    found = _group.get()
    if found is None:
        return batch
    forget, retain = (None if side is None else share(side) for side in (batch.forget, batch.retain))
    return replace(batch, forget=forget, retain=retain)


def share(side: Tokens) -> Tokens:
    """Return the texts of one side that this process reads. One that has none reads a text with totals of NOTHING."""
    found = _group.get()
    if found is None:
        return side
    if own := range(found.rank, len(side.keys), found.size):
        return side.pick(own)
    # A method may subtract one total from the other, so they differ.
    return replace(side.pick([0]), total_tokens=2 * NOTHING, total_rows=NOTHING)


def summed(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the values of the terms of a loss, added up over all processes. The host reads them at once."""
    if not terms:
        return {}
    values = torch.stack([value.detach() for value in terms.values()])
    if _group.get() is not None:
        values = values.double()
        torch.distributed.all_reduce(values)
    return dict(zip(terms, values.tolist(), strict=True))


def own_texts(texts: Sequence[Text]) -> tuple[Sequence[Text], bool]:
    """Return the texts that this process reads, and whether they count: one that has none reads another's in vain."""
    found = _group.get()
    if found is None:
        return texts, True
    own = texts[found.rank :: found.size]
    return (own, True) if own else (texts[:1], False)


def add_up(moving: Iterable[Tensor]) -> None:
    """Add up the gradients of weights that each process holds whole. Those of weights in parts are sums already."""
    if _group.get() is None:
        return
    from torch.distributed.tensor import DTensor

    for weight in moving:
        if weight.grad is not None and not isinstance(weight.grad, DTensor):
            weight.grad = weight.grad.contiguous()
            torch.distributed.all_reduce(weight.grad)


def total(value: float) -> float:
    """Return the sum of a number over all processes."""
    if _group.get() is None:
        return value
    found = torch.tensor(value, dtype=torch.float64, device="cpu")
    torch.distributed.all_reduce(found)
    return float(found)


def whole(value: Tensor) -> float:
    """Return a number whose parts may lie in several processes."""
    together = getattr(value, "full_tensor", None)
    return float(value if together is None else together())


def told(text: str) -> str:
    """Return what process 0 says, in all processes."""
    found = _group.get()
    if found is None:
        return text
    words = text.encode()
    count = torch.tensor([len(words)], device="cpu")
    torch.distributed.broadcast(count, 0)
    if not count:
        return ""
    message = torch.zeros(int(count), dtype=torch.uint8, device="cpu")
    if found.rank == 0:
        message = torch.frombuffer(bytearray(words), dtype=torch.uint8)
    torch.distributed.broadcast(message, 0)
    return bytes(message.tolist()).decode()
