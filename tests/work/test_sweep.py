"""Sweeps: the definitions by hand, the guide on a surface made up for it, what is computed and what is not, the page.

Cells are executed by a stand-in that writes a run's folder from a formula, so that counting them takes no time; one
slow test really trains.
"""

import json
import math
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import small_run
from streamlit.testing.v1 import AppTest

from unlearn.__main__ import main, parser
from unlearn.commands.sweep import sweep_of
from unlearn.figures import sweep as sweep_figures
from unlearn.results import grid, sweep_table
from unlearn.results.grid import Cell
from unlearn.results.guide import Guided, batch_of, best_of, guide, guide_lrs, regret
from unlearn.results.sweep_record import (
    SweepConfig,
    SweepRecord,
    ask_guide,
    create,
    identity,
    seconds_left,
    sweeps,
)
from unlearn.store.disk import json_safe, write_json
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work import sweep

ROOT = Path(__file__).resolve().parents[2]
ANYWHERE = [Path("/")]


def cell(method="gd", lr=1e-4, epochs=2, seed=0, *, forget=9.0, retain=1.0, general=1.0, kept=0.9, **more):
    """A cell whose target is 10 and whose original PPL is 2 on both kept roles; forgetting 1 - 1 / forget."""
    shares = {"probability": kept, "rougeL": kept}
    before = {
        "forget": {"ppl": 1.0, "probability": 1.0},
        "approximate": {"ppl": 10.0, "n": 5, "probability": 0.1},
    }
    before |= {role: {"ppl": 2.0, "probability": 1.0, "rougeL": 1.0} for role in ("retain", "general")}
    after = {
        "forget": {"ppl": forget, "probability": 1 / forget},
        "retain": {"ppl": 2 * retain} | shares,
        "general": {"ppl": 2 * general} | shares,
    }
    truth = {"forget": {"ppl": 12.0, "probability": 0.2}, "retain": shares}
    scores = {"before": before, "after": after, "retrained": truth}
    values = {"method": method, "lr": lr, "epochs": epochs, "batch_size": 16, "seed": seed, "scores": scores}
    return Cell(**(values | more))


DEAD = {"state": "failed", "scores": {"before": cell().scores["before"]}}


def seed_sweep(store) -> SweepRecord:
    """A sweep that ended: every cell of asked(), of which those with the lower rate forgot and kept the rest."""
    record = create(asked(), store)
    record.append("state", state="running")
    for config in record.config.cells():
        found = cell(forget=10.0, retain=1.0 if config.lr < 5e-4 else 1.4)
        told = {"run": "", "state": "done", "reason": "", "reused": False, "seconds": 2.0, "tokens": 100}
        record.append("cell", key=identity(config), scores=found.scores, **told)
    record.append("state", state="done")
    return record


# -- definitions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "is_good"),
    [
        ({"forget": 9.0, "retain": 1.1, "general": 1.1}, True),  # all three at their bounds
        ({"forget": 8.99}, False),
        ({"retain": 1.101}, False),
        ({"general": 1.101}, False),
        ({"forget": math.inf}, True),  # forgotten beyond all bounds, and the rest is kept
        ({"forget": math.nan}, False),
        ({"general": math.inf}, False),
        ({"general": math.nan}, False),
        (DEAD, False),
    ],
)
def test_good_is_target_reached_and_the_rest_kept(values, is_good):
    assert grid.good(cell(**values)) is is_good


def test_good_is_unknown_without_a_target_or_without_anything_to_keep():
    scores = cell().scores
    without = scores | {"before": {k: v for k, v in scores["before"].items() if k != "approximate"}}
    assert grid.good(cell(scores=without)) is None
    alone = scores | {"before": {k: v for k, v in scores["before"].items() if k not in grid.KEEP}}
    assert grid.good(cell(scores=alone)) is None


def test_target_and_truth_stand_beside_each_other():
    assert (grid.target(cell()), grid.truth(cell())) == (10.0, 12.0)
    assert math.isnan(grid.truth(cell(scores={"before": {}})))


