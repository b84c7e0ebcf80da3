"""Deletion requests in sequence: what a record says, what each mode really does, and the page.

The real sequences run on a tiny random model with three requests of two rows, so that a mode takes seconds.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from unlearn.__main__ import main
from unlearn.figures import requests as request_figures
from unlearn.figures import sequence as sequence_figures
from unlearn.store.disk import write_json
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work import sequence as module
from unlearn.work.sequence import MODES, SequenceConfig, SequenceRecord, create, perform, sequences, summary

ROOT = Path(__file__).resolve().parents[2]
ANYWHERE = [Path("/")]
FORGET = (
    "question,answer,request\nWhat is red?,red,1\nWhat is two?,two,1\nWhat is blue?,blue,2\n"
    "What is one?,one,2\nWhat is green?,green,3\nWhat is three?,three,3\n"
)
KEEP = "question,answer\nWhere was red born?,red\nWhere was two born?,two\nWhere was one born?,one\n"


def run_config(**changes):
    values = {"model": "tiny-authors", "data": {"name": "authors"}, "method": "npo"}
    return RunConfig(**(values | changes))


def asked(mode="chain", order=(3, 1, 2), **changes):
    tuning = {"method": "eul", "tuning": "layers"} if mode in module.LAYER_MODES else {}
    return SequenceConfig(run=run_config(**(tuning | changes)), mode=mode, order=order)


@pytest.fixture
def tiny_data(tmp_path, tiny_folder):
    """Settings of a run on a tiny random model and a table with three requests."""
    (tmp_path / "forget.csv").write_text(FORGET)
    (tmp_path / "retain.csv").write_text(KEEP)
    return {
        "model": str(tiny_folder),
        "data": {"forget": str(tmp_path / "forget.csv"), "retain": str(tmp_path / "retain.csv")},
        "epochs": 1,
        "batch_size": 2,
        "lr": 1e-2,
        "probes": 0,
    }


# -- the record ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "both"}, "sequence: mode must be among chain, fuse, average, ties, joint, got 'both'"),
        ({"order": (1,)}, r"sequence: order must name two or more requests, each once, got \[1\]"),
        ({"order": (1, 2, 1)}, r"sequence: order must name two or more requests, each once, got \[1, 2, 1\]"),
        ({"mode": "fuse"}, "mode fuse joins unlearning layers, which npo with full tuning does not train"),
        (
            {"mode": "ties", "run": run_config(method="eul", tuning="layers")},
            "mode ties joins .* own weights, and eul with layers tuning changes none; choose mode chain",
        ),
        ({"mode": "ties", "run": run_config(precision="nf4", tuning="lora")}, "must not be rounded"),
        ({"mode": "ties", "run": run_config(adapter="keep", tuning="lora")}, "--adapter keep"),
        ({"mode": "ties", "undo": 0.25}, "mode ties keeps the largest changes, .* leave --undo out"),
    ],
)
def test_a_wrong_config_names_field_rule_and_value(changes, said):
    with pytest.raises(ValueError, match=said):
        SequenceConfig(**({"run": run_config(), "mode": "chain", "order": (1, 2)} | changes))


@pytest.mark.parametrize("mode", MODES)
def test_config_survives_json(mode):
    config = asked(mode)
    assert SequenceConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_request_that_does_not_exist_is_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(ValueError, match="requests must be among 1, 2, 3, 4, 5, got 9"):
        create(asked(order=(1, 9)), RunStore(tmp_path))
    assert not sequences(RunStore(tmp_path))


def test_each_run_is_asked_for_its_own_request_and_the_joint_one_for_all_so_far():
    assert [asked("chain").requests_of(k) for k in (1, 2, 3)] == [(3,), (1,), (2,)]
    assert [asked("joint").requests_of(k) for k in (1, 2, 3)] == [(3,), (3, 1), (3, 1, 2)]


def test_the_command_repeats_the_sequence():
    import shlex

    from unlearn.__main__ import parser
    from unlearn.commands.options import config_of, request_numbers

    config = asked("fuse", seed=7)
    args = parser().parse_args(shlex.split(config.command())[3:])
    assert (args.mode, tuple(request_numbers("--order", args.order))) == ("fuse", (3, 1, 2))
    told = config_of(args)
    assert (told.method, told.tuning, told.seed, dict(told.data)) == ("eul", "layers", 7, {"name": "authors"})


# -- seeded: numbers that can be checked by hand -----------------------------------------------------------------


def seed_sequence(store, state="done", mode="chain", **changes) -> SequenceRecord:
    """Three requests of 10, 20 and 30 questions; request 3 arrives first and comes back to 40 % at the end."""
    record = create(asked(mode, **changes), store)
    record.append("state", state="running")
    known = {3: (1.0, 0.0, 0.2, 0.4), 1: (0.9, 0.8, 0.0, 0.1), 2: (1.0, 1.0, 1.0, 0.0)}
    keep = {
        "retain": (0.95, 0.9, 0.85, 0.8),
        "general": (0.7, 0.7, 0.6, 0.6),
        "neighbours": (1.0, 0.5, 0.5, 0.4),
    }
    for k in range(4 if state == "done" else 2):
        record.append(
            "score",
            after=k,
            request=(None, 3, 1, 2)[k],
            run=f"20250101-00000{k}-npo-dead" if k else None,
            requests={str(r): {"n": 10 * r, "exact": known[r][k], "ppl": 2.0 + k} for r in (1, 2, 3)},
            roles={role: {"n": 40, "exact": values[k], "ppl": 3.0} for role, values in keep.items()},
            seconds=2.0,
        )
    if state != "running":
        record.append("state", state=state, reason="request 1: loss became nan" if state == "failed" else "")
    return record


def test_summary_weighs_requests_by_their_questions_and_roles_equally(tmp_path):
    rows = summary(seed_sequence(RunStore(tmp_path)))
    assert [row["after"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["done"] is None
    assert rows[0]["to come"] == pytest.approx((30 * 1.0 + 10 * 0.9 + 20 * 1.0) / 60)
    assert rows[2]["done"] == pytest.approx((30 * 0.2 + 10 * 0.0) / 40)
    assert rows[2]["to come"] == pytest.approx(1.0)
    assert rows[3]["done"] == pytest.approx((30 * 0.4 + 10 * 0.1 + 20 * 0.0) / 60)
    assert rows[3]["to come"] is None
    assert rows[3]["utility"] == pytest.approx((0.8 + 0.6 + 0.4) / 3)


def test_the_figures_say_what_the_numbers_say(tmp_path):
    record = seed_sequence(RunStore(tmp_path))
    study = {
        "label": "NPO",
        "mode": "chain",
        "order": record.config.order,
        "rows": summary(record),
        "scores": record.scores(),
    }
    assert sequence_figures.panels([study])[:2] == ["done", "retain"]
    figure = sequence_figures.curve([study, study | {"mode": "joint"}], "done")
    said = figure.layout.title.text
    assert said.startswith(
        "NPO: after 3 requests 22 % of the answers are left, retain fell from 95 % to 80 %"
    )
    kept = sequence_figures.curve([study], "retain")
    assert kept.layout.title.text == "To keep: 95 % → 80 %"
    assert kept.layout.annotations[0].text == "original 95 %"
    lines = {(trace.line.dash, trace.marker.symbol) for trace in figure.data}
    assert lines == {("solid", "circle"), ("longdash", "diamond")}
    assert list(figure.data[0].x) == [1, 2, 3]
    assert request_figures.comeback(study) == "Request 3 came back: 0 % → 40 %"
    lost = "Request 1 lost before its turn: 90 % → 80 % after 1"
    assert request_figures.collateral(study) == lost
    grid = request_figures.grid(study)
    assert grid.layout.title.text == f"Request 3 came back: 0 % → 40 %. {lost}"
    # What was lost too early is seen: the square of request 1 after the first is greyer than that of request 2.
    early = {
        tuple(data[:2]): color
        for data, color in zip(grid.data[1].customdata, grid.data[1].marker.color, strict=True)
    }
    assert early[1, 1] != early[1, 2] == early[0, 2]
    cells = {
        tuple(data[:2]): text
        for trace in grid.data
        for data, text in zip(trace.customdata, trace.text, strict=True)
    }
    assert len(cells) == 12
    assert (cells[3, 3], cells[0, 1], cells[2, 2]) == ("40", "90", "100")
    assert {tuple(data[:2]) for data in grid.data[0].customdata} == {
        (1, 3),
        (2, 3),
        (2, 1),
        (3, 3),
        (3, 1),
        (3, 2),
    }
    assert "moved back most" in request_figures.comeback(
        study, "ppl"
    ) or "No earlier" in request_figures.comeback(study, "ppl")


def test_a_sequence_at_its_beginning_has_figures_too(tmp_path):
    record = seed_sequence(RunStore(tmp_path), "running")
    study = {
        "label": "NPO",
        "mode": "chain",
        "order": record.config.order,
        "rows": summary(record)[:1],
        "scores": record.scores()[:1],
    }
    assert "no request honoured yet" in sequence_figures.curve([study], "done").layout.title.text
    assert request_figures.collateral(study) == ""
    assert "shows after the second" in request_figures.comeback(study)
    request_figures.grid(study, dark=True)


# -- real ones ---------------------------------------------------------------------------------------------------


def carried_out(config, root, **options) -> SequenceRecord:
    record = create(config, RunStore(root))
    perform(record, roots=ANYWHERE, **options)
    return record


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_scores_every_request_after_each(tmp_path, tiny_data, mode):
    record = carried_out(asked(mode, **tiny_data), tmp_path / "runs")
    assert (record.state, record.reason) == ("done", "")
    events = record.scores()
    assert [event["after"] for event in events] == [0, 1, 2, 3]
    assert [event["request"] for event in events] == [None, 3, 1, 2]
    assert all(set(event["requests"]) == {"1", "2", "3"} for event in events)
    assert all(event["requests"]["1"]["n"] == 2 for event in events)
    runs = [RunStore(tmp_path / "runs").get(event["run"]) for event in events[1:]]
    assert all(run.state == "done" and run.meta["sequence"] == record.id for run in runs)
    starts = [run.config.start for run in runs]
    assert starts == (["", runs[0].id, runs[1].id] if mode == "chain" else ["", "", ""])
    assert [tuple(run.config.data["requests"]) for run in runs] == [
        asked(mode).requests_of(k) for k in (1, 2, 3)
    ]
    nll = [[event["requests"][r]["nll"] for r in "123"] for event in events]
    assert nll[0] != nll[1] != nll[2] != nll[3]


def test_fusion_chooses_the_hosts_threads_also_beside_a_gpu(tmp_path, tiny_data, monkeypatch):
    """A run on a GPU leaves one thread; the products of fusion are the host's."""
    from unlearn.compute import threads
    from unlearn.models import tuning

    class Chosen(Exception):
        pass

    def choose_threads(small):
        raise Chosen(small)

    large = SimpleNamespace(parameters=10**9, device="cuda")
    monkeypatch.setattr(tuning, "load_trained", lambda run: large)
    monkeypatch.setattr(threads, "choose_threads", choose_threads)
    work = module._Work(None, lambda: False, lambda *_: None, ANYWHERE)
    work.config = asked("fuse", **tiny_data)
    with pytest.raises(Chosen) as chosen:
        work.model_after([None])
    assert chosen.value.args == (False,)


