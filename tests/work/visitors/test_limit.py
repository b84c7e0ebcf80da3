"""A visitor's run ends at a cap as if by hand: what it trained stays, and the reason names the cap."""

import time

import pytest
from seed import config, seed_run

from unlearn.engines.thread import Runner
from unlearn.store.runs import RunStore
from unlearn.store.studies import Stopped, conduct
from unlearn.work.visitors import limit as module
from unlearn.work.visitors import spent
from unlearn.work.visitors.limit import Limit

ME = "visitor-me"


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("UNLEARN_DEMO", "class")
    return RunStore(tmp_path)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def never() -> bool:
    return False


@pytest.mark.parametrize(
    ("caps", "earlier", "minutes", "said"),
    [
        ("run_minutes=2", 0, 2.5, r"run_minutes is 2 .*worked 2\.52\. Ask for fewer epochs"),
        ("minutes_each=3", 60, 2.5, r"minutes_each is 3 .*worked 2\.52\. Try again tomorrow"),
        ("minutes=2,minutes_each=9", 60, 1.5, r"minutes is 2 .*worked 1\.52\. Try again tomorrow"),
    ],
)
def test_the_cap_of_minutes_that_comes_first_ends_it(store, monkeypatch, clock, caps, earlier, minutes, said):
    monkeypatch.setenv("UNLEARN_CAPS", caps)
    if earlier:
        spent.note_minutes(store.root, ME, earlier)
    limit = Limit(seed_run(store, owner=ME), store)
    stopping = limit.stopping(never)
    clock[0] += minutes * 60 - 60
    assert not stopping()
    clock[0] += 61
    with pytest.raises(Stopped, match=f"^class: the cap {said}"):
        stopping()


def test_the_disk_ends_it_too(store, monkeypatch, clock):
    monkeypatch.setenv("UNLEARN_CAPS", "disk_mb_each=1")
    run = seed_run(store, owner=ME)
    stopping = Limit(run, store).stopping(never)
    with (run.path / "probes.jsonl").open("ab") as file:
        file.truncate(2 * 10**6)
    assert not stopping(), "it looks at the disk every few seconds only"
    clock[0] += module.EVERY + 1
    with pytest.raises(Stopped, match=r"^class: the cap disk_mb_each is 1 .*yours take 2\.\d"):
        stopping()


def test_a_stop_by_hand_and_others_runs_are_as_before(store, monkeypatch, clock):
    monkeypatch.setenv("UNLEARN_CAPS", "run_minutes=0.01")
    assert Limit(seed_run(store, owner=ME), store).stopping(lambda: True)()
    hosts = Limit(seed_run(store), store)
    assert hosts.stopping(never) is never
    clock[0] += 1e6
    hosts.ended(store.delete)
    assert spent.minutes(store.root) == 0


def test_a_study_tells_the_cap_as_its_reason(store, monkeypatch, clock):
    monkeypatch.setenv("UNLEARN_CAPS", "run_minutes=1")
    run = seed_run(store, owner=ME)
    stopping = Limit(run, store).stopping(never)
    clock[0] += 100
    conduct(run, stopping)
    assert run.state == "stopped"
    assert run.reason.startswith("class: the cap run_minutes is 1 ")


@pytest.mark.slow
def test_a_real_run_is_stopped_keeps_its_weights_and_is_counted(store, monkeypatch):
    monkeypatch.setenv("UNLEARN_CAPS", "run_minutes=0.1")
    runner = Runner(store)
    # Probes and scores take their time too, so the cap is reached wherever it is then.
    run = runner.launch(config(method="gd", epochs=1000, probes=0), owner=ME)
    end = time.monotonic() + 180
    while spent.minutes(store.root, ME) == 0:
        assert time.monotonic() < end
        time.sleep(0.05)
    runner.close()
    assert run.state == "stopped", run.reason
    assert run.reason.startswith("class: the cap run_minutes is 0.1 (minutes of one run")
    steps = run.events("step")
    assert 0 < len(steps) < steps[-1]["of"]
    assert (run.path / "model" / "model.safetensors").is_file()
    assert 0.1 <= spent.minutes(store.root, ME) < 3
