"""Private hooks: they stand in one module, and with each gone or broken the results are those of plain torch."""

import ast
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from bench import ways
from tests.compute.test_packing import FAMILIES, family
from unlearn.compute import memory, packing, private, products, together
from unlearn.compute.head import Head, cross_entropy
from unlearn.compute.lm import forward
from unlearn.compute.tokens import Batch, collate
from unlearn.models.load import add_lora

ROOT = Path(private.__file__).parents[1]
CACHED = (
    private.onednn_linear,
    private._tells_its_passes,
    private._softmax_kernel,
    packing._sdpa,
    products.library,
)
OF_OTHERS = {"_option_string_actions", "_replace", "_asdict", "_fields"}  # argparse's, named tuples'


@pytest.fixture(autouse=True)
def fresh():
    for one in CACHED:
        one.cache_clear()
    yield
    for one in CACHED:
        one.cache_clear()


def private_names(path):
    """Attributes that begin with an underscore and that this file did not make, with their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    made = {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    for node in nodes:
        if isinstance(node, (ast.AnnAssign, ast.Attribute)) and isinstance(
            getattr(node, "ctx", None), ast.Store
        ):
            made.add(node.attr)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            made.add(node.target.id)
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own and node.attr not in made | OF_OTHERS:
                yield node.lineno, node.attr
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("torch._", "transformers._")):
            yield node.lineno, node.module


def test_private_hooks_of_the_libraries_stand_in_one_module():
    found = {
        f"{path.relative_to(ROOT)}:{line} {name}"
        for room in ("compute", "models", "training", "methods", "measure", "attacks", "metrics", "work")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.name != "private.py"
        for line, name in private_names(path)
    }
    assert not found
    assert {name for _, name in private_names(ROOT / "compute" / "private.py")} >= {
        "_linear_pointwise", "_current_graph_task_id", "_forward_hooks", "_forward_pre_hooks"
    }  # fmt: skip


def raises(*_args, **_options):
    raise RuntimeError("gone with this release")


def wrong(x, w, bias, *_):
    return F.linear(x, w, bias) * 1.01


def broken_onednn(monkeypatch, how):
    class Op:
        def __getattr__(self, name):
            if how is None:
                raise AttributeError(name)
            return how

    monkeypatch.setattr(torch.ops, "mkldnn", Op())


@pytest.mark.parametrize("how", [None, raises, wrong])
def test_without_onednns_product_it_is_torchs_own(monkeypatch, how):
    broken_onednn(monkeypatch, how)
    monkeypatch.delenv("UNLEARN_PRODUCTS", raising=False)
    assert private.onednn_linear() is None
    assert products.library() == "blas"
    x, w = torch.randn(256, 96), torch.randn(192, 96)
    assert torch.equal(products.linear(x, w), F.linear(x, w))
    assert torch.equal(products.outer(x, x), x.T @ x)


def gradients(head, hidden, labels):
    halves = [cross_entropy(head, hidden[part], labels[part]) for part in (slice(0, 5), slice(5, 9))]
    return torch.autograd.grad(halves[0].sum() - 2 * halves[1].sum(), [hidden, head.linear.weight])


def same_number(seen=[7]):  # noqa: B006
    return seen[0]


@pytest.mark.parametrize("how", [None, raises, lambda: -1, same_number, lambda: "one"])
def test_without_the_number_of_a_backward_pass_gradients_are_added_by_autograd(monkeypatch, how):
    from unlearn.compute import head as heads

    torch.manual_seed(0)
    linear, hidden = (
        torch.nn.Linear(6, 11).double(),
        torch.randn(9, 6, dtype=torch.float64, requires_grad=True),
    )
    labels = torch.randint(0, 11, (9,))
    monkeypatch.setattr(heads, "chunk", lambda *_: 2)  # several pieces within one loss too
    plain = F.cross_entropy(linear(hidden), labels, reduction="none")
    want = torch.autograd.grad(plain[:5].sum() - 2 * plain[5:].sum(), [hidden, linear.weight])
    if how is None:
        monkeypatch.delattr(torch._C, "_current_graph_task_id")
    else:
        monkeypatch.setattr(torch._C, "_current_graph_task_id", how)
    assert private.backward_pass() is None
    for _ in range(2):
        for got, expected in zip(gradients(Head(linear), hidden, labels), want, strict=True):
            assert torch.allclose(got, expected, atol=1e-12)


def test_the_number_of_a_backward_pass_is_told_within_one_alone():
    seen = []
    x = torch.ones(1, requires_grad=True)
    x.register_hook(lambda grad: seen.append(private.backward_pass()))
    private._tells_its_passes()
    (x * 2).backward()
    assert private.backward_pass() is None
    assert type(seen[0]) is int


def test_it_can_be_tried_within_a_backward_pass_too():
    x = torch.ones(1, requires_grad=True)
    x.register_hook(lambda grad: seen.append(private._tells_its_passes()))
    seen = []
    (x * 2).backward()
    assert seen == [True]


def test_a_module_that_does_not_tell_who_watches_it_is_not_taken_apart():
    assert not private.watched(torch.nn.Linear(2, 2))
    assert private.watched(object())


def step_of(model):
    """A GA+GD step's loss and gradients."""
    sides = (collate(ways.make_texts(3, (8, 20), 50, seed), 0) for seed in (1, 2))
    batch = Batch(*sides)
    model.zero_grad()
    first, second = forward(model, batch.forget, batch.retain)
    loss = second.mean_nll() - first.mean_nll()
    loss.backward()
    moved = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return float(loss), moved