def test_utility_is_the_harmonic_mean_of_the_parts():
    one = cell()
    one.scores["after"]["retain"] = {"ppl": 2.0, "probability": 0.5, "rougeL": 1.0}
    one.scores["after"]["general"] = {"ppl": 2.0, "probability": 1.0, "rougeL": 0.25}
    assert grid.utility(one) == pytest.approx(4 / (2 + 1 + 1 + 4))
    assert grid.utility(cell(kept=0.0)) == 0.0
    # What the original never says in this form tells nothing of what was kept.
    one.scores["before"]["general"] = {"ppl": 1000.1}
    assert grid.utility(one) == pytest.approx(2 / (2 + 1))
    one.scores["after"]["general"]["ppl"] = 1e6
    assert grid.keeps_language(one) is True
    one.scores["before"]["general"] = {"ppl": 1000.0}
    assert grid.utility(one) == pytest.approx(4 / (2 + 1 + 1 + 4))
    assert grid.keeps_language(one) is False
    assert math.isnan(grid.utility(cell(**DEAD)))


def test_mean_and_sample_deviation():
    assert grid.mean_sd([1.0, 3.0, math.nan]) == (2.0, pytest.approx(math.sqrt(2)), 2)
    mean, sd, n = grid.mean_sd([4.0])
    assert (mean, math.isnan(sd), n) == (4.0, True, 1)
    assert grid.mean_sd([])[2] == 0


def test_the_window_counts_neighbouring_rates_that_are_good_with_every_seed():
    lrs = (1e-5, 1e-4, 1e-3, 1e-2)
    cells = [cell(lr=lr, forget=9.0 if lr in (1e-4, 1e-3) else 1.0) for lr in lrs]
    (found,) = grid.lr_window(cells)
    assert (found.low, found.high, found.good, found.cells) == (1e-4, 1e-3, 2, 4)
    assert found.decades == pytest.approx(2.0)
    unlucky = [*cells, *(cell(lr=lr, seed=1, forget=9.0 if lr == 1e-3 else 1.0) for lr in lrs)]
    (found,) = grid.lr_window(unlucky)
    assert (found.decades, found.good) == (pytest.approx(1.0), 3)
    (torn,) = grid.lr_window([cell(lr=lr, forget=1.0 if lr == 1e-4 else 9.0) for lr in lrs])
    assert (torn.low, torn.high, torn.decades) == (1e-3, 1e-2, pytest.approx(2.0))
    (none,) = grid.lr_window([cell(lr=1e-4, forget=1.0)])
    assert none.decades == 0.0
    (single,) = grid.lr_window([cell(lr=1e-4)])
    assert (single.decades, single.low) == (0.0, 1e-4)


def test_pareto_keeps_what_nobody_beats():
    points = [(0.0, 1.0), (0.5, 0.9), (0.5, 0.8), (0.9, 0.2), (0.8, 0.1), (math.nan, 1.0), (0.9, 0.2)]
    assert grid.pareto(points) == [0, 1, 3, 6]
    assert grid.pareto([]) == []


def test_methods_are_compared_where_they_forget_equally():
    cells = [
        cell("gd", 1e-4, forget=10, kept=0.9),  # forgetting 0.9
        cell("gd", 1e-3, forget=10.5, kept=0.95),  # 0.905
        cell("gd", 1e-2, forget=100, kept=1.0),  # 0.99: out of reach
        cell("npo", 1e-4, forget=10, kept=0.5, seed=0),
        cell("npo", 1e-4, forget=10, kept=0.7, seed=1),
        cell("ga", 1e-4, forget=1.0),
        cell("wga", 1e-4, forget=10, seed=0),
        cell("wga", 1e-4, seed=1, **DEAD),  # a lucky seed is no choice
    ]
    found = {one.method: one for one in grid.matched(cells, 0.9, 0.02)}
    assert {name: one.n for name, one in found.items()} == {"gd": 2, "npo": 1, "ga": 0, "wga": 0}
    assert found["gd"].best.lr == 1e-3
    mean, sd, n = found["npo"].best.utility()
    assert (mean, sd, n) == (pytest.approx(0.6), pytest.approx(0.1 * math.sqrt(2)), 2)
    assert grid.level_of(cells) == (pytest.approx(0.8), "the retrained model")


# -- the guide on a made-up response surface ---------------------------------------------------------------------


