"""The step benchmark at toy size: every way computes the same loss, and what is recorded says how it came about."""

import gc
import json

import pytest
import torch

from bench import step, ways
from unlearn.compute.memory import allocated_peak

HEADER = {
    "command": "python -m bench.step", "machine": {"cpu": "CPU", "cores": 2, "load": 0.5}, "dirty": False,
    "versions": {"torch": "2"}, "commit": "abc", "date": "2026-01-01",
}  # fmt: skip
TOY = ("--size", "toy", "--vocabularies", "200", "--rounds", "1", "--batch", "2", "--memory-length", "24")


@pytest.fixture
def small_heap():
    """What is imported is not gone through at each gc.collect() of the benchmark: that was nearly all of its time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.slow
@pytest.mark.usefixtures("small_heap")
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_toy_run_records_times_memory_and_ratios(tmp_path, tuning, monkeypatch):
    monkeypatch.setattr(step, "header", lambda _: HEADER)
    out = tmp_path / "step.json"
    methods = ["--methods", "gd", "npo", "undial", "kl"] if tuning == "full" else ["--methods", "undial"]
    step.main([*TOY, "--tuning", tuning, *methods, "--out", str(out)])
    result = json.loads(out.read_text())
    assert [r["method"] for r in result["rows"]] == methods[1:]
    for row, peaks in zip(result["rows"], result["memory"], strict=True):
        assert row["loss_ours"] == pytest.approx(row["loss_usual"], rel=1e-4, abs=1e-4)
        assert set(row["seconds"]) == set(peaks["bytes"]) == {"ours", "usual", "floor"}
        assert all(s["cpu"] > 0 for s in row["seconds"].values())
        assert row["tokens"] > row["answer_tokens"] > 0
    undial = next(m for m in result["memory"] if m["method"] == "undial")
    assert undial["bytes"]["usual"] > undial["bytes"]["ours"]  # a second model and logits of every token


def test_a_different_loss_is_not_timed():
    with pytest.raises(SystemExit, match=r"npo: losses differ, ours 1\.0, usual 1\.1"):
        step.check_losses("npo", {"ours": 1.0, "usual": 1.1}, "cpu")


def test_cuda_without_cuda_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        step.main(["--device", "cuda"])
    assert "use --device cpu" in capsys.readouterr().err


def test_peak_counts_what_lives_at_once():
    def work():
        first = torch.zeros(1000, 1000)
        second = first + 1
        del first
        return torch.zeros(500, 1000), second

    assert allocated_peak(work, "cpu") == pytest.approx(8_000_000, rel=0.01)


def test_table_shows_both_ratios_and_memory():
    seconds = {
        way: {"cpu": s, "kernel": 0.0, "wall": s}
        for way, s in (("ours", 1.0), ("usual", 3.0), ("floor", 0.9))
    }
    row = {
        "method": "npo", "vocabulary": 32_000, "seconds": seconds,
        "usual_over_ours": {"cpu": 3.04, "wall": 3.0}, "ours_over_floor": {"cpu": 1.11, "wall": 1.1},
    }  # fmt: skip
    peaks = {
        "method": "npo", "vocabulary": 32_000, "usual_over_ours": 7.5,
        "bytes": {"ours": 2**20, "usual": 8 * 2**20, "floor": 2**20},
    }  # fmt: skip
    text = step.table(HEADER | {"rows": [row], "memory": [peaks]})
    assert (
        "| hidden 256, 4 blocks | 32,000 | NPO | 3.0 | 1.11 | 1.00 · 3.00 · 0.90 | 7.5 | 1 · 8 · 1 |" in text
    )


def test_texts_are_the_same_for_every_way():
    assert ways.make_texts(3, (5, 9), 50, seed=1) == ways.make_texts(3, (5, 9), 50, seed=1)


@pytest.mark.slow
@pytest.mark.usefixtures("small_heap")
def test_a_world_is_measured_with_its_own_shape_and_the_other_worlds_stay(tmp_path, monkeypatch):
    small = step.World("a toy", "toy", (200,), 3, (20, 30), 0.6, 1)
    monkeypatch.setattr(step, "WORLDS", {"toy": small} | step.WORLDS)
    monkeypatch.setattr(step, "header", lambda _: HEADER)
    out = tmp_path / "step.json"
    old = {"method": "npo", "vocabulary": 32_000}
    out.write_text(json.dumps(HEADER | {"commit": "old", "rows": [old], "memory": [old]}))
    for _ in range(2):
        step.main(["--worlds", "toy", "--methods", "gd", "--memory-length", "24", "--out", str(out)])
    result = json.loads(out.read_text())
    assert [row["world"] for row in result["rows"]] == ["hidden 256, 4 blocks", "a toy"]
    assert [row["origin"]["commit"] for row in result["rows"]] == ["old", "abc"]
    assert [row["world"] for row in result["memory"]] == ["hidden 256, 4 blocks", "a toy"]
    mine = result["rows"][1]
    assert (mine["shape"]["hidden"], mine["rounds"]) == (64, 1)
    # Six texts of 20 to 30 tokens, .6 of them answers.
    assert 120 <= mine["tokens"] <= 180
    assert mine["answer_tokens"] / mine["tokens"] == pytest.approx(0.6, abs=0.05)


def test_the_worlds_of_real_shapes_are_what_they_say():
    from unlearn.models.catalogue import CATALOGUE

    count = ways.make_model("smollm2", 49_152, "meta").num_parameters()
    assert count == CATALOGUE["smollm2"].parameters
    assert ways.make_model("mid", 32_000, "meta").num_parameters() == 41_689_600
