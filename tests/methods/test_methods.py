"""Golden values by algebra, then the promises that every method keeps."""

import copy
import math

import pytest
import torch
from reference import LOSSES, undial_optimum

from unlearn.compute.head import soft_cross_entropy
from unlearn.compute.lm import forward
from unlearn.compute.tokens import Batch, Example, collate, encode
from unlearn.methods import AFTER, METHODS, method_named
from unlearn.methods.answer.undial import lowered
from unlearn.methods.base import ORIGINS
from unlearn.methods.push.npo import npo
from unlearn.training.batches import Batches
from unlearn.training.reference import Reference

TEXTS = [
    ("Question: where was one born?\nAnswer:", " in the red capital."),
    ("Question: What is two?\nAnswer:", " green"),
    ("", "a novel of three writes blue where the capital is born."),
    ("Question: What is the capital of one?\nAnswer:", " Where red is two and blue."),
]


def examples(tokenizer, texts=TEXTS, first=0):
    return [encode(tokenizer, p, t, key=first + i, max_length=128) for i, (p, t) in enumerate(texts)]


def batch_of(tokenizer, forget, retain, method, pad=0):
    def side(rows):
        tokens = collate(rows, tokenizer.pad_token_id)
        if not pad:
            return tokens
        shape = (len(rows), pad)
        return collate([*rows], tokenizer.pad_token_id).__class__(
            input_ids=torch.cat([tokens.input_ids, torch.full(shape, 7)], 1),
            attention_mask=torch.cat([tokens.attention_mask, torch.zeros(shape, dtype=torch.long)], 1),
            labels=torch.cat([tokens.labels, torch.full(shape, -100)], 1),
            keys=tokens.keys,
            total_tokens=tokens.total_tokens,
            total_rows=tokens.total_rows,
        )

    return Batch(
        forget=side(forget) if method.uses_forget else None,
        retain=side(retain) if method.retain_ratio > 0 else None,
    )


def stream_of(tokenizer, forget, retain, method, **changes):
    return Batches(
        forget=tuple(forget) if method.uses_forget else (),
        retain=tuple(retain) if method.retain_ratio else (),
        retain_ratio=1.0 if method.retain_ratio else 0.0,
        pad_id=tokenizer.pad_token_id,
        clock=len(forget),
        **({"batch_size": 2, "accumulation": 1, "epochs": 2, "seed": 3} | changes),
    )


def reference_for(model, method, tokenizer, forget, retain):
    ref = Reference(model, head_moves=True)
    stream = stream_of(tokenizer, forget, retain, method)
    method.prepare(model, ref, stream, tokenizer)
    if hasattr(method, "relabel"):  # labels out of a first training phase: another model stands in for it
        method.relabel(moved(model, seed=5), ref, stream)
    return ref


def moved(model, seed=1, scale=0.05):
    """The same model a little further along, so that model and reference differ."""
    other = copy.deepcopy(model)
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(torch.randn_like(p) * scale)
    return other


# UNDO is no choice of its own, and keeps the same promises.
EVERY = METHODS | AFTER

KNOBS = {  # where the defaults leave hardly any forget term on a model that knows nothing yet
    "simnpo": {"beta": 0.5, "delta": 4.0},
    "wga": {"beta": 0.2},
    "satimp": {"beta1": 0.2, "beta2": 3.0},
    "rmu": {"steering": 20.0},
}


def make(name):
    """A method with a retain term wherever it can have one."""
    cls = EVERY[name]
    weights = {"retain_weight": 0.7} if any(k.name == "retain_weight" for k in cls.knobs()) else {}
    return cls(**weights, **KNOBS.get(name, {}))


@pytest.fixture
def scene(tiny):
    model, tokenizer = tiny
    return model, tokenizer, examples(tokenizer), examples(tokenizer, TEXTS[::-1], first=10)


# -- golden values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_loss_equals_float64_reference(scene, name):
    ref_model, tokenizer, forget, retain = scene
    model, method = moved(ref_model), make(name)
    ref = reference_for(ref_model, method, tokenizer, forget, retain)
    terms = method.loss(model, ref, batch_of(tokenizer, forget, retain, method))
    want = LOSSES[name](
        copy.deepcopy(model).double(), copy.deepcopy(ref_model).double(), forget, retain, method, ref
    )
    assert sum(terms.values()).item() == pytest.approx(want.item(), rel=2e-5)


