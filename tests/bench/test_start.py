"""bench/start: a command is timed from outside to its end, a run also to its first step, and the table judges both."""

from bench import start
from unlearn.store.runs import RunConfig, RunStore

ORIGIN = {
    "command": "python -m bench.start",
    "machine": {"cpu": "CPU", "cores": 2, "load": 0.5},
    "versions": {"torch": "2"},
    "commit": "abc",
    "dirty": False,
    "date": "2026-01-01",
}


def test_a_command_is_timed_to_its_end(tmp_path):
    found = start.lap(start.COMMANDS["a refused run"], tmp_path)
    assert set(found) == {"end"}
    assert 0.05 < found["end"]["cpu"] <= found["end"]["wall"] + 0.05
    assert not list(tmp_path.iterdir())


def test_a_run_is_watched_for_its_first_step(tmp_path):
    watch = start.has_step(tmp_path)
    assert not next(watch)
    run = RunStore(tmp_path).create(RunConfig(model="tiny-authors", method="ga", data={"name": "authors"}))
    assert not next(watch)
    run.append("step", step=1, of=2, terms={"forget": 1.0}, seconds=0.1)
    assert next(watch)


def test_the_table_judges_by_cpu_seconds():
    rows = [
        {"what": "methods", "budget": 0.5, "wall": 0.9, "cpu": 0.4},
        {"what": start.FIRST, "budget": 4.0, "wall": 5.0, "cpu": 4.5},
        {"what": start.LAST, "budget": None, "wall": 9.0, "cpu": 8.0},
    ]
    lines = start.table(ORIGIN | {"rows": rows, "rounds": 3}).splitlines()
    assert lines[2:5] == [
        "| `methods` | ≤ 0.5 s | 0.90 | 0.40 | yes |",
        f"| {start.FIRST} | ≤ 4 s | 5.00 | 4.50 | no |",
        f"| {start.LAST} |  | 9.00 | 8.00 |  |",
    ]
