"""This module reads what the matrices of a model take in and what is pushed back, and lets edits act in their place.

For y = W u at each token, ∇_W S = Σ_t δ_t u_tᵀ with δ_t = ∂S/∂y_t. So two vectors a token tell the whole gradient of a
matrix, without a tensor of its size. A matrix is a module that computes y = W u (+ b), by its name.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from unlearn.compute.lazy import F, Model, Tensor, lm, torch
from unlearn.compute.tokens import Tokens


def pairs_of(
    model: Model, matrices: Mapping[str, Model], texts: Tokens
) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
    """Return what each matrix reads at each token with the gradient of the texts' summed NLL at what it gives, and the
    NLL of each answer token.

    Of a matrix that reads several times (a text at a time) all tokens stand together.
    """
    read: list[tuple[str, Tensor, Tensor]] = []

    def seen(name: str) -> Callable[[Model, tuple[Tensor, ...], Tensor], None]:
        def hook(module: Model, given: tuple[Tensor, ...], out: Tensor) -> None:
            if out.requires_grad:
                read.append((name, given[0].detach(), out))

        return hook

    with _hooked(matrices, seen), torch.enable_grad():
        (answers,) = lm.forward(model, texts, whole=True)
        gradients = torch.autograd.grad(answers.nll.sum(), [out for *_, out in read])
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in matrices}
    for (name, reads, _), pushes in zip(read, gradients, strict=True):
        found[name].append((reads.flatten(0, -2).float(), pushes.flatten(0, -2).float()))
    joined = {
        name: (torch.cat([u for u, _ in pairs]), torch.cat([d for _, d in pairs]))
        for name, pairs in found.items()
        if pairs
    }
    return joined, answers.nll.detach()


@contextmanager
def edited(matrices: Mapping[str, Model], edits: Mapping[str, Tensor]) -> Iterator[None]:
    """Let each matrix W act as W + its edit [m, n] within the block, so that gradients reach what made the edit."""

    def added(name: str) -> Callable[[Model, tuple[Tensor, ...], Tensor], Tensor]:
        return lambda module, given, out: out + F.linear(given[0], edits[name].to(given[0].dtype))

    with _hooked({name: matrices[name] for name in edits}, added):
        yield


@contextmanager
def _hooked(
    matrices: Mapping[str, Model], made: Callable[[str], Callable[..., Tensor | None]]
) -> Iterator[None]:
    """Call made(name) after each pass of each matrix within the block."""
    handles = [matrix.register_forward_hook(made(name)) for name, matrix in matrices.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