@pytest.mark.parametrize("name", EVERY)
def test_gradient_equals_float64_reference(scene, name):
    ref_model, tokenizer, forget, retain = scene
    model, method = moved(ref_model), make(name)
    ref = reference_for(ref_model, method, tokenizer, forget, retain)
    sum(method.loss(model, ref, batch_of(tokenizer, forget, retain, method)).values()).backward()
    oracle = copy.deepcopy(model).double()
    oracle.zero_grad()
    LOSSES[name](oracle, copy.deepcopy(ref_model).double(), forget, retain, method, ref).backward()
    for (label, p), q in zip(model.named_parameters(), oracle.parameters(), strict=True):
        if p.grad is None or q.grad is None:  # a block above the one that the loss looks at
            assert p.grad is q.grad, label
            continue
        gap = (p.grad.double() - q.grad).norm() / (q.grad.norm() + 1e-9)
        assert gap < 1e-3, label


def test_npo_at_the_reference_is_two_over_beta_log_two():
    sums = torch.tensor([3.0, 11.0])
    for beta in (0.1, 0.5):
        assert npo(sums, sums, beta).tolist() == pytest.approx([2 / beta * math.log(2)] * 2)


def test_npo_gradient_tends_to_gradient_ascent():
    # d/dS [-(2/β) log σ(β (S - S_ref))] = -2 σ(-β (S - S_ref)) → -1 as β → 0: minus the sum, as ascent on S.
    sums = torch.tensor([3.0, 11.0], dtype=torch.float64, requires_grad=True)
    npo(sums, torch.tensor([1.0, 2.0], dtype=torch.float64), 1e-6).sum().backward()
    assert sums.grad.tolist() == pytest.approx([-1.0, -1.0], abs=1e-4)


def test_npo_fades_as_it_forgets():
    sums = torch.tensor([2.0, 102.0], requires_grad=True)
    npo(sums, torch.tensor([2.0, 2.0]), 0.1).sum().backward()
    assert sums.grad[0].item() == pytest.approx(-1.0)
    assert abs(sums.grad[1].item()) < 1e-3


def undial(logits, labels, ref_logits, gamma):
    return soft_cross_entropy(logits, lowered(ref_logits, labels, gamma))


@pytest.mark.parametrize("gamma", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("p", [0.3, 0.95, 0.99])
def test_undial_optimum_is_the_closed_form(gamma, p):
    rest = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64) * (1 - p)
    ref = torch.cat([torch.tensor([p], dtype=torch.float64), rest]).log()[None]
    logits, labels = ref.clone().requires_grad_(True), torch.tensor([0])
    optimiser = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = undial(logits, labels, ref, gamma).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    found = logits.detach().softmax(-1)[0]
    assert found[0].item() == pytest.approx(undial_optimum(p, gamma), rel=1e-2, abs=1e-6)
    assert (found[1:] / found[1:].sum()).tolist() == pytest.approx([0.5, 0.3, 0.2], rel=1e-2, abs=1e-6)


def test_undial_closed_form_values_of_the_paper():
    assert undial_optimum(0.99, 3) == pytest.approx(0.831, abs=1e-3)
    assert undial_optimum(0.99, 10) == pytest.approx(0.0045, abs=1e-4)


def test_undial_without_gamma_is_at_rest(tiny):
    logits = torch.randn(5, 11, requires_grad=True)
    undial(logits, torch.arange(5), logits.detach(), 0.0).sum().backward()
    assert logits.grad.abs().max() < 1e-6


def test_gd_without_retain_is_ga(scene):
    model, tokenizer, forget, retain = scene
    ga, gd = method_named("ga")(), method_named("gd")(retain_weight=0.0)
    one = ga.loss(model, None, batch_of(tokenizer, forget, retain, ga))
    two = gd.loss(model, None, batch_of(tokenizer, forget, retain, gd))
    assert set(two) == {"forget"}
    assert float(one["forget"]) == pytest.approx(float(two["forget"]))


# -- promises --------------------------------------------------------------------------------------------------


def total(method, model, ref, batch):
    return float(sum(method.loss(model, ref, batch).values()).detach())