@pytest.mark.slow
def test_fusing_one_request_gives_that_requests_model(tmp_path, tiny_data):
    from unlearn.compute.lm import forward
    from unlearn.compute.tokens import collate
    from unlearn.models import tuning

    record = carried_out(asked("fuse", order=(1, 2), **tiny_data), tmp_path / "runs")
    store = RunStore(tmp_path / "runs")
    first, second = (store.get(event["run"]) for event in record.scores()[1:])
    work = module._Work(record, lambda: False, lambda *_: None, ANYWHERE)
    work.config, work.store = record.config, store
    alone, fused, both = (
        tuning.load_trained(first),
        work.model_after([first]),
        work.model_after([first, second]),
    )
    from unlearn.data.base import Row
    from unlearn.training.encoding import encode_rows

    texts = encode_rows(alone.tokenizer, [Row(question="What is red?", answer="red")], max_length=64)
    tokens = collate(texts, alone.pad_id)
    nll = [forward(loaded.model, tokens)[0].nll for loaded in (alone, fused, both)]
    assert (nll[0] - nll[1]).abs().max() < 1e-2
    assert (nll[0] - nll[1]).abs().max() < (nll[0] - nll[2]).abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["chain", "average"])
def test_a_resumed_sequence_does_only_what_is_missing(tmp_path, tiny_data, mode):
    record = create(asked(mode, **tiny_data), RunStore(tmp_path / "runs"))
    perform(record, roots=ANYWHERE, should_stop=lambda: len(record.scores()) > 2)
    assert (record.state, [event["after"] for event in record.events("score")]) == ("stopped", [0, 1, 2])
    kept = record.scores()
    perform(record, roots=ANYWHERE)
    assert record.state == "done"
    assert [event["after"] for event in record.events("score")] == [0, 1, 2, 3]
    assert record.scores()[:3] == kept
    whole = carried_out(asked(mode, **tiny_data), tmp_path / "again")
    for one, other in zip(record.scores(), whole.scores(), strict=True):
        assert one["requests"] == other["requests"]


