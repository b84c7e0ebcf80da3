"""A sweep of attacks: its order and its time, going on where it ended, and what it writes."""

import json
import math
import shutil
from pathlib import Path

import pytest

from unlearn.__main__ import main
from unlearn.attacks import ATTACKS, CELLS
from unlearn.attacks.base import Attack, Cell, Found
from unlearn.results import residue, verdict
from unlearn.store import records
from unlearn.store.disk import read_json
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work import attack_record, attack_sweep, cells, stress

ROOTS = [Path("/")]


@pytest.fixture
def small(tmp_path, tiny_folder):
    """A done run on a tiny random model whose "after" is the model itself."""
    (tmp_path / "forget.csv").write_text("question,answer\nWhat is red?,one two\nWhat is blue?,two three\n")
    data = {"forget": str(tmp_path / "forget.csv")}
    run = RunStore(tmp_path / "runs").create(RunConfig(model=str(tiny_folder), data=data, method="npo"))
    shutil.copytree(tiny_folder, run.path / "model")
    run.append("state", state="done")
    return run


class Fake:
    """Cells that take planned seconds of a planned clock, and count how often each was carried out."""

    def __init__(self, monkeypatch):
        self.now, self.done, self.seeds = 0.0, [], []
        monkeypatch.setattr(cells, "monotonic", lambda: self.now)
        monkeypatch.setattr(attack_record, "perf_counter", lambda: self.now)
        monkeypatch.setattr(attack_sweep, "write_card", lambda run: None)

    def cell(self, name, seconds, cost=1.0, family="", random=False, values=None, fails=""):
        def run(subject):
            self.done.append(name)
            self.seeds.append(subject.seed)
            for _ in range(10):
                self.now += seconds / 10
                subject.progress("at it", 0.0)
            if fails:
                raise ValueError(fails)
            found = values(subject.seed) if callable(values) else values
            return Found(found or {"before": [1.0] * 9, "after": [0.0] * 9, "control": [0.0] * 9}, "Found.")

        return Cell(Attack(name, name, "", "suppressed", run), family or name, f"set {name}", cost, random)

    def use(self, monkeypatch, *found):
        monkeypatch.setattr(cells, "CELLS", found)


@pytest.fixture
def fake(monkeypatch):
    return Fake(monkeypatch)


def sweep(run, minutes, **more):
    return stress.sweep(run, minutes, roots=ROOTS, **more)


def test_it_goes_on_where_it_ended_and_does_nothing_twice(small, fake, monkeypatch):
    fake.use(monkeypatch, *(fake.cell(f"a{i}", 30) for i in range(4)))
    first = sweep(small, 1)
    assert fake.done == ["a0", "a1"]
    assert first["swept"] == {"minutes": 1.0, "of": 4, "done": 2, "next": "a2", "next_minutes": 0.5}
    assert (
        "2 of 4 settings were tried in 1.0 minutes; next comes a2, which needs about 0.5 minutes"
        in residue.sweep_note(first)
    )
    # A sweep alone makes the run one that was attacked.
    assert records.attacked(first) == first["verdict"] == "undecided"
    again = sweep(small, 5)
    assert fake.done == ["a0", "a1", "a2", "a3"]
    assert again["swept"] == {"minutes": 2.0, "of": 4, "done": 4}
    assert sweep(small, 5)["sweep"] == again["sweep"]
    assert fake.done == ["a0", "a1", "a2", "a3"]
    assert residue.sweep_note(again) == "4 of 4 settings were tried in 2.0 minutes; the sweep is complete."


def test_what_does_not_fit_is_left_and_a_cheaper_one_taken(small, fake, monkeypatch):
    fake.use(monkeypatch, fake.cell("a", 20), fake.cell("long", 600, cost=30), fake.cell("b", 20))
    record = sweep(small, 1)
    assert fake.done == ["a", "b"]
    assert record["swept"]["next"] == "long"
    assert record["swept"]["next_minutes"] == pytest.approx(10.0)


def test_the_time_is_kept_within_a_setting_and_what_was_cut_is_not_written(small, fake, monkeypatch):
    fake.use(monkeypatch, fake.cell("endless", 6000))
    record = sweep(small, 1)
    assert record["sweep"] == {}
    assert fake.now <= 60 + 600
    assert record["swept"]["done"] == 0


