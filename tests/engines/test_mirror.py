"""What a carrier writes arrives here whole, once, and in an order that no reader can be deceived by."""

import itertools
import json
import shutil
import threading
import time

import pytest

from unlearn.engines import carrier as module
from unlearn.engines.carrier import Carrier, differing, name_of, named, versions
from unlearn.engines.folders import inside
from unlearn.engines.luggage import batches, digest_of, files_of, models_of, packed, place_of
from unlearn.engines.mirror import PIECE, Mirror
from unlearn.measure import score_cache
from unlearn.store.runs import Run, RunConfig, RunStore
from unlearn.work import stress
from unlearn.work.execute import execute


@pytest.fixture
def run(tmp_path):
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method="gd")
    return RunStore(tmp_path / "here").create(config)


@pytest.fixture
def far(monkeypatch):
    """A carrier that carries out what the test gives it."""
    far = Carrier()
    far.work = lambda record, **_: None
    monkeypatch.setattr(module, "named", lambda text: Run if text == "kind" else far.work)
    yield far
    far.leave()


def send(far, run, kind="kind", perform="perform"):
    last = {}
    for batch in batches(packed(run, None), PIECE):
        far.put(last)
        last = batch
    far.begin(place_of(run), kind, perform, last)


def until(far, mirror, seconds=120.0):
    """Take news until all of a record that has ended is here."""
    end = time.monotonic() + seconds
    while not mirror.take(far.news(mirror.cursors, 0.2), far.read):
        assert time.monotonic() < end
    mirror.close()


def ends(run, state="done"):
    run.append("state", state=state)


def test_a_run_carried_out_there_reads_as_if_it_were_here(far, run):
    weights = bytes(range(256)) * 5

    def work(record, should_stop, on_progress, roots):
        record.append("state", state="running")
        on_progress("training", 0.25)
        for step in (1, 2, 3):
            record.append("step", step=step, of=3, terms={}, seconds=0.1 * step)
        (record.path / "adapter").mkdir()
        (record.path / "adapter" / "weights.safetensors").write_bytes(weights)
        (record.path / "results.json").write_text("{}")
        ends(record)

    far.work = work
    mirror = Mirror(run.path.parent)
    send(far, run)
    assert far.key == run.id
    until(far, mirror)
    assert [event["state"] for event in run.events("state")] == ["queued", "running", "done"]
    assert [event["step"] for event in run.events("step")] == [1, 2, 3]
    assert (run.path / "adapter" / "weights.safetensors").read_bytes() == weights
    assert (run.path / "results.json").is_file()
    # The rows went along and are kept here too; nothing else has come into being.
    names = {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}
    assert names == {
        *("config.json", "meta.json", "events.jsonl", "results.json"),
        *("inputs/rows.jsonl", "adapter/weights.safetensors"),
    }


def test_a_stress_test_takes_its_run_along_and_no_other_test(run):
    """Else the hundredth test of a run would send ninety-nine others with it."""
    (run.path / "model").mkdir()
    (run.path / "model" / "model.safetensors").write_bytes(b"w")
    ends(run)
    tests = [stress.create(run) for _ in range(3)]
    names = {name.removeprefix(f"{run.id}/") for name, _ in packed(tests[1], None)}
    assert {"config.json", "events.jsonl", "model/model.safetensors"} <= names
    inside = {name for name in names if name.startswith("stress/")}
    assert inside == {f"stress/{tests[1].id}/{file}" for file in ("stress.json", "meta.json", "events.jsonl")}
    assert not [name for name, _ in packed(run, None) if "/stress/" in name]


def test_what_a_model_said_serves_the_next_records_and_goes_with_the_carrier(far, run):
    asked, folders = [], []

    def work(record, **_):
        root = record.path.parent
        folders.extend((root.parent, (root / ".cache").resolve()))
        asked.append(score_cache.read(root, {"model": "m"}))
        score_cache.write(root, {"model": "m"}, [])
        ends(record)

    far.work = work
    for _ in range(2):
        send(far, run)
        far._ended.wait(60)
        news = far.news({})
        far.end()
    assert asked == [None, []]
    # It is no file of the record, and neither comes back nor goes with the record's folder.
    assert not [name for name in news["files"] if ".cache" in name]
    assert [folder.is_dir() for folder in folders] == [False, True, False, True]
    far.leave()
    assert not folders[1].exists()


