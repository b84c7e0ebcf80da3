"""What Ray's and SLURM's engines share, tried with one that carries nothing out."""

import time

import pytest

from unlearn.engines.place import Place
from unlearn.engines.remote import Remote
from unlearn.store.runs import RunConfig, RunStore


class Idle(Remote):
    """Keeps all records waiting."""

    name = "idle"

    def _round(self):
        time.sleep(0.001)

    def _ask_to_stop(self, record):
        """Nobody carries it out."""

    def _waits_for(self):
        return "it waits"


def test_an_engine_that_is_lost_lets_go_of_all_with_the_reason_and_takes_no_more(tmp_path):
    store = RunStore(tmp_path)
    runs = [
        store.create(RunConfig(model="tiny-authors", data={"name": "authors"}, method="gd")) for _ in range(3)
    ]
    engine = Idle(Place(), store)
    try:
        engine.submit(*runs[:2])
        assert [engine.where(run).ahead for run in runs[:2]] == [1, 2]
        engine._let_go("the sky has fallen")
        for run in runs[:2]:
            assert (run.state, run.reason, run.is_held()) == ("stopped", "the sky has fallen", False)
            assert engine.where(run) is None
        # What comes too late changes no outcome.
        engine._finish(runs[0], state="failed", reason="an answer that never came")
        assert (runs[0].state, runs[0].reason) == ("stopped", "the sky has fallen")
        with pytest.raises(ValueError, match="--on idle: the sky has fallen"):
            engine.submit(runs[2])
        assert not runs[2].is_held()
    finally:
        engine.close()
