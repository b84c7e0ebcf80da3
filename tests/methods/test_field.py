"""Golden values of the field's methods; each test states its algebra."""

import copy
import dataclasses
import math

import pytest
import torch
from reference import token_nlls

from tests.methods.test_methods import batch_of, examples, moved, reference_for, stream_of
from unlearn.compute.lm import forward
from unlearn.compute.states import blocks, depth
from unlearn.compute.tokens import collate
from unlearn.methods import METHODS
from unlearn.methods.answer.ceu import after_first, ceu
from unlearn.methods.answer.idkdpo import dpo
from unlearn.methods.answer.pdu import flatness
from unlearn.methods.answer.whp import generic
from unlearn.methods.edit.rmu import distance
from unlearn.methods.push.satimp import satimp
from unlearn.methods.push.simnpo import simnpo
from unlearn.methods.push.wga import wga
from unlearn.models.load import add_lora
from unlearn.training.idk import IDK, idk_examples
from unlearn.training.loop import Phases, make_optimizer
from unlearn.training.reference import Reference


@pytest.fixture
def scene(tiny):
    model, tokenizer = tiny
    return model, tokenizer, examples(tokenizer), examples(tokenizer, first=10)


def phases(model, stream, lr=1e-3):
    return Phases(model, stream, make_optimizer(model, lr), lr=lr, device="cpu", start=0)


# -- SimNPO, DPO -----------------------------------------------------------------------------------------------


def test_simnpo_where_the_mean_is_delta_is_two_over_beta_log_two():
    sums, counts = torch.tensor([6.0, 30.0]), torch.tensor([3, 15])
    assert simnpo(sums, counts, 2.5, 2.0).tolist() == pytest.approx([2 / 2.5 * math.log(2)] * 2)


def test_simnpo_counts_the_average_token_and_not_the_length():
    one = simnpo(torch.tensor([4.0]), torch.tensor([2]), 1.0, 0.0)
    assert simnpo(torch.tensor([40.0]), torch.tensor([20]), 1.0, 0.0).item() == pytest.approx(one.item())
    # d/dS = -(2/β) σ(-β (S/n - δ)) β / n: at S/n = δ that is -1/n
    sums = torch.tensor([8.0], requires_grad=True)
    simnpo(sums, torch.tensor([4]), 0.7, 2.0).sum().backward()
    assert sums.grad.item() == pytest.approx(-1 / 4)


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_dpo_at_the_reference_is_log_two(scene, beta):
    """2/β · log 2 with the factor of NPO, log 2 with that of DPO."""
    lost, won = torch.tensor([5.0, 9.0]), torch.tensor([2.0, 1.0])
    assert dpo(lost, lost, won, won, beta).tolist() == pytest.approx([math.log(2)] * 2)
    model, tokenizer, forget, retain = scene
    for factor, scale in (("2/beta", 2 / beta), ("1", 1.0)):
        method = METHODS["idkdpo"](beta=beta, factor=factor, retain_weight=0.0)
        ref = reference_for(model, method, tokenizer, forget, retain)
        terms = method.loss(model, ref, batch_of(tokenizer, forget, retain, method))
        assert terms["forget"].item() == pytest.approx(scale * math.log(2), rel=1e-5)


def test_dpo_rejects_the_text_and_prefers_the_refusal():
    lost, won = (torch.tensor([3.0], requires_grad=True) for _ in range(2))
    dpo(lost, torch.tensor([3.0]), won, torch.tensor([3.0]), 0.5).sum().backward()
    # d/d lost = -β σ(0) = -β/2: a smaller loss where the text is less likely; the refusal the other way round
    assert (lost.grad.item(), won.grad.item()) == (pytest.approx(-0.25), pytest.approx(0.25))


def test_refusals_stand_behind_the_same_prompt(tiny):
    _, tokenizer = tiny
    forget = examples(tokenizer)
    refused = idk_examples(tokenizer, tuple(forget), 0)
    assert len(set(IDK)) == len(IDK) >= 40
    for example in forget:
        other = refused[example.key]
        start = example.answer_at[0]
        if start > 1:  # the plain text has no prompt: its refusal stands alone
            assert other.input_ids[:start] == example.input_ids[:start]
            assert other.answer_at[0] == start
        assert other.key == -1 - example.key
        assert other.answer_ids[-1] == tokenizer.eos_token_id
        assert any(said.endswith(tokenizer.decode(other.answer_ids[:-1]).strip()) for said in IDK)
    assert idk_examples(tokenizer, tuple(forget[1:]), 0)[forget[1].key] == refused[forget[1].key]
    said = {idk_examples(tokenizer, (forget[0],), seed)[forget[0].key].input_ids for seed in range(20)}
    assert len(said) > 5