def test_carriers_of_a_machine_keep_what_a_model_said_once_and_the_last_takes_it_along(run, monkeypatch):
    asked, places = [], set()

    def work(record, **_):
        root = record.path.parent
        places.add((root / ".cache").resolve())
        asked.append(score_cache.read(root, {"model": "m"}))
        score_cache.write(root, {"model": "m"}, [])
        ends(record)

    monkeypatch.setattr(module, "named", lambda text: Run if text == "kind" else work)
    one, two, other = Carrier("a"), Carrier("a"), Carrier("b")
    for far in (one, two, other):
        send(far, run)
        far._ended.wait(60)
        far.end()
    # Two of one session asked once; a session of its own knows nothing of it.
    assert asked == [None, [], None]
    assert len(places) == 2
    one.leave()
    assert all(place.is_dir() for place in places)
    for far in (two, other):
        far.leave()
    assert not any(place.exists() for place in places)


def test_a_carrier_that_leaves_waits_for_whoever_writes(far, run):
    written = []

    def work(record, should_stop, **_):
        while not should_stop():
            time.sleep(0.01)
        # The folder of a record that was removed meanwhile would come back with this.
        time.sleep(0.3)
        (record.path / "last").mkdir(parents=True)
        written.append(record.path)

    far.work = work
    send(far, run)
    far.leave()
    assert len(written) == 1
    assert not written[0].exists()


def test_circles_are_looked_for_after_a_record_but_seldom_where_records_are_short(far, monkeypatch):
    """By a clock of the test's own: looking takes .05 s, and may take a tenth of the time."""
    now, swept = [100.0], []

    def collect():
        swept.append(now[0])
        now[0] += 0.05

    monkeypatch.setattr(module.gc, "collect", collect)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    for _ in range(12):
        far._sweep()
        now[0] += 0.1
    monkeypatch.undo()
    assert len(swept) == 3
    assert all(later - before >= 0.5 for before, later in itertools.pairwise(swept))


def test_done_is_not_said_before_the_weights_are_here(far, run):
    def work(record, **_):
        (record.path / "model").mkdir()
        (record.path / "model" / "big.safetensors").write_bytes(b"x" * (3 * PIECE))
        ends(record)

    far.work = work
    mirror = Mirror(run.path.parent)
    send(far, run)
    far._ended.wait(60)
    lost = []

    def breaks(name, offset, size):
        if name.endswith("big.safetensors") and offset:
            lost.append(offset)
            raise ConnectionError("the machine is gone")
        return far.read(name, offset, size)

    with pytest.raises(ConnectionError):
        mirror.take(far.news(mirror.cursors), breaks)
    assert lost == [PIECE]
    assert [event["state"] for event in run.events("state")] == ["queued"]
    assert not list(run.path.glob("model/*.safetensors"))
    # Somebody else takes over from what is here.
    until(far, Mirror(run.path.parent))
    assert run.events("state")[-1]["state"] == "done"
    assert (run.path / "model" / "big.safetensors").stat().st_size == 3 * PIECE


def test_who_comes_later_reads_each_line_once(far, run):
    go = threading.Event()

    def work(record, **_):
        record.append("state", state="running")
        record.append("step", step=1, of=2, terms={}, seconds=0.1)
        go.wait(60)
        record.append("step", step=2, of=2, terms={}, seconds=0.2)
        ends(record)

    far.work = work
    first = Mirror(run.path.parent)
    send(far, run)
    while len(run.events("step")) < 1:
        first.take(far.news(first.cursors, 0.1), far.read)
    # The process is killed here; another one finds the carrier, and both have written to this folder.
    run.append("note", text="found again")
    go.set()
    until(far, Mirror(run.path.parent))
    assert [event["step"] for event in run.events("step")] == [1, 2]
    assert [event["state"] for event in run.events("state")] == ["queued", "running", "done"]
    assert len(run.events()) == len(set(map(json.dumps, run.events())))


