"""A search whose trials an engine carries out: the numbers of one that is carried out here, several trials at once."""

import threading

import pytest
from engine_here import EngineHere
from searched import Stand, asked, told

from unlearn.results.search.record import create
from unlearn.store.runs import RunStore
from unlearn.work import search
from unlearn.work.search import trial


@pytest.fixture
def stand(monkeypatch):
    def made(**moments):
        stand = Stand(monkeypatch, **moments)
        monkeypatch.setattr(trial, "execute", stand)
        monkeypatch.setattr(trial, "LOOK", 0.001)
        return stand

    return made


def carried(root, config, engine, record=None, **more):
    record = record or create(config, RunStore(root))
    with record.held():
        search.perform(record, engine=engine, **more)
    return record


@pytest.mark.slow
def test_one_trial_at_a_time_elsewhere_finds_what_a_search_here_does(tmp_path, stand):
    stand()
    engine = EngineHere()
    there = carried(tmp_path / "there", asked(seeds=(0, 1)), engine)
    here = carried(tmp_path / "here", asked(seeds=(0, 1)), None)
    assert (there.state, there.reason) == ("done", "")
    assert told(there) == told(here)
    assert len(engine.submitted) == 24
    # What the trial left for the search is read, and the best trial's weights alone are kept.
    assert not list((tmp_path / "there").glob(f"*/{trial.FILE}"))
    assert len(list((tmp_path / "there").glob("*/model"))) == 2
    timeless = [{k: v for k, v in one.models().items() if k != "time"} for one in (there, here)]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_several_trials_at_once_are_told_in_their_order_and_always_the_same(tmp_path, stand):
    together = threading.Barrier(4, timeout=20)
    stand()
    engine = EngineHere(at_once=4)
    real = engine._work

    def work(*given):
        together.wait()
        real(*given)

    engine._work = work
    first = carried(tmp_path / "a", asked(), engine)
    assert (first.state, first.reason, engine.most) == ("done", "", 4)
    assert [t.number for t in first.trials()] == list(range(12))
    assert told(carried(tmp_path / "b", asked(), engine)) == told(first)
    assert len(first.events("models")) == 1
    # The budget of trials is kept although it is no multiple of what goes at once.
    engine._work = real
    assert len(carried(tmp_path / "c", asked(trials=6), engine).trials()) == 6


@pytest.mark.slow
def test_a_hopeless_trial_is_stopped_there(tmp_path, stand, monkeypatch):
    stand(watched=True)

    class Slow(EngineHere):
        def _work(self, record, perform, stop, held):
            # The last look of a run comes when the search has heard of the reading.
            def patient(run, *, should_stop, **given):
                deadline = threading.Event()
                run.listeners.append(lambda event: event["kind"] == "watch" and deadline.wait(0.1))
                return perform(run, should_stop=should_stop, **given)

            super()._work(record, patient, stop, held)

    record = carried(tmp_path, asked(trials=20, prune=True), Slow())
    pruned = [one for one in record.trials() if one.state == "pruned"]
    assert pruned, [one.state for one in record.trials()]
    assert RunStore(tmp_path).get(pruned[0].runs[0]).state == "stopped"


@pytest.mark.slow
def test_a_stop_reaches_the_trial_and_it_goes_on_in_the_same_runs(tmp_path, stand):
    stands = stand()
    stopped = threading.Event()

    def when_the_fifth_begins(phase, fraction):
        if len(stands.ran) == 5:
            stopped.set()

    engine = EngineHere()

    def slowly(record, perform, stop, held):
        if len(stands.ran) == 5:
            stop.wait(5)
        EngineHere._work(engine, record, perform, stop, held)

    engine._work = slowly
    record = create(asked(), RunStore(tmp_path))
    carried(
        tmp_path,
        None,
        engine,
        record,
        should_stop=stopped.is_set,
        on_progress=when_the_fifth_begins,
    )
    assert record.state == "stopped"
    begun = len(record.trials())
    engine._work = lambda *given: EngineHere._work(engine, *given)
    carried(tmp_path, None, engine, record)
    assert (record.state, len(record.trials())) == ("done", 12)
    assert begun < 12
    assert len(RunStore(tmp_path).list()) == 12


def test_a_run_that_ended_before_the_search_was_told_is_not_carried_out_again(tmp_path, stand, monkeypatch):
    stands = stand()
    engine = EngineHere()
    record = create(asked(trials=2), RunStore(tmp_path))
    real = trial.read_json

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(trial, "read_json", killed)
    with pytest.raises(KeyboardInterrupt):
        carried(tmp_path, None, engine, record)
    monkeypatch.setattr(trial, "read_json", real)
    carried(tmp_path, None, engine, record)
    assert (record.state, len(record.trials()), len(stands.ran)) == ("done", 2, 2)


def test_a_run_that_fails_there_ends_the_search_as_it_does_here(tmp_path, stand):
    stand(fail=1, error="RuntimeError")
    record = carried(tmp_path, asked(), EngineHere())
    assert (record.state, record.reason) == (
        "failed",
        "trial 1 failed: out of memory Resume tries it again.",
    )