def test_killed_in_the_middle_nothing_that_was_done_is_lost(small, fake, monkeypatch):
    fake.use(monkeypatch, fake.cell("a", 10), fake.cell("b", 10))

    def killed(phrase, fraction):
        if phrase.startswith("at it") and len(fake.done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(small, 5, progress=killed)
    kept = read_json(small.path / stress.FILE)
    assert list(kept["sweep"]) == ["a"]
    assert kept["verdict"]
    assert list(sweep(small, 5)["sweep"]) == ["a", "b"]
    assert fake.done == ["a", "b", "b"]


def test_another_seed_begins_anew_and_the_same_goes_on(small, fake, monkeypatch):
    fake.use(monkeypatch, fake.cell("a", 1))
    sweep(small, 1, seed=4)
    assert sweep(small, 1)["seed"] == 4
    assert fake.seeds == [4]
    assert sweep(small, 1, seed=5)["swept"]["done"] == 1
    assert fake.seeds == [4, 5]


def test_the_worst_that_draws_is_tried_with_two_other_seeds(small, fake, monkeypatch):
    def values(seed):
        share = {0: 9, 1: 6, 2: 3}[seed]
        return {"before": [1.0] * 9, "after": [1.0] * share + [0.0] * (9 - share), "control": [0.0] * 9}

    fake.use(monkeypatch, fake.cell("a", 1), fake.cell("draws", 1, random=True, values=values))
    monkeypatch.setattr(attack_record, "subject_of", planted_control(attack_record.subject_of))
    record = sweep(small, 5)
    assert [(one["seed"], one["residue"]) for one in record["sweep"]["draws"]["again"]] == [
        (1, 6 / 9),
        (2, 3 / 9),
    ]
    assert sweep(small, 5)["sweep"] == record["sweep"]
    assert fake.done == ["a", "draws", "draws", "draws"]
    said = residue.sentence(record)
    assert "seed 0, and with 2 other seeds 67 %, 33 % are left" in said
    assert residue.worst(record)["name"] == "draws"


def planted_control(real):
    """A subject that has a retrained model, which is the original here."""

    def made(*args):
        subject, identity = real(*args)
        subject.models, load = ("before", "after", "retrained"), subject.load
        subject.load = lambda when: load("before" if when == "retrained" else when)
        return subject, identity

    return made


def test_what_a_setting_says_depends_on_how_many_were_tried(small, fake, monkeypatch):
    """Five of nine above the control: three standard errors, enough for one setting and not for many."""
    close = {"before": [1.0] * 9, "after": [1.0] * 5 + [0.0] * 4, "control": [0.0] * 9}
    assert verdict.says(close, "suppressed") == "suppressed"
    monkeypatch.setattr(attack_record, "subject_of", planted_control(attack_record.subject_of))
    fake.use(monkeypatch, fake.cell("a", 1, values=close))
    assert sweep(small, 1)["sweep"]["a"]["says"] == "suppressed"
    fake.use(monkeypatch, fake.cell("a", 1, values=close), *(fake.cell(f"b{i}", 0.1) for i in range(40)))
    record = sweep(small, 5)
    assert record["sweep"]["a"]["says"] == "undecided"
    assert record["sweep"]["a"]["residue"] == pytest.approx(5 / 9)


def test_an_attack_with_one_setting_counts_among_those_that_were_tried(small, fake, monkeypatch):
    """It stands apart from the sweep's settings, and is picked as the worst of all the same."""
    close = {"before": [1.0] * 9, "after": [1.0] * 5 + [0.0] * 4, "control": [0.0] * 9}
    monkeypatch.setattr(attack_record, "subject_of", planted_control(attack_record.subject_of))
    fake.use(monkeypatch, fake.cell("prefix", 1, values=close))
    assert sweep(small, 1)["attacks"]["prefix"]["says"] == "suppressed"
    fake.use(monkeypatch, fake.cell("prefix", 1, values=close), *(fake.cell(f"b{i}", 0.1) for i in range(40)))
    record = sweep(small, 5)
    assert fake.done.count("prefix") == 1
    assert record["attacks"]["prefix"]["says"] == record["verdict"] == "undecided"


def test_standard_errors_for_many_settings():
    from scipy.stats import norm

    assert verdict.errors_for(1) == 2.0
    for many in (7, 50):
        assert verdict.errors_for(many) == pytest.approx(norm.isf(0.05 / 2 / many))


def test_a_setting_that_cannot_be_done_says_why_and_is_not_tried_again(small, fake, monkeypatch):
    fake.use(monkeypatch, fake.cell("a", 1, fails="needs a template"), fake.cell("b", 1))
    record = sweep(small, 1)
    assert record["sweep"]["a"]["reason"] == "needs a template"
    assert residue.left_out(record) == ["a: set a: needs a template"]
    sweep(small, 1)
    assert fake.done == ["a", "b"]


def test_single_attacks_keep_their_place(small, fake, monkeypatch):
    (prefix,) = [cell for cell in CELLS if cell.attack.name == "prefix"]
    fake.use(monkeypatch, prefix, fake.cell("a", 1))
    record = sweep(small, 1)
    assert list(record["attacks"]) == ["prefix"]
    assert list(record["sweep"]) == ["a"]


def test_every_attack_but_the_one_that_the_grid_holds_is_in_the_sweep():
    names = {cell.attack.name for cell in CELLS}
    assert set(ATTACKS) - names == {"relearn"}
    order = [cell.attack.name for cell in CELLS]
    assert (
        order.index("affirm-sure")
        < order.index("practice-forget-full-lr")
        < order.index("practice-retain-lora-lr")
    )


def test_the_forecast_by_hand(fake, monkeypatch):
    own = [
        fake.cell("x1", 0, cost=2, family="x"),
        fake.cell("x2", 0, cost=4, family="x"),
        fake.cell("y", 0, cost=3),
    ]
    fake.use(monkeypatch, *own)
    assert cells.forecast(own[1], {}) is None
    known = {"x1": {"seconds": 10.0, "reason": ""}}
    assert cells.forecast(own[1], known) == 20.0
    assert cells.forecast(own[2], known) == 15.0
    known["y"] = {"seconds": 300.0, "reason": ""}
    assert cells.forecast(own[1], known) == 20.0
    assert cells.forecast(own[1], {"x1": {"seconds": 0.0, "reason": "left out"}}) is None
    assert cells.fitting(own, known, 19.0) is None
    assert cells.fitting(own, known, 20.0) is own[1]


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf, True, "5", 10_081])
def test_bad_minutes_are_refused(small, minutes):
    with pytest.raises(ValueError, match=r"attack: minutes must be above 0 and at most 10080"):
        stress.sweep(small, minutes)
    with pytest.raises(ValueError, match="minutes must be"):
        stress.create(small, minutes=minutes)