def test_a_checkpoint_comes_with_the_data_that_it_names(far, run):
    first, second, end = threading.Event(), threading.Event(), threading.Event()

    def checkpoint(record, step):
        folder = record.path / "checkpoint"
        folder.mkdir(exist_ok=True)
        (folder / f"step-{step}.safetensors").write_bytes(bytes([step]) * 100)
        (folder / "state.json").write_text(json.dumps({"step": step, "file": f"step-{step}.safetensors"}))
        for old in folder.glob("step-*"):
            if old.name != f"step-{step}.safetensors":
                old.unlink()

    def work(record, **_):
        checkpoint(record, 1)
        first.set()
        second.wait(60)
        checkpoint(record, 2)
        first.set()
        end.wait(60)
        shutil.rmtree(record.path / "checkpoint")
        ends(record)

    far.work = work
    mirror = Mirror(run.path.parent)
    send(far, run)
    first.wait(60)
    mirror.take(far.news(mirror.cursors), far.read)
    assert run.checkpoint_step() == 1
    # While its state is read, the next one takes its place: what is here stays whole.
    first.clear()
    news = far.news(mirror.cursors)
    second.set()
    first.wait(60)
    mirror.take(news, far.read)
    assert run.checkpoint_step() == 1
    mirror.take(far.news(mirror.cursors), far.read)
    assert run.checkpoint_step() == 2
    assert [p.name for p in run.path.glob("checkpoint/step-*")] == ["step-2.safetensors"]
    end.set()
    until(far, mirror)
    assert not (run.path / "checkpoint").exists()


def test_runs_that_come_into_being_there_are_held_while_they_come(far, run):
    go = threading.Event()
    made = {}

    def work(record, **_):
        made["run"] = RunStore(record.path.parent).create(record.config)
        made["run"].append("state", state="running")
        go.wait(60)
        ends(made["run"])
        ends(record)

    far.work = work
    mirror = Mirror(run.path.parent)
    send(far, run)
    while len(list(run.path.parent.glob("*/config.json"))) < 2:
        mirror.take(far.news(mirror.cursors, 0.1), far.read)
    member = Run(run.path.parent / made["run"].id)
    while member.state != "running":
        mirror.take(far.news(mirror.cursors, 0.1), far.read)
    go.set()
    until(far, mirror)
    assert (member.state, member.is_held()) == ("done", False)


def test_a_title_given_here_meanwhile_stays(far, run):
    far.work = lambda record, **_: ends(record)
    send(far, run)
    run.set_meta(title="mine")
    until(far, Mirror(run.path.parent))
    assert run.title == "mine"


def test_stop_reaches_the_work_and_an_error_is_its_outcome(far, run):
    def work(record, should_stop, **_):
        while not should_stop():
            time.sleep(0.01)
        raise RuntimeError("boom")

    far.work = work
    send(far, run)
    far.stop()
    until(far, Mirror(run.path.parent))
    assert (run.state, run.reason) == ("failed", "RuntimeError: boom")


def test_large_files_go_in_several_batches(tmp_path):
    contents = {"a": b"1" * 5, "b": b"", "c": b"2" * 12}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    sent = {}
    found = list(batches([(name, tmp_path / name) for name in contents], 8))
    for batch in found:
        assert sum(map(len, batch.values())) <= 8
        for name, content in batch.items():
            sent[name] = sent.get(name, b"") + content
    assert sent == contents
    assert len(found) == 3


def test_names_stay_inside_and_only_this_package_is_called(tmp_path):
    for name in ("../x", "/etc/passwd", "a/../../x", ""):
        with pytest.raises(ValueError, match="no name of a file below"):
            inside(tmp_path, name)
    with pytest.raises(ValueError, match="not of this package"):
        named("os:system")
    assert named("unlearn.store.runs:Run") is Run