def without_attention(monkeypatch):
    """transformers without its table of attention functions."""
    import transformers.modeling_utils

    monkeypatch.delattr(transformers.modeling_utils, "ALL_ATTENTION_FUNCTIONS")


def without_passes(monkeypatch):
    monkeypatch.delattr(torch._C, "_current_graph_task_id")


def without_onednn(monkeypatch):
    broken_onednn(monkeypatch, raises)


def without_hooks_to_see(monkeypatch):
    monkeypatch.setattr(private, "watched", lambda module: True)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize(
    "gone",
    [without_attention, without_passes, without_onednn, without_hooks_to_see],
    ids=lambda f: f.__name__,
)
def test_a_whole_step_is_the_same_without_each_hook(monkeypatch, gone, lora):
    found = []
    for broken in (False, True):
        model = family("llama", **FAMILIES["llama"])
        model = products.adopt(add_lora(model, rank=2, alpha=4.0, seed=0) if lora else model)
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(torch.linspace(-0.3, 0.3, p.numel()).view_as(p) if "lora_B" in name else p)
        if broken:
            gone(monkeypatch)
            for one in CACHED:
                one.cache_clear()
        found.append(step_of(model))
        if broken and gone is without_attention:
            assert not together.packs(model)
    (loss, moved), (plain_loss, plain_moved) = found
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    assert moved.keys() == plain_moved.keys()
    for name, grad in moved.items():
        assert torch.allclose(grad, plain_moved[name], rtol=1e-3, atol=1e-5 * float(grad.abs().max())), name


def test_memory_is_that_of_the_process_where_the_profiler_does_not_tell(monkeypatch):
    monkeypatch.setattr(private, "allocations", lambda seen: None)

    def work():
        return float(torch.ones(2**24).sum())  # 64 MiB

    assert 0.9 * 2**26 < memory.allocated_peak(work, "cpu") < 3 * 2**26


def test_a_profile_of_another_make_tells_nothing():
    assert private.allocations(object()) is None


@pytest.mark.parametrize("kernel", [True, False])
def test_a_softmax_is_led_back_the_same_without_the_one_operation(monkeypatch, kernel):
    if not kernel:
        monkeypatch.setattr(torch.ops.aten, "_softmax_backward_data", raises)
    private._softmax_kernel.cache_clear()
    x = torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    grad = torch.linspace(-1, 2, x.numel()).view_as(x)
    weights = x.softmax(-1)
    (wanted,) = torch.autograd.grad(weights, x, grad)
    assert (private._softmax_kernel() is not None) == kernel
    assert torch.allclose(private.softmax_backward(grad, weights.detach()), wanted, rtol=1e-5, atol=1e-7)
    monkeypatch.undo()
    private._softmax_kernel.cache_clear()
