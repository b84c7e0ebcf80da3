"""Packed passes: the same states and gradients as padded ones, and no padding in the model."""

from types import SimpleNamespace

import pytest
import torch

from unlearn.compute import lm, packing, products, states, together
from unlearn.compute.layout import layout_of
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
    """Nothing but the tokens that predict one, and those that round their number up."""
    model, seen = family("llama", **FAMILIES["llama"]), []
    together.packs(model)
    handle = states.blocks(model)[0].register_forward_hook(
        lambda _m, args, _o: seen.append(args[0].shape[:2])
    )
    # The last token of a text predicts none.
    tokens = 2 * sum(n - 1 for n in LENGTHS)
    for rounded in (tokens, tokens + 5):
        monkeypatch.setattr(products, "rows", lambda count, _, to=rounded: to if count == tokens else count)
        forward(model, collate(texts(), 0), collate(texts(7), 0))
        assert seen.pop() == (1, rounded)
    handle.remove()


def test_both_numbers_of_a_layout_are_rounded():
    """bfloat16 products are oneDNN's wherever there is one: in the layers by tokens, in attention by the longest."""
    mask = torch.tensor([[1] * 9, [1] * 4 + [0] * 5])
    layout = layout_of(mask, torch.zeros(1, dtype=torch.bfloat16))
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
    # The prompt once, the answer token that two have in common once, and the text apart; no text's last token.
    assert seen[0] == 4 + (2 + 3) + 4
    assert torch.allclose(shared.nll, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("whole", [True, False])
def test_each_token_is_read_by_itself_for_whoever_watches_the_matrices(monkeypatch, whole):
    model, seen = family("llama", **FAMILIES["llama"]), []
    monkeypatch.setattr(products, "rows", lambda count, _: count)
    together.packs(model)
    handle = states.blocks(model)[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
    examples = answers_of_one_prompt()
    forward(model, collate(examples, 0), whole=whole)
    handle.remove()
    assert seen == [sum(len(e.input_ids) for e in examples) if whole else 13]


@pytest.mark.parametrize(("common", "read"), [(1, 53), (5, 53 - 2 * 5)])
def test_a_beginning_is_shared_where_it_saves_enough(monkeypatch, common, read):
    """Of 53 tokens that predict one, two are few: the way back would cost more."""
    model, seen = family("llama", **FAMILIES["llama"]), []
    monkeypatch.setattr(products, "rows", lambda count, _: count)
    together.packs(model)
    handle = states.blocks(model)[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
    rows = [(*range(5, 5 + common), 30 + row, *range(5, 26 - common)) for row in range(3)]
    rows[2] = rows[2][:12]
    forward(model, collate([Example(r, (IGNORE,) * 4 + r[4:], key) for key, r in enumerate(rows)], 0))
    handle.remove()
    assert seen == [read]


def test_where_sums_have_no_order_short_beginnings_are_read_again(monkeypatch):
    """A GPU adds up the gradients of a token in any order."""
    model, seen = family("llama", **FAMILIES["llama"]), []
    monkeypatch.setattr(lm, "adds_in_order", lambda device: False)
    monkeypatch.setattr(products, "rows", lambda count, _: count)
    together.packs(model)
    handle = states.blocks(model)[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
    examples = answers_of_one_prompt()
    forward(model, collate(examples, 0))
    handle.remove()
    assert seen == [sum(len(e.input_ids) - 1 for e in examples)]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_learned_from_texts_that_share_a_long_beginning_is_the_same(monkeypatch, name):
    """As a chat template's system prompt: it is read once, and every gradient is that of the padded pass."""
    model, seen = family(name, **FAMILIES[name]), []
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    monkeypatch.setattr(products, "rows", lambda count, _: count)
    assert together.packs(model)
    start = tuple(range(20, 36))
    rows = [start + end for end in ((7, 8, 9), (7, 8, 10, 11, 12))]
    batch = collate([Example(r, (IGNORE,) * 18 + r[18:], key) for key, r in enumerate(rows)], 0)

    def learned():
        model.zero_grad()
        forward(model, batch)[0].nll.square().sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    handle = states.blocks(model)[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[1]))
    shared = learned()
    handle.remove()
    # The beginning once, the two tokens that two texts have in common once, and the rest but for the last ones.
    assert seen == [16 + 2 + 2]
    monkeypatch.setattr(lm, "packs", lambda *_: False)
    padded = learned()
    assert torch.allclose(shared, padded, rtol=1e-3, atol=1e-5 * float(padded.abs().max()))
