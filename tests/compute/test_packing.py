"""Packed passes: the same states and gradients as padded ones, and no padding in the model."""

from types import SimpleNamespace

import pytest
import torch

from unlearn.compute import lm, packing, products, states, together
from unlearn.compute.lm import forward
from unlearn.compute.tokens import IGNORE, Example, collate

LENGTHS = (9, 4, 13, 6)


def texts(first_key=0):
    generator = torch.Generator().manual_seed(first_key)
    rows = [torch.randint(3, 50, (n,), generator=generator).tolist() for n in LENGTHS]
    return [Example(tuple(r), (IGNORE,) * 2 + tuple(r[2:]), first_key + i) for i, r in enumerate(rows)]


def family(name, **changes):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    values = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2} | changes
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **values)).eval()


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES = {
    "llama": SMALL | {"num_key_value_heads": 2},
    "mistral": SMALL | {"num_key_value_heads": 2, "sliding_window": 5},
    "qwen2": SMALL | {"num_key_value_heads": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neox": SMALL | {"max_position_embeddings": 64},
}


def found(model, layer=None):
    model.zero_grad()
    first, second = forward(model, collate(texts(), 0), collate(texts(7)[:2], 0), layer=layer)
    weights = torch.linspace(-1, 1, first.hidden.numel()).view_as(first.hidden)
    (first.hidden * weights).sum().backward(retain_graph=True)
    second.hidden.square().sum().backward()
    slopes = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return first.hidden.detach(), second.hidden.detach(), slopes


@pytest.mark.parametrize("layer", [None, 0])
@pytest.mark.parametrize("name", FAMILIES)
def test_states_and_gradients_are_those_of_the_padded_pass(monkeypatch, name, layer):
    model = family(name, **FAMILIES[name])
    with torch.no_grad():
        for parameter in model.parameters():  # attention that matters
            parameter.mul_(3.0)
    assert together.packs(model)
    packed = found(model, layer)
    monkeypatch.setattr(lm, "packs", lambda *_: False)
    for got, want in zip(packed, found(model, layer), strict=True):
        assert torch.allclose(got, want, rtol=1e-3, atol=1e-5 * float(want.abs().max()))


def test_no_padding_runs_through_the_model(monkeypatch):
    """Nothing but the tokens, and those that round their number up."""
    model, seen = family("llama", **FAMILIES["llama"]), []
    together.packs(model)
    handle = states.blocks(model)[0].register_forward_hook(
        lambda _m, args, _o: seen.append(args[0].shape[:2])
    )
    tokens = 2 * sum(LENGTHS)
    for rounded in (tokens, tokens + 5):
        monkeypatch.setattr(products, "rows", lambda count, _, to=rounded: to if count == tokens else count)
        forward(model, collate(texts(), 0), collate(texts(7), 0))
        assert seen.pop() == (1, rounded)
    handle.remove()


def test_both_numbers_of_a_layout_are_rounded():
    """bfloat16 products are oneDNN's wherever there is one: in the layers by tokens, in attention by the longest."""
    mask = torch.tensor([[1] * 9, [1] * 4 + [0] * 5])
    layout = packing.layout_of(mask, torch.zeros(1, dtype=torch.bfloat16))
    assert (layout.length, len(layout.place)) == (16, 16)
    inputs = packing.packed_inputs(torch.arange(18).view(2, 9), layout)
    assert inputs["input_ids"].tolist() == [[*range(9), *range(9, 13), 0, 0, 0]]
    assert inputs["position_ids"].tolist() == [[*range(9), *range(4), 0, 0, 0]]


@pytest.mark.parametrize("rounded", [1, 7, 16])
def test_tokens_that_round_the_number_up_change_nothing(monkeypatch, rounded):
    model = family("llama", **FAMILIES["llama"])
    monkeypatch.setattr(lm, "packs", lambda *_: True)
    monkeypatch.setattr(products, "rows", lambda count, _: -(-count // rounded) * rounded)
    packed = found(model)
    monkeypatch.setattr(lm, "packs", lambda *_: False)
    for got, want in zip(packed, found(model), strict=True):
        assert torch.allclose(got, want, rtol=1e-3, atol=1e-5 * float(want.abs().max()))


def test_a_pass_leaves_the_model_as_it_was():
    model = family("llama", **FAMILIES["llama"])
    ids = torch.arange(3, 9)[None]
    before = model(input_ids=ids).logits
    forward(model, collate(texts(), 0))
    assert model.config._attn_implementation == "sdpa"
    assert packing.current() is None
    assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),  # positions by the distance in the mask
        ("mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),  # a state that runs on
    ],
)
def test_a_model_that_cannot_be_packed_is_padded(name, changes):
    model = family(name, **changes)
    assert not together.packs(model)
    (padded,) = forward(model, collate(texts(), 0))
    alone = torch.cat([forward(model, collate([e], 0))[0].hidden for e in texts()])
    assert torch.allclose(padded.hidden, alone, atol=1e-4)


@pytest.mark.parametrize("own", [{"_attn_implementation": "eager"}, {"is_encoder_decoder": True}])
def test_what_is_known_not_to_pack_is_not_even_tried(own):
    config = SimpleNamespace(**({"_attn_implementation": "sdpa"} | own))
    assert not together.packs(SimpleNamespace(config=config))


def test_a_model_that_refuses_the_packed_call_is_padded(monkeypatch):
    def refuses(_, inputs, read=together.last_states):
        if "position_ids" in inputs:
            raise TypeError("no position_ids here")
        return read(_, inputs)

    monkeypatch.setattr(together, "last_states", refuses)
    assert not together.packs(family("llama", **FAMILIES["llama"]))


def test_a_layout_that_leaks_is_not_accepted(monkeypatch):
    """The check that packs() makes must notice a text that reads its neighbour."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    packing._sdpa()
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    monkeypatch.setitem(
        ALL_ATTENTION_FUNCTIONS._global_mapping, packing.NAME, lambda *a, **k: sdpa_attention_forward(*a, **k)
    )
    assert not together.packs(family("llama", **FAMILIES["llama"]))


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_short_texts_attend_by_the_formula(dtype, groups):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, heads, 7, 8) for heads in (4, groups, groups)]
    made = [torch.randn(s, generator=generator).to(dtype).requires_grad_(True) for s in shapes]
    assert packing.fits_plain_products(*made, {"scaling": 0.3})
    got, want = packing._short_attention(*made, 0.3).view(2, 7, 4, 8), by_formula(*made, 0.3)
    weighting = torch.linspace(-1, 1, want.numel()).view_as(want)
    error = 1e-5 if dtype == torch.float32 else 2e-2
    slopes = [torch.autograd.grad((out.double() * weighting).sum(), made) for out in (got, want)]
    for mine, true in zip((got, *slopes[0]), (want, *slopes[1]), strict=True):
        assert float((mine.double() - true.double()).norm()) <= error * float(true.double().norm())


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({"scaling": None}, 7),
        ({"softcap": 30.0}, 7),
        ({"s_aux": 1}, 7),
        ({"dropout": 0.1}, 7),
        ({"sliding_window": 5}, 7),
        ({}, packing.SHORT + 1),
    ],
)
def test_what_plain_products_do_not_cover_goes_to_the_fused_kernel(changes, length):
    x = torch.zeros(1, 2, length, 4)
    assert not packing.fits_plain_products(x, x, x, {"scaling": 0.5} | changes)
    assert packing.fits_plain_products(
        x[:, :, :7], x[:, :, :7], x[:, :, :7], {"scaling": 0.5, "sliding_window": 7}
    )


def answers_of_one_prompt():
    """Three texts that begin alike, two of them with a first answer token in common, and one text apart."""
    prompt = (7, 8, 9, 10)
    ends = ((11, 12, 13), (11, 14), (15, 16, 17, 18))
    rows = [*((*prompt, *end) for end in ends), (20, 8, 9, 10, 11)]
    return [Example(r, (IGNORE,) * 4 + r[4:], key) for key, r in enumerate(rows)]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_beginning_that_texts_share_is_read_once_and_every_state_stays(monkeypatch, name):
    model, seen = family(name, **FAMILIES[name]), []
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    monkeypatch.setattr(products, "rows", lambda count, _: count)
    assert together.packs(model)
    examples = answers_of_one_prompt()
    handle = states.blocks(model)[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
    with torch.no_grad():
        (shared,) = forward(model, collate(examples, 0))
        alone = torch.cat([forward(model, collate([one], 0))[0].nll for one in examples])
    handle.remove()
    # The prompt once, the answer token that two have in common once, and the text apart.
    assert seen[0] == 4 + (3 + 1 + 4) + 5
    assert torch.allclose(shared.nll, alone, rtol=1e-4, atol=1e-5)


def test_texts_are_read_whole_where_something_is_learned(monkeypatch):
    model, seen = family("llama", **FAMILIES["llama"]), []
    monkeypatch.setattr(products, "rows", lambda count, _: count)
    together.packs(model)
    handle = states.blocks(model)[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
    examples = answers_of_one_prompt()
    forward(model, collate(examples, 0))
    handle.remove()
    assert seen == [sum(len(e.input_ids) for e in examples)]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_learned_from_texts_that_share_a_long_beginning_is_the_same(monkeypatch, name):
    """As a chat template's system prompt: it is read once, and every gradient is that of the padded pass."""
    model, seen = family(name, **FAMILIES[name]), []
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    monkeypatch.setattr(products, "rows", lambda count, _: count)
    assert together.packs(model)
    start = tuple(range(20, 20 + lm.LEAST_SHARED))
    rows = [start + end for end in ((7, 8, 9), (7, 8, 10, 11, 12))]
    batch = collate([Example(r, (IGNORE,) * 18 + r[18:], key) for key, r in enumerate(rows)], 0)

    def learned():
        model.zero_grad()
        forward(model, batch)[0].nll.square().sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    handle = states.blocks(model)[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
    shared = learned()
    handle.remove()
    # The beginning once, the two tokens that two texts have in common once, and the rest.
    assert seen == [lm.LEAST_SHARED + 2 + 1 + 3]
    monkeypatch.setattr(lm, "packs", lambda *_: False)
    padded = learned()
    assert torch.allclose(shared, padded, rtol=1e-3, atol=1e-5 * float(padded.abs().max()))