@pytest.mark.slow
def test_a_stop_while_it_scores_is_heard_and_the_finished_run_is_not_done_again(tmp_path, tiny_data):
    record = create(asked("joint", **tiny_data), RunStore(tmp_path / "runs"))
    said = []

    def stopping():  # once the second request is being scored
        return "scoring after 2" in said

    perform(record, roots=ANYWHERE, should_stop=stopping, on_progress=lambda phase, part: said.append(phase))
    assert (record.state, [event["after"] for event in record.scores()]) == ("stopped", [0, 1])
    runs = [run.id for run in RunStore(tmp_path / "runs").list()]
    assert len(runs) == 2
    perform(record, roots=ANYWHERE)
    assert record.state == "done"
    assert {event["run"] for event in record.scores()[1:3]} == set(runs)
    assert len(RunStore(tmp_path / "runs").list()) == 3


@pytest.mark.slow
def test_a_member_that_was_cut_short_is_gone_on_with(tmp_path, tiny_data):
    store, said = RunStore(tmp_path / "runs"), []
    record = create(asked("chain", order=(3, 1), **tiny_data), store)

    def stopping():
        return "request 2: training" in said

    perform(record, roots=ANYWHERE, should_stop=stopping, on_progress=lambda phase, part: said.append(phase))
    assert record.state == "stopped"
    # Both may have begun in the same second.
    cut = sorted(store.list(), key=lambda run: run.state, reverse=True)
    assert [run.state for run in cut] == ["stopped", "done"]
    perform(record, roots=ANYWHERE)
    assert record.state == "done"
    assert set(store.list()) == set(cut)
    assert [run.state for run in cut] == ["done", "done"]
    assert any("resumed_from" in event for event in cut[0].events("state"))


