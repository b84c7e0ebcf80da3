"""TIES by hand, and on runs: weights joined in numpy from the files that the runs wrote."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.conftest import small_run
from unlearn.models import tuning
from unlearn.models.joined import ties


def test_a_small_case_by_hand():
    one, two = torch.tensor([4.0, -1.0, 0.5, 0.0]), torch.tensor([-3.0, 2.0, 0.1, 1.0])
    # Of each the two largest stay: [4, -1, 0, 0] and [-3, 2, 0, 0]. The sum is [1, 1, 0, 0], so both entries go up.
    assert ties.merge([one, two], 0.5).tolist() == [4.0, 2.0, 0.0, 0.0]
    # All stay: the sum is [1, 1, .6, 1], and of the third the mean of both.
    assert ties.merge([one, two], 1.0).tolist() == pytest.approx([4.0, 2.0, 0.3, 1.0])


def test_what_one_run_alone_changed_stays_whole_and_equal_ones_at_the_edge_are_kept():
    one = torch.tensor([5.0, 0.0, 0.0, 0.0, 1.0])
    assert ties.merge([one, torch.zeros(5)], 0.2).tolist() == [5.0, 0.0, 0.0, 0.0, 0.0]
    assert ties.merge([torch.tensor([2.0, -2.0, 1.0])], 0.3).tolist() == [2.0, -2.0, 0.0]
    # Opposite and equal: no direction is elected, and nothing moves.
    assert ties.merge([torch.tensor([2.0]), torch.tensor([-2.0])]).tolist() == [0.0]


def plain(changes: list[np.ndarray], density: float) -> np.ndarray:
    """The same entry by entry, in float64."""
    kept = []
    for change in changes:
        order = sorted(abs(change.ravel()), reverse=True)
        edge = order[int(np.ceil(density * change.size)) - 1]
        kept.append(np.where(abs(change) >= edge, change, 0.0))
    found = np.zeros_like(changes[0])
    for place in np.ndindex(found.shape):
        values = [one[place] for one in kept]
        same = [v for v in values if v * sum(values) > 0]
        found[place] = sum(same) / len(same) if same else 0.0
    return found


def added(run) -> dict[str, np.ndarray]:
    """{weight: what the run added to it}, from its files."""
    folder = run.path / "adapter"
    config = json.loads((folder / "adapter_config.json").read_text())
    parts = {
        name: value.astype(np.float64)
        for name, value in load_file(folder / "adapter_model.safetensors").items()
    }
    scale = config["lora_alpha"] / config["r"]
    found = {}
    for name in (one for one in parts if "lora_A" in one):
        weight = name.removeprefix("base_model.model.").replace("lora_A.", "")
        found[weight] = scale * parts[name.replace("lora_A", "lora_B")] @ parts[name]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_the_joined_model_has_the_weights_that_the_files_give(tmp_path, kind):
    runs = [
        small_run(tmp_path / str(seed), method="gd", tuning=kind, lr=1e-2, seed=seed, epochs=2)
        for seed in (1, 2, 3)
    ]
    assert {run.state for run in runs} == {"done"}
    before = {
        name: value.detach().double().numpy()
        for name, value in tuning.base(replace(runs[0].config, tuning="full")).model.named_parameters()
    }
    if kind == "lora":
        changes = [added(run) for run in runs]
    else:
        after = [load_file(run.path / "model" / "model.safetensors") for run in runs]
        changes = [{name: one[name] - before[name] for name in before if name in one} for one in after]
    joined = ties.joined(runs, runs[0].config)
    found = {name: value.detach().double().numpy() for name, value in joined.model.named_parameters()}
    assert set(found) == set(before)
    moved = 0
    for name, value in found.items():
        each = [one.get(name, np.zeros_like(value)).astype(np.float64) for one in changes]
        wanted = before[name] + plain(each, ties.DENSITY)
        assert np.abs(value - wanted).max() < 1e-6, name
        moved += not np.array_equal(value, before[name])
    assert moved > 3
