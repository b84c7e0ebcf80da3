"""The schema number of files: written, older ones read, newer ones refused; what was left out is said in a sentence."""

import json
from pathlib import Path

import pytest
from seed import seed_run
from streamlit.testing.v1 import AppTest

from unlearn.store import records
from unlearn.store.disk import read_json, write_json
from unlearn.store.runs import RunStore
from unlearn.store.transfer import export_run, import_run

ROOT = Path(__file__).resolve().parents[2]
OLD = Path(__file__).parent / "old_run"


def change(run, file, **values):
    write_json(run.path / file, read_json(run.path / file) | values)


def test_settings_say_their_schema_and_older_ones_are_read(tmp_path):
    run = seed_run(RunStore(tmp_path))
    found = read_json(run.path / "config.json")
    assert found["schema"] == records.SCHEMA == 1
    asked = run.config
    for older in (0, None):
        kept = {key: value for key, value in found.items() if key != "schema"}
        write_json(run.path / "config.json", kept | ({"schema": 0} if older == 0 else {}))
        assert run.config == asked
    for shipped in RunStore(OLD).list():
        assert "schema" not in read_json(shipped.path / "config.json")
        assert shipped.results()["scores"]
        assert records.notes(shipped.path) == []


@pytest.mark.parametrize(
    ("schema", "said"), [(2, "newer version"), ("x", "must be a whole"), (-1, "must be a whole")]
)
def test_settings_of_a_newer_version_are_refused_with_a_sentence(tmp_path, schema, said):
    run = seed_run(RunStore(tmp_path))
    change(run, "config.json", schema=schema)
    with pytest.raises(ValueError, match=f"config.json.*{said}"):
        _ = run.config


def test_results_of_a_newer_version_are_said_and_not_read(tmp_path):
    store = RunStore(tmp_path / "runs")
    run = seed_run(store)
    change(run, "results.json", schema=2)
    assert run.results() == {}
    (said,) = records.notes(run.path)
    assert said.startswith("results.json was written by a newer version (schema 2, this one reads up to 1)")
    archive = export_run(run, tmp_path / "run.zip")
    with pytest.raises(ValueError, match=r"results\.json was written by a newer version"):
        import_run(archive, store)
    assert store.list() == [run]


def test_what_was_left_out_is_said_in_a_sentence_a_file(tmp_path):
    run = seed_run(RunStore(tmp_path))
    assert records.notes(run.path) == []
    with (run.path / "events.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "note"}) + "\n" + json.dumps({"kind": "step", "time": 1.0}) + "\n")
    change(run, "meta.json", owner=5)
    assert records.notes(run.path) == [
        "events.jsonl: 2 of its parts have a shape that this version cannot read; left out.",
        "meta.json: a part of it has a shape that this version cannot read; left out.",
    ]


@pytest.mark.parametrize("page", ["compare", "tokens", "launch"])
def test_pages_say_what_of_a_run_could_not_be_read(tmp_path, monkeypatch, page):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    run = seed_run(RunStore(tmp_path))
    with (run.path / "events.jsonl").open("a") as file:
        file.write("5\n{}\n")
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    app.run()
    app.query_params["run" if page != "compare" else "a"] = run.id
    app.switch_page(f"../pages/{page}.py").run()
    assert not app.exception
    assert "2 of its parts have a shape" in "\n".join(str(c.value) for c in app.caption)