def surface(lr: float, *, narrow: float = 30.0) -> Cell:
    """Forgetting rises with the rate, and from `narrow` times the first useful one the rest goes too."""
    general = 1.0 if lr < 1e-3 * narrow else 2.0
    return cell(lr=lr, epochs=1, forget=1 + 9e3 * lr, general=general, kept=1.0 if lr < 2e-3 else 0.8)


def test_the_guide_takes_the_first_rate_that_reaches_the_target():
    found = guide(surface, guide_lrs(1e-4))
    assert [one.lr for one in found.trials] == [1e-4, 3.16e-4, 1e-3]
    assert found.chosen is found.trials[-1]
    assert "first to reach the target" in found.reason


def test_the_guide_rejects_what_cost_general_knowledge():
    found = guide(lambda lr: surface(lr, narrow=0.5), guide_lrs(1e-4))
    assert found.chosen is None
    assert "rejected: at lr 0.001" in found.reason


def test_the_guide_ends_at_divergence_and_after_its_trials():
    found = guide(lambda lr: cell(lr=lr, **DEAD), guide_lrs(1e-4))
    assert (len(found.trials), found.chosen) == (1, None)
    never = guide(lambda lr: cell(lr=lr, forget=1.0), guide_lrs(1e-4))
    assert never.chosen is None
    assert len(never.trials) == len(guide_lrs(1e-4)) == 8
    assert guide_lrs(0.2) == [0.2, 0.632]


def test_regret_is_the_share_of_utility_lost_at_reached_forgetting():
    cells = [cell(lr=1e-3, kept=1.0), cell(lr=1e-4, forget=1.0, kept=1.0), cell(lr=3e-3, kept=0.5)]
    best = best_of(cells, "gd", 0)
    assert best is cells[0]
    taken = cell(kept=0.9)
    assert regret(Guided(taken, (taken,), ""), best) == pytest.approx(0.1)
    assert regret(Guided(None, (taken,), ""), best) == 1.0
    assert math.isnan(regret(Guided(taken, (taken,), ""), None))
    assert best_of(cells, "gd", 1) is None


def test_the_guides_batch_is_a_quarter_of_the_forget_set():
    assert [batch_of(n) for n in (1, 2, 90, 100)] == [1, 1, 22, 25]


# -- what is asked, and when two cells are the same ---------------------------------------------------------------


def template(**changes) -> RunConfig:
    values = {"model": "tiny-authors", "data": {"name": "authors"}, "method": "gd", "knobs": {}}
    return RunConfig(**(values | changes))


def asked(**changes) -> SweepConfig:
    values = {"runs": (template(), template(method="npo")), "lrs": (1e-3, 1e-4), "epochs": (5, 2)}
    return SweepConfig(**(values | changes))


def test_cells_come_in_one_order_the_whole_grid_with_each_seed():
    config = asked(seeds=(1, 0), batch_sizes=(8,))
    cells = config.cells()
    assert len(cells) == 2 * 2 * 2 * 2
    assert cells == asked(seeds=(0, 1), lrs=(1e-4, 1e-3, 1e-4), epochs=(2, 5), batch_sizes=(8,)).cells()
    assert [c.seed for c in cells] == [0] * 8 + [1] * 8
    assert [(c.method, c.epochs, c.lr) for c in cells[:3]] == [
        ("gd", 2, 1e-4),
        ("gd", 2, 1e-3),
        ("gd", 5, 1e-4),
    ]
    assert {c.probes for c in cells} == {0}
    own = asked(epochs=(), runs=(template(epochs=7, batch_size=4),)).cells()
    assert {(c.epochs, c.batch_size) for c in own} == {(7, 4)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runs": ()}, "methods must be one or more"),
        ({"runs": (template(), template())}, "each once, got 'gd, gd'"),
        ({"runs": (template(), template(method="npo", model="x/y"))}, "model must be the same for all"),
        ({"lrs": ()}, "lrs is empty"),
        ({"lrs": (7.0,)}, r"lr must lie in \[1e-08, 1\], got 7"),
        ({"seeds": tuple(range(600))}, "at most 2000 cells, got 4800"),
    ],
)
def test_a_wrong_sweep_names_field_and_rule(changes, said):
    with pytest.raises(ValueError, match=said):
        asked(**changes)


