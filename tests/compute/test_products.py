"""Products by either library against float64, with gradients; what adopt() changes, and what it leaves as it was."""

import copy
import json

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

from bench import products as bench_products
from unlearn.compute import private, products

N, K, M = 64, 96, 192  # N·K·M is above products.LEAST


@pytest.fixture(params=products.LIBRARIES)
def library(request, monkeypatch):
    chosen(monkeypatch, request.param)
    yield request.param
    products.library.cache_clear()


@pytest.fixture
def onednn(monkeypatch):
    """The calls that reached oneDNN, whichever library is faster on this machine."""
    chosen(monkeypatch, "onednn")
    calls, real = [], products._onednn

    def watched(x, w, bias):
        calls.append((tuple(x.shape), tuple(w.shape)))
        return real(x, w, bias)

    monkeypatch.setattr(products, "_onednn", watched)
    yield calls
    products.library.cache_clear()


def chosen(monkeypatch, name):
    monkeypatch.setenv("UNLEARN_PRODUCTS", name)
    products.library.cache_clear()


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def near(found, wanted):
    return torch.allclose(found.double(), wanted.double(), rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


LAYOUTS = {  # of a [rows, columns] matrix: as it lies in memory
    "rows": lambda t: t,
    "columns": lambda t: t.T.contiguous().T,
    "part of rows": lambda t: torch.cat([t, t + 1], 1)[:, : t.shape[1]],
    "every other": lambda t: t.repeat_interleave(2, 1)[:, ::2],
    "one repeated": lambda t: t[:1].expand(t.shape),
}


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_a_product_is_right_however_its_factors_lie_in_memory(library, left, right):
    a, b = LAYOUTS[left](numbers(N, K)), LAYOUTS[right](numbers(K, M, seed=1))
    found = products.matmul(a, b)
    assert found.is_contiguous()
    assert near(found, a.double() @ b.double())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(N, K), (4, N // 4, K)])
def test_a_layer_and_its_gradients_are_those_of_float64(library, shape, bias):
    torch.manual_seed(0)
    layer = nn.Linear(K, M, bias=bias)
    truth = copy.deepcopy(layer).double()
    products.adopt(layer)
    x, slope = numbers(*shape), numbers(*shape[:-1], M, seed=1)
    mine, theirs = x.clone().requires_grad_(True), x.double().requires_grad_(True)
    y, want = layer(mine), truth(theirs)
    (y * slope).sum().backward()
    (want * slope.double()).sum().backward()
    assert near(y.detach(), want.detach())
    assert near(mine.grad, theirs.grad)
    for found, right in zip(layer.parameters(), truth.parameters(), strict=True):
        assert near(found.grad, right.grad)
    with torch.no_grad():
        assert torch.equal(layer(x), y)


@pytest.mark.parametrize("count", [63, 64, 65, 97, 300])
def test_rows_that_round_the_number_up_change_nothing(library, count):
    x, g, w = numbers(count, K), numbers(count, M, seed=1), numbers(M, K, seed=2)
    found = products.linear(x, w)
    assert found.shape == (count, M)
    assert near(found, x.double() @ w.double().T)
    assert near(products.outer(g, x), g.double().T @ x.double())


def test_few_numbers_of_rows_are_met(onednn):
    """Each number of tokens would be a shape that oneDNN writes code for, and keeps."""
    for count in range(256, 513):
        products.linear(numbers(count, K), numbers(M, K))
        products.outer(numbers(count, M), numbers(count, K))
    wide, tall = {x for x, w in onednn if w == (M, K)}, {x for x, w in onednn if w != (M, K)}
    assert wide == {(n, K) for n in range(256, 513, 16)}
    assert tall == {(M, n) for n in range(256, 513, 16)}


def test_rounding_costs_at_most_a_sixteenth_of_many_rows(onednn):
    for dtype in (torch.float32, torch.bfloat16):
        like = numbers(1).to(dtype)
        for count in range(1, 3000):
            found = products.rows(count, like)
            assert count <= found < count + max(products.FEWEST, count / products.SHAPES)
            assert products.rows(found, like) == found


def test_only_onednn_is_rounded_for(monkeypatch):
    chosen(monkeypatch, "blas")
    assert products.rows(33, numbers(1)) == 33
    assert products.rows(33, numbers(1).bfloat16()) == 40
    assert products.rows(33, numbers(1).bfloat16().to("meta")) == 33
    assert products.rows(0, numbers(1).bfloat16()) == 0
    products.library.cache_clear()


def test_gradients_are_taken_of_what_asks_for_them_alone(onednn):
    layer = products.adopt(nn.Linear(K, M)).requires_grad_(False)
    x = numbers(N, K).requires_grad_(True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert x.grad is not None
    assert onednn == [((N, K), (M, K)), ((N, M), (K, M))]


def test_what_it_gathers_may_be_added_to_in_place(onednn):
    """Autograd adds a second gradient into the first one's memory only where no view holds on to it."""
    assert products.matmul(numbers(N, K), numbers(K, M))._base is None


@pytest.mark.parametrize(
    ("x", "w"),
    [
        (numbers(2, K), numbers(M, K)),  # too small to be worth it
        (numbers(N, K).double(), numbers(M, K).double()),
        (numbers(N, K).bfloat16(), numbers(M, K).bfloat16()),
        (numbers(0, K), numbers(M, K)),
    ],
)
def test_torch_does_what_is_small_or_of_another_type(onednn, x, w):
    assert torch.equal(products.linear(x, w), nn.functional.linear(x, w))
    assert not onednn


def test_autocast_has_its_way(onednn):
    layer = products.adopt(nn.Linear(K, M))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(numbers(N, K)).dtype == torch.bfloat16
    assert not onednn


def test_an_adopted_model_keeps_its_weights_names_and_outputs(onednn):
    config = LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    plain = copy.deepcopy(model)
    assert products.adopt(model) is model
    assert products.is_plain(model.lm_head)
    assert list(model.state_dict()) == list(plain.state_dict())
    ids = torch.arange(4 * 64).view(4, 64) % 300
    with torch.no_grad():
        found, want = model(input_ids=ids).logits, plain(input_ids=ids).logits
    assert near(found, want)
    assert len(onednn) == 2 * 7 + 1
    again = copy.deepcopy(model)  # a copy multiplies with its own weights
    with torch.no_grad():
        again.lm_head.weight.zero_()
        assert float(again(input_ids=ids).logits.abs().max()) == 0
        assert near(model(input_ids=ids).logits, want)


def test_gpt2s_turned_layers_too(onednn):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=64, n_layer=2, n_head=4)).eval()
    plain = copy.deepcopy(model)
    products.adopt(model)
    assert all(isinstance(block.mlp.c_fc, Conv1D) for block in model.transformer.h)
    ids = torch.arange(4 * 64).view(4, 64) % 300
    for one in (model, plain):
        one(input_ids=ids, labels=ids).loss.backward()
    assert len(onednn) >= 2 * 4 * 3
    for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert near(p.grad, q.grad), name


def test_layers_that_something_else_has_changed_stay_as_they_are():
    class Own(nn.Linear):
        pass

    own, moved = Own(4, 4), nn.Linear(4, 4)
    moved._hf_hook = object()
    products.adopt(nn.ModuleList([own, moved]))
    assert type(own) is Own
    assert type(moved) is nn.Linear
    assert not products.is_plain(own)


def test_the_faster_library_is_chosen(monkeypatch):
    monkeypatch.delenv("UNLEARN_PRODUCTS", raising=False)
    # A run of another test in this process may have said which library it began with.
    monkeypatch.setattr(products, "_recorded", None)
    for own, other, want in ((2.0, 1.0, "onednn"), (1.2, 1.0, "blas"), (1.0, 2.0, "blas")):
        paces = {products.F.linear: own, products._onednn: other}
        monkeypatch.setattr(products, "_seconds", lambda product, *_, paces=paces: paces[product])
        products.library.cache_clear()
        assert products.library() == want
    products.library.cache_clear()


def test_what_a_run_was_made_with_is_used_again(monkeypatch):
    """Whatever would be faster now; the environment alone has more to say, and a build without oneDNN its own way."""
    monkeypatch.delenv("UNLEARN_PRODUCTS", raising=False)
    fast = {products.F.linear: 1.0, products._onednn: 9.0}
    monkeypatch.setattr(products, "_seconds", lambda product, *_: fast[product])
    try:
        assert products.use("onednn") == products.library() == "onednn"
        assert products.use("blas") == products.library() == "blas"
        with pytest.raises(ValueError, match="products must be among blas, onednn, got 'mkl'"):
            products.use("mkl")
        fast |= {products.F.linear: 9.0, products._onednn: 1.0}
        assert products.use(None) == "onednn"
        monkeypatch.setenv("UNLEARN_PRODUCTS", "blas")
        assert products.use("onednn") == "blas"
        monkeypatch.delenv("UNLEARN_PRODUCTS")
        monkeypatch.setattr(private, "onednn_linear", lambda: None)
        assert products.use("onednn") == "blas"
    finally:
        monkeypatch.undo()
        products.use(None)


def test_a_library_that_is_none_is_an_error_with_the_choice(monkeypatch):
    chosen(monkeypatch, "lapack")
    with pytest.raises(ValueError, match="UNLEARN_PRODUCTS must be among blas, onednn, got 'lapack'"):
        products.library()
    products.library.cache_clear()


def test_a_torch_without_onednn_does_it_itself(monkeypatch):
    monkeypatch.setattr(private, "onednn_linear", lambda: None)
    monkeypatch.delenv("UNLEARN_PRODUCTS", raising=False)
    products.library.cache_clear()
    assert products.library() == "blas"
    chosen(monkeypatch, "onednn")
    with pytest.raises(ValueError, match="this build of torch lacks; unset it, or choose blas"):
        products.library()
    products.library.cache_clear()


def test_the_benchmark_uses_each_library_in_turn(tmp_path, monkeypatch):
    seen, real = [], products.linear

    def watched(*args):
        seen.append(products.library())
        return real(*args)

    monkeypatch.setenv("UNLEARN_PRODUCTS", "blas")
    monkeypatch.setattr(products, "linear", watched)
    monkeypatch.setattr(bench_products, "SHAPES", {"toy": (4, 6, 8)})
    out, threads = tmp_path / "products.json", torch.get_num_threads()
    words = ["--rounds", "1", "--methods", "npo", "--size", "toy", "--vocabulary", "50"]
    bench_products.main([*words, "--allow-dirty", "--out", str(out)])
    torch.set_num_threads(threads)
    assert seen[:4] == ["blas", "onednn", "blas", "onednn"]
    assert products.library() == "blas"  # as it was
    rows = json.loads(out.read_text())["rows"]
    assert [row["part"] for row in rows] == ["forward", "gradient of inputs", "gradient of weights", "NPO"]
    assert all(row["blas"] > 0 < row["onednn"] and row["ratio"] > 0 for row in rows)
    products.library.cache_clear()
