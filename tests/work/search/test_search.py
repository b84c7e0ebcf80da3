"""A search carried out: what Optuna is asked and told, kills at every moment, budgets, weights, seeds.

Runs are executed by a stand-in that says what a formula says, so that a search takes no time; one slow test trains.
"""

import json
from dataclasses import replace

import pytest
from conftest import small_run
from searched import RUN, Killed, Stand, asked, formula, rows, told

from unlearn.results.search import choice
from unlearn.results.search.record import JOURNAL, SearchConfig, ask_more, create, searches
from unlearn.results.search.space import axes
from unlearn.store.runs import RunStore
from unlearn.work import search
from unlearn.work.search import halves, journal, watching


def carried(store, config):
    record = create(config, store)
    go_on(record)
    return record


def go_on(record):
    with record.held():
        search.perform(record)


def test_a_search_tries_the_shipped_settings_first_and_finds_better_ones(tmp_path, monkeypatch):
    stand = Stand(monkeypatch)
    record = carried(RunStore(tmp_path), asked(trials=25))
    assert (record.state, record.reason, len(stand.ran)) == ("done", "", 25)
    first = record.trials()[0]
    assert (first.shipped, dict(first.settings)) == (True, {"lr": 1e-3, "beta": 1.0})
    assert not any(trial.shipped for trial in record.trials()[1:])
    taken = choice.best(record.trials(), record.models(), record.config)
    assert taken.kept >= 0.95
    assert taken.distance < choice.judge(first, record.models()).distance
    assert record.models()["whose"] == "the retrained model"
    assert record.models()["chosen"]["target"] == pytest.approx(0.1)
    assert (record.path / JOURNAL).is_file()
    assert [found.id for found in searches(RunStore(tmp_path))] == [record.id]


@pytest.mark.slow
def test_the_weights_of_the_best_alone_are_kept_unless_all_are_wanted(tmp_path, monkeypatch):
    Stand(monkeypatch)
    record = carried(RunStore(tmp_path / "a"), asked())
    (kept,) = (tmp_path / "a").glob("*/model")
    assert kept.parent.name in choice.best(record.trials(), record.models(), record.config).trial.runs
    carried(RunStore(tmp_path / "b"), asked(keep_weights=True))
    assert len(list((tmp_path / "b").glob("*/model"))) == 12


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 9])
def test_a_killed_search_goes_on_to_the_same_numbers_in_the_same_runs(tmp_path, monkeypatch, at):
    Stand(monkeypatch)
    whole = carried(RunStore(tmp_path / "whole"), asked())
    stand = Stand(monkeypatch, kill=at)
    store = RunStore(tmp_path / "killed")
    record = create(asked(), store)
    with pytest.raises(Killed):
        go_on(record)
    assert record.state == "interrupted"
    assert len(record.trials()) == at - 1
    go_on(record)
    assert (record.state, record.reason) == ("done", "")
    assert told(record) == told(whole)
    assert (len(stand.ran), len(store.list())) == (13, 12)


def test_a_run_that_was_scored_before_a_kill_is_not_carried_out_again(tmp_path, monkeypatch):
    stand = Stand(monkeypatch, kill=4)
    record = create(asked(seeds=(0, 1), trials=3), RunStore(tmp_path))
    with pytest.raises(Killed):
        go_on(record)
    go_on(record)
    assert (record.state, len(record.trials())) == ("done", 3)
    # Six runs and the one that was cut short; the first of its trial was done.
    assert len(stand.ran) == 7


def killing(real, at):
    """The function, which is killed when it is called for the trial of this number, once it is done where it asks."""

    def broken(*given):
        # ask() gets the number, and tell() the trial.
        here = given[2] if isinstance(given[2], int) and len(given) > 3 else given[-1].number
        found = real(*given) if real is journal.ask else None
        if here == at:
            raise Killed
        return found if real is journal.ask else real(*given)

    return broken


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 9])
@pytest.mark.parametrize(("place", "name"), [(journal, "ask"), (search._Work, "tell")])
def test_a_kill_between_optuna_and_our_events_loses_and_doubles_nothing(
    tmp_path, monkeypatch, place, name, at
):
    Stand(monkeypatch)
    whole = carried(RunStore(tmp_path / "whole"), asked())
    record = create(asked(), RunStore(tmp_path / "killed"))
    with monkeypatch.context() as here:
        here.setattr(place, name, killing(getattr(place, name), at))
        with pytest.raises(Killed):
            go_on(record)
    # And a line that was cut short.
    with (record.path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    go_on(record)
    assert (record.state, record.reason) == ("done", "")
    assert told(record) == told(whole)


def test_a_lock_that_a_kill_left_is_not_waited_for(tmp_path):
    """Optuna itself takes it away after half a minute."""
    lock = tmp_path / f"{JOURNAL}.lock"
    lock.symlink_to(tmp_path / JOURNAL)
    (tmp_path / JOURNAL).write_bytes(b"{}\n{")
    journal.mend(tmp_path / JOURNAL)
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]
    assert (tmp_path / JOURNAL).read_bytes() == b"{}\n"


