"""bench/scale says what was measured beside what was hoped for, and reckons on paper what breaks first."""

import json

import pytest

from bench import scale
from bench.scale import paper, store

ORIGIN = {
    "command": "python -m bench.scale",
    "machine": {"cpu": "CPU", "cores": 2, "load": 0.5},
    "versions": {"torch": "2"},
    "commit": "abc",
    "dirty": False,
    "date": "2026-01-01",
}
FOUND = {
    "run": {"plain": 1.0, "overhead": 0.3},
    "smollm2": {"plain": 70.0, "overhead": 7.0},
    "empty": {"count": 500, "per_second": 40.0},
    "queued": {"count": 500, "per_second": 40.0, "bytes_each": 12_000.0},
}


def test_what_was_hoped_for_and_missed_is_said():
    text = scale.table(ORIGIN | FOUND)
    assert "| +0.30 s beside 1.00 s of execute() | at most 1.5 s |" in text
    assert "| +7.00 s beside 70 s of execute() (+10.0%) | at most 5% (not kept) |" in text
    assert "| 40 a second | at least 20 |" in text
    assert "| 12 kB | at most 100 kB |" in text
    assert len(scale.said({name: FOUND[name] for name in ("run", "empty", "queued")})) == 3


def test_a_large_store_is_told_with_its_limits():
    lists = {"first": {"cpu_s": 13.4}, "again": {"cpu_s": 1.2}}
    pages = {"runs": 151.0, "filtered": 120.0, "compare": 50.0, "start": 14.0}
    text = store.table(ORIGIN | {"runs": 10_000, "list": lists, "pages_ms": pages})
    assert "a store of 10,000 runs" in text
    assert "| 1.20 s | at most 1 s (not kept) |" in text
    assert "| page Runs | 151 ms | at most 150 ms (not kept) |" in text
    assert "| 120 ms | at most 150 ms |" in text


def test_on_paper_more_gpus_than_one_process_can_feed_wait_for_it(tmp_path, monkeypatch):
    few, many = (one for one in paper.reckoned(FOUND) if one.model == "1 B" and one.gpus in (8, 1000))
    assert few.load[few.first] < 1 < many.load[many.first]
    # Eight GPUs are never waited for; a thousand end when the part that is used up lets them.
    assert few.hours == pytest.approx(paper.RUNS * few.seconds / 8 / 3600)
    assert many.hours > paper.RUNS * many.seconds / 1000 / 3600
    slower = FOUND | {"empty": {"count": 500, "per_second": 1.0}}
    assert paper.reckoned(slower)[2].first == "runs handed over and copied by one process"
    monkeypatch.setattr(paper, "RESULTS", tmp_path)
    assert "bench.scale --out" in paper.table()
    (tmp_path / "scale.json").write_text(json.dumps(FOUND))
    assert paper.table().count("(breaks)") == 2
