"""Gradient checkpointing keeps each block's input and computes the block again going backward.

About a third more work for a fraction of the memory, for long texts, big batches and models that hardly fit. Not
transformers' own switch, which works in training mode only: here dropout stays off, since the reference may share
these weights, and a block is computed again with the layout of packed texts that it had (unlearn/compute/packing.py).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

from unlearn.compute.lazy import Model
from unlearn.compute.packing import attending, current
from unlearn.compute.states import blocks

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@contextmanager
def checkpointed(model: Model, on: bool = True) -> Iterator[None]:
    """Keep no inner states of the model's blocks within the `with` block, which saves memory. Of an
    encoder-decoder only the decoder's blocks are meant. on=False changes nothing.
    """
    wrapped = list(blocks(model)) if on else []
    # Accelerate may have put a forward function of its own there.
    own = [vars(block).get("forward") for block in wrapped]
    for block in wrapped:
        block.forward = _again(block.forward, model.config)
    try:
        yield
    finally:
        for block, forward in zip(wrapped, own, strict=True):
            del block.forward
            if forward is not None:
                block.forward = forward


R = TypeVar("R")


def _again(forward: Callable[..., R], config: "PreTrainedConfig") -> Callable[..., R]:
    def run(*args: object, **options: Any) -> R:
        if not torch.is_grad_enabled():
            return forward(*args, **options)
        layout = current()

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), attending(config, layout)

        return checkpoint(
            forward, *args, use_reentrant=False, preserve_rng_state=False, context_fn=contexts, **options
        )

    return run
