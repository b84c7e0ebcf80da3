"""The index of a store: few files are opened, what changed is read again, and it is never believed over the runs."""

import builtins
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from seed import seed_run

from unlearn.store import index
from unlearn.store.disk import read_json, write_json
from unlearn.store.runs import Run, RunStore, _index_at

SHIPPED = next(Path(__file__).parents[2].rglob("recorded/*/config.json")).parents[1]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Six runs in a store that keeps its index from the fourth on."""
    monkeypatch.setattr(index, "KEPT_FROM", 4)
    store = RunStore(tmp_path)
    for at in range(6):
        seed_run(store).set_meta(title=f"Run {at}")
    return store


@pytest.fixture
def opened(monkeypatch):
    """Names of the files of runs that were opened or asked for their content."""
    found = []

    def spy(original):
        def opening(file, *args, **kwargs):
            if isinstance(file, (str, Path)) and Path(file).parent.name[:2] == "20":
                found.append(f"{Path(file).parent.name}/{Path(file).name}")
            return original(file, *args, **kwargs)

        return opening

    monkeypatch.setattr(builtins, "open", spy(builtins.open))
    monkeypatch.setattr(io, "open", spy(io.open))
    monkeypatch.setattr(os, "open", spy(os.open))
    return found


def forget():
    """As in a new process: nothing of any store is known."""
    _index_at.cache_clear()


def titles(store):
    return sorted(known.title for known in store.summaries())


def test_a_list_opens_the_files_of_runs_that_changed_and_no_others(store, opened):
    assert len(store.summaries()) == 6
    opened.clear()
    assert [run.state for run in store.summaries()] == ["done"] * 6
    assert len(store.list()) == 6
    assert opened == []
    changed = store.list()[2]
    changed.append("state", state="stopped", reason="by hand")
    opened.clear()
    assert [known.state for known in store.summaries()].count("stopped") == 1
    assert {name.partition("/")[0] for name in opened} == {changed.id}


def test_a_new_process_reads_one_file_of_the_store(store, opened):
    before = [(known.id, known.state, known.scores) for known in store.summaries()]
    forget()
    opened.clear()
    assert [(known.id, known.state, known.scores) for known in store.summaries()] == before
    assert opened == []


def test_the_summary_says_what_the_run_says(store):
    for run, known in zip(store.list(), store.summaries(), strict=True):
        assert (known.path, known.id, known.title) == (run.path, run.id, run.title)
        assert (known.state, known.reason, known.scores) == (run.state, run.reason, run.scores())
        assert (known.method, known.model, known.data) == ("gd", "tiny-authors", "authors")
        assert (known.seconds, known.data_hash) == (7.4, "1" * 12)
        assert known.answered
        assert run.summary() is store.summaries()[store.list().index(run)]


@pytest.mark.parametrize("file", ["config.json", "meta.json", "results.json"])
def test_a_file_that_was_changed_in_its_place_is_read_again(store, file):
    store.summaries()
    run = store.list()[0]
    change = {"config.json": "method", "meta.json": "title", "results.json": "method_title"}[file]
    (run.path / file).write_text(json.dumps(read_json(run.path / file) | {change: "another"}))
    assert getattr(store.summaries()[0], change) == "another"
    forget()
    assert getattr(store.summaries()[0], change) == "another"


def test_scores_are_parsed_when_somebody_asks_for_them(store, monkeypatch):
    """Whoever lists ten thousand runs by their titles waits for no scores."""
    written = {run.id: run.scores for run in store.summaries()}
    forget()
    parsed = []
    real = json.loads
    monkeypatch.setattr(index.json, "loads", lambda text: parsed.append(len(text)) or real(text))
    found = store.summaries()
    assert len(parsed) == len(found) == 6
    [run.state for run in found]
    assert len(parsed) == 6
    assert {run.id: run.scores for run in found} == written
    assert len(parsed) == 12
    assert [run.intervals for run in found]
    assert len(parsed) == 12
    assert not hasattr(found[0], "no_such_field")
    other = found[0].at(store.root / "elsewhere")
    assert (other.scores, other.path.name, found[0].path.name) == (found[0].scores, "elsewhere", found[0].id)


def test_a_line_that_disagrees_with_the_run_is_not_believed(store):
    store.summaries()
    run = store.list()[0]
    forget()
    run.set_meta(title="Renamed by another process")
    assert store.summaries()[0].title == "Renamed by another process"
    forget()
    assert store.summaries()[0].title == "Renamed by another process"


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "empty", "noise", "gone", "format"])
def test_a_damaged_index_is_made_anew(store, damage, monkeypatch):
    known = titles(store)
    path = store.root / index.FILE
    content = path.read_bytes()
    assert content.count(b"\n") == 6
    changed = {
        "cut": content[: len(content) // 2],
        "flip": content.replace(b"Run 3", b"Run 9"),
        "other": b"[]\n5\n\xff\xfe\n" + content,
        "empty": b"",
        "noise": os.urandom(3000),
    }
    if damage == "gone":
        path.unlink()
    elif damage == "format":
        monkeypatch.setattr(index, "FORMAT", index.FORMAT + 1)
    else:
        path.write_bytes(changed[damage])
    forget()
    assert titles(store) == known
    forget()
    assert titles(store) == known


def test_the_file_does_not_grow_with_what_happens(store):
    for at in range(40):
        store.list()[0].set_meta(title=f"Title {at}")
        store.summaries()
    assert (store.root / index.FILE).read_bytes().count(b"\n") <= 12
    forget()
    assert store.summaries()[0].title == "Title 39"


def test_a_run_at_work_is_not_kept_and_reads_as_it_is(store):
    run = seed_run(store, state="running")
    place = store.list().index(run)
    with run.held():
        assert run.summary().state == store.summaries()[place].state == "running"
    assert run.summary().state == store.summaries()[place].state == "interrupted"
    assert run.id not in (store.root / index.FILE).read_text()


def test_deleted_runs_and_strange_folders_are_not_listed(store):
    store.summaries()
    store.delete(store.list()[0])
    (store.root / "sweeps").mkdir()
    (store.root / "20260101-000000-npo-0000").mkdir()
    assert len(store.summaries()) == 5
    assert store.passed_over() == {}


def test_a_folder_whose_settings_cannot_be_read_is_named_with_the_reason(store):
    first, second = store.list()[:2]
    (first.path / "config.json").write_text("5")
    write_json(second.path / "config.json", read_json(second.path / "config.json") | {"schema": 9})
    assert len(store.list()) == 4
    assert set(store.passed_over()) == {first.id, second.id}
    assert "newer version" in store.passed_over()[second.id]
    with pytest.raises(ValueError, match="newer version"):
        second.summary()
    write_json(first.path / "config.json", read_json(store.list()[0].path / "config.json"))
    assert len(store.list()) == 5


def test_small_and_shipped_stores_keep_no_index(tmp_path):
    store = RunStore(tmp_path)
    seed_run(store)
    assert len(store.summaries()) == len(RunStore(SHIPPED).summaries()) == 1
    assert not (tmp_path / index.FILE).exists()
    assert not (SHIPPED / index.FILE).exists()


def test_a_store_that_cannot_be_written_is_listed(store, monkeypatch):
    monkeypatch.setattr(index, "append", lambda *_: (_ for _ in ()).throw(OSError(28, "no space left")))
    monkeypatch.setattr(index, "write_whole", lambda *_: (_ for _ in ()).throw(OSError(28, "no space left")))
    assert len(store.summaries()) == 6
    assert not (store.root / index.FILE).exists()


def test_paths_are_those_of_the_store(store, monkeypatch):
    monkeypatch.chdir(store.root.parent)
    near = RunStore(Path(store.root.name))
    assert near.list() == [Run(Path(store.root.name) / run.id) for run in store.list()]
    assert near.summaries()[0].path == near.list()[0].path


WRITER = """
import sys
from pathlib import Path
from unlearn.store import index
from unlearn.store.runs import RunStore
index.KEPT_FROM = 4
store = RunStore(Path(sys.argv[1]))
for at in range(60):
    run = store.list()[int(sys.argv[2])]
    run.set_meta(title=f"{sys.argv[2]} {at}")
    assert run.summary().title == store.summaries()[int(sys.argv[2])].title == f"{sys.argv[2]} {at}"
