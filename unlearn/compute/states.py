"""Functions that return the hidden states of a model: before its output head, or after one block.

A forward pass stops where the states are; nothing behind that place is computed.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from unlearn.compute.lazy import Model, Tensor, torch


def last_states(model: Model, inputs: Mapping[str, object]) -> Tensor:
    """Return the hidden states [B, L, d] that a model hands to its output head. The head itself gets no
    tokens, so it costs nothing.
    """
    caught: list[Tensor] = []

    def catch(_: object, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        caught.append(args[0])
        return (args[0][:, :0], *args[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(catch)
    try:
        model(**inputs, use_cache=False)
    finally:
        handle.remove()
    return caught[0]


class _Reached(Exception):
    """The block that was asked for has run."""


_to_the_end: ContextVar[bool] = ContextVar("to_the_end", default=False)


@contextlib.contextmanager
def to_the_end(on: bool = True) -> Iterator[None]:
    """Let each pass run to its end within the `with` block, also where a block in the middle is all that was asked for.

    A model in parts (unlearn.training.sharded) is brought together and let go of in whole passes.
    """
    before = _to_the_end.get()
    _to_the_end.set(on)
    try:
        yield
    finally:
        # A token would be refused where a generator that was left is ended by another thread.
        _to_the_end.set(before)


def block_states(model: Model, inputs: Mapping[str, object], layer: int) -> Tensor:
    """Return the output [B, L, d] of one transformer block. The forward pass ends there, unless within to_the_end()."""
    caught: list[Tensor] = []

    def catch(_: torch.nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        caught.append(output[0] if isinstance(output, tuple) else output)
        if not _to_the_end.get():
            raise _Reached

    handle = blocks(model)[layer].register_forward_hook(catch)
    try:
        with contextlib.suppress(_Reached):
            model(**inputs, use_cache=False)
    finally:
        handle.remove()
    return caught[0]


def depth(model: Model) -> int:
    """Return the number of transformer blocks in the model. Of an encoder-decoder the decoder's blocks are
    counted.
    """
    config = model.config
    if getattr(config, "is_encoder_decoder", False):
        return getattr(config, "num_decoder_layers", None) or config.decoder_layers
    return (config.get_text_config() if hasattr(config, "get_text_config") else config).num_hidden_layers


def blocks(model: Model) -> "torch.nn.ModuleList":
    """Return the list of the model's transformer blocks. ValueError for a model that is built otherwise."""
    root = model.get_decoder() if getattr(model.config, "is_encoder_decoder", False) else model
    for module in root.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth(model):
            return module
    raise ValueError(f"model: {type(model).__name__} has no list of {depth(model)} blocks to reach into.")
