"""Golden values of the methods of Yao et al. 2024 and of UnDIAL's focus; each test states its algebra."""

import copy
from dataclasses import replace

import pytest
import torch
from conftest import make_model
from reference import answers_of, nll, undial_optimum

from tests.methods.test_methods import EVERY, batch_of, examples, moved, reference_for, stream_of
from unlearn.compute.head import soft_cross_entropy
from unlearn.compute.tokens import encode
from unlearn.methods import METHODS
from unlearn.methods.answer.adversarial import rival
from unlearn.methods.answer.ceu import ceu
from unlearn.methods.answer.random_labels import random_labels
from unlearn.methods.answer.undial import lowered
from unlearn.training.focus import focus_mask, spans
from unlearn.training.reference import Reference


@pytest.fixture
def scene(tiny):
    model, tokenizer = tiny
    return model, tokenizer, examples(tokenizer), examples(tokenizer, first=10)


# -- random labels ---------------------------------------------------------------------------------------------


def drawn(seed, count=4000):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 50
    return labels, random_labels(labels, 50, torch.tensor([0, 1, 2]), generator)


def test_random_labels_are_the_seed_s():
    assert torch.equal(drawn(3)[1], drawn(3)[1])
    assert not torch.equal(drawn(3)[1], drawn(4)[1])


def test_random_labels_are_uniform_over_ordinary_tokens():
    labels, found = drawn(0)
    special = labels < 3
    assert torch.equal(found[special], labels[special])  # a special token keeps its id
    counts = torch.bincount(found[~special], minlength=50)
    assert counts[:3].sum() == 0  # … and is never drawn
    assert counts[3:].min() > 40  # 3760 draws over 47 tokens: 80 each, standard deviation 9
    assert counts[3:].max() < 125


def test_random_labels_of_a_text_depend_on_seed_and_text_alone(scene):
    model, tokenizer, forget, retain = scene
    method = METHODS["random"]()

    def labels(rows, seed):
        ref = Reference(model, head_moves=True)
        method.prepare(model, ref, stream_of(tokenizer, rows, retain, method, seed=seed), tokenizer)
        return ref._kept["labels"]

    whole, part, other = labels(forget, 3), labels(forget[1:], 3), labels(forget, 4)
    assert all(torch.equal(whole[key], part[key]) for key in part)
    assert any(not torch.equal(whole[key], other[key]) for key in whole)
    for example in forget:  # end of text is special: it stays
        assert whole[example.key][-1] == tokenizer.eos_token_id


def test_the_record_lists_true_token_and_label(scene):
    model, tokenizer, forget, retain = scene
    ref = reference_for(model, METHODS["random"](), tokenizer, forget, retain)
    table = ref.label_table(forget, tokenizer)
    assert len(table) == min(60, sum(len(e.answer_ids) for e in forget))
    assert table[0]["text"] == forget[0].key
    assert table[0]["token"] == tokenizer.decode([forget[0].answer_ids[0]])
    assert table[0]["label"] == tokenizer.decode([int(ref._kept["labels"][forget[0].key][0])])
    assert (
        reference_for(model, METHODS["npo"](), tokenizer, forget, retain).label_table(forget, tokenizer) == []
    )


# -- adversarial labels ----------------------------------------------------------------------------------------


def test_rival_is_the_best_that_is_not_the_label():
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [-5.0, -9.0, -7.0]])
    assert rival(logits, torch.tensor([0, 2, 1])).tolist() == [2, 0, 0]


def test_adversarial_labels_never_equal_y_and_belong_to_their_own_place(scene):
    """The released code is one place off: then a label is the rival of the token after it."""
    model, tokenizer, forget, retain = scene
    ref = reference_for(model, METHODS["adversarial"](), tokenizer, forget, retain)
    for example in forget:
        logits, tokens = answers_of(model, example)
        labels = ref._kept["labels"][example.key].tolist()
        assert all(label != token for label, token in zip(labels, tokens, strict=True))
        for row, token, label in zip(logits, tokens, labels, strict=True):
            better = [v for v in (row > row[label]).nonzero()[:, 0].tolist() if v != token]
            assert better == []


# -- KL --------------------------------------------------------------------------------------------------------