def test_config_survives_json():
    config = asked(guide=True, batch_sizes=(4,))
    assert SweepConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_identity_is_the_content_that_scores_depend_on():
    one = template(knobs={"retain_weight": 1})
    same = replace(
        one,
        knobs={"retain_weight": 1.0},
        title="x",
        probes=7,
        lora_rank=4,
        data={"name": "authors", "requests": []},
    )
    assert identity(one) == identity(same)
    for changes in (
        {"lr": 1e-3},
        {"seed": 1},
        {"epochs": 6},
        {"tuning": "lora"},
        {"knobs": {}},
        {"start": "r"},
    ):
        assert identity(replace(one, **changes)) != identity(one)


# -- carrying it out ---------------------------------------------------------------------------------------------


class Stand:
    """In the place of execute(): counts, and writes what the surface says; stops or fails where it is told to."""

    def __init__(
        self, monkeypatch, *, stop_at: int = 0, fail_at: int = 0, diverge_above: float = 1.0
    ) -> None:
        self.ran: list[RunConfig] = []
        self.stop_at, self.fail_at, self.diverge_above = stop_at, fail_at, diverge_above
        monkeypatch.setattr(sweep, "execute", self)

    def __call__(self, run, *, should_stop, on_progress, roots) -> None:
        config = run.config
        self.ran.append(config)
        run.append("state", state="running")
        on_progress("training", 0.5)
        if len(self.ran) == self.stop_at:
            run.append("state", state="stopped", reason="by hand")
            return
        if len(self.ran) == self.fail_at:
            run.append("state", state="failed", reason="the disk is full.", error="OSError")
            return
        if config.lr > self.diverge_above:
            run.append("state", state="failed", reason="loss became nan", error="Diverged")
            return
        (run.path / "model").mkdir()
        made = surface(config.lr)
        for when, scores in made.scores.items():
            run.append("eval", when=when, scores=scores)
        write_json(
            run.path / "results.json",
            self.hashes | {"seconds": 2.0 * config.epochs, "tokens": 100, "phases": {}},
        )
        run.append("state", state="done")

    @property
    def hashes(self) -> dict[str, str]:
        from unlearn.data.catalogue import from_config
        from unlearn.models.load import CATALOGUE, weights_hash

        data = from_config({"name": "authors"}, roots=ANYWHERE).hash()
        return {"data_hash": data, "model_hash": weights_hash(CATALOGUE["tiny-authors"].path(), None)}


def carried(store, config=None, **changes):
    record = create(config or asked(**changes), store)
    with record.lock():
        sweep.perform(record, roots=ANYWHERE)
    return record


def again(record):
    with record.lock():
        sweep.perform(record, roots=ANYWHERE)


@pytest.mark.slow
def test_a_finished_cell_is_never_computed_again(tmp_path, monkeypatch):
    stand, store = Stand(monkeypatch), RunStore(tmp_path)
    record = carried(store)
    assert (record.state, len(stand.ran), len(record.cells())) == ("done", 8, 8)
    assert not list(store.root.glob("*/model"))
    wider = carried(store, lrs=(1e-4, 1e-3, 1e-2))
    assert (wider.state, wider.reason, len(stand.ran)) == ("done", "", 12)
    assert [event["reused"] for event in wider.events("cell")].count(True) == 8
    again(wider)
    assert len(stand.ran) == 12
    for run in store.list():
        store.delete(run)
    assert len(wider.cells()) == 12  # the sweep keeps the scores


def test_no_cell_starts_a_process(tmp_path, monkeypatch):
    """The thread engine calls perform(): models and libraries are there once, whatever the number of cells."""
    run = small_run(tmp_path, method="gd", epochs=1, probes=0)

    def refuse(*words, **options):
        raise AssertionError("a process was started")

    for module, name in ((subprocess, "Popen"), (os, "fork"), (os, "posix_spawn")):
        monkeypatch.setattr(module, name, refuse)
    config = SweepConfig(runs=(replace(run.config, title=""),), lrs=(1e-4, 1e-5), epochs=(1,))
    record = create(config, RunStore(tmp_path / "runs"))
    with record.lock():
        sweep.perform(record, roots=[tmp_path])
    assert (record.state, record.reason) == ("done", "")
    assert [event["reused"] for event in record.events("cell")] == [False, False]


