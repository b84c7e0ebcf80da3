"""The order of a run's parts: what training does not need comes after it."""

import pytest

from unlearn.store.runs import RunConfig, RunStore
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
