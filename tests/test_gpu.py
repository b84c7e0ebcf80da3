"""What must hold on a GPU as on a CPU; the same tests run on both, so that those for CUDA are not first tried there."""

import math

import pytest
from conftest import DEVICES, make_model, small_run

from unlearn.models.precision import bfloat16_pays

RUNS = {  # method, settings
    "npo, every weight": {"method": "npo"},
    "undial, LoRA": {"method": "undial", "tuning": "lora", "lora_rank": 2},
    "kl, every weight": {"method": "kl"},
    "rmu, every weight": {"method": "rmu"},
    "simnpo, checkpointing": {"method": "simnpo", "checkpointing": True},
    "eul": {"method": "eul", "tuning": "layers"},
}


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", RUNS)
def test_a_run_begins_with_the_loss_that_it_has_on_a_cpu(tmp_path, monkeypatch, name, device):
    """float32 on both; the batches are drawn alike, and the first step's terms are of the model as it was."""
    found = []
    for where in ("cpu", device):
        monkeypatch.setenv("UNLEARN_DEVICE", where)
        run = small_run(tmp_path, precision="float32", **RUNS[name])
        assert run.results()["device"] == where
        found.append(run.events("step")[0]["terms"])
        scores = run.scores()
        assert all(math.isfinite(float(scores[when]["forget"]["ppl"])) for when in ("before", "after"))
    assert found[1] == pytest.approx(found[0], rel=1e-3, abs=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bfloat16", "int8", "nf4"])
def test_a_base_in_few_bits_is_trained_on_cuda(tmp_path, monkeypatch, precision):
    if precision != "bfloat16":
        pytest.importorskip("bitsandbytes")
    monkeypatch.setenv("UNLEARN_DEVICE", "cuda")
    assert bfloat16_pays("cuda")
    make_model(tmp_path / "model", hidden_size=64)
    run = small_run(tmp_path, method="undial", tuning="lora", lora_rank=2, precision=precision)
    losses = [event["loss"] for event in run.events("step")]
    assert run.results()["dtype"] == precision
    assert all(map(math.isfinite, losses))


@pytest.mark.gpu
def test_ligers_cross_entropy_is_ours(monkeypatch):
    """Where liger-kernel is installed: the values and gradients of the head's loss without it."""
    import torch

    from unlearn.compute import kernels
    from unlearn.compute.head import Head, cross_entropy

    pytest.importorskip("liger_kernel")
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 500, bias=False, device="cuda").requires_grad_(False)
    labels, found = torch.randint(0, 500, (33,), device="cuda"), []
    states = torch.randn(33, 64, device="cuda")
    for devices in (("cuda",), ()):
        monkeypatch.setattr(kernels, "DEVICES", devices)
        hidden = states.clone().requires_grad_(True)
        values = cross_entropy(Head(linear), hidden, labels)
        (values * torch.linspace(-1, 2, 33, device="cuda")).sum().backward()
        found.append((values.detach(), hidden.grad))
    for got, want in zip(*found, strict=True):
        assert torch.allclose(got, want, rtol=1e-3, atol=1e-4)