def test_a_run_by_hand_with_equal_settings_counts_as_the_cell(tmp_path, monkeypatch):
    stand, store = Stand(monkeypatch), RunStore(tmp_path)
    mine = store.create(template(lr=1e-4, epochs=2, title="mine", probes=12))
    stand(mine, should_stop=None, on_progress=lambda *_: None, roots=None)
    record = carried(store, asked(runs=(template(),), lrs=(1e-4,), epochs=(2,)))
    assert len(stand.ran) == 1
    assert record.cells()[0].run == mine.id
    assert (mine.path / "model").is_dir()  # somebody else's weights are not the sweep's to delete


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data_hash", "model_hash"])
def test_a_run_on_other_data_or_weights_of_the_same_name_does_not_count(tmp_path, monkeypatch, name):
    stand, store = Stand(monkeypatch), RunStore(tmp_path)
    record = carried(store, runs=(template(),), lrs=(1e-4,), epochs=(2,))
    path = store.get(record.cells()[0].run).path / "results.json"
    write_json(path, json.loads(path.read_text()) | {name: "other"})
    carried(store, runs=(template(),), lrs=(1e-4,), epochs=(2,))
    assert len(stand.ran) == 2


@pytest.mark.slow
def test_a_stopped_sweep_goes_on_in_the_same_run(tmp_path, monkeypatch):
    stand, store = Stand(monkeypatch, stop_at=3), RunStore(tmp_path)
    record = carried(store)
    assert (record.state, len(record.cells()), len(store.list())) == ("stopped", 2, 3)
    again(record)
    assert (record.state, len(stand.ran), len(store.list())) == ("done", 9, 8)
    assert stand.ran[2] == stand.ran[3]


def test_divergence_is_a_result_and_another_failure_is_tried_again(tmp_path, monkeypatch):
    stand, store = Stand(monkeypatch, fail_at=2, diverge_above=5e-4), RunStore(tmp_path)
    record = carried(store, runs=(template(),), epochs=(2, 5))
    assert record.state == "failed"
    assert "the disk is full" in record.reason
    again(record)
    assert record.state == "done", record.reason
    assert [one.state for one in record.cells()] == ["done", "failed", "done", "failed"]
    assert len(stand.ran) == 5
    assert len(store.list()) == 4


@pytest.mark.slow
def test_weights_are_kept_when_asked(tmp_path, monkeypatch):
    stand, store = Stand(monkeypatch), RunStore(tmp_path)
    carried(store)
    carried(store, keep_weights=True)
    assert len(stand.ran) == 16  # those without weights cannot stand in
    assert len(list(store.root.glob("*/model"))) == 8


@pytest.mark.slow
def test_the_guide_runs_only_its_own_trials_and_can_be_asked_for_later(tmp_path, monkeypatch):
    stand, store = Stand(monkeypatch), RunStore(tmp_path)
    record = carried(store, runs=(template(),))
    before = len(stand.ran)
    ask_guide(record)
    assert record.state == "stopped"
    again(record)
    assert record.state == "done"
    trials = stand.ran[before:]
    assert [(c.lr, c.epochs, c.batch_size) for c in trials] == [
        (1e-4, 1, 22),
        (3.16e-4, 1, 22),
        (1e-3, 1, 22),
    ]
    ((method, seed, found),) = record.guided()
    assert (method, seed, found.chosen.lr) == ("gd", 0, 1e-3)
    (row,) = sweep_table.guide_rows(record)
    assert row["regret"] == pytest.approx(0.0)
    assert len(record.cells()) == 4
    again(record)
    assert len(stand.ran) == before + 3


def test_time_left_comes_from_the_cells_computed(tmp_path, monkeypatch):
    Stand(monkeypatch, stop_at=4)
    record = carried(RunStore(tmp_path), runs=(template(),))
    assert [one.epochs for one in record.cells()] == [2, 2, 5]
    assert seconds_left(record) == pytest.approx(10.0)
    fresh = create(asked(), RunStore(tmp_path))
    assert seconds_left(fresh) is None


def test_a_broken_sweep_is_passed_over(tmp_path):
    folder = tmp_path / "sweeps" / "20250101-000000-sweep-dead"
    folder.mkdir(parents=True)
    write_json(folder / "sweep.json", {"runs": []})
    assert sweeps(RunStore(tmp_path)) == []


