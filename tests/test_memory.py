"""A finished run and a stopped one leave nothing behind."""

import pytest
import torch

from bench import memory


@pytest.mark.slow
def test_no_tensor_outlives_its_run(tmp_path, tiny_folder):
    for role, words in (("forget", "red green blue"), ("retain", "one two three")):
        lines = "".join(f"What is {w}?,{w}\n" for w in words.split())
        (tmp_path / f"{role}.csv").write_text("question,answer\n" + lines)
    data = {role: str(tmp_path / f"{role}.csv") for role in ("forget", "retain")}
    config = {
        "model": str(tiny_folder),
        "data": data,
        "method": "undial",
        "epochs": 3,
        "batch_size": 1,
        "probes": 1,
    }
    before = memory.live_tensors()
    found = memory.measure(config | {"lr": 1e-3}, 3, tmp_path / "runs", [tmp_path.parent, tiny_folder.parent])
    assert found["after_stop"]["state"] == "stopped"
    for kept in (*found["after"], found["after_stop"]):
        assert kept["tensors"] <= before
        assert kept["resident"] > 0


def test_live_tensors_counts_shared_storage_once():
    before = memory.live_tensors()
    first = torch.zeros(1000)
    second = first[:10]
    assert memory.live_tensors() - before == 4000
    del first, second
    assert memory.live_tensors() == before


def test_a_small_model_gets_one_thread_unless_the_user_said_otherwise(monkeypatch):
    from unlearn.memory import choose_threads

    before = torch.get_num_threads()
    try:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        assert choose_threads(small=True) == torch.get_num_threads() == 1
        monkeypatch.setattr("psutil.cpu_count", lambda logical: 3)
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3, 4}, raising=False)
        assert choose_threads(small=False) == torch.get_num_threads() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert choose_threads(small=True) == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
