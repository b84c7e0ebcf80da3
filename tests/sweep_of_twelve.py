"""The sweep that every engine carries out in its test: twelve short cells of the bundled model, to the bit the same."""

import hashlib

from unlearn.results import sweep_record
from unlearn.results.sweep_record import SweepConfig, SweepRecord, identity
from unlearn.store.runs import Run, RunConfig, RunStore

CELLS = 12


def asked() -> SweepConfig:
    """Two methods, three learning rates, two seeds; one request of the authors, one pass."""
    runs = tuple(
        RunConfig(
            model="tiny-authors",
            data={"name": "authors", "requests": [1]},
            method=method,
            epochs=1,
            batch_size=4,
            probes=0,
        )
        for method in ("ga", "gd")
    )
    return SweepConfig(runs=runs, lrs=(1e-4, 3e-4, 1e-3), seeds=(0, 1), keep_weights=True)


def made(root) -> SweepRecord:
    """The sweep's folder in a store of its own."""
    return sweep_record.create(asked(), RunStore(root))


def outcome(record: SweepRecord) -> dict[str, tuple[str, object, str]]:
    """{cell: (its state, its scores, the hash of its weights)}, which two engines must have in common."""
    store = RunStore(record.path.parent.parent)
    found = {}
    for run in store.list():
        weights = hashlib.sha256((run.path / "model" / "model.safetensors").read_bytes()).hexdigest()
        found[identity(run.config)] = (run.state, run.scores(), weights)
    return found


def check_each_once(runs: list[Run]) -> None:
    """None twice, none lost: every cell ended once, and its steps stand once in its events."""
    assert len({identity(run.config) for run in runs}) == len(runs) == CELLS
    for run in runs:
        assert [event["state"] for event in run.events("state")].count("done") == 1
        steps = [event["step"] for event in run.events("step")]
        assert steps == list(range(1, steps[-1] + 1))
        assert run.results()["threads"] == 1
        assert not run.is_held()
