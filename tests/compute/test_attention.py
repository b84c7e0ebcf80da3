"""Attention of short packed texts: the formula's values and gradients, whatever the row's layout."""

import pytest
import torch

from unlearn.compute import attention, products
from unlearn.compute.layout import layout_of

LENGTHS = (7, 4, 6)


def by_formula(q, k, v, scale):
    """Causal attention with grouped heads, one query at a time, in float64; [B, L, H, d]."""
    rows, heads, length, _ = q.shape
    q, k, v = (x.double() for x in (q, k, v))
    out = []
    for b in range(rows):
        for t in range(length):
            for h in range(heads):
                g = h * k.shape[1] // heads
                weights = torch.softmax(scale * k[b, g, : t + 1] @ q[b, h, t], 0)
                out.append(weights @ v[b, g, : t + 1])
    return torch.stack(out).view(rows, length, heads, -1)


def scene(monkeypatch, *, shared, rounded, groups, dtype):
    """(layout, row of queries, keys and values, the same as texts) of three texts, two of which begin alike."""
    monkeypatch.setattr(products, "rows", lambda count, _: -(-count // rounded) * rounded)
    mask = torch.tensor([[1] * n + [0] * (7 - n) for n in LENGTHS])
    ids = torch.arange(21).view(3, 7)
    ids[1, :2] = ids[0, :2]
    layout = layout_of(mask, torch.zeros(1), ids if shared else None)
    assert layout.count == sum(LENGTHS) - 2 * shared
    generator = torch.Generator().manual_seed(0)
    row = [
        torch.randn(1, len(layout.place), heads, 8, generator=generator).to(dtype).transpose(1, 2)
        for heads in (4, groups, groups)
    ]
    return layout, [x.requires_grad_() for x in row]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("rounded", [1, 16])
def test_each_text_attends_to_itself_by_the_formula(monkeypatch, dtype, groups, shared, rounded):
    layout, row = scene(monkeypatch, shared=shared, rounded=rounded, groups=groups, dtype=dtype)
    got, keys, values = attention.attend(*row, layout, 0.3)
    # [B, H, L, d] by taking each token's place.
    texts = [x[0, :, layout.token].view(x.shape[1], 3, -1, 8).transpose(0, 1) for x in row]
    assert torch.equal(keys, texts[1])
    assert torch.equal(values, texts[2])
    want = by_formula(*texts, 0.3).flatten(0, 1)[layout.place[: layout.count]]
    got = got[0, : layout.count]
    weighting = torch.linspace(-1, 1, want.numel()).view_as(want)
    error = 1e-5 if dtype == torch.float32 else 2e-2
    slopes = [torch.autograd.grad((out.double() * weighting).sum(), row) for out in (got, want)]
    for mine, true in zip((got, *slopes[0]), (want, *slopes[1]), strict=True):
        assert float((mine.double() - true.double()).norm()) <= error * float(true.double().norm())


def test_tokens_that_round_their_number_up_get_no_gradient(monkeypatch):
    layout, row = scene(monkeypatch, shared=True, rounded=16, groups=2, dtype=torch.float32)
    out, *_ = attention.attend(*row, layout, 0.3)
    # Even where somebody asks for what they are given, as for the first token that they repeat.
    for slope in torch.autograd.grad(out.sum(), row):
        assert not slope[0, :, layout.count :].any()
        assert slope[0, :, : layout.count].any()


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({"scaling": None}, 7),
        ({"softcap": 30.0}, 7),
        ({"s_aux": 1}, 7),
        ({"dropout": 0.1}, 7),
        ({"sliding_window": 5}, 7),
        ({}, attention.SHORT + 1),
    ],
)
def test_what_plain_products_do_not_cover_goes_to_the_fused_kernel(changes, length):
    x = torch.zeros(1, 2, length, 4)
    assert not attention.fits(x, x, x, length, {"scaling": 0.5} | changes)
    assert attention.fits(x, x, x, 7, {"scaling": 0.5, "sliding_window": 7})
