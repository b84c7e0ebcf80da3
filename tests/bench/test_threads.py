"""bench/threads at toy size: every setting is measured in a process of its own, and nothing is left running."""

import json

import psutil
import pytest

from bench import threads


@pytest.mark.slow
def test_each_setting_has_its_row_and_no_neighbour_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "WAITS", {"as set here": threads.WAITS["as set here"]})
    before = {child.pid for child in psutil.Process().children()}
    out = tmp_path / "threads.json"
    threads.main(
        [
            "--threads",
            "1",
            "--rounds",
            "1",
            "--seconds",
            "0",
            "--out",
            str(out),
            "--allow-dirty",
            "--busy",
            "1",
        ]
    )
    assert {child.pid for child in psutil.Process().children()} == before
    found = json.loads(out.read_text())
    assert [(row["work"], row["wait"], row["neighbours"]) for row in found["rows"]] == [
        (work, "as set here", others) for work in threads.MADE for others in (0, 1)
    ]
    assert all(row["wall"] > 0 < row["cpu"] and row["laps"][0]["steps"] == 3 for row in found["rows"])


def test_ratios_are_to_one_thread_of_the_same_kind():
    def row(wait, count, others, wall):
        return {
            "work": threads.SMALL,
            "wait": wait,
            "threads": count,
            "neighbours": others,
            "wall": wall,
            "cpu": wall,
        }

    rows = [
        row("a", 1, 0, 0.5),
        row("b", 1, 0, 0.1),
        row("a", 2, 0, 1.0),
        row("a", 1, 3, 2.0),
        row("a", 2, 3, 1.0),
    ]
    machine = {"cpu": "CPU", "cores": 1, "load": 0}
    top = {
        "command": "c",
        "machine": machine,
        "versions": {"torch": "2"},
        "commit": "0",
        "dirty": False,
        "date": "d",
    }
    lines = threads.table(top | {"rows": rows}).splitlines()
    assert lines[4] == "| the bundled model | nothing | 2 | a | 1,000 ms | 2.00 | 1,000 ms |"
    assert lines[6] == "| the bundled model | 3 busy | 2 | a | 1,000 ms | 0.50 | 1,000 ms |"


@pytest.mark.parametrize("wait", list(threads.WAITS))
def test_a_child_process_waits_as_its_name_says(wait, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # of the person who calls: it must not reach the child
    monkeypatch.setattr(
        threads,
        "WORK",
        "{wait}\nimport json, os\nprint(json.dumps({{'policy': os.environ.get('OMP_WAIT_POLICY')}}))",
    )
    assert threads.lap(wait, 1, 0.0)["policy"] == (None if wait == "as torch has it" else "PASSIVE")