"""


def test_several_processes_write_the_index_at_once(store):
    words = [sys.executable, "-c", WRITER, str(store.root)]
    writers = [subprocess.Popen([*words, str(at)], stderr=subprocess.PIPE) for at in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0], [w.stderr.read() for w in writers]
    forget()
    assert [known.title for known in store.summaries()[:3]] == ["0 59", "1 59", "2 59"]


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """A store of 60 runs that ended long ago, listed twice, and a function that counts looks at files of runs."""
    monkeypatch.setattr(index, "BY_TURNS", 0)
    store = RunStore(tmp_path)
    for at in range(60):
        run = seed_run(store)
        run.set_meta(title=f"Run {at}")
        os.utime(run.path, (1.0, 1.0))
    looked, stat = [], os.stat

    def counting(path, *args, **kwargs):
        if str(path).endswith((".json", ".jsonl")):
            looked.append(str(path))
        return stat(path, *args, **kwargs)

    store.summaries()
    monkeypatch.setattr(os, "stat", counting)
    looked.clear()
    return store, looked


def test_of_ended_runs_only_the_folder_is_looked_at(ended):
    store, looked = ended
    store.summaries()
    assert looked == []
    first, second, third, *_ = store.list()
    first.set_meta(title="new")
    second.append("state", state="running")
    (third.path / "samples.jsonl").unlink()
    found = {run.id: run for run in store.summaries()}
    assert (found[first.id].title, found[second.id].last, found[third.id].answered) == (
        "new",
        "running",
        False,
    )
    assert {Path(path).parent.name for path in looked} == {first.id, second.id, third.id}


def test_a_folder_that_has_just_changed_is_not_relied_on(ended):
    """Two changes in one instant give the folder one time; only the first was there when the list was made."""
    store, _ = ended
    run = store.list()[0]
    run.set_meta(title="first")
    now = run.path.stat().st_mtime
    assert store.summaries()[0].title == "first"
    run.set_meta(title="second")
    os.utime(run.path, (now, now))
    assert store.summaries()[0].title == "second"


def test_a_run_at_work_is_looked_at_always(ended):
    store, looked = ended
    run = store.list()[0]
    run.append("state", state="running")
    store.summaries()
    os.utime(run.path, (1.0, 1.0))
    store.summaries()
    looked.clear()
    store.summaries()
    assert {Path(path).parent.name for path in looked} == {run.id}


def test_what_was_written_in_its_place_is_seen_in_turn(ended, monkeypatch):
    store, _ = ended
    monkeypatch.setattr(index, "BY_TURNS", 7)
    run = store.list()[30]
    meta = run.path / "meta.json"
    meta.write_text(meta.read_text().replace(run.meta["title"], "by hand"))
    titles = [next(known.title for known in store.summaries() if known.id == run.id) for _ in range(10)]
    assert titles[-1] == "by hand"
    assert len(store.summaries()) == 60
