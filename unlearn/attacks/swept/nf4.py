"""NF4 weights: each is replaced by the nearest of sixteen quantiles of a normal distribution, the format of QLoRA.

    s = max|w| over a block of 64 weights;   ŵ = s · c_j,   c_j the code point nearest to w / s

Blocks run along the weights as they lie in memory, and the last one may be shorter. The code points are those that
Dettmers et al. 2023 (arXiv 2305.14314, appendix E) publish. The scales stay whole (no double quantisation). Every
linear map but the head is rounded, as in quantise.py, after a LoRA adapter was merged.
"""

from typing import TYPE_CHECKING

from unlearn.attacks.base import Subject
from unlearn.attacks.quantise import merged_copy, with_weights
from unlearn.attacks.swept.rounding import cell
from unlearn.compute.lazy import Model, Tensor, torch

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

BLOCK = 64
CODE = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


def rounded(weight: Tensor, block: int = BLOCK) -> Tensor:
    """Return the weight with each value at the nearest code point of its block. Same shape and dtype."""
    code = torch.tensor(CODE, device=weight.device)
    # A value between two neighbours goes to the nearer one, so the borders are their middles.
    borders = (code[1:] + code[:-1]) / 2
    flat = weight.detach().float().reshape(-1)
    parts = []
    for piece in (flat[: len(flat) // block * block].reshape(-1, block), flat[len(flat) // block * block :]):
        scale = piece.abs().amax(-1, keepdim=True) if piece.numel() else piece
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        parts.append((code[torch.bucketize(piece / safe, borders)] * scale).reshape(-1))
    return torch.cat(parts).reshape(weight.shape).to(weight.dtype)


def _make(_: Subject, loaded: "Loaded") -> tuple[Model, int]:
    model = merged_copy(loaded.model)
    return model, len(with_weights(model, lambda _, weight: rounded(weight)))


CELLS = (
    cell(
        "nf4",
        "NF4 weights",
        "blocks of 64",
        "Share of exact answers with every linear map but the head rounded to the 16 values of NF4.",
        "Dettmers et al. 2023, arXiv 2305.14314; Zhang et al. 2024, arXiv 2410.16454",
        _make,
        cost=4,
    ),
)