def test_another_version_is_named():
    mine = versions()
    assert differing(mine, mine) == ""
    assert differing(mine, mine | {"torch": "1.0"}).startswith("torch 1.0, and this machine")
    assert differing(mine, {name: v for name, v in mine.items() if name != "peft"}).startswith("peft missing")


def test_weights_of_a_cell_stay_there_where_only_scores_are_wanted(far, run):
    def work(record, **_):
        (record.path / "model").mkdir()
        (record.path / "model" / "model.safetensors").write_bytes(b"x")
        (record.path / "results.json").write_text("{}")
        ends(record)

    far.work = work
    send(far, run)
    until(far, Mirror(run.path.parent, weights=False))
    assert (run.state, (run.path / "model").exists()) == ("done", False)
    assert (run.path / "results.json").is_file()


def test_a_model_of_ones_own_goes_along_and_keeps_its_name_here(far, run, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text("{}")
    (mine / "model.safetensors").write_bytes(b"w" * 100)
    (run.path / "config.json").write_text(json.dumps(run.config.to_json() | {"model": str(mine)}))
    read = {}

    def work(record, **_):
        read["model"] = record.config.model
        record.append("note", text=f"from {record.config.model}")
        (record.path / "results.json").write_text(json.dumps({"command": f"--model {record.config.model}"}))
        ends(record)

    far.work = work
    (run.path / "inputs").mkdir()
    (run.path / "inputs" / "rows.jsonl").write_text("{}\n")
    assert models_of(run) == {str(mine): mine}
    digest = digest_of(mine)
    assert far.folder(digest) == ""
    for batch in batches([(path.name, path) for path in files_of(mine)], 64):
        far.put_folder(digest, batch, False)
    far.put_folder(digest, {}, True)
    there = far.folder(digest)
    files = {f"{run.id}/{name}": (run.path / name).read_bytes() for name in ("config.json", "events.jsonl")}
    far.begin(place_of(run), "kind", "perform", files, {}, {str(mine): there})
    until(far, Mirror(run.path.parent, models={str(mine): there}))
    assert read["model"] == there != str(mine)
    assert (mine / "model.safetensors").read_bytes() == b"w" * 100
    assert run.config.model == str(mine)
    assert [event["text"] for event in run.events("note")] == [f"from {mine}"]
    assert json.loads((run.path / "results.json").read_text())["command"] == f"--model {mine}"


@pytest.mark.slow
def test_a_run_whose_machine_is_lost_goes_on_from_the_last_checkpoint_that_arrived(tmp_path, monkeypatch):
    """A real run, in a carrier that is given up as soon as a checkpoint of it is here."""
    monkeypatch.setattr("unlearn.work.train.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("unlearn.training.budget.Clock.affords", lambda *_: True)
    config = RunConfig(
        model="tiny-authors",
        data={"name": "authors", "requests": [1]},
        method="gd",
        epochs=8,
        batch_size=4,
        probes=0,
    )
    store = RunStore(tmp_path / "here")
    whole, run = store.create(config), store.create(config)
    execute(whole)
    lost, second = Carrier(), Carrier()
    send(lost, run, name_of(Run), name_of(execute))
    mirror = Mirror(store.root)
    while not run.checkpoint_step():
        assert not mirror.take(lost.news(mirror.cursors, 0.1), lost.read)
    step = run.checkpoint_step()
    lost.stop()
    lost._ended.wait(30)
    run.append("state", state="queued")
    send(second, run, name_of(Run), name_of(execute))
    until(second, Mirror(store.root), 60.0)
    for far in (lost, second):
        far.end()
    assert run.state == "done"
    assert [event["resumed_from"] for event in run.events("state") if "resumed_from" in event] == [step]
    losses = [[event["loss"] for event in one.events("step")] for one in (whole, run)]
    assert losses[1] == losses[0]
    assert run.scores() == whole.scores()
