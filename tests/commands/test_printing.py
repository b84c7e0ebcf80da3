"""What commands print: the time left of a phase, and tables whose columns stand below each other."""

import contextlib
import re
import time
from types import SimpleNamespace

import pytest

from unlearn.commands import printing, sequence
from unlearn.commands.printing import counter, listing, progress_bar
from unlearn.store.runs import RunConfig, RunStore


@pytest.fixture
def terminal(monkeypatch):
    """Where bars are drawn."""
    monkeypatch.setattr(printing, "on_terminal", lambda: True)


def test_a_log_file_gets_lines_and_no_bars(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(printing.time, "monotonic", lambda: now)
    with progress_bar() as progress:
        for step in range(50):
            progress("training", step / 50)
        progress("scoring after", 0.5)  # so soon after the line before that it gets none
        now += printing.LOG_SECONDS
        progress("scoring after", 0.9)
    with counter("A1") as say:
        say("npo, seed 0")
        say("npo, seed 1")
    lines = capsys.readouterr().err.splitlines()
    assert [line[9:] for line in lines] == ["training", "scoring after", "A1: npo, seed 0"]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)


def test_a_terminal_gets_a_count(terminal, capsys):
    with counter("A1") as say:
        say("npo, seed 0")
        say("npo, seed 1")
    assert re.search(r"A1: npo, seed 1 +2 computed", capsys.readouterr().err.split("\r")[-1])


@pytest.mark.slow
def test_the_time_left_is_reckoned_from_the_phase_alone(terminal, capsys):
    """The phase before took two seconds; half of the next one took none, so none is left."""
    with progress_bar() as progress:
        progress("loading model", 0.0)
        time.sleep(2.1)
        progress("scoring before", 0.0)
        progress("scoring before", 0.5)
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"scoring before .* 50 %  00:00<00:00", last), last


@pytest.mark.slow
def test_a_fraction_that_rounds_up_is_no_new_phase(terminal, capsys):
    with progress_bar() as progress:
        progress("training", 0.0)
        time.sleep(1.1)
        progress("training", 0.556)
        progress("training", 0.557)
    assert "00:01<" in capsys.readouterr().err.split("\r")[-1]


def test_a_run_that_was_stopped_says_why_it_has_no_scores_after(tmp_path, capsys):
    run = RunStore(tmp_path).create(RunConfig(model="tiny-authors", data={"name": "authors"}, method="ga"))
    run.append("eval", when="before", scores={"forget": {"n": 3, "exact": 1.0}})
    run.append("state", state="stopped", reason="stopped by hand at step 2")
    printing.print_run(run, False)
    hint = f"It is scored when it is done; `unlearn resume {run.id}` goes on with it."
    assert hint in capsys.readouterr().out
    run.append("eval", when="after", scores={"forget": {"n": 3, "exact": 0.0}})
    run.append("state", state="done")
    printing.print_run(run, False)
    assert "unlearn resume" not in capsys.readouterr().out


def test_columns_stand_below_each_other(capsys):
    rows = [{"run": "a" * 24, "state": "done"}, {"run": "b" * 29, "state": "failed"}]
    listing(rows, False, ("run", "state"))
    first, second = capsys.readouterr().out.splitlines()
    assert first.index("done") == second.index("failed") == 31


def test_the_numbers_of_a_sequence_stand_below_their_names(monkeypatch, capsys):
    monkeypatch.setattr(sequence.seq, "perform", lambda *_, **__: None)
    monkeypatch.setattr(sequence.seq, "summary", lambda _: [{"after": 1, "forget": 0.25}])
    sequence.go_on(SimpleNamespace(held=contextlib.nullcontext, path="p", state="done", reason=""), False)
    names, numbers = capsys.readouterr().out.splitlines()[-2:]
    assert names.split() == ["after", "forget"]
    assert names.index("forget") == numbers.index("0.25")


def test_a_title_cannot_steer_the_terminal(capsys):
    listing(
        [{"title": "\x1b[31mred\u202ered\nnew", "run": "na\u00efve \N{GRINNING FACE}"}],
        False,
        ("title", "run"),
    )
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert not printing.STEERS.search(said.rstrip("\n"))
    assert "red" in said
    assert "na\u00efve \N{GRINNING FACE}" in said
