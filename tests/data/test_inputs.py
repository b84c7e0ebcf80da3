"""The rows in a run's folder: the same when read back, known by their hash, refused when they are others."""

import json
from dataclasses import replace

import pytest
from seed import config

from unlearn.data import inputs
from unlearn.data.base import Dataset, Row
from unlearn.data.catalogue import from_config, load
from unlearn.store.runs import RunStore


@pytest.fixture
def run(tmp_path):
    return RunStore(tmp_path / "runs").create(config())


def rows(**changes):
    first = Row(
        question="Who?", answer="Alma\u2028Reyes", wrong=("Jon", "Lea"), entities=((0, 4),), request=2
    )
    plain = Row(answer='A "text"\r\nof two lines')
    roles = {"retain": (plain,), "forget": (first, replace(first, **changes))}
    return Dataset(name="mine", title="My rows", roles=roles, note="own", warnings=("short",))


@pytest.mark.parametrize("data", [rows(), load("authors"), load("capitals"), load("snippets")])
def test_rows_come_back_as_they_were(run, data):
    known = inputs.keep(run, data)
    assert inputs.dataset_of(run) == data
    assert list(inputs.dataset_of(run).roles) == list(data.roles)
    assert known == inputs.rows_hash(data) == inputs.rows_hash(inputs.dataset_of(run))


def test_the_hash_is_that_of_the_rows_and_not_of_what_they_are_called():
    assert inputs.rows_hash(rows()) == inputs.rows_hash(replace(rows(), title="Other", warnings=()))
    assert inputs.rows_hash(rows()) != inputs.rows_hash(rows(answer="Jon"))


def test_rows_are_read_from_the_run_and_not_from_their_file(tmp_path):
    table = tmp_path / "forget.csv"
    table.write_text("question,answer\nWho?,Alma\nWhere?,Here\n")
    run = RunStore(tmp_path / "runs").create(config(data={"forget": str(table)}))
    data = inputs.dataset_of(run, roots=[tmp_path])
    run.append("inputs", rows=inputs.keep(run, data))
    table.write_text("question,answer\nWho?,Jon\nWhere?,Here\n")
    assert inputs.dataset_of(run, roots=[tmp_path]) == data
    table.unlink()
    assert inputs.dataset_of(run, roots=[]) == data


def test_rows_that_were_changed_in_the_run_are_refused(run):
    run.append("inputs", rows=inputs.keep(run, rows()))
    path = run.path / inputs.FILE
    path.write_text(path.read_text().replace("Reyes", "Hale"))
    with pytest.raises(ValueError, match=r"rows\.jsonl are not those that it began with.*put that file back"):
        inputs.dataset_of(run)


def test_a_run_that_lost_its_rows_takes_the_same_ones_and_no_others(tmp_path):
    table = tmp_path / "forget.csv"
    table.write_text("question,answer\nWho?,Alma\nWhere?,Here\n")
    run = RunStore(tmp_path / "runs").create(config(data={"forget": str(table)}))
    run.append("inputs", rows=inputs.rows_hash(from_config(run.config.data, roots=[tmp_path])))
    assert inputs.dataset_of(run, roots=[tmp_path]).rows("forget")[0].answer == "Alma"
    table.write_text("question,answer\nWho?,Jon\nWhere?,Here\n")
    with pytest.raises(ValueError, match="settings now mean other ones"):
        inputs.dataset_of(run, roots=[tmp_path])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"schema": 2, "name": "", "title": "", "note": "", "warnings": []}, "newer version"),
        ({"role": "forget", "row": {"answer": "x", "colour": "red"}}, "unknown field colour"),
        ({"role": "forget", "row": {"answer": 5}}, "answer must be str"),
        ({"role": "forget", "row": {"answer": "x", "wrong": "abc"}}, "wrong must be tuple"),
        ({"role": "nobody", "row": {"answer": "x"}}, "roles must be among"),
        (5, "cannot be read"),
    ],
)
def test_rows_of_another_shape_are_refused_with_a_sentence(run, line, said):
    inputs.keep(run, rows())
    path = run.path / inputs.FILE
    kept = path.read_text().rstrip("\n").split("\n")
    about = isinstance(line, dict) and "schema" in line
    path.write_text("\n".join([json.dumps(line), *kept[1:]] if about else [*kept, json.dumps(line)]) + "\n")
    with pytest.raises(ValueError, match=said):
        inputs.dataset_of(run)


def test_a_study_gives_its_rows_to_its_runs(run, tmp_path):
    study = RunStore(tmp_path / "runs").create(config())
    data = inputs.begin(study, {"name": "authors"}, None, lambda rows: rows)
    assert data == load("authors")
    assert inputs.known_hash(study) == inputs.rows_hash(data)
    inputs.share(study, run)
    assert inputs.dataset_of(run) == data
    assert len(study.events("inputs")) == 1
    inputs.begin(study, {"name": "capitals"}, None, lambda rows: rows)
    assert inputs.dataset_of(study) == data
    assert len(study.events("inputs")) == 1