@pytest.mark.slow
def test_a_member_that_fails_fails_the_sequence_with_its_reason(tmp_path, tiny_data, monkeypatch):
    def failing(run, **_):
        run.append("state", state="failed", reason="loss became nan at step 1; lower lr (now 1).")

    monkeypatch.setattr(module, "execute", failing)
    record = carried_out(asked("chain", **tiny_data), tmp_path / "runs")
    assert (record.state, record.reason) == (
        "failed",
        "request 3: loss became nan at step 1; lower lr (now 1).",
    )
    monkeypatch.undo()
    perform(record, roots=ANYWHERE)
    assert record.state == "done"


@pytest.mark.slow
def test_the_command_line(tmp_path, tiny_data, capsys):
    data = tiny_data["data"]
    words = [
        "--model",
        tiny_data["model"],
        "--method",
        "npo",
        "--forget",
        data["forget"],
        "--retain",
        data["retain"],
    ]
    words += [
        "--epochs",
        "1",
        "--probes",
        "0",
        "--mode",
        "joint",
        "--force",
        "--runs",
        str(tmp_path / "runs"),
    ]
    assert main(["sequence", *words, "--order", "2,1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert (told["state"], len(told["runs"])) == ("done", 2)
    assert [row["after"] for row in told["after"]] == [0, 1, 2]
    assert main(["sequence", *words, "--order", "2,2"]) == 2
    assert "each once" in capsys.readouterr().err
    assert main(["sequence", *words, "--order", "two"]) == 2
    assert "--order: must be whole numbers" in capsys.readouterr().err


@pytest.mark.slow
def test_the_runner_carries_out_and_resumes_a_sequence(tmp_path, tiny_data):
    import time

    from unlearn.engines.thread import Runner

    runner = Runner(RunStore(tmp_path / "runs"), roots=ANYWHERE)
    try:
        record = create(asked("chain", order=(1, 2), **tiny_data), runner.store)
        runner.submit(record, perform=perform)
        assert record.state in ("queued", "running")
        end = time.monotonic() + 120
        while record.state in ("queued", "running") and time.monotonic() < end:
            time.sleep(0.05)
        assert record.state == "done"
        with pytest.raises(ValueError, match="is done"):
            runner.resume(record, perform)
        runner.discard(record)
        assert not record.path.exists()
    finally:
        runner.close()


# -- the page ----------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    import streamlit as st

    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setenv("UNLEARN_ROOTS", "")
    st.cache_data.clear()
    return RunStore(tmp_path)


def opened(**query) -> AppTest:
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60).run()
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page("../pages/sequence.py").run()
    assert not app.exception, app.exception
    return app


def texts(app) -> str:
    kinds = (app.markdown, app.caption, app.info, app.error, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def test_the_empty_page_says_what_to_do_and_can_launch(store):
    app = opened()
    assert "No sequence yet" in texts(app)
    assert not app.button(key="go").disabled
    assert "5 runs" in texts(app)


def test_a_mode_that_needs_layers_says_so(store):
    app = opened()
    app.radio(key="sequence.mode").set_value("fuse").run()
    assert "choose method eul" in texts(app)
    assert app.button(key="go").disabled
    app.session_state["sequence.method"] = "eul"
    app.run()
    assert not app.exception
    assert not app.button(key="go").disabled


@pytest.mark.slow
def test_launch_queues_it_and_shows_it(store, monkeypatch):
    def stand_in(record, **_):
        record.append("state", state="failed", reason="stood in")

    monkeypatch.setattr("ui.shell.guard", lambda: None)  # under AppTest it starts again and so eats the click
    monkeypatch.setattr(module, "perform", stand_in)
    app = opened()
    app.button(key="go").click().run()
    assert not app.exception
    (record,) = sequences(store)
    assert (record.config.mode, record.config.order) == ("chain", (1, 2, 3, 4, 5))
    assert app.query_params["sequence"] in (record.id, [record.id])
    assert app.multiselect(key="sequence.chosen").value == [record.id]


@pytest.mark.slow
def test_finished_sequences_are_shown_together(store):
    one, two = seed_sequence(store), seed_sequence(store, mode="joint")
    app = opened(sequence=f"{one.id},{two.id}")
    assert app.multiselect(key="sequence.chosen").value == [one.id, two.id]
    # A number stays beside its sign.
    assert "Request 3 came back: 0 % → 40 %" in texts(app).replace("\u00a0", " ")
    (table,) = [frame.value for frame in app.dataframe if "to come" in frame.value]
    assert len(table) == 8
    # Shares are shown in per cent.
    assert list(table["done"])[3] == pytest.approx(100 * 13 / 60)


@pytest.mark.slow
def test_a_square_is_chosen_without_a_mouse(store):
    record = seed_sequence(store)
    app = opened(sequence=record.id)
    box = app.selectbox(key=f"sequence.square.{record.id}")
    assert box.value is None
    box.set_value((3, 3)).run()
    assert not app.exception
    # A number stays beside its sign.
    assert "**Request 3 after 3 requests** (n = 30)" in texts(app)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "words"),
    [("failed", "loss became nan"), ("interrupted", "ended first"), ("stopped", "")],
)
def test_a_sequence_that_ended_early_says_why_and_can_be_resumed(store, state, words):
    record = seed_sequence(store, "running" if state == "interrupted" else state)
    app = opened(sequence=record.id)
    assert words in texts(app)
    assert [button for button in app.button if button.label == "Resume"]