# -- weighted ascent -------------------------------------------------------------------------------------------


def test_wga_without_beta_and_satimp_without_both_are_gradient_ascent(scene):
    model, tokenizer, forget, retain = scene
    ga = METHODS["ga"]()
    want = ga.loss(model, None, batch_of(tokenizer, forget, retain, ga))["forget"].item()
    for method in (
        METHODS["wga"](beta=0.0, retain_weight=0.0),
        METHODS["satimp"](beta1=0.0, beta2=0.0, retain_weight=0.0),
    ):
        terms = method.loss(model, None, batch_of(tokenizer, forget, retain, method))
        assert set(terms) == {"forget"}
        assert terms["forget"].item() == pytest.approx(want, rel=1e-6)


def test_weights_carry_no_gradient():
    # ∂(-p^β l)/∂l with p^β held = -p^β; with the weight's gradient it would be -p^β (1 - β l)
    nll = torch.tensor([0.1, 2.0], dtype=torch.float64, requires_grad=True)
    wga(nll, 1.5).sum().backward()
    assert nll.grad.tolist() == pytest.approx([-math.exp(-0.15), -math.exp(-3.0)])
    nll.grad = None
    satimp(nll, 2.0, 1.0).sum().backward()
    assert nll.grad.tolist() == pytest.approx([-math.exp(-2 * x) * (1 - math.exp(-x)) for x in (0.1, 2.0)])


def test_satimp_spares_the_certain_and_the_forgotten():
    nll = torch.tensor([1e-6, 0.2, 12.0], requires_grad=True)
    satimp(nll, 5.0, 1.0).sum().backward()
    certain, between, gone = nll.grad.abs().tolist()
    assert certain < 1e-4 * between
    assert gone < 1e-4 * between


# -- CE-U ------------------------------------------------------------------------------------------------------


def test_ceu_pushes_the_label_down_and_keeps_the_ratios_of_the_rest():
    """∂CE/∂z = p - q, q = p without y: p_y at the label, p_v - p_v / (1 - p_y) < 0 elsewhere, in proportion to p_v."""
    p = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    logits = p.log().requires_grad_(True)
    ceu(logits, torch.tensor([0])).sum().backward()
    assert logits.grad[0].tolist() == pytest.approx([0.7, 0.2 - 0.2 / 0.3, 0.1 - 0.1 / 0.3])


def test_ceu_skips_the_first_answer_token(scene):
    model, tokenizer, forget, retain = scene
    (answers,) = forward(model, collate(forget, tokenizer.pad_token_id))
    mask = after_first(answers)
    assert (~mask).sum() == len(forget)
    assert torch.equal(answers.row_sum(mask.float()).long(), answers.row_count - 1)
    whole, part = METHODS["ceu"](skip_first=False), METHODS["ceu"]()
    values = answers.per_token(ceu)
    one, two = (m.loss(model, None, batch_of(tokenizer, forget, retain, m))["forget"] for m in (whole, part))
    assert one.item() == pytest.approx(values.mean().item(), rel=1e-5)
    assert two.item() == pytest.approx(values[mask].mean().item(), rel=1e-5)


# -- PDU -------------------------------------------------------------------------------------------------------


def test_flatness_by_hand():
    logits = torch.tensor([[2.0, 0.0, -2.0], [1.0, 1.0, 1.0], [4.0, 1.0, 1.0]])
    assert flatness(logits, None).tolist() == pytest.approx([4.0, 0.0, 4.0])


def test_pdu_s_excess_is_that_of_all_micro_batches(scene):
    """A step of two micro-batches moves the price by s (NLL(R) - ε) of the whole step, as one large batch does."""
    model, tokenizer, forget, retain = scene
    prices = []
    for split in ({"batch_size": 4, "accumulation": 1}, {"batch_size": 2, "accumulation": 2}):
        method = METHODS["pdu"](dual_step=3.0, tolerance=0.0)
        stream = dataclasses.replace(stream_of(tokenizer, forget, retain, method), epochs=2, **split)
        one = copy.deepcopy(model)
        ref = Reference(one, head_moves=True)
        method.prepare(one, ref, stream, tokenizer)
        ref.run["budget"] *= 0.5
        prices.append([step.terms["price"] for step in method.unlearn(one, ref, phases(one, stream))])
    assert len(prices[0]) > 1
    assert prices[0][-1] > prices[0][0]
    assert prices[1] == pytest.approx(prices[0], rel=1e-3)


