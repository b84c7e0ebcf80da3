"""bench/run: the training phase is split into steps and what was beside them, and the table says all of it."""

import json
from pathlib import Path

import pytest

from bench.run import ROWS, own_rows, phase_seconds, table

RESULTS = {
    "phases": {"loading model": 2.0, "training": 60.0, "scoring after": 9.0},
    "beside": {"ends": 4.0, "probes": 2.0, "looks": 2.5, "checkpoints": 1.5},
    "peak_memory": 2**31,
    "dtype": "bfloat16",
}
ORIGIN = {
    "command": "python -m bench.run",
    "machine": {"cpu": "CPU", "cores": 2, "load": 0.5},
    "versions": {"torch": "2"},
    "commit": "abc",
    "dirty": False,
    "date": "2026-01-01",
}


def test_steps_are_what_is_left_of_the_training():
    found = phase_seconds(RESULTS)
    assert found["seconds"]["steps"] == 50.0
    assert sum(found["seconds"].values()) == pytest.approx(71.0)
    assert "training" not in found["seconds"]


def test_a_phase_a_line_and_the_runs_side_by_side():
    runs = [{"run": name, "whole": 80.0} | phase_seconds(RESULTS) for name in ("full", "lora")]
    runs[0]["seconds"].pop("checkpoints")
    lines = table(ORIGIN | {"runs": runs}).splitlines()
    assert lines[0] == "| CPU s | full, bfloat16 | lora, bfloat16 |"
    assert "| steps | 50.0 | 50.0 |" in lines
    assert "| checkpoints | 0.0 | 1.5 |" in lines
    assert "| **whole** | **80.0** | **80.0** |" in lines
    assert "| peak, MiB | 2,048 | 2,048 |" in lines


def test_own_rows_are_questions_of_both_roles(tmp_path):
    words = own_rows(tmp_path)
    assert words[::2] == ["--forget", "--retain"]
    for path in words[1::2]:
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        assert len(lines) == ROWS
        assert all(line["question"] and line["answer"] for line in lines)
