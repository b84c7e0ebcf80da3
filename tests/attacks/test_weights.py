"""Attacks on the weights and states: rounding to NF4, rounding with compensation, one direction taken out."""

import pytest
import torch
from conftest import make_model

from unlearn.attacks import Subject, quantise
from unlearn.attacks.swept import ablate, gptq, nf4
from unlearn.data.base import Dataset, Row
from unlearn.models.load import load

COLOURS = ("red", "green", "blue", "one", "two", "three")


def row(i, answer):
    return Row(question=f"What is {COLOURS[i % 6]} {i}?", answer=answer, subject=f"thing {i}")


@pytest.fixture
def data():
    forget = tuple(row(i, f"{COLOURS[i]} {COLOURS[-1 - i]}") for i in range(6))
    retain = tuple(row(i + 10, COLOURS[i % 3]) for i in range(6))
    return Dataset(name="t", title="T", roles={"forget": forget, "retain": retain, "approximate": forget[2:]})


@pytest.fixture
def subject(data, tiny_folder):
    return Subject(data, lambda when: load(str(tiny_folder)), ("before", "after"), max_length=120)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- NF4 ---------------------------------------------------------------------------------------------------------


def test_the_code_points_are_quantiles_of_a_normal_distribution():
    """As the paper makes them: equal steps of probability on each side, both ending at the same tail, and a zero."""
    import numpy as np
    from scipy.stats import norm

    tail = 0.5 * (1 - 1 / 32 + 1 - 1 / 30)
    above = norm.ppf(np.linspace(tail, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(tail, 0.5, 8)[:-1])
    made = np.sort(np.concatenate([above, [0.0], below]))
    assert pytest.approx((made / made.max()).tolist(), abs=1e-6) == nf4.CODE


@pytest.mark.parametrize("shape", [(4, 64), (3, 50)])
def test_each_weight_goes_to_the_nearest_code_point_of_its_block(shape):
    weight = randn(*shape)
    new = nf4.rounded(weight).reshape(-1)
    for start in range(0, weight.numel(), 64):
        block = weight.reshape(-1)[start : start + 64]
        scale = block.abs().max()
        for old, got in zip(block.tolist(), new[start : start + 64].tolist(), strict=True):
            nearest = min((abs(old - float(scale) * c), float(scale) * c) for c in nf4.CODE)[1]
            assert got == pytest.approx(nearest, abs=1e-6)
    assert nf4.rounded(torch.zeros(2, 64)).eq(0).all()
    again = nf4.rounded(nf4.rounded(weight))
    assert torch.allclose(again, nf4.rounded(weight), atol=1e-7)


def test_it_is_what_bitsandbytes_does():
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = randn(32, 128, seed=1)
    packed, state = functional.quantize_4bit(
        weight, blocksize=64, quant_type="nf4", compress_statistics=False
    )
    assert torch.allclose(nf4.rounded(weight), functional.dequantize_4bit(packed, state), atol=1e-6)


def test_a_copy_is_rounded_and_the_head_stays(subject):
    loaded = subject.model("after")
    was = {n: p.clone() for n, p in loaded.model.named_parameters()}
    model, count = nf4._make(subject, loaded)
    assert all(torch.equal(p, was[n]) for n, p in loaded.model.named_parameters())
    changed = [n for n, p in model.named_parameters() if not torch.equal(p, was[n])]
    assert len(changed) == count
    assert not any("emb" in n or "norm" in n or "lm_head" in n for n in changed)
    found = nf4.CELLS[0].attack.run(subject)
    assert set(found.values) == {"before", "after", "control"}


# -- rounding with compensation ----------------------------------------------------------------------------------


def test_inputs_that_know_nothing_of_each_other_need_no_compensation():
    weight = randn(5, 64)
    assert torch.allclose(gptq.compensated(weight, torch.eye(64)), quantise.rounded(weight, 4), atol=1e-6)
    assert torch.allclose(
        gptq.compensated(weight, torch.zeros(64, 64)), quantise.rounded(weight, 4), atol=1e-6
    )


def brain_surgeon(weight, h, bits, group):
    """The rule that the triangular factor stands for: each time, invert what is left of H and spread the error."""
    w, h = weight.double().clone(), h.double()
    top = 2 ** (bits - 1) - 1
    for i in range(w.shape[1]):
        if i % group == 0:
            scale = w[:, i : i + group].abs().amax(1) / top
        inverse = torch.linalg.inv(h[i:, i:])
        value = (w[:, i] / scale).round().clamp(-top, top) * scale
        error = (w[:, i] - value) / inverse[0, 0]
        w[:, i] = value
        w[:, i + 1 :] -= error[:, None] * inverse[0, 1:]
    return w


def test_it_spreads_each_error_as_the_inverse_of_what_is_left_says():
    x = randn(200, 24, seed=2).double() @ randn(24, 24, seed=3).double()
    h, weight = x.T @ x, randn(6, 24, seed=4)
    damped = h + gptq.DAMP * h.diagonal().mean() * torch.eye(24).double()
    found = gptq.compensated(weight.double(), h, group=8)
    assert torch.allclose(found, brain_surgeon(weight, damped, 4, 8), atol=1e-9)


def test_it_spoils_the_outputs_less_than_rounding_to_the_nearest():
    x = randn(300, 64, seed=5) @ randn(64, 64, seed=6)
    weight = randn(32, 64, seed=7)

    def spoiled(new):
        return float(((weight - new) @ x.T).norm())

    assert spoiled(gptq.compensated(weight, x.T @ x)) < 0.8 * spoiled(quantise.rounded(weight, 4))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_calibration_sums_the_inputs_of_each_map(tmp_path, data, family):
    model, tokenizer = make_model(tmp_path, family)
    one = Dataset(name="t", title="T", roles={**data.roles, "retain": data.rows("retain")[:1]})
    subject = Subject(one, lambda when: load(str(tmp_path)), ("before", "after"), max_length=120)
    loaded = subject.load("after")
    sums = gptq.calibrated(subject, loaded, loaded.model)
    names = [name for name, *_ in quantise.linear_maps(loaded.model)]
    assert set(sums) == set(names)
    seen = {}
    first = names[0]
    handle = dict(model.named_modules())[first].register_forward_pre_hook(
        lambda _, args: seen.update(x=args[0][0])
    )
    row = one.rows("retain")[0]
    ids = [*tokenizer(row.prompt)["input_ids"], *tokenizer(row.target, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        model(torch.tensor([[*ids, tokenizer.eos_token_id]]))
    handle.remove()
    assert torch.allclose(sums[first], seen["x"].T @ seen["x"], rtol=1e-3, atol=1e-3)
    bare = Subject(
        Dataset(name="t", title="T", roles={"forget": data.rows("forget")}),
        subject.load,
        ("after",),
        max_length=120,
    )
    with pytest.raises(ValueError, match="no retain texts to calibrate on"):
        gptq.calibrated(bare, loaded, loaded.model)


def test_a_map_that_no_text_reached_is_rounded_to_the_nearest(subject, monkeypatch):
    monkeypatch.setattr(gptq, "calibrated", lambda *_: {})
    loaded = subject.model("after")
    model, _ = gptq._make(subject, loaded)
    nearest, _ = quantise.quantised(loaded.model, 4)
    for mine, theirs in zip(model.parameters(), nearest.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


# -- a direction -------------------------------------------------------------------------------------------------


def states_of(model, tokenizer, one, layer):
    """Plain transformers: the state of the prompt's last token behind a block."""
    ids = torch.tensor([tokenizer(one.prompt)["input_ids"]])
    with torch.no_grad():
        return model(ids, output_hidden_states=True).hidden_states[layer + 1][0, -1]


def test_the_direction_leads_from_retain_to_forget_prompts(tiny, subject):
    r = ablate.direction(subject, subject.model("after"), "forget", 0.5)
    mean = {
        role: torch.stack([states_of(*tiny, one, 0) for one in rows]).mean(0)
        for role, rows in (("forget", subject.chosen["forget"]), ("retain", subject.data.fit_rows("retain")))
    }
    own = mean["forget"] - mean["retain"]
    assert torch.allclose(r, own / own.norm(), atol=1e-4)
    assert ablate.block_at(tiny[0], 0.5) == 0
    assert ablate.block_at(tiny[0], 1.0) == 1


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma"])
def test_no_block_hands_the_direction_on_and_it_comes_back_afterwards(tmp_path, family):
    model, tokenizer = make_model(tmp_path, family)
    ids = torch.tensor([tokenizer("Question: What is red?\nAnswer:")["input_ids"]])
    r = torch.nn.functional.normalize(randn(32), dim=0)
    with torch.no_grad():
        before = model(ids).logits
        with ablate.without(model, r):
            told = model(ids, output_hidden_states=True)
        after = model(ids).logits
    # The last of the library's states is behind the final norm.
    inner = told.hidden_states[1:-1]
    assert inner
    assert all((h @ r).abs().max() < 1e-4 for h in inner)
    assert (told.hidden_states[0] @ r).abs().max() > 1e-3
    assert not torch.allclose(told.logits, before)
    assert torch.equal(after, before)


def test_whatever_was_hidden_along_the_direction_leaves_no_trace(tiny):
    """A planted truth: a block pushes every state along r; without r the model is the one that was never pushed."""
    from unlearn.compute.states import blocks

    model, tokenizer = tiny
    ids = torch.tensor([tokenizer("Question: What is red?\nAnswer:")["input_ids"]])
    r = torch.nn.functional.normalize(randn(32, seed=9), dim=0)

    def pushed(_, __, out):
        return (out[0] + 40 * r, *out[1:]) if isinstance(out, tuple) else out + 40 * r

    with torch.no_grad():
        with ablate.without(model, r):
            never = model(ids).logits
        handle = blocks(model)[0].register_forward_hook(pushed)
        hidden = model(ids).logits
        with ablate.without(model, r):
            bare = model(ids).logits
        handle.remove()
    assert not torch.allclose(hidden, never, atol=0.1)
    assert torch.allclose(bare, never, atol=1e-4)


def test_without_prompts_to_compare_there_is_no_direction(subject, data):
    bare = Subject(
        Dataset(name="t", title="T", roles={"forget": data.rows("forget")}), subject.load, ("before", "after")
    )
    with pytest.raises(ValueError, match="needs forget and retain prompts"):
        ablate.CELLS[0].attack.run(bare)
    found = ablate.CELLS[1].attack.run(subject)
    assert found.details == {"place": 0.5}