def test_pdu_s_price_follows_the_constraint(scene):
    """λ ← max(0, λ + s (NLL(R) - ε)): rises where texts to keep are worse than allowed, falls to 0 and no lower."""
    model, tokenizer, forget, retain = scene
    method = METHODS["pdu"](retain_weight=0.5, dual_step=2.0, tolerance=0.2)
    stream = stream_of(tokenizer, forget, retain, method)
    ref = Reference(model, head_moves=True)
    method.prepare(model, ref, stream, tokenizer)
    losses = torch.cat([token_nlls(model, e) for e in retain])
    assert ref.run["budget"] == pytest.approx(1.2 * losses.mean().item(), rel=1e-5)
    assert ref.run["price"] == 0.5
    ref.run["budget"] = 0.5 * losses.mean().item()  # texts to keep are worse than allowed: the price rises
    price = 0.5
    for step in method.unlearn(model, ref, phases(model, stream)):
        assert step.terms["price"] == pytest.approx(price, rel=1e-5)
        want = price + 2.0 * step.terms["retain"] / price
        assert want > price
        assert ref.run["price"] == pytest.approx(want, rel=1e-4)
        price = ref.run["price"]
    ref.run |= {"price": 1.0, "budget": 1e3}
    next(method.unlearn(model, ref, phases(model, stream)))
    assert ref.run["price"] == 0.0


# -- RMU -------------------------------------------------------------------------------------------------------


def test_rmu_at_its_target_is_zero(scene):
    model, tokenizer, forget, retain = scene
    (answers,) = forward(model, collate(forget, tokenizer.pad_token_id), layer=0)
    assert distance(answers, answers.hidden).item() == 0.0
    method = METHODS["rmu"]()
    ref = reference_for(model, method, tokenizer, forget, retain)
    terms = method.loss(model, ref, batch_of(tokenizer, forget, retain, method))
    assert terms["retain"].item() == pytest.approx(0.0, abs=1e-10)  # the model is its own reference
    assert terms["forget"].item() > 0


def test_rmu_direction_has_length_one_no_negative_part_and_the_seed_s(scene):
    model, tokenizer, forget, retain = scene
    method, found = METHODS["rmu"](), []
    for seed in (0, 0, 1):
        ref = Reference(model, head_moves=True)
        method.prepare(model, ref, stream_of(tokenizer, forget, retain, method, seed=seed), tokenizer)
        found.append(ref.run["direction"])
    assert found[0].norm().item() == pytest.approx(1.0)
    assert found[0].min() >= 0
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_states_of_a_block_are_those_of_the_whole_pass(scene):
    model, tokenizer, forget, _ = scene
    tokens = collate(forget, tokenizer.pad_token_id)
    whole = model(
        input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
    ).hidden_states
    (answers,) = forward(model, tokens, layer=0)
    rows, places = (tokens.labels[:, 1:] != -100).nonzero().T
    assert torch.allclose(answers.hidden, whole[1][rows, places], atol=1e-5)
    assert len(blocks(model)) == depth(model) == 2


def test_rmu_trains_three_down_projections_and_no_more():
    names = {
        "llama": "model.layers.{}.mlp.down_proj.weight",
        "gpt2": "transformer.h.{}.mlp.c_proj.weight",
        "gpt_neox": "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight",
        "opt": "model.decoder.layers.{}.fc2.weight",
        "lora": "base_model.model.model.layers.{}.mlp.down_proj.lora_A.default.weight",
    }
    method = METHODS["rmu"](layer_at=0.5)
    assert method.block(13) == 6
    for name in names.values():
        assert [i for i in range(13) if method.trainable(name.format(i), 13)] == [4, 5, 6]
    for other in (
        "transformer.h.5.attn.c_proj.weight",
        "model.layers.5.mlp.up_proj.weight",
        "model.layers.5.self_attn.o_proj.weight",
        "lm_head.weight",
    ):
        assert not method.trainable(other, 13)


# -- task vector -----------------------------------------------------------------------------------------------