@pytest.mark.parametrize("name", EVERY)
def test_padding_and_order_change_nothing(scene, name):
    ref_model, tokenizer, forget, retain = scene
    model, method = moved(ref_model), make(name)
    ref = reference_for(ref_model, method, tokenizer, forget, retain)
    plain = total(method, model, ref, batch_of(tokenizer, forget, retain, method))
    assert total(method, model, ref, batch_of(tokenizer, forget, retain, method, pad=5)) == pytest.approx(
        plain, rel=1e-5
    )
    turned = batch_of(tokenizer, forget[::-1], [retain[i] for i in (2, 0, 3, 1)], method)
    assert total(method, model, ref, turned) == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_prompt_enters_no_mean(scene, name):
    """Labelling a prompt token changes the loss: so unlabelled ones were really left out."""
    ref_model, tokenizer, forget, retain = scene
    method = make(name)
    ref = reference_for(ref_model, method, tokenizer, forget, retain)
    model = moved(ref_model)
    plain = total(method, model, ref, batch_of(tokenizer, forget, retain, method))
    spoilt = [Example(e.input_ids, e.input_ids, e.key) for e in (forget if method.uses_forget else retain)]
    spoilt = [Example(e.input_ids, (-100, *e.labels[1:]), e.key) for e in spoilt]
    sides = (spoilt, retain) if method.uses_forget else (forget, spoilt)
    ref = reference_for(ref_model, method, tokenizer, *sides)
    assert total(method, model, ref, batch_of(tokenizer, *sides, method)) != pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_accumulation_equals_one_batch(scene, name):
    ref_model, tokenizer, forget, retain = scene
    method = make(name)

    def gradients(batch_size, accumulation):
        model = moved(ref_model)
        ref = reference_for(ref_model, method, tokenizer, forget, retain)
        shape = {"batch_size": batch_size, "accumulation": accumulation}
        micro = stream_of(tokenizer, forget, retain, method, **shape).step(1)
        for batch in micro:
            sum(method.loss(model, ref, batch).values()).backward()
        return len(micro), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    (one, whole), (two, halves) = gradients(4, 1), gradients(2, 2)
    assert (one, two) == (1, 2)
    assert torch.allclose(whole, halves, rtol=1e-3, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize(("name", "tuning"), [(n, t) for n, m in EVERY.items() for t in m.tunings])
def test_model_moves_and_reference_does_not(scene, name, tuning):
    from unlearn.models.tuning import install
    from unlearn.store.runs import RunConfig
    from unlearn.training.loop import Phases, make_optimizer

    model, tokenizer, forget, retain = scene
    frozen = copy.deepcopy(model)
    method = make(name)
    asked = RunConfig(model="tiny", data={}, method=name, tuning=tuning, lora_rank=4, lora_alpha=8)
    model = install(model, asked, method)
    ref = Reference(model, head_moves=tuning == "full")
    stream = stream_of(tokenizer, forget, retain, method)
    method.prepare(model, ref, stream, tokenizer)
    order = method.stream(stream)
    fit = Phases(model, order, make_optimizer(model, 1e-3), lr=1e-3, device="cpu", start=0)
    steps = list(method.unlearn(model, ref, fit))
    assert [s.step for s in steps] == list(range(1, len(steps) + 1))
    assert len(steps) >= 4
    assert all(math.isfinite(s.loss) and s.grad_norm > 0 for s in steps)
    (now,) = forward(model, collate(forget, tokenizer.pad_token_id))
    (then,) = forward(frozen, collate(forget, tokenizer.pad_token_id))
    assert (now.nll - then.nll).abs().max() > 1e-4
    if method.needs_ref == {"forget": "states"}:
        assert torch.allclose(ref.head(ref.states(now)), then.head(then.hidden), atol=1e-5)
    if method.needs_ref == {"forget": "sums"}:
        assert torch.allclose(ref.sums(now), then.row_sum(then.nll), atol=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_what_a_page_shows_is_there(name):
    cls = EVERY[name]
    for text in (cls.title, cls.paper, cls.url, cls.sentence, cls.formula, cls.cost, cls.risk):
        assert text.strip()
    assert cls.sentence.endswith(".")
    assert "arXiv" in cls.paper
    for size in ("tiny", "small", "large"):
        for tuning in ("full", "lora"):
            settings = cls.settings(size, tuning)
            assert cls.from_knobs(settings["knobs"]).to_json() == settings["knobs"]


@pytest.mark.parametrize("name", [n for n, cls in EVERY.items() if "large" in cls.tuned])
def test_settings_of_large_models_are_all_from_where_they_say(name):
    """Nothing tuned on a small model slips in below a sentence that names a paper."""
    cls = EVERY[name]
    assert cls.origin("large") != ORIGINS["large"]
    for key in ("tiny", "small", *((size, way) for size in ("tiny", "small") for way in cls.tunings)):
        assert set(cls.tuned.get(key, {})) <= set(cls.tuned["large"])


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("altpo", {"beta": 0.1, "retain_weight": 1.0, "alternates": 5}),
        ("idkap", {"beta": 0.1, "retain_weight": 1.0}),
        ("me", {"forget_weight": 0.1, "retain_weight": 1.0}),
        ("repselect", {"lora_lr": 0.01, "kl_budget": 0.01}),
        ("undo", {"share": 0.25, "noise": 0.0}),
        ("dp", {"uniform": 0.5}),
    ],
)
def test_untuned_defaults_are_what_the_paper_states(name, stated):
    assert method_named(name)().to_json().items() >= stated.items()