def test_minutes_end_a_search_and_more_can_be_asked_for(tmp_path, monkeypatch):
    stand = Stand(monkeypatch)
    stand.seconds = 20.0
    record = carried(RunStore(tmp_path), asked(trials=0, minutes=1.7))
    # Five take 100 s; a sixth would go beyond 102 s.
    assert (record.state, len(record.trials())) == ("done", 5)
    ask_more(record, 2, 0.0)
    assert record.state == "stopped"
    go_on(record)
    assert (record.state, len(record.trials())) == ("done", 7)
    ask_more(record, 0, 1.0)
    go_on(record)
    assert len(record.trials()) == 10


def test_divergence_is_told_and_other_failures_of_settings_too(tmp_path, monkeypatch):
    Stand(monkeypatch, diverge_above=4e-3, fail=4)
    record = carried(RunStore(tmp_path), asked())
    assert record.state == "done", record.reason
    states = [trial.state for trial in record.trials()]
    assert states.count("failed") == 1
    assert all(
        (trial.state == "diverged") == (trial.settings["lr"] > 4e-3)
        for trial in record.trials()
        if trial.state != "failed"
    )
    assert choice.best(record.trials(), record.models(), record.config).trial.settings["lr"] <= 4e-3


@pytest.mark.parametrize(("fail", "error"), [(1, "RuntimeError"), (5, "OSError")])
def test_a_failure_of_the_machine_ends_it_and_is_tried_again(tmp_path, monkeypatch, fail, error):
    stand = Stand(monkeypatch, fail=fail, error=error)
    record = carried(RunStore(tmp_path), asked())
    assert record.state == "failed"
    assert record.reason == f"trial {fail} failed: out of memory Resume tries it again."
    go_on(record)
    assert (record.state, len(record.trials()), len(stand.ran)) == ("done", 12, 13)


@pytest.mark.slow
def test_a_trial_behind_the_others_is_given_up(tmp_path, monkeypatch):
    Stand(monkeypatch, watched=True)
    record = carried(RunStore(tmp_path / "pruned"), asked(trials=20, prune=True))
    pruned = [trial for trial in record.trials() if trial.state == "pruned"]
    assert pruned
    run = RunStore(tmp_path / "pruned").get(pruned[0].runs[0])
    assert watching.PRUNED in [event.get("text") for event in run.events("note")]
    assert not pruned[0].chosen
    whole = carried(RunStore(tmp_path / "whole"), asked(trials=20, prune=False))
    assert {trial.state for trial in whole.trials()} == {"done"}


def test_a_run_is_read_while_it_trains_unless_it_has_a_budget_or_cannot_be():
    from unlearn.data.catalogue import load

    data = load("authors")
    assert watching.read_while_training(RUN, data).budget == ("retain=0.01",)
    own = replace(RUN, budget=("kl=0.1",))
    assert watching.read_while_training(own, data) == own
    bare = replace(data, roles={"forget": data.rows("forget"), "general": data.rows("general")})
    assert watching.read_while_training(RUN, bare).budget == ("general-ppl=100",)
    assert watching.read_while_training(RUN, replace(data, roles={"forget": data.rows("forget")})) == RUN
    whole = replace(RUN, method="taskvector", knobs={})
    assert watching.read_while_training(whole, data) == whole


@pytest.mark.parametrize("aim", ["forget", "keep"])
def test_one_aim_with_the_other_as_a_budget(tmp_path, monkeypatch, aim):
    Stand(monkeypatch)
    record = carried(RunStore(tmp_path), asked(aim=aim, kept=0.98, within=0.1, trials=25))
    assert record.state == "done", record.reason
    taken = choice.best(record.trials(), record.models(), record.config)
    assert choice.inside(taken, record.config, record.models())