def trained_and_negated(model, tokenizer, forget, scale):
    """Weights by name: where it began, after fine-tuning, and after unlearn()."""
    method = METHODS["taskvector"](scale=scale)
    stream = stream_of(tokenizer, forget, [], method)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    other = copy.deepcopy(model)
    list(phases(other, stream)(lambda b: method.loss(other, None, b)))
    last = list(method.unlearn(model, None, phases(model, stream)))[-1]
    assert last.step == last.of
    return start, dict(other.named_parameters()), dict(model.named_parameters())


def test_task_vector_walks_back_what_it_learnt(scene):
    model, tokenizer, forget, _ = scene
    start, tuned, after = trained_and_negated(model, tokenizer, forget, 1.5)
    for name, begin in start.items():
        assert torch.allclose(after[name], begin - 1.5 * (tuned[name] - begin), atol=1e-6), name
    (before,) = forward(tiny_at(model, start), collate(forget, tokenizer.pad_token_id))
    (now,) = forward(model, collate(forget, tokenizer.pad_token_id))
    assert now.mean_nll() > before.mean_nll()


def tiny_at(model, weights):
    other = copy.deepcopy(model)
    other.load_state_dict(weights, strict=False)
    return other


def test_task_vector_under_lora_negates_the_product(scene):
    """ΔW = BA: negating both factors would give +BA; the product must come out as -a times what was learnt."""
    model, tokenizer, forget, _ = scene
    model = add_lora(model, rank=4, alpha=8, seed=0)
    _, tuned, after = trained_and_negated(model, tokenizer, forget, 0.5)
    pairs = [n for n in after if ".lora_A." in n]
    assert pairs
    for name in pairs:
        other = name.replace(".lora_A.", ".lora_B.")
        learnt, product = tuned[other] @ tuned[name], after[other] @ after[name]
        assert learnt.norm() > 0
        assert torch.allclose(product, -0.5 * learnt, atol=1e-7), name


# -- Who's Harry Potter ----------------------------------------------------------------------------------------


def test_generic_logits_by_hand():
    base, reinforced = torch.tensor([[3.0, 2.5, 0.0]]), torch.tensor([[4.0, 2.0, 1.0]])
    # raised by 1, lowered by ½ (which does not count), raised by 1: 3 - 5, 2.5, 0 - 5
    assert generic(base, reinforced, 5.0).tolist() == [[-2.0, 2.5, -5.0]]
    assert torch.equal(generic(base, base, 5.0), base)


def test_whp_starts_again_from_the_model_as_it_was(scene):
    model, tokenizer, forget, retain = scene
    method = METHODS["whp"](reinforce_epochs=4)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    stream = stream_of(tokenizer, forget, retain, method)
    ref = Reference(model, head_moves=True)
    method.prepare(model, ref, stream, tokenizer)
    steps, moved_by = [], {}
    for done in method.unlearn(model, ref, phases(model, stream)):
        steps.append(done)
        moved_by[done.step] = max((p - start[n]).abs().max().item() for n, p in model.named_parameters())
    over = [s for s in steps if "reinforce" in s.terms]
    assert (len(over), len(steps)) == (8, 12)
    assert over[-1].loss < over[0].loss
    # the first step of the second phase starts at the start, with fresh moments: one step of at most lr
    assert moved_by[9] <= 1.001e-3 < moved_by[8]
    labels = ref._kept["labels"]
    assert set(labels) == {e.key for e in forget}


def test_whp_labels_are_the_argmax_of_the_generic_logits(scene):
    model, tokenizer, forget, retain = scene
    method, other = METHODS["whp"](a=3.0), moved(model, seed=5)
    stream = stream_of(tokenizer, forget, retain, method)
    ref = Reference(model, head_moves=True)
    method.prepare(model, ref, stream, tokenizer)
    method.relabel(other, ref, stream)
    for example in forget:
        ids = torch.tensor([list(example.input_ids)])
        base, reinforced = model(input_ids=ids).logits[0], other(input_ids=ids).logits[0]
        for place, label in zip(example.answer_at, ref._kept["labels"][example.key].tolist(), strict=True):
            v_b, v_r = base[place - 1], reinforced[place - 1]
            want = [float(b - 3.0 * max(float(r - b), 0.0)) for b, r in zip(v_b, v_r, strict=True)]
            assert want[label] == pytest.approx(max(want), abs=1e-4)
