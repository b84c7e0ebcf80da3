"""bench/runs_many at toy size: every page and the watcher are measured, and the table has a row for each store."""

import pytest

from bench import runs_many

ORIGIN = {
    "command": "python -m bench.runs_many",
    "machine": {"cpu": "CPU", "cores": 2, "load": 0.5},
    "versions": {"torch": "2"},
    "commit": "abc",
    "dirty": False,
    "date": "2026-01-01",
}


@pytest.mark.slow
def test_a_small_store_is_measured_and_told():
    found = runs_many.measure([3], 4, rounds=1)
    (values,) = found["pages_ms"].values()
    assert all(values[page] > 0 for page in (*runs_many.PAGES, "watcher_ms", "watcher_draw_ms"))
    # One look every two seconds, where it costs little; and one that draws costs more than one that does not.
    assert values["watcher_every_s"] >= 2.0
    assert values["watcher_draw_ms"] > values["watcher_ms"]
    assert [value["runs"] for value in found["list"].values()] == [4, 4]
    values |= {"start": 61.0, "runs": 40.2, "watcher_ms": 30.0, "watcher_every_s": 2.0}
    values |= {"watcher_draw_ms": 90.0, "watcher_draw_every_s": 3.0}
    lines = runs_many.table(ORIGIN | found).splitlines()
    assert lines[0].startswith("| runs | start | runs |")
    assert lines[2].startswith("| 3 | 61 ms (over) | 40 ms | ")
    assert lines[2].endswith(" | 1.5 % of a core | 3.0 % of a core (over) |")
