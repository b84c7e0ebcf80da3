"""Each cap is reached once: what is refused, in which words, and what makes room again."""

import os
import time

import pytest
from seed import seed_run

from unlearn.data import authors
from unlearn.engines import thread as module
from unlearn.engines.thread import Runner
from unlearn.results import classroom
from unlearn.store.runs import Run, RunStore
from unlearn.work.visitors import admission, spent

ME, YOU = "visitor-me", "visitor-you"


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    return RunStore(tmp_path)


@pytest.fixture
def caps(monkeypatch):
    """Set the caps of the test."""
    return lambda text: monkeypatch.setenv("UNLEARN_CAPS", text)


def refused(words: str):
    return pytest.raises(ValueError, match=f"^demo: the cap {words}")


def sized(run: Run, megabytes: float) -> Run:
    """The run with a file of this size, which takes no space."""
    with (run.path / "probes.jsonl").open("ab") as file:
        file.truncate(int(megabytes * 10**6))
    return run


# -- queue -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def runner(store, monkeypatch):
    """A runner whose runs wait for ever: what is queued stays there."""
    monkeypatch.setattr(module, "check", lambda *_: None)
    monkeypatch.setattr(module.threading.Thread, "start", lambda self: None)
    made = Runner(store)
    yield made
    made._thread = None
    made.close()


def test_one_visitor_and_all_together_have_a_place_in_the_queue(store, runner, caps):
    from seed import config

    caps("queue_each=2,queue=3")
    first = runner.launch(config(), owner=ME)
    runner.launch(config(), owner=ME)
    with refused(
        r"queue_each is 2 \(runs, attacks .* work\); yours are 2\. Wait until one of yours ends, or stop"
    ):
        runner.launch(config(), owner=ME)
    runner.launch(config(), owner=YOU)
    with refused(r"queue is 3 .*there are 3\. Try again in a few minutes; whoever hosts .*--cap queue=VALUE"):
        runner.launch(config(), owner="visitor-third")
    assert len(store.list()) == 3, "what was refused left a folder"
    # Whoever owns the machine is not counted and not refused.
    runner.launch(config(), owner="")
    runner.stop(first)
    runner.launch(config(), owner=ME)


def test_a_record_that_is_there_is_counted_at_the_door(store, runner, caps):
    caps("queue_each=1")
    runs = [seed_run(store, "stopped", owner=ME) for _ in range(2)]
    runner.resume(runs[0])
    with refused("queue_each is 1"):
        runner.submit(runs[1])
    assert [one.id for one in runner.active()] == [runs[0].id]


# -- minutes -----------------------------------------------------------------------------------------------------------


def test_the_minutes_of_a_day(store, caps):
    caps("minutes_each=10,minutes=15")
    spent.note_minutes(store.root, ME, 540)
    admission.admit(store, ME, [])
    spent.note_minutes(store.root, ME, 90)
    with refused(r"minutes_each is 10 .*yours took 10\.5\. Try again tomorrow"):
        admission.admit(store, ME, [])
    admission.admit(store, YOU, [])
    spent.note_minutes(store.root, YOU, 300)
    with refused(r"minutes is 15 .*they took 15\.5"):
        admission.admit(store, "visitor-third", [])
    admission.admit(store, "", [])


def test_minutes_of_yesterday_count_no_more_and_the_file_stays_short(store, monkeypatch):
    monkeypatch.setattr(spent, "LINES", 3)
    now = time.time()
    monkeypatch.setattr(spent.time, "time", lambda: now - 2 * spent.DAY)
    for _ in range(3):
        spent.note_minutes(store.root, ME, 60)
    monkeypatch.setattr(spent.time, "time", lambda: now)
    spent.note_minutes(store.root, ME, 60)
    assert spent.minutes(store.root) == 1
    lines = (store.root / spent.FOLDER / spent.MINUTES).read_text().splitlines()
    assert len(lines) == 1


# -- disk --------------------------------------------------------------------------------------------------------------


def test_the_disk_of_one_visitor(store, caps):
    caps("disk_mb_each=5")
    run = sized(seed_run(store, owner=ME), 6)
    with refused(r"disk_mb_each is 5 .*yours take 6\.\d+\. Delete runs of yours on the page Runs"):
        admission.admit(store, ME, [])
    admission.admit(store, YOU, [])
    store.delete(run)
    admission.admit(store, ME, [])


def test_the_oldest_runs_of_visitors_make_room_and_nobody_elses(store, caps):
    caps("disk_mb=10,disk_mb_each=100")
    hosts = sized(seed_run(store), 50)
    runs = []
    for at, owner in enumerate((YOU, ME, YOU)):
        run = sized(seed_run(store, owner=owner), 4)
        # Runs of one second have ids that do not say which is older.
        runs.append(Run(run.path.rename(store.root / f"20200101-00000{at}-gd-000{at}")))
    working = sized(seed_run(store, "running", owner=ME), 4)
    oldest = Run(working.path.rename(store.root / "20190101-000000-gd-0000"))
    with oldest.held():
        admission.admit(store, ME, [])
        assert [one.path.is_dir() for one in (hosts, oldest, *runs)] == [True, True, False, False, True]
        caps("disk_mb=3,disk_mb_each=100")
        with refused(r"disk_mb is 3 .*they take 4\.\d"):
            admission.admit(store, ME, [])
    assert hosts.path.is_dir()