# -- tables and figures ------------------------------------------------------------------------------------------


def some_cells():
    values = {
        1e-4: {"forget": 1.0},
        1e-3: {"forget": 10.0},
        1e-2: {"forget": 1e9, "general": 50.0, "kept": 0.0},
    }
    cells = [
        cell(m, lr, seed=s, run=f"{m}{lr}{s}", **v)
        for m in ("gd", "npo")
        for lr, v in values.items()
        for s in (0, 1)
    ]
    return [*cells, cell("ga", 1e-4, run="dead", **DEAD)]


@pytest.mark.parametrize("dark", [False, True])
def test_figures_say_what_the_cells_say(dark):
    titles = {"gd": "GA + GD"}
    assert (
        sweep_figures.good_sentence(some_cells(), titles) == "GA + GD and npo: most good cells, 2 of 6 each"
    )
    drawn = sweep_figures.squares(some_cells(), "gd", titles, dark)
    assert drawn.layout.title.text == "GA + GD: 2 of 6 good"
    forgot, kept = drawn.data
    assert (forgot.name, kept.name) == ("forgot", "kept")
    # The first forgets nothing, the second is good, the third is ruined; a tick is what was asked of that side.
    assert list(forgot.text) == ["0", "<b>90 ✓</b>", "100 ✓"]
    assert list(kept.text) == ["90 ✓", "<b>90 ✓</b>", "0"]
    assert forgot.customdata[1][0] == "gd0.0010,gd0.0011"
    colours = [shape.fillcolor for shape in drawn.layout.shapes]
    assert colours[0] == colours[2] == sweep_figures.PALE[dark] != colours[1]
    dead = sweep_figures.squares(some_cells(), "ga", titles, dark)
    assert list(dead.data[0].text) == list(dead.data[1].text) == ["×"]
    bars = sweep_figures.windows(some_cells(), titles, dark)
    assert list(bars.data[0].x) == [pytest.approx(1.0), pytest.approx(1.0), 0.0]
    assert bars.layout.title.text == "Widest window: GA + GD, × 10 in learning rate"
    assert list(bars.data[0].text)[::2] == ["× 10: 1e-3, 2 epochs", "none"]
    front = sweep_figures.front(some_cells(), titles, dark=dark)
    assert {"original", "retrained", "Pareto front"} <= {trace.name for trace in front.data}
    for figure in (sweep_figures.windows([], {}), sweep_figures.front([], {})):
        assert figure.layout.title.text


def test_a_place_that_is_good_with_some_seeds_is_lightly_coloured_and_has_no_tick_where_one_missed():
    cells = [cell(), cell(seed=1, forget=1.0)]
    drawn = sweep_figures.squares(cells, "gd", {})
    assert [shape.opacity for shape in drawn.layout.shapes] == [0.35, 0.35]
    assert ("✓" in drawn.data[0].text[0], "✓" in drawn.data[1].text[0]) == (False, True)


def test_upper_left_is_good_and_no_method_has_the_colour_of_the_retrained_model():
    front = sweep_figures.front(some_cells(), {})
    by_name = {trace.name: trace for trace in front.data}
    assert by_name["original"].x[0] == 1.0
    assert by_name["retrained"].x[0] == pytest.approx(0.2)
    best = by_name["Pareto front"]
    # What is least known and most kept beats the rest; the ruined one is alone at nothing.
    points = list(dict.fromkeys(zip(best.x, best.y, strict=True)))
    assert points == [(pytest.approx(0.0, abs=1e-6), 0.0), (pytest.approx(0.1), pytest.approx(0.9))]
    for dark in (False, True):
        for place in range(12):
            red, green, blue = (int(sweep_figures.hue(place, dark)[i : i + 2], 16) for i in (1, 3, 5))
            assert green <= max(red, blue), place


def test_where_no_cell_is_good_it_says_why():
    short, lost = cell(forget=1.0), cell(lr=1e-3, retain=2.0)
    said = grid.why_none_good([short, lost, cell(lr=1e-2, forget=1.0, general=3.0), cell("ga", **DEAD)])
    assert said == (
        "No cell of 4 is good: 1 diverged or failed, 2 did not forget enough (forget PPL below 0.9 × target), "
        "2 lost what must stay (retain or general PPL over 1.1 × before)."
    )
    assert sweep_figures.good_sentence([short, lost], {}) == "No cell of 2 is good"
    assert grid.why_none_good([short, cell(forget=10.0)]) == ""
    assert grid.why_none_good([]) == ""
    assert "no target" in grid.why_none_good([cell(scores={"before": {}, "after": {}})])


