"""Fusion of unlearning layers: least squares by another road, and what follows from its definition."""

import copy

import numpy as np
import pytest
import torch

from tests.methods.test_eul import disturb, examples, logits_of
from unlearn.models import fusion, layers


def problem(seed=0, sizes=(40, 25, 60), d=7, o=5):
    """Inputs X_i [n_i, d] with a last column of ones, and maps W_i [d, o], in float64."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(n, d)) * rng.uniform(0.5, 2.0, size=d) for n in sizes]
    for x in inputs:
        x[:, -1] = 1.0
    return inputs, [rng.normal(size=(d, o)) for _ in sizes]


def fused(inputs, maps, **options):
    grams = [fusion.gram(torch.from_numpy(x[:, :-1])) for x in inputs]
    return fusion.fuse_maps(grams, [torch.from_numpy(w) for w in maps], **options).numpy()


def test_equals_least_squares_on_the_stacked_inputs():
    # min_W Σ_i ‖X_i W - X_i W_i‖²: stack the X_i and the outputs X_i W_i, and solve once.
    inputs, maps = problem()
    wanted = np.concatenate([x @ w for x, w in zip(inputs, maps, strict=True)])
    least, *_ = np.linalg.lstsq(np.concatenate(inputs), wanted, rcond=None)
    assert np.abs(fused(inputs, maps, ridge=0.0) - least).max() < 1e-10
    assert np.abs(fused(inputs, maps, ridge=1e-13) - least).max() < 1e-10


def test_ridge_is_least_squares_with_the_square_root_of_epsilon_below():
    # (XᵀX + εI)^-1 XᵀY = argmin ‖XW - Y‖² + ε‖W‖², ε = 1e-4 tr(XᵀX)/d: rows √ε I with the target 0.
    inputs, maps = problem(seed=1)
    x = np.concatenate(inputs)
    y = np.concatenate([a @ w for a, w in zip(inputs, maps, strict=True)])
    epsilon = 1e-4 * np.square(x).sum() / x.shape[1]
    below = np.sqrt(epsilon) * np.eye(x.shape[1])
    least, *_ = np.linalg.lstsq(
        np.concatenate([x, below]), np.concatenate([y, np.zeros((len(below), y.shape[1]))]), rcond=None
    )
    assert np.abs(fused(inputs, maps) - least).max() < 1e-10


def test_one_layer_is_that_layer():
    (x, *_), (w, *_) = problem(seed=2)
    assert np.abs(fused([x], [w], ridge=0.0) - w).max() < 1e-10
    assert np.abs(x @ fused([x], [w]) - x @ w).max() < 1e-2 * np.abs(x @ w).max()


def test_equal_maps_stay_and_order_does_not_matter():
    inputs, maps = problem(seed=3)
    assert np.abs(fused(inputs, [maps[0]] * 3, ridge=0.0) - maps[0]).max() < 1e-10
    turned = [inputs[i] for i in (2, 0, 1)], [maps[i] for i in (2, 0, 1)]
    assert np.abs(fused(inputs, maps) - fused(*turned)).max() < 1e-12


def test_each_map_rules_where_it_alone_was_active():
    x = np.eye(4)
    w1, w2 = np.full((4, 1), 3.0), np.full((4, 1), -5.0)
    grams = [torch.from_numpy(np.diag(d)) for d in ([1.0, 1, 0, 0], [0.0, 0, 1, 1])]
    found = fusion.fuse_maps(grams, [torch.from_numpy(w1), torch.from_numpy(w2)], 0.0).numpy()
    assert (x @ found).ravel().tolist() == pytest.approx([3, 3, -5, -5])


@pytest.fixture
def trained(tiny):
    """A model with disturbed layers, its tokenizer and texts of unequal lengths."""
    model, tokenizer = tiny
    disturb(layers.add_layers(model, bottleneck=5))
    return model, tokenizer, examples(tokenizer)


def test_grams_are_those_of_the_real_inputs_without_padding(trained):
    model, _, texts = trained
    grams = fusion.grams_of(model, texts)
    assert len(grams) == 4
    (name, layer), *_ = layers.layers_of(model).items()
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for text in texts:  # one at a time: no padding can be in it
            model(input_ids=torch.tensor([text.input_ids]))
    handle.remove()
    x = torch.cat([s.reshape(-1, s.shape[-1]) for s in seen]).double()
    assert len(x) == sum(len(t.input_ids) for t in texts)
    inner = torch.relu(x @ layer.down.weight.T.double() + layer.down.bias.double())
    for place, inputs in ((f"{name}.down", x), (f"{name}.up", inner)):
        with_one = torch.cat([inputs, torch.ones(len(x), 1, dtype=torch.float64)], 1)
        assert torch.allclose(grams[place], with_one.T @ with_one, rtol=1e-4, atol=1e-4)
    assert all(layer.watch is None for layer in layers.layers_of(model).values())


def test_fusing_one_set_of_layers_leaves_the_model_as_it_is_on_its_texts(trained):
    model, tokenizer, texts = trained
    state, grams, before = (
        layers.layer_state(model),
        fusion.grams_of(model, texts),
        logits_of(model, tokenizer),
    )
    layers.set_layer_state(model, fusion.fuse([state], [grams], ridge=1e-10))
    mask = logits_mask(tokenizer)
    assert (logits_of(model, tokenizer) - before)[mask].abs().max() < 1e-2 * before.abs().max()


def logits_mask(tokenizer):
    from unlearn.compute.tokens import collate

    return collate(examples(tokenizer), tokenizer.pad_token_id).attention_mask.bool()


def test_fusion_of_several_differs_from_their_average(trained):
    model, tokenizer, texts = trained
    other = copy.deepcopy(model)
    disturb(other, seed=5)
    states = [layers.layer_state(m) for m in (model, other)]
    grams = [fusion.grams_of(m, t) for m, t in ((model, texts[:2]), (other, texts[2:]))]
    one, two, mean = (
        fusion.fuse(states, grams),
        fusion.fuse(states[::-1], grams[::-1]),
        fusion.average(states),
    )
    assert set(one) == set(mean) == set(states[0])
    for key in one:
        assert one[key].shape == mean[key].shape == states[0][key].shape
        assert torch.allclose(one[key], two[key], atol=1e-5)
        assert torch.allclose(mean[key], (states[0][key] + states[1][key]) / 2)
    assert any((one[k] - mean[k]).abs().max() > 1e-2 for k in one)
    layers.set_layer_state(model, one)
    assert logits_of(model, tokenizer).isfinite().all()


def test_grams_survive_the_disk(trained, tmp_path):
    model, _, texts = trained
    grams = fusion.grams_of(model, texts)
    fusion.save_grams(grams, tmp_path)
    back = fusion.load_grams(tmp_path)
    assert set(back) == set(grams)
    assert all(torch.equal(back[name], grams[name]) for name in grams)


def test_layers_that_do_not_fit_together_are_refused(trained):
    model, _, texts = trained
    state, grams = layers.layer_state(model), fusion.grams_of(model, texts)
    with pytest.raises(ValueError, match="of the same model and bottleneck"):
        fusion.fuse([state, {**state, "extra.weight": torch.zeros(1)}], [grams, grams])
    with pytest.raises(ValueError, match="2 sets of layers need as many grams, got 1"):
        fusion.fuse([state, state], [grams])
    with pytest.raises(ValueError, match="one or more sets"):
        fusion.average([])