def test_a_study_goes_like_a_run(store, caps):
    from seed import config

    from unlearn.results import sweep_record

    caps("disk_mb=1,disk_mb_each=100")
    study = sweep_record.create(sweep_record.SweepConfig(runs=(config(),), lrs=(1e-3,)), store, owner=ME)
    with (study.path / "events.jsonl").open("ab") as file:
        file.truncate(2 * 10**6)
    assert admission.prune(store) == [study.id]
    assert not study.path.exists()


# -- uploads -----------------------------------------------------------------------------------------------------------


def rows(number: int, size: int = 0) -> bytes:
    return f"question,answer\nWho is {number}?,{'x' * size}y\n".encode()


def test_uploads_are_counted_for_one_and_for_all(store, caps):
    caps("uploads_each=2,uploads=3")
    paths = [admission.keep_table(rows(i), "a.csv", store, ME) for i in range(2)]
    with refused(r"uploads_each is 2 .*yours are 2\. Use one of those"):
        admission.keep_table(rows(2), "a.csv", store, ME)
    # The same table again takes no place.
    assert admission.keep_table(rows(1), "a.csv", store, ME) == paths[1]
    admission.keep_table(rows(3), "a.csv", store, YOU)
    with refused(r"uploads is 3 .*there are 3"):
        admission.keep_table(rows(4), "a.csv", store, YOU)
    # Whoever owns the machine is not refused, and what he keeps is nobody's.
    admission.keep_table(rows(5), "a.csv", store, "")
    assert [one.owner for one in spent.tables(store)] == [ME, ME, YOU]
    assert len(list((store.root / ".uploads").glob("*/a.csv"))) == 4


def test_an_old_upload_that_no_run_names_makes_room(store, caps):
    caps("uploads=2")
    used = admission.keep_table(rows(0), "a.csv", store, ME)
    unused = admission.keep_table(rows(1), "a.csv", store, ME)
    for path in (used, unused):
        os.utime(path.parent / spent.MARK, (1, 1))
    seed_run(store, owner=ME, data={"forget": str(used)})
    new = admission.keep_table(rows(2), "a.csv", store, YOU)
    assert [one.exists() for one in (used, unused, new)] == [True, False, True]


def test_the_bytes_of_uploads(store, caps):
    caps("upload_mb=0.01,uploads_mb_each=0.015,uploads_mb=0.02")
    with refused(r"upload_mb is 0\.01 .*this one has 0\.02\d?\. Give a smaller file; whoever hosts"):
        admission.keep_table(rows(0, 20_000), "a.csv", store, ME)
    admission.keep_table(rows(1, 9_000), "a.csv", store, ME)
    with refused(r"uploads_mb_each is 0\.015 .*with this one yours would be 0\.0181"):
        admission.keep_table(rows(2, 9_000), "a.csv", store, ME)
    admission.keep_table(rows(3, 9_000), "a.csv", store, YOU)
    with refused(r"uploads_mb is 0\.02 .*with this one they would be 0\.0271"):
        admission.keep_table(rows(4, 9_000), "a.csv", store, "visitor-third")
    assert len(spent.tables(store)) == 2


def test_an_upload_counts_as_disk(store, caps):
    caps("disk_mb_each=0.01")
    with refused("disk_mb_each is 0.01"):
        admission.keep_table(rows(0, 20_000), "a.csv", store, ME)


def test_a_split_is_an_upload(store, caps):
    caps("uploads_each=1")
    data = authors.dataset()
    kept = admission.keep_split(data, store, ME)
    assert admission.keep_split(data, store, ME) == kept
    with refused("uploads_each is 1"):
        admission.keep_split(data.only_requests((1,)), store, ME)


# -- votes -------------------------------------------------------------------------------------------------------------


def test_votes_of_a_demo(store, caps):
    caps("votes_each=1,votes=2")
    begun = admission.begin_vote(store.root, "AAAAA", "run", "retain", ME)
    assert admission.begin_vote(store.root, "AAAAA", "run", "retain", YOU) == begun
    with refused(r"votes_each is 1 .*yours are 1"):
        admission.begin_vote(store.root, "BBBBB", "run", "retain", ME)
    admission.begin_vote(store.root, "BBBBB", "run", "retain", YOU)
    with refused(r"votes is 2 .*there are 2"):
        admission.begin_vote(store.root, "CCCCC", "run", "retain", "visitor-third")


def test_in_a_class_no_pupil_begins_a_vote(store, monkeypatch):
    monkeypatch.setenv("UNLEARN_DEMO", "class")
    with pytest.raises(ValueError, match="begun in a browser of the machine that hosts the class"):
        admission.begin_vote(store.root, "AAAAA", "run", "retain", ME)
    assert classroom.read(store.root, "AAAAA") is None
    room = admission.begin_vote(store.root, "AAAAA", "run", "retain", "")
    assert admission.begin_vote(store.root, "AAAAA", "run", "retain", ME) == room