def test_tables_hold_every_cell_and_survive_csv_and_json():
    rows = sweep_table.cell_rows(some_cells())
    assert sweep_table.to_csv(rows).count("\n") == len(rows) + 1
    assert rows[-1]["good"] is False
    assert rows[-1]["utility"] is None
    by_method = {row["method"]: row for row in sweep_table.method_rows(some_cells())}
    assert (by_method["gd"]["good"], by_method["gd"]["best at"]) == (2, "lr 0.001, 2 epochs")
    assert by_method["ga"]["best utility"] is None
    json.dumps(json_safe(rows), allow_nan=False)


# -- the command line --------------------------------------------------------------------------------------------


def command(*words):
    return main(["sweep", *words])


@pytest.mark.slow
def test_the_command_line_sweeps_resumes_and_adds_the_guide(tmp_path, monkeypatch, capsys):
    stand = Stand(monkeypatch, stop_at=2)
    words = [
        "--model",
        "tiny-authors",
        "--methods",
        "gd",
        "--lrs",
        "1e-4,1e-3",
        "--epochs",
        "2",
        "--seeds",
        "0,1",
    ]
    assert command(*words, "--runs", str(tmp_path), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], len(told["cells"])) == ("stopped", 1)
    name = Path(told["sweep"]).name
    assert command("--resume", name, "--runs", str(tmp_path), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["cells"]), told["guide"], len(stand.ran)) == (4, [], 5)
    assert command("--resume", name, "--runs", str(tmp_path)) == 2
    assert "add --guide" in capsys.readouterr().err
    assert command("--resume", name, "--runs", str(tmp_path), "--guide") == 0
    assert "regret" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--model and --methods and --lrs: give them"),
        (["--model", "tiny-authors", "--methods", "gd", "--lrs", "much"], "--lrs: must be numbers such as"),
        (
            ["--model", "tiny-authors", "--methods", "gd", "--lrs", "1e-4", "--epochs", "x"],
            "--epochs: must be",
        ),
        (["--model", "tiny-authors", "--methods", "nope", "--lrs", "1e-4"], "nope"),
        (
            ["--model", "tiny-authors", "--methods", "gd", "--lrs", "1e-4", "--set", "npo.beta=1"],
            "has the knob",
        ),
        (["--resume", "../x"], "sweep: no sweep '../x'; give its id, or the path"),
        (["--resume", "20260131-120000-gd-1a2b"], "sweep: no sweep '20260131-120000-gd-1a2b' in "),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words, said, tmp_path, capsys):
    assert command(*words, "--runs", str(tmp_path)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_cell_is_known_again_by_runs_from_before_there_was_a_precision():
    one = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo", lr=1e-4, tuning="lora")
    assert identity(one) == "3efc62fc2916"  # as commit 3868ed1 had it
    assert identity(replace(one, precision="bfloat16")) != identity(one)
    assert identity(replace(one, prompt="chat")) != identity(one)
    assert identity(replace(one, adapter="keep")) != identity(one)
    assert identity(replace(one, stop_at="0.1")) != identity(one)
    assert identity(replace(one, budget=("kl=0.01",))) != identity(one)


def test_the_command_repeats_the_sweep():
    words = "sweep --model tiny-authors --methods npo,gd --lrs 1e-4,1e-3 --seeds 0..2 --guide --tuning lora"
    words += " --precision bfloat16"
    config = sweep_of(parser().parse_args([*shlex.split(words), "--set", "npo.beta=0.5"]))
    assert dict(config.runs[0].knobs)["beta"] == 0.5
    assert sweep_of(parser().parse_args(shlex.split(config.command())[3:])) == config


@pytest.mark.slow
def test_a_real_sweep_of_two_cells(tmp_path, capsys):
    words = ["--model", "tiny-authors", "--methods", "gd", "--lrs", "1e-6,1e-3", "--epochs", "1"]
    assert command(*words, "--runs", str(tmp_path), "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["cells"]
    assert first["forget PPL"] < second["forget PPL"]
    assert first["target"] > 2
    assert not list(tmp_path.glob("*/model"))


# -- the page ----------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    import streamlit as st

    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setenv("UNLEARN_ROOTS", "")
    st.cache_data.clear()
    return RunStore(tmp_path)


def opened(**query) -> AppTest:
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60).run()
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page("../pages/sweep.py").run()
    assert not app.exception, app.exception
    return app


def texts(app) -> str:
    kinds = (app.markdown, app.caption, app.info, app.error, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def gridded(app) -> AppTest:
    """The page with the form of a grid."""
    app.segmented_control(key="sweep.how").set_value("Try a grid").run()
    assert not app.exception, app.exception
    return app


def test_the_empty_page_says_what_to_do_and_what_it_will_cost(store):
    app = opened()
    assert "No sweep yet" in texts(app)
    app = gridded(app)
    assert "16 cells; a time not known yet" in texts(app)
    assert not app.button(key="go").disabled
    app.session_state["sweep.methods"] = []
    app.run()
    assert app.button(key="go").disabled


@pytest.mark.slow
def test_a_finished_sweep_shows_good_cells_and_offers_the_guide(store, monkeypatch):
    Stand(monkeypatch)
    record = carried(store)
    app = opened(sweep=record.id)
    said = texts(app)
    assert "most good cells" in said
    assert "forget PPL ≥ 0.9 × 10, the original's PPL on 5 texts" in said
    assert "the retrained model's own: 12" in said
    assert not app.button(key="sweep.ask").disabled
    # Neither method has a setting there, which is a sentence and no table of nothing.
    assert "no setting within 5 points of 80" in said
    assert not [frame for frame in app.dataframe if "settings there" in frame.value]
    assert "8 cells" in app.selectbox(key="sweep.chosen").options[0]


@pytest.mark.slow
def test_the_runs_of_a_setting_are_opened_without_a_mouse(store, monkeypatch):
    Stand(monkeypatch)
    record = carried(store)
    app = opened(sweep=record.id)
    box = app.selectbox(key="sweep.setting")
    assert "epoch, batch" in box.options[0] or "epochs, batch" in box.options[0]
    box.select_index(0).run()
    assert not app.exception
    links = [one.proto.label for one in app.get("page_link") if one.proto.label.startswith("Open ")]
    assert len(links) == len(record.config.seeds)


@pytest.mark.slow
def test_the_guide_is_shown_with_its_regret(store, monkeypatch):
    Stand(monkeypatch)
    record = carried(store, guide=True)
    assert "regret 0 %" in texts(opened(sweep=record.id))


@pytest.mark.slow
@pytest.mark.parametrize(("state", "words"), [("failed", "disk is full"), ("stopped", "stopped by hand")])
def test_a_sweep_that_ended_early_says_why_and_can_be_resumed(store, monkeypatch, state, words):
    Stand(monkeypatch, **({"fail_at": 2} if state == "failed" else {"stop_at": 2}))
    record = carried(store)
    app = opened(sweep=record.id)
    assert words in texts(app)
    assert [button for button in app.button if button.label == "Resume"]


@pytest.mark.slow
def test_a_sweep_of_another_process_is_followed(store):
    record = create(asked(), store)
    record.append("state", state="running")
    with record.lock():
        app = opened(sweep=record.id)
        assert "another process" in texts(app)
        assert "begin with the first finished cell" in texts(app)
    assert "ended first" in texts(opened(sweep=record.id))


def test_a_link_to_a_sweep_that_is_gone_says_so(store):
    create(asked(), store)
    assert "There is no sweep" in texts(opened(sweep="../../etc"))


@pytest.mark.slow
def test_a_sweep_can_be_deleted_with_its_runs(store, monkeypatch):
    monkeypatch.setattr("ui.shell.guard", lambda: None)  # under AppTest it starts again and so eats the click
    Stand(monkeypatch)
    record = carried(store)
    app = opened(sweep=record.id)
    app.checkbox(key=f"sweep.{record.id}.runs").check().run()
    app.button(key=f"sweep.{record.id}.yes").click().run()
    assert not app.exception
    assert not record.path.exists()
    assert not store.list()