def test_the_command_line(small, fake, monkeypatch, capsys):
    fake.use(monkeypatch, fake.cell("affirm-x", 1), fake.cell("other", 1))
    words = ["attack", "--runs", str(small.path.parent), small.id]
    assert main([*words, "affirm", "--sweep", "--minutes", "1"]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 settings were tried" in said
    assert "affirm-x: set affirm-x: 0 % right" in said
    assert main([*words, "--sweep", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"identity", "seed", "control", "attacks", "sweep", "swept", "plain", "verdict"}
    assert list(told["sweep"]) == ["affirm-x", "other"]
    for wrong, said in (
        (["all", "--minutes", "3"], "--minutes: it belongs to --sweep"),
        ([], "the following arguments are required: name"),
        (["nope", "--sweep"], "attack: a sweep has"),
        (["--sweep", "--minutes", "0"], "minutes must be above 0"),
    ):
        assert main([*words, *wrong]) == 2
        assert said in capsys.readouterr().err


def test_the_background_job_sweeps(small, fake, monkeypatch):
    fake.use(monkeypatch, fake.cell("a", 1))
    job = stress.create(small, minutes=2.0, seed=3)
    assert job.asked == {"attacks": [], "metrics": [], "minutes": 2.0, "seed": 3}
    stress.perform(job, roots=ROOTS)
    assert (job.state, job.reason) == ("done", "")
    assert stress.read_attacks(small)["swept"]["done"] == 1
    stopped = stress.create(small, minutes=2.0, seed=4)
    stress.perform(stopped, roots=ROOTS, should_stop=lambda: True)
    assert stopped.state == "stopped"
