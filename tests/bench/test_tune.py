"""The bench of ways to settings: what it measures first, and what its table and sentence say."""

import pytest

from bench.tune import rows, table
from bench.tune.lines import around, beside, line, paired, sentence
from bench.tune.rows import ANEW, cells_of, gridded, guided, measure, searched
from bench.tune.worlds import SEEDS, WAYS, WORLDS, wanted
from unlearn.results.grid import Cell
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


TINY, LARGER = WORLDS["tiny-authors"], WORLDS["smollm2-tofu"]


def row(way, seed, distance, kept=0.97, **more):
    return {
        "world": "tiny-authors",
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
    assert len(set(every)) == len(every) == len(WAYS) * (len(SEEDS) + 1)
    assert {way for _, way, _ in every[:10]} == {"shipped", "search"}
    assert [one[1:] for one in wanted(["smollm2-tofu"])] == [(way, 0) for way in WAYS]
    assert list(wanted([], ["grid"], 2))[:2] == [("tiny-authors", "grid", 0), ("tiny-authors", "grid", 1)]


@pytest.mark.parametrize("world", WORLDS.values(), ids=tuple(WORLDS))
def test_a_world_starts_from_the_settings_that_ship_and_its_grid_goes_around_them(world):
    run = world.template(3)
    assert (run.model, run.method, run.seed) == (world.model, world.method, 3)
    places = list(world.places())
    assert len({str(place) for place in places}) == len(places) >= 12
    assert min(world.grid["lr"]) < run.lr < max(world.grid["lr"])
    assert min(world.grid["epochs"]) <= run.epochs <= max(world.grid["epochs"])


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


def test_a_search_that_ends_with_the_shipped_settings_says_so():
    same = [row("shipped", 0, 0.2), row("search", 0, 0.2)]
    assert sentence(same).startswith("One seed: the search ended with the settings that ship")
    assert "0.100 nearer" in sentence([row("shipped", 0, 0.2), row("search", 0, 0.1)])


def test_the_table_says_what_is_missing_and_who_took_nothing():
    text = table(
        {
            "rows": [
                *ROWS,
                {
                    "world": "tiny-authors",
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
    tiny = text.partition("Not measured yet")[2].partition("; smollm2-tofu")[0]
    assert "unlearn tune" not in tiny
    assert "smollm2-tofu: shipped settings (seed 0), `unlearn tune` (seed 0)" in text
    assert "| 1.09 ± 0.00 |" in line(ROWS, "search")
    whole = [*ROWS, *(row(way, seed, 0.1) for way in ("grid", "guide") for seed in SEEDS)]
    whole += [row(way, 0, 0.1, world="smollm2-tofu") for way in WAYS]
    assert "Not measured yet" not in table({"rows": whole})


@pytest.mark.parametrize(("before", "shown"), [(1000.0, "| 1.50 |"), (1001.0, "| – |")])
def test_a_rise_of_texts_that_the_model_never_said_is_no_number(before, shown):
    told = row("search", 0, 0.1, general=1.5 * before, before={"forget": 1.0, "general": before})
    assert shown in line([told], "search").rpartition("|")[0].rpartition("|")[0] + "|"


def test_a_run_that_diverges_has_a_row_and_not_an_error(monkeypatch):
    asked = []

    def ruined(store, config):
        asked.append(config.seed)
        return Trial(number=0, method="npo", settings={}, state="diverged"), {}

    monkeypatch.setattr(rows, "tried", ruined)
    found = measure(None, TINY, "shipped", 3, 10.0)
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
    _, count, spent = searched(store, TINY, 0, 20.0)
    assert (count, spent) == (2, 20.0)
    (made,) = record.searches(store)
    made.set_meta(title="bench tiny-authors seed 0, 40 s")
    assert searched(store, TINY, 0, 40.0)[1:] == (4, 40.0)


def test_the_search_is_told_beside_the_grid_and_the_guide():
    """Its distances are .03 to .07: .10 is farther by .05 on average, and a guide without settings has no distance."""
    grid = [row("grid", seed, 0.10, 0.95) for seed in SEEDS]
    guide = [row("guide", 0, 0.0, state="diverged"), row("guide", 1, 0.05)]
    told = beside([*ROWS, *grid, *guide])
    assert (
        "Beside the grid, over 5 seeds: nearer, 0.050 (0.030 to 0.070) less distance, with +2.0 points"
        in told
    )
    assert "Beside the tuning guide of Yao et al., on one seed: the search is 0.010 nearer to" in told
    assert "ends without settings that work on 1 of 2 seeds" in told
    assert beside(ROWS).count("not measured yet") == 2
    assert "What the grid takes keeps" not in told
    one = [one for one in ROWS if one["seed"] == 0]
    alike = next(one for one in one if one["way"] == "search")
    told = beside([*one, alike | {"way": "grid"}, row("guide", 0, 0.1, 0.02)])
    assert "Beside the grid, on one seed: both end with the same settings." in told
    assert told.endswith("What the tuning guide of Yao et al. takes keeps 2 % of the utility.")
    same = [row("grid", seed, 0.05 + 0.05 * (-1) ** seed) for seed in SEEDS]
    assert "no difference seen" in beside([*ROWS, *same])


MODELS = {half: {"before": {"utility": 0.9}, "target": 0.2} for half in ("chosen", "reported")}


def stub(carried, costs, clock, **scores):
    """Return a `tried` whose runs cost so many seconds of the clock and end as far from the target as said."""

    def tried(store, config, number=0):
        carried.append(config)
        clock[0] += costs
        far = scores[f"e{config.epochs}"]
        half = {"forget": 0.2 + far, "utility": 0.9}
        return Trial(number=number, method=config.method, settings={}, chosen=half, reported=half), MODELS

    return tried


def test_a_grid_spends_its_seconds_takes_the_nearest_and_outlives_a_cut(monkeypatch, tmp_path):
    carried, clock, store = [], [0.0], RunStore(tmp_path)
    monkeypatch.setattr(rows.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(rows, "tried", stub(carried, 100.0, clock, e4=0.3, e2=0.1))
    settings, count, spent = gridded(store, LARGER, 0, 600.0)
    assert (count, spent, len(carried)) == (6, 600.0, 6)
    assert settings == {"epochs": 2, "lr": 3e-3}
    # Cut short after four cells, and half a line of the fifth.
    file = cells_of(store, LARGER, "grid", 0).path
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:4]) + lines[4][:20])
    again = gridded(store, LARGER, 0, 600.0)
    assert again == (settings, count, spent)
    assert [config.lr for config in carried[6:]] == [config.lr for config in carried[4:6]]


def test_the_guide_goes_upwards_to_the_target_and_outlives_a_cut(monkeypatch, tmp_path):
    asked, clock, store = [], [0.0], RunStore(tmp_path)

    def cell(store, config):
        asked.append(config)
        clock[0] += 50.0
        ppl = {"forget": 300 * config.lr, "approximate": 2.5, "general": 4.1}
        before = ppl | {"forget": 1.0, "general": 4.0}
        place = {name: getattr(config, name) for name in ("method", "lr", "epochs", "batch_size", "seed")}
        told = {"before": before, "after": ppl}
        scores = {when: {role: {"ppl": v} for role, v in roles.items()} for when, roles in told.items()}
        return vars(Cell(**place, scores=scores))

    monkeypatch.setattr(rows.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(rows, "cell_of_guide", cell)
    found = guided(store, LARGER, 0, 600.0)
    assert found == ({"lr": 0.01, "epochs": 1, "batch_size": 10}, 3, 150.0)
    assert [config.lr for config in asked] == [1e-3, 3.16e-3, 0.01]
    assert guided(store, LARGER, 0, 600.0) == found
    assert len(asked) == 3