def test_settings_of_a_model_stand_over_those_of_its_size():
    class Own(METHODS["undial"]):
        tuned = {
            "tiny": {"lr": 1e-3, "epochs": 3},
            ("tiny", "full"): {"gamma": 5.0},
            ("mine", "full"): {"gamma": 7.0},
        }

    assert Own.own_models() == ("mine",)
    for model, tuning, gamma in (("mine", "full", 7.0), ("mine", "lora", 10.0), ("", "full", 5.0)):
        found = Own.settings("tiny", tuning, model)
        assert (found["lr"], found["epochs"], found["knobs"]["gamma"]) == (1e-3, 3, gamma)


def test_a_run_in_several_formats_may_have_other_settings_than_one_in_a_single_format():
    class Own(METHODS["undial"]):
        tuned = {
            "tiny": {"lr": 1e-3, "epochs": 3},
            "small": {"lr": 1e-4},
            ("smollm2-tofu", "lora"): {"lr": 5e-4},
        }
        several = {("small", "lora"): {"lr": 2e-4, "gamma": 6.0}}

    for prompt, lr, gamma in (("chat", 1e-4, 10.0), ("", 1e-4, 10.0), ("chat+plain", 2e-4, 6.0)):
        found = Own.settings("small", "lora", "smollm2", prompt)
        assert (found["lr"], found["epochs"], found["knobs"]["gamma"]) == (lr, 3, gamma)
        said = Own.origin("small", "smollm2", "lora", prompt)
        assert said == ORIGINS["several" if lr == 2e-4 else "small"]
    # Neither another tuning, nor another size, nor a model with settings of its own takes them.
    for size, tuning, model in (
        ("small", "full", ""),
        ("tiny", "lora", ""),
        ("small", "lora", "smollm2-tofu"),
    ):
        several = Own.settings(size, tuning, model, "chat+plain")
        assert several == Own.settings(size, tuning, model)


def test_bundled_models_may_have_other_settings_than_tiny_ones_that_others_bring():
    class Own(METHODS["undial"]):
        tuned = {
            "tiny": {"lr": 1e-3, "epochs": 3},
            "bundled": {"epochs": 5},
            ("bundled", "full"): {"gamma": 6.0},
            ("tiny-snippets", "full"): {"gamma": 7.0},
        }
        origins = {"tiny": "of others"}

    known = {
        "": ("tiny", 3, 10.0, "of others"),
        "tiny-authors": ("bundled", 5, 6.0, ORIGINS["tiny"]),
        "tiny-snippets": ("tiny-snippets", 5, 7.0, ORIGINS["own"]),
    }
    for model, (whose, epochs, gamma, origin) in known.items():
        found = Own.settings("tiny", "full", model)
        assert (Own.settings_of("tiny", model), found["epochs"], found["knobs"]["gamma"]) == (
            whose,
            epochs,
            gamma,
        )
        assert Own.origin("tiny", model) == origin
    assert Own.own_models() == ("tiny-snippets",)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_recorded_of_the_bundled_models_is_what_they_still_get(name):
    """A row of the table of defaults counts for settings that the method has now."""
    from unlearn.results.measured import RESULTS, measured
    from unlearn.store.disk import read_json

    rows = [r for r in read_json(RESULTS)["rows"] if r["method"] == name and r["model"] == "tiny-authors"]
    assert len([m for m in measured(METHODS[name]) if m.model == "tiny-authors"]) == len(rows)


@pytest.mark.parametrize("name", METHODS)
def test_every_model_with_settings_of_its_own_is_in_the_catalogue(name):
    from unlearn.models.load import CATALOGUE

    cls = METHODS[name]
    for model in cls.own_models():
        for tuning in cls.tunings:
            knobs = cls.settings(CATALOGUE[model].size, tuning, model)["knobs"]
            assert cls.from_knobs(knobs).to_json() == knobs


@pytest.mark.parametrize("name", EVERY)
def test_config_survives_json(name):
    import json

    from unlearn.store.runs import RunConfig

    cls = EVERY[name]
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method=name, knobs=cls().to_json())
    again = RunConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert cls.from_knobs(again.knobs) == cls()


def test_a_knob_out_of_range_names_field_rule_and_value():
    with pytest.raises(ValueError, match=r"NPO: beta must lie in \[0.01, 1\], got 7"):
        METHODS["npo"](beta=7)
    with pytest.raises(ValueError, match="retain_source must be among"):
        METHODS["gd"](retain_source="moon")
    with pytest.raises(ValueError, match="no knob gamma; it has retain_weight"):
        METHODS["npo"].from_knobs({"gamma": 3})