def test_kl_of_a_distribution_from_itself_is_zero_and_flat():
    logits = torch.randn(7, 13, requires_grad=True)
    loss = soft_cross_entropy(logits, logits.detach(), divergence=True)
    loss.sum().backward()
    assert loss.abs().max() < 1e-6
    assert logits.grad.abs().max() < 1e-6


def test_kl_by_hand():
    # p = (1/2, 1/2), q = (1/4, 3/4): Σ p log p/q = ½ log 2 + ½ log 2/3 = ½ log 4/3
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert soft_cross_entropy(q, p, divergence=True).item() == pytest.approx(
        0.5 * torch.tensor(4 / 3).log().item()
    )


def test_kl_weights_forget_and_retain(scene):
    ref_model, tokenizer, forget, retain = scene
    model, terms = moved(ref_model), {}
    for gamma, alpha in ((1.0, 1.0), (3.0, 5.0)):
        method = METHODS["kl"](forget_weight=gamma, retain_weight=alpha)
        ref = reference_for(ref_model, method, tokenizer, forget, retain)
        terms[gamma] = method.loss(model, ref, batch_of(tokenizer, forget, retain, method))
    assert terms[3.0]["forget"].item() == pytest.approx(3 * terms[1.0]["forget"].item(), rel=1e-5)
    assert terms[3.0]["retain"].item() == pytest.approx(5 * terms[1.0]["retain"].item(), rel=1e-5)
    assert terms[1.0]["forget"].item() == pytest.approx(-nll(model, forget).item(), rel=1e-5)
    assert terms[1.0]["retain"].item() > 0


# -- UnDIAL: its end, and its focus ----------------------------------------------------------------------------


def test_undial_with_infinite_gamma_has_ceu_s_target():
    """γ → ∞ takes the label out of the softmax: at the reference both have the same loss and gradient."""
    logits, labels = torch.randn(6, 11), torch.randint(0, 11, (6,))
    one, two = (logits.clone().requires_grad_(True) for _ in range(2))
    first, second = soft_cross_entropy(one, lowered(logits, labels, 1e4)), ceu(two, labels)
    first.sum().backward()
    second.sum().backward()
    assert torch.allclose(first, second, atol=1e-5)
    assert torch.allclose(one.grad, two.grad, atol=1e-6)
    assert undial_optimum(0.9, 1e3) == pytest.approx(0.0, abs=1e-12)


def with_entities(tokenizer):
    texts = [
        ("Question: What is two?\nAnswer:", " red is the capital of green."),
        ("", "where blue writes a novel."),
    ]
    places = [[(1, 4), (23, 28)], [(6, 10)]]
    return [
        encode(tokenizer, p, t, key=i, max_length=64, spans=s)
        for i, ((p, t), s) in enumerate(zip(texts, places, strict=True))
    ]


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize(("mode", "inside", "outside"), [("hard", 1.0, 0.0), ("soft", 6.0, 1.0)])
def test_focus_weights_the_entity_tokens(tiny, mode, inside, outside, renormalise):
    ref_model, tokenizer = tiny
    model, rows = moved(ref_model), with_entities(tokenizer)
    method = METHODS["undial"](
        gamma=3.0, focus="entity", focus_mode=mode, soft_weight=6.0, renormalise=renormalise
    )
    ref = reference_for(ref_model, method, tokenizer, rows, [])
    found = method.loss(model, ref, batch_of(tokenizer, rows, [], method))["forget"].item()
    losses, weights = [], []
    for example in rows:
        now, tokens = answers_of(copy.deepcopy(model).double(), example)
        then, _ = answers_of(copy.deepcopy(ref_model).double(), example)
        marks = [e for e, label in zip(example.entity, example.labels, strict=True) if label != -100]
        assert 0 < sum(marks) < len(marks)
        for row, taught, token, mark in zip(now, then, tokens, marks, strict=True):
            lowered = taught - 3.0 * torch.eye(len(row), dtype=torch.float64)[token]
            losses.append(-(lowered.softmax(0) * row.log_softmax(0)).sum().item())
            weights.append(inside if mark else outside)
    total = sum(w * x for w, x in zip(weights, losses, strict=True))
    assert found == pytest.approx(total / (sum(weights) if renormalise else len(weights)), rel=1e-5)