def test_several_methods_and_seeds(tmp_path, monkeypatch):
    stand = Stand(monkeypatch)
    gd = replace(RUN, method="gd", knobs={})
    config = asked(runs=(RUN, gd), axes=(axes(RUN, ["lr"]), axes(gd, ["lr"])), seeds=(0, 2), trials=10)
    record = carried(RunStore(tmp_path), config)
    assert [t.method for t in record.trials()[:2]] == ["npo", "gd"]
    assert {config.seed for config in stand.ran} == {0, 2}
    assert len(stand.ran) == 20
    first = record.trials()[0]
    assert len(first.runs) == 2
    single = formula(replace(RUN, seed=0))[0]
    assert first.chosen["forget"] == pytest.approx(single + 0.01)
    assert first.chosen["seeds"] == 2


def test_two_halves_keep_a_subject_together_and_are_always_the_same():
    from unlearn.data.catalogue import load
    from unlearn.measure.evaluate import rows_to_score

    chosen = rows_to_score(load("authors"))
    first, same = halves.halves(chosen)
    assert not same
    subjects = [
        {chosen["forget"][i].subject for i in places}
        for places in (first["forget"], range(len(chosen["forget"])))
    ]
    assert (len(subjects[0]), len(subjects[1])) == (5, 10)
    assert len(first["forget"]) == 45
    assert halves.halves(chosen) == (first, same)
    few = {"forget": chosen["forget"][:4]}
    assert halves.halves(few)[1]


def test_halves_split_what_was_seen_but_not_what_was_never_learnt():
    seen = halves.Seen(
        {"after": [*rows(0.5, 0.9)]}, {"forget": frozenset({0}), "retain": frozenset({1})}, same=False
    )
    assert [one.index for one in seen.half("after", "chosen") if one.role == "forget"] == [0]
    assert [one.index for one in seen.half("after", "reported") if one.role == "forget"] == [1, 2, 3]
    assert seen.scores("after", "chosen")["forget"] == pytest.approx(0.5)
    assert seen.scores("after", "chosen")["n"] == 1
    whole = replace(seen, same=True)
    assert whole.half("after", "chosen") == whole.half("after", "reported") == list(seen.found["after"])


def test_utility_leaves_out_what_the_original_never_says():
    def general(p):
        return [replace(one, role="general") for one in rows(p, p) if one.role == "retain"]

    def kept(before, after):
        found = {"before": [*rows(0.9, 0.9), *general(before)], "after": [*rows(0.2, 0.8), *general(after)]}
        return halves.Seen(found, {}, same=True).scores("after", "reported")["utility"]

    # The harmonic mean of answer probability and ROUGE-L (1: the words are right) on retain, and on general texts.
    assert kept(0.9, 0.5) == pytest.approx(4 / (1 / 0.8 + 1 + 1 / 0.5 + 1))
    assert kept(1 / 999, 0.5) == pytest.approx(4 / (1 / 0.8 + 1 + 1 / 0.5 + 1))
    assert kept(1 / 1001, 0.5) == kept(1 / 1001, 1e-9) == pytest.approx(2 / (1 / 0.8 + 1))


def test_the_sampler_depends_on_seed_and_number_alone():
    config = asked()
    seeds = {journal.seed_of(config, number) for number in range(50)}
    assert len(seeds) == 50
    assert journal.seed_of(config, 3) == journal.seed_of(asked(trials=99), 3)
    assert journal.seed_of(config, 3) != journal.seed_of(asked(seeds=(1,)), 3)


@pytest.mark.slow
def test_a_real_search_of_three_trials_scores_the_halves_of_its_runs(tmp_path):
    run = small_run(tmp_path, method="gd", epochs=1, probes=0)
    template = replace(run.config, title="")
    config = SearchConfig(runs=(template,), axes=(axes(template, ["lr"]),), trials=3, target=0.0)
    record = create(config, RunStore(tmp_path / "runs"))
    with record.held():
        search.perform(record, roots=[tmp_path])
    assert (record.state, record.reason) == ("done", "")
    assert [trial.state for trial in record.trials()] == ["done"] * 3
    assert record.models()["same"]
    # A few rows were read while it trained, up to the last step.
    assert record.trials()[1].curve[-1][0] == 1.0
    assert record.trials()[1].curve[-1][1] == pytest.approx(record.trials()[1].chosen["forget"], rel=1e-4)
    one = record.trials()[1]
    scores = RunStore(tmp_path / "runs").get(one.runs[0]).scores()["after"]["forget"]
    assert one.chosen["forget"] == pytest.approx(scores["probability"])
    json.dumps(choice.everything(record), allow_nan=False)
