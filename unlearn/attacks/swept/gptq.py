"""4-bit weights with compensation: what rounding one weight spoils, the weights that are not rounded yet make good.

    H = Σ x xᵀ + λ I over the inputs x of the map, on retain texts;   H⁻¹ = Uᵀ U, U upper triangular
    for each input i:  q_i = round(w_i);   w_j ← w_j - (w_i - q_i) U_ij / U_ii for all j > i

That is GPTQ (Frantar et al. 2022, arXiv 2210.17323) in small: each map alone, calibrated by one pass of the unrounded
model, in the order of the inputs. The grid is that of quantise.py: symmetric, a scale for 32 inputs, taken when their
turn comes. It keeps the model's answers better than round-to-nearest, and with them what unlearning changed little.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from unlearn.attacks.base import BATCH, Subject
from unlearn.attacks.quantise import GROUP, linear_maps, merged_copy, with_weights
from unlearn.attacks.swept.asking import some
from unlearn.attacks.swept.rounding import cell
from unlearn.compute.lazy import Model, Tensor, lm, no_grad, torch
from unlearn.compute.tokens import collate
from unlearn.training.encoding import encode_rows

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

BITS = 4
# The calibration reads so many retain texts.
TEXTS = 64
# λ as a part of the mean of H's diagonal.
DAMP = 0.01


def compensated(
    weight: Tensor, inputs: Tensor, bits: int = BITS, group: int = GROUP, damp: float = DAMP
) -> Tensor:
    """Return weight [out, in] rounded with compensation. inputs [in, in] is Σ x xᵀ. Same dtype.

    An input that was always 0 says nothing about its weights; they are rounded to the nearest alone.
    """
    top = 2 ** (bits - 1) - 1
    w = weight.detach().double().clone()
    h = inputs.to(w.device).double().clone()
    idle = h.diagonal() == 0
    h.diagonal().add_(damp * h.diagonal().mean() + idle.double())
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    for start in range(0, w.shape[1], group):
        piece = w[:, start : start + group]
        width, factor = piece.shape[1], u[start : start + group, start : start + group]
        scale = piece.abs().amax(1) / top
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        missed = torch.empty_like(piece)
        for i in range(width):
            value = (piece[:, i] / safe).round().clamp(-top, top) * safe
            missed[:, i] = (piece[:, i] - value) / factor[i, i]
            piece[:, i] = value
            piece[:, i + 1 :] -= missed[:, i, None] * factor[i, i + 1 :]
        w[:, start + width :] -= missed @ u[start : start + width, start + width :]
    return w.to(weight.dtype)


@no_grad
def calibrated(subject: Subject, loaded: "Loaded", model: Model) -> dict[str, Tensor]:
    """Return {map: Σ x xᵀ [in, in]} over its inputs x while the model reads retain texts. ValueError without any."""
    rows = some(subject.data.fit_rows("retain") or subject.data.fit_rows("general"), TEXTS)
    if not rows:
        raise ValueError("gptq: there are no retain texts to calibrate on")
    sums: dict[str, Tensor] = {}

    def watching(name: str) -> "Callable[[torch.nn.Module, tuple[Tensor, ...]], None]":
        def note(_: "torch.nn.Module", args: tuple[Tensor, ...]) -> None:
            x = args[0].detach().reshape(-1, args[0].shape[-1]).float()
            sums[name] = sums.get(name, 0) + x.T @ x

        return note

    handles = [m.register_forward_pre_hook(watching(name)) for name, m, _ in linear_maps(model)]
    try:
        length = loaded.fit_length(subject.max_length)
        examples = encode_rows(loaded.tokenizer, rows, max_length=length)
        for at in range(0, len(examples), BATCH):
            lm.forward(model, collate(examples[at : at + BATCH], loaded.pad_id).to(loaded.device), whole=True)
    finally:
        for handle in handles:
            handle.remove()
    return sums


def _make(subject: Subject, loaded: "Loaded") -> tuple[Model, int]:
    model = merged_copy(loaded.model)
    sums = calibrated(subject, loaded, model)

    def new(name: str, weight: Tensor) -> Tensor:
        subject.progress(f"rounding {name}", 0.0)
        # A map that no text reached, such as an expert, has no inputs to be calibrated on.
        known = sums.get(name, torch.zeros(weight.shape[1], weight.shape[1], device=weight.device))
        return compensated(weight, known)

    return model, len(with_weights(model, new))


CELLS = (
    cell(
        "gptq-4",
        "GPTQ-like 4-bit weights",
        f"groups of {GROUP}, {TEXTS} retain texts",
        "Share of exact answers with 4-bit weights whose rounding errors are made good by the weights beside.",
        "Frantar et al. 2022, arXiv 2210.17323; Zhang et al. 2024, arXiv 2410.16454",
        _make,
        cost=12,
    ),
)