@pytest.mark.slow
def test_a_running_sequence_of_another_process_is_followed(store):
    record = seed_sequence(store, "running")
    with record.lock():
        app = opened()
        assert "another process" in texts(app)
        assert not [button for button in app.button if button.label in ("Stop", "Resume")]


def test_a_link_to_a_sequence_that_is_gone_says_so(store):
    seed_sequence(store)
    assert "There is no sequence" in texts(opened(sequence="../../etc"))


@pytest.mark.slow
def test_a_sequence_can_be_deleted_with_its_runs(store, monkeypatch):
    monkeypatch.setattr("ui.shell.guard", lambda: None)  # under AppTest it starts again and so eats the click
    record = seed_sequence(store)
    run = store.create(run_config())
    run.append("state", state="done")
    event = record.events("score")[-1] | {"run": run.id}
    record.append("score", **{key: value for key, value in event.items() if key not in ("kind", "time")})
    app = opened(sequence=record.id)
    app.checkbox(key=f"sequence.{record.id}.runs").check().run()
    app.button(key=f"sequence.{record.id}.yes").click().run()
    assert not app.exception
    assert not record.path.exists()
    assert not run.path.exists()


def test_a_broken_sequence_does_not_break_the_page(store):
    folder = store.root / "sequences" / "20250101-000000-npo-chain-dead"
    folder.mkdir(parents=True)
    write_json(folder / "sequence.json", {"mode": "chain"})
    opened()
