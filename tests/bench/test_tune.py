"""The bench of ways to settings: what it measures first, and what its table and sentence say."""

import pytest

from bench.tune import rows, table
from bench.tune.lines import around, line, paired, sentence
from bench.tune.rows import ANEW, SEEDS, WAYS, measure, searched, wanted
from unlearn.results.search import record
from unlearn.results.search.record import Trial
from unlearn.store.runs import RunStore

ORIGIN = {
    "commit": "abc",
    "date": "2026-11-29",
    "command": "python -m bench.tune",
    "dirty": False,
    "machine": {"cpu": "cpu", "cores": 2, "load": 1.0},
    "versions": {"torch": "2"},
    "seeds": [0],
}


def row(way, seed, distance, kept=0.97, **more):
    return {
        "way": way,
        "seed": seed,
        "trials": 20,
        "cpu_seconds": 180.0,
        "settings": {},
        "state": "done",
        "distance": distance,
        "kept": kept,
        "forget": 0.1 - distance,
        "right": 0.02,
        "general": 1.2,
        "n": 45,
        "target": 0.1,
        "before": {"forget": 1.0, "general": 1.1},
        "origin": ORIGIN,
    } | more


ROWS = [row("shipped", seed, 0.09, 0.98) for seed in SEEDS] + [
    row("search", seed, 0.03 + 0.01 * seed) for seed in SEEDS
]


def test_what_must_be_shown_comes_first_and_all_is_measured_once():
    every = list(wanted())
    assert len(set(every)) == len(every) == len(WAYS) * len(SEEDS)
    assert {way for way, _ in every[:10]} == {"shipped", "search"}
    assert list(wanted(["grid"], 2)) == [("grid", 0), ("grid", 1)]


def test_the_interval_is_students_over_paired_seeds():
    assert paired(ROWS, "search", "distance") == pytest.approx([0.06, 0.05, 0.04, 0.03, 0.02])
    mean, low, high = around([0.06, 0.05, 0.04, 0.03, 0.02])
    assert (mean, low, high) == pytest.approx(
        (0.04, 0.04 - 2.776 * 0.0158114 / 5**0.5, 0.04 + 2.776 * 0.0158114 / 5**0.5)
    )


def test_the_sentence_says_beats_only_where_the_interval_leaves_nothing_out():
    assert "the search beats the settings that ship" in sentence(ROWS)
    assert "nearer by 0.040 (95 % interval 0.020 to 0.060), with -1.0 points" in sentence(ROWS)
    worse = [row("search", seed, 0.15 + 0.01 * seed) for seed in SEEDS]
    assert "is beaten by" in sentence([*ROWS[:5], *worse])
    unclear = [row("search", seed, 0.09 + 0.05 * (-1) ** seed) for seed in SEEDS]
    assert "cannot be told from" in sentence([*ROWS[:5], *unclear])
    assert "not measured yet" in sentence(ROWS[:1])


def test_the_table_says_what_is_missing_and_who_took_nothing():
    text = table(
        {
            "rows": [
                *ROWS,
                {
                    "way": "guide",
                    "seed": 0,
                    "trials": 4,
                    "cpu_seconds": 20.0,
                    "settings": None,
                    "origin": ORIGIN,
                },
            ]
        }
    )
    assert "`unlearn tune`" in text
    assert "tuning guide of Yao et al. (1 of 1 without a result)" in text
    assert "grid (seed 0)" in text.partition("Not measured yet")[2]
    assert "search" not in text.partition("Not measured yet")[2]
    assert "| 1.09 ± 0.00 |" in line(ROWS, "search")
    whole = [*ROWS, *(row(way, seed, 0.1) for way in ("grid", "guide") for seed in SEEDS)]
    assert "Not measured yet" not in table({"rows": whole})


def test_a_run_that_diverges_has_a_row_and_not_an_error(monkeypatch):
    asked = []

    def ruined(store, config):
        asked.append(config.seed)
        return Trial(number=0, method="npo", settings={}, state="diverged"), {}

    monkeypatch.setattr(rows, "tried", ruined)
    found = measure(None, "shipped", 3, 10.0)
    assert asked == [3 + ANEW]
    assert (found["state"], found["settings"], "distance" in found) == ("diverged", {}, False)
    assert "1 of 1 without a result" in line([found], "shipped")


def test_the_seconds_of_a_search_that_was_cut_short_count(monkeypatch, tmp_path):
    """A search is begun, cut short after two trials, and gone on with: the budget and the row know both parts."""

    def one_trial(made):
        number = len(made.trials())
        made.append("trial", **vars(Trial(number=number, method="npo", settings={}, state="diverged")))
        made.append("state", state="done")

    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(rows.search, "perform", one_trial)
    monkeypatch.setattr(rows.time, "process_time", lambda: float(next(clock)))
    store = RunStore(tmp_path)
    _, count, spent = searched(store, 0, 20.0)
    assert (count, spent) == (2, 20.0)
    (made,) = record.searches(store)
    made.set_meta(title="bench seed 0, 40 s")
    assert searched(store, 0, 40.0)[1:] == (4, 40.0)
