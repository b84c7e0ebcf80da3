"""The order of a run's parts: what training does not need comes after it."""

import pytest
from conftest import small_run

from unlearn.data.catalogue import load
from unlearn.measure import evaluate
from unlearn.store.runs import RunConfig, RunStore
from unlearn.training.alternates import usable
from unlearn.work.execute import execute


@pytest.mark.slow
def test_the_exact_retrain_is_asked_when_training_is_done(tmp_path):
    config = RunConfig(model="tiny-authors", method="ga", data={"name": "authors"}, epochs=1, probes=0)
    run = RunStore(tmp_path).create(config)
    execute(run)
    assert (run.state, run.reason) == ("done", "")
    phases = [e["phase"] for e in run.events("note") if "phase" in e and "seconds" not in e]
    wanted = ["loading model", "scoring before", "reference", "training", "saving", "scoring after"]
    assert phases == [*wanted, "scoring retrained"]
    assert set(run.scores()) == {"before", "after", "retrained"}
    assert {s["when"] for s in run.samples()} == {"before", "after", "retrained"}


@pytest.mark.slow
def test_no_row_is_asked_twice_of_the_same_weights(tmp_path, monkeypatch):
    """The rows that are followed are asked before and after the run by its scores, and not once more beside them."""
    asked = []
    original = evaluate.observe

    def observe(*args, continued=True, **options):
        if continued:
            asked.append(sum(map(len, args[2].values())))
        return original(*args, continued=continued, **options)

    monkeypatch.setattr("unlearn.measure.probes.observe", observe)
    monkeypatch.setattr("unlearn.work.known.observe", observe)
    runs = []
    for probes in (1, 0):
        asked.clear()
        config = RunConfig(
            model="tiny-authors", method="ga", data={"name": "authors"}, epochs=1, probes=probes
        )
        runs.append(RunStore(tmp_path / str(probes)).create(config))
        execute(runs[-1])
        rows = sum(map(len, evaluate.rows_to_score(load("authors")).values()))
        followed = len(runs[-1].probes()[0]["items"]) if probes else 0
        assert asked == [rows, *([followed] if probes else []), rows - followed, rows]
    told = [run.scores()["after"] for run in runs]
    for role, values in told[0].items():
        assert values == pytest.approx(told[1][role], abs=1e-5)
    first, last = (runs[0].probes()[at]["items"] for at in (0, -1))
    for when, items in (("before", first), ("after", last)):
        said = {(s["role"], s["index"]): s for s in runs[0].samples() if s["when"] == when}
        for item in items:
            sample = said[item["role"], item["index"]]
            assert (item["text"], item["tokens"]) == (sample["text"], sample["tokens"])


@pytest.mark.slow
def test_a_run_says_what_its_method_read_in_place_of_rows_that_are_missing(tmp_path):
    run = small_run(tmp_path, method="repselect", knobs={"max_steps": 2})
    told = [event["text"] for event in run.events("note") if "role general" in event.get("text", "")]
    assert len(told) == 1
    assert told[0].startswith("forget has no rows of the role general, so bundled everyday facts")


@pytest.mark.slow
def test_a_run_of_altpo_keeps_the_other_answers_as_a_table(tmp_path):
    run = small_run(tmp_path, method="altpo", epochs=1, knobs={"alternates": 3})
    (note,) = [event for event in run.events("note") if "alternates" in event]
    table = {row["answer"]: row for row in note["alternates"]}
    assert set(table) == {"red red", "green green", "blue blue"}
    for answer, row in table.items():
        assert len(row["alternates"]) == 3
        assert all(usable(text, answer) for text in row["alternates"])
        assert row["source"] in ("model", "another text")
