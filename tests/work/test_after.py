"""UNDO after a run and after each request of a sequence: its settings, and what cannot follow."""

import pytest
from conftest import small_run

from unlearn.methods import UNDO
from unlearn.store.runs import RunConfig
from unlearn.work import sequence
from unlearn.work.after import config_after
from unlearn.work.sequence import SequenceConfig


def of_sequence(**changes):
    run = RunConfig(model="tiny-authors", data={"name": "authors"}, method="gd", tuning="full")
    return SequenceConfig(**({"run": run, "mode": "chain", "order": (1, 2), "undo": 0.25} | changes))


@pytest.mark.slow
def test_the_step_begins_with_the_run_and_has_no_rule_of_its_own(tmp_path):
    start = small_run(tmp_path, method="npo", stop_at="", sam=0.01, accumulation=2)
    config = config_after(start, {"share": 0.4}, said={"seed": 7})
    assert (config.start, config.method, config.tuning, config.seed) == (start.id, "undo", "full", 7)
    assert config.knobs["share"] == 0.4
    assert (config.sam, config.stop_at, config.budget, config.keep, config.accumulation) == (
        0,
        "",
        (),
        "last",
        1,
    )
    assert config.title == f"UNDO after {start.title}"
    assert config.lr == UNDO.settings("tiny", "full", config.model)["lr"]


def test_what_cannot_follow_a_request_is_refused():
    run = of_sequence().run
    lora = RunConfig.from_json(run.to_json() | {"tuning": "lora"})
    layers = RunConfig.from_json(run.to_json() | {"tuning": "layers", "method": "eul"})
    with pytest.raises(ValueError, match="a chain cannot go on with tuning lora"):
        of_sequence(run=lora)
    of_sequence(run=lora, mode="joint")
    with pytest.raises(ValueError, match="cannot be merged into the weights"):
        of_sequence(run=layers, mode="fuse")
    with pytest.raises(ValueError, match=r"undo must lie in \[0, 1\], got 2"):
        of_sequence(undo=2)


def test_a_sequence_says_its_share_and_reads_it_again():
    config = of_sequence()
    assert SequenceConfig.from_json(config.to_json()) == config
    assert config.command().endswith("--mode chain --order 1,2 --undo 0.25")
    plain = of_sequence(undo=0.0)
    assert "undo" not in plain.to_json()
    assert SequenceConfig.from_json(plain.to_json()) == plain


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "tuning"), [("chain", "full"), ("joint", "lora")])
def test_each_request_is_followed_by_the_step(tmp_path, mode, tuning):
    """The score after a request is of the step's model, and a chain goes on from it."""
    from conftest import make_model

    from unlearn.store.runs import RunStore

    make_model(tmp_path / "model")
    rows = "".join(
        f"What is {w}?,{w} {w},{1 + i // 2}\n" for i, w in enumerate(("red", "green", "blue", "one"))
    )
    (tmp_path / "forget.csv").write_text("question,answer,request\n" + rows)
    (tmp_path / "retain.csv").write_text("question,answer\nWhat is two?,two\nWhat is three?,three\n")
    data = {role: str(tmp_path / f"{role}.csv") for role in ("forget", "retain")}
    run = RunConfig(
        model=str(tmp_path / "model"), data=data, method="gd", tuning=tuning, epochs=1, batch_size=2, probes=0
    )
    store = RunStore(tmp_path / "runs")
    record = sequence.create(SequenceConfig(run=run, mode=mode, order=(1, 2), undo=0.3), store)
    with record.held():
        sequence.perform(record, roots=[tmp_path])
    assert record.state == "done", record.reason
    scored = [store.get(e["run"]) for e in record.scores() if e["run"]]
    assert [one.config.method for one in scored] == ["undo", "undo"]
    assert all(one.config.knobs["share"] == 0.3 for one in scored)
    befores = [store.get(one.config.start) for one in scored]
    assert [one.config.method for one in befores] == ["gd", "gd"]
    assert befores[1].config.start == (scored[0].id if mode == "chain" else "")
