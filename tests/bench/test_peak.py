"""bench/beside/peak: the table tells each run's peak, and how much lower it is where memory is lean."""

import pytest

from bench.beside.peak import lean_beside_usual, table

ORIGIN = {
    "command": "python -m bench.beside.peak",
    "machine": {"cpu": "CPU", "cores": 2, "load": 0.5},
    "versions": {"torch": "2"},
    "commit": "abc",
    "dirty": False,
    "date": "2026-01-01",
}


def row(model, way, scoring, training, parameters=135_000_000):
    peaks = {"scoring before": scoring * 2**20, "training": training * 2**20}
    return {
        "model": model,
        "way": way,
        "peaks": peaks,
        "forecast": 2000 * 2**20,
        "parameters": parameters,
    }


def test_a_lean_run_stands_beside_the_usual_one_by_its_highest_phase():
    rows = [row("a", "full", 1500, 2000), row("a", "lean", 1500, 1000), row("a", "lora", 100, 100)]
    said = table(ORIGIN | {"rows": rows})
    # The lean run's peak is now that of scoring.
    assert "With `--memory lean` a whole run's peak is lower by 25% at 135 M parameters." in said
    assert "| 135 M | lean | 1,500 | 1,500 | 2,000 | 1.33 |" in said


@pytest.mark.parametrize("ways", [["full"], ["lean"], []])
def test_nothing_is_said_of_a_run_that_was_not_measured(ways):
    assert lean_beside_usual([row("a", way, 1, 2) for way in ways]) == ""
