"""The command tune: what it makes of its words, what it refuses, and that it goes on."""

import json
import shlex

import pytest

from unlearn.__main__ import main, parser
from unlearn.commands import tune as command
from unlearn.commands.tune import search_of
from unlearn.results.search.record import create, searches
from unlearn.store.runs import RunStore
from unlearn.work.search import journal

WORDS = ["--model", "tiny-authors", "--methods", "npo"]


def asked(*words):
    return search_of(parser().parse_args(["tune", *WORDS, *words]))


def names(config):
    return [[axis.name for axis in mine] for mine in config.axes]


def test_words_become_a_search():
    config = asked("--minutes", "3", "--seeds", "1,2", "--aim", "forget", "--kept", ".9", "--no-prune")
    assert (config.minutes, config.trials, config.seeds, config.aim) == (3.0, 0, (1, 2), "forget")
    assert (config.kept, config.prune) == (0.9, False)
    assert names(config) == [["lr", "epochs", "retain_weight", "retain_per_forget", "beta"]]
    assert (config.runs[0].method, config.runs[0].seed) == ("npo", 1)


def test_what_is_given_is_fixed_and_what_is_named_is_varied():
    config = asked("--lr", "1e-3", "--set", "beta=0.5", "--epochs", "3")
    assert names(config) == [["retain_weight", "retain_per_forget"]]
    assert (config.runs[0].lr, config.runs[0].epochs, config.runs[0].knobs["beta"]) == (1e-3, 3, 0.5)
    config = asked("--search", "lr", "--range", "beta=0.1..0.5")
    assert names(config) == [["lr", "beta"]]
    assert config.axes[0][1].high == 0.5


def test_several_methods_have_their_own_settings():
    words = [
        "--methods",
        "npo,undial",
        "--set",
        "gamma=5",
        "--range",
        "npo.beta=0.1..1",
        "--range",
        "undial.lr=1e-4..1e-2",
    ]
    config = asked(*words)
    npo, undial = config.runs
    assert undial.knobs["gamma"] == 5.0
    assert "gamma" not in npo.knobs
    assert "gamma" not in names(config)[1]
    assert [axis.low for axis in config.axes[1] if axis.name == "lr"] == [1e-4]
    assert [axis.low for axis in config.axes[0] if axis.name == "lr"] != [1e-4]


@pytest.mark.parametrize(
    "words",
    [
        ["--minutes", "3", "--aim", "keep", "--within", "0.1"],
        ["--trials", "5", "--lr", "1e-3", "--set", "beta=0.5", "--no-prune"],
        ["--methods", "npo,gd", "--seeds", "0..2", "--range", "npo.retain_source=general,both"],
        ["--tuning", "lora", "--target", "0.2", "--keep-weights"],
    ],
)
def test_the_printed_command_repeats_the_search(words):
    config = asked(*words)
    assert search_of(parser().parse_args(shlex.split(config.command())[3:])) == config


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--model and --methods: give them"),
        (["--model", "tiny-authors"], "--methods: give it"),
        ([*WORDS, "--methods", "nope"], "nope"),
        ([*WORDS, "--set", "betta=1"], "no knob betta"),
        (
            [*WORDS, "--methods", "npo,gd", "--set", "gamma=1"],
            "--set: no method of npo, gd has the setting of 'gamma=1'",
        ),
        ([*WORDS, "--range", "lr=1e-3"], "range of lr must be such as"),
        ([*WORDS, "--range", "moon=1..2"], "moon is no setting of npo"),
        ([*WORDS, "--range", "lr"], "must be NAME=VALUE, got 'lr'"),
        ([*WORDS, "--search", "betta"], "did you mean beta"),
        ([*WORDS, "--lr", "1e-3", "--search", "lr"], "given a value and varied too"),
        ([*WORDS, "--kept", "2"], "kept must lie in [0, 1]"),
        ([*WORDS, "--trials", "many"], "trials must lie in"),
        (["--resume", "../x"], "tune: no search '../x'; give its id, or the path"),
        (["--resume", "20260131-120000-tune-1a2b"], "tune: no search '20260131-120000-tune-1a2b' in "),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words, said, tmp_path, capsys):
    assert main(["tune", *words, "--runs", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_a_target_it_is_refused_before_anything_runs(tmp_path, capsys):
    (tmp_path / "f.csv").write_text("question,answer\nWhat is red?,red\nWhat is two?,two\n")
    words = [*WORDS, "--methods", "ga", "--forget", str(tmp_path / "f.csv"), "--runs", str(tmp_path / "runs")]
    assert main(["tune", *words]) == 2
    assert "there is no target" in capsys.readouterr().err
    assert search_of(parser().parse_args(["tune", *words, "--target", "0.1"])).target == 0.1


def test_without_optuna_it_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(journal.importlib.util, "find_spec", lambda name: None)
    assert main(["tune", *WORDS, "--runs", str(tmp_path)]) == 2
    assert 'pip install "unlearn-studio[tune]"' in capsys.readouterr().err


def test_it_goes_on_by_resume_and_only_while_something_is_left(tmp_path, monkeypatch, capsys):
    done = []

    def perform(found, **given):
        done.append(found.config)
        found.append("state", state="running")
        found.append("state", state="stopped" if len(done) == 1 else "done")

    monkeypatch.setattr(command, "perform", perform)
    store = RunStore(tmp_path)
    assert main(["tune", *WORDS, "--trials", "4", "--force", "--runs", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["trials"], told["best"]) == ("stopped", [], None)
    keys = "search state reason config models trials best front sentence"
    assert set(told) == set(keys.split())
    (found,) = searches(store)
    assert main(["resume", found.id, "--runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["search"] == str(found.path)
    assert main(["tune", "--resume", found.id, "--runs", str(tmp_path)]) == 2
    assert "add --trials or --minutes" in capsys.readouterr().err
    assert main(["tune", "--resume", found.id, "--minutes", "2", "--runs", str(tmp_path)]) == 0
    assert (done[-1].trials, done[-1].minutes) == (0, 2.0)
    assert "No setting has been tried" in capsys.readouterr().out
    again = create(done[0], store)
    assert main(["delete", again.id, "--yes", "--runs", str(tmp_path)]) == 0
    assert len(searches(store)) == 1
