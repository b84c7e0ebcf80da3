"""One damaged run hides nothing else: lists, states, pages and reports leave out what is not of its shape."""

import contextlib
import io
import json
import random
from pathlib import Path

import pytest
from seed import seed_run

from tests.report.test_report import swept
from ui.runs import table
from unlearn.__main__ import main
from unlearn.report.build import html
from unlearn.results import compare
from unlearn.results.blind import votes
from unlearn.store import records
from unlearn.store.disk import write_json
from unlearn.store.runs import RunStore

JSON_FILES = ("config.json", "meta.json", "results.json", "metrics.json", "attacks.json")
LINE_FILES = ("events.jsonl", "probes.jsonl", "samples.jsonl")
WRONG = (None, 5, -1, "x", [], {}, [[]], {"a": []}, True, 10**400, "nan")
SCORE = {"when": "after", "role": "forget", "value": 0.5, "n": 4, "details": {"interval": [0.4, 0.6]}}
METRIC = {"title": "EL", "help": "h", "ideal": 0.5, "paper": "", "reason": "", "scores": [SCORE]}


def finished(store):
    run = seed_run(store)
    write_json(run.path / "attacks.json", swept())
    cost = [{"metrics": ["el_3"], "seconds": 1.0, "tokens": 5, "flops": 1.0, "peak_memory": None}]
    write_json(run.path / "metrics.json", {"identity": {}, "metrics": {"el_3": METRIC}, "cost": cost})
    return run


def broken(value, rng):
    """A copy with one place replaced by something of another kind, or taken out."""
    value = json.loads(json.dumps(value))
    inner = value
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = rng.choice(keys)
        deeper = inner[key]
        if isinstance(deeper, (dict, list)) and deeper and rng.random() < 0.7:
            inner = deeper
        elif rng.random() < 0.4:
            del inner[key]
            return value
        else:
            inner[key] = rng.choice(WRONG)
            return value


def damage(run, seed):
    """One of the run's files, changed in a way that depends on the seed alone."""
    rng = random.Random(seed)
    name = (JSON_FILES + LINE_FILES)[seed % 8]
    path = run.path / name
    if seed < 8:
        path.write_bytes(b"5\n" if seed % 2 else b"\xff{[" * 2000)
    elif name in JSON_FILES:
        path.write_text(json.dumps(broken(json.loads(path.read_text()), rng)))
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for _ in range(6):
            place = rng.randrange(len(lines))
            lines[place] = broken(lines[place], rng) if lines[place] else {}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def look(store):
    """Everything that lists, pages and reports ask of every run."""
    listed = store.list()
    for run in listed:
        assert run.state in records.STATES
        assert isinstance(run.title, str)
        assert isinstance(run.reason, str)
        run.has_checkpoint(), votes(run), records.unread(run.path)
        json.dumps([run.results(), run.scores(), run.events()])
        compare.pair_samples([run])
        compare.probe_references(run)
        assert table.state_of(run.summary()) in (*records.STATES, "recorded")
        table.model_title(run.summary())
        html([run])
    if len(listed) > 1:
        html(listed)
        compare.score_table(listed)
        compare.tradeoff_points(listed[:1], listed[1:], "accuracy")
        compare.config_table(listed)
    for baseline in (table.BEFORE, table.ABSOLUTE):
        for row, one in zip(table.rows(store.summaries(), baseline), listed, strict=True):
            assert row["id"] == one.id
    return listed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(48))
def test_a_damaged_run_takes_nobody_else_with_it(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    store = RunStore(tmp_path)
    good, bad = finished(store), finished(store)
    whole = html([good]), good.scores(), good.events()
    damage(bad, seed)
    listed = look(store)
    assert good in listed
    assert (good.scores(), good.events()) == whole[1:]
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert main(["runs", "--json", "--runs", str(tmp_path)]) == 0
    assert good.id in told.getvalue()


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "note", "text": "no time"},
        {"kind": "state", "time": 1.0},
        {"kind": "state", "time": 1.0, "state": ["done"]},
        {"kind": "eval", "time": 1.0, "when": "after", "scores": 3},
        {"kind": "eval", "time": 1.0, "when": [], "scores": {}},
        {"kind": "eval", "time": 1.0, "when": "after", "scores": {"forget": {"exact": "much"}}},
        {"kind": "eval", "time": 1.0, "when": "after", "scores": {"forget": {"n": "nan"}}},
        {"kind": "step", "time": 1.0, "step": "4", "of": 3, "terms": {}, "seconds": 1.0},
        {"kind": "state", "time": 1.0, "state": "running", "resumed_from": "3"},
    ],
)
def test_an_event_of_another_shape_is_left_out_and_counted(tmp_path, line):
    run = seed_run(RunStore(tmp_path))
    before = run.events()
    with (run.path / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert run.events() == before
    assert run.state == "done"
    assert records.unread(run.path) == {"events.jsonl": 1}


def test_what_runs_write_is_all_read(tmp_path):
    run = finished(RunStore(tmp_path))
    assert records.unread(run.path) == {}
    for shipped in RunStore(Path(__file__).parents[2] / "assets" / "recorded").list():
        assert records.unread(shipped.path) == {}
        assert shipped.samples()
        assert shipped.probes()
        assert shipped.scores()


@pytest.mark.parametrize("text", ["5", "[]", "null", '"x"', "[" * 100_000, '{"model": 1e400}'])
def test_settings_that_are_none_are_said_so(tmp_path, text):
    run = seed_run(RunStore(tmp_path))
    (run.path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config"):
        _ = run.config
    assert RunStore(tmp_path).list() == []
