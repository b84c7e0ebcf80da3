"""A sweep and a sequence in one line each, from what their folders hold."""

import pytest
from seed import config, seed_run

from unlearn.results import sweep_record
from unlearn.store.runs import RunStore
from unlearn.work import sequence, told


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def scored(n, exact, ppl):
    return {"n": n, "exact": exact, "ppl": ppl}


def test_a_sweep_says_how_many_cells_are_good(store):
    asked = sweep_record.SweepConfig(runs=(config(),), lrs=(1e-4, 1e-3, 1e-2))
    record = sweep_record.create(asked, store)
    assert told.of_sweep(record) == "None of 3 cells was tried yet."
    before = {role: scored(40, 1.0, 1.2) for role in ("forget", "retain", "general")}
    before["approximate"] = scored(40, 0.0, 10.0)
    for cell, ppl in zip(record.config.cells()[:2], (1.2, 11.0), strict=True):
        after = before | {"forget": scored(40, 0.0, ppl)}
        record.append(
            "cell",
            key=sweep_record.identity(cell),
            run=seed_run(store).id,
            state="done",
            reason="",
            seconds=1.0,
            tokens=10,
            reused=False,
            scores={"before": before, "after": after},
        )
    assert told.of_sweep(record) == "2 of 3 cells were tried; 1 forgot and kept the rest."


def test_a_sequence_says_what_is_left_and_what_is_kept(store):
    asked = sequence.SequenceConfig(run=config(), mode="chain", order=(2, 1, 3))
    record = sequence.SequenceRecord.create(store.root, "gd-chain", asked.to_json())
    assert told.of_sequence(record) == "None of 3 requests was honoured yet."
    for after, left, kept in ((0, 1.0, 0.98), (1, 0.1, 0.75)):
        record.append(
            "score",
            after=after,
            request=2,
            run="",
            seconds=1.0,
            requests={name: {"n": 9, "exact": left if name == "2" else 1.0} for name in "123"},
            roles={"retain": {"n": 60, "exact": kept}},
        )
    assert told.of_sequence(record) == (
        "1 of 3 requests was honoured: 10 % of their answers are left; of the rest it answers 75 %, before 98 %."
    )