def test_random_focus_is_as_large_as_the_entities_and_seeded(tiny):
    _, tokenizer = tiny
    for example in with_entities(tokenizer):
        entity = focus_mask(tokenizer, example, "entity", 0)
        control = [focus_mask(tokenizer, example, "random", seed) for seed in range(8)]
        assert all(sum(mask) == sum(entity) for mask in control)
        assert control[0] == focus_mask(tokenizer, example, "random", 0)
        assert any(mask != control[0] for mask in control)
        assert not any(mask[-1] for mask in control)  # end of text is never in focus


def test_noun_phrases_are_not_the_entities_that_the_data_knows(tiny):
    _, tokenizer = tiny
    for example in with_entities(tokenizer):
        blank = replace(example, entity=(False,) * len(example.entity))
        mask = focus_mask(tokenizer, example, "noun phrase", 0)
        assert mask == focus_mask(tokenizer, blank, "noun phrase", 0)


def test_focus_without_spans_follows_the_stated_rule(tiny):
    _, tokenizer = tiny
    example = encode(
        tokenizer, "Question: What?\nAnswer:", " born in Paris 1905 of blue.", key=0, max_length=64
    )
    mask = focus_mask(tokenizer, example, "entity", 0)
    inside = tokenizer.decode([t for t, m in zip(example.answer_ids, mask, strict=True) if m])
    assert inside.replace(" ", "") == "Paris1905"
    text = "The red novel of Ada Moreau was born in 1905."
    assert [text[a:b] for a, b in spans(text, "entity")] == ["The", "Ada", "Moreau", "1905"]
    assert [text[a:b] for a, b in spans(text, "noun phrase")] == [
        "red",
        "novel",
        "Ada",
        "Moreau",
        "born",
        "1905",
    ]


def test_focus_that_finds_nothing_says_so(tiny):
    model, tokenizer = tiny
    rows = [encode(tokenizer, "", "where blue writes a novel.", key=0, max_length=64)]
    with pytest.raises(ValueError, match="focus entity finds nothing"):
        reference_for(model, METHODS["undial"](focus="entity"), tokenizer, rows, [])


# -- every family ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "qwen2", "gemma", "opt"])
def test_every_method_takes_two_steps_on_every_family(tmp_path, family):
    from unlearn.models import tuning
    from unlearn.store.runs import RunConfig
    from unlearn.training.loop import Phases, make_optimizer

    fresh, tokenizer = make_model(tmp_path, family)
    forget, retain = examples(tokenizer), examples(tokenizer, first=10)
    for name, cls in EVERY.items():
        for kind in cls.tunings:
            method, before = cls(), {n: p.clone() for n, p in fresh.named_parameters()}
            config = RunConfig(model="x", data={}, method=name, tuning=kind, lora_rank=2, lora_alpha=4)
            model = tuning.install(copy.deepcopy(fresh), config, method)
            stream = stream_of(tokenizer, forget, retain, method, batch_size=4)
            ref = Reference(model, head_moves=kind == "full")
            method.prepare(model, ref, stream, tokenizer)
            optimizer = make_optimizer(model, 1e-3)
            order = method.stream(stream) if hasattr(method, "stream") else stream
            fit = Phases(model, order, optimizer, lr=1e-3, device="cpu", start=0)
            steps = list(method.unlearn(model, ref, fit))
            assert len(steps) >= 2, (name, kind)
            assert all(torch.isfinite(torch.tensor(s.loss)) for s in steps), (name, kind)
            if kind == "full":
                moving = dict(
                    model.named_parameters()
                )  # of an ensemble: its members' weights, under other names
                assert any(n not in moving or not torch.equal(moving[n], p) for n, p in before.items()), (
                    name,
                    kind,
                )


def test_all_seven_names_of_the_paper_lead_to_a_method():
    """Yao et al. list seven methods; five classes and a retain source give them, under the paper's names."""
    named = {name: (cls, knobs) for cls in METHODS.values() for name, knobs in cls.also.items()}
    assert sum("Yao et al. 2024" in name for name in named) == 7
    for cls, knobs in named.values():
        assert cls.from_knobs(knobs).to_json().items() >= knobs.items()
