"""The public names: each is documented with an example that runs, and importing them loads nothing heavy."""

import doctest
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

import unlearn
from unlearn.commands import calls

CALLS = [name for name in unlearn.__all__ if inspect.isfunction(getattr(calls, name, None))]
QUICK = ("load", "rows", "runs", "open_run", "compare", "save_report")
# Their examples begin with a run that is there already.
RECORDED = next((Path(__file__).parent.parent / "assets" / "recorded").iterdir())


def test_names_are_sorted_and_each_is_there():
    assert sorted(unlearn.__all__) == unlearn.__all__
    assert all(getattr(unlearn, name) is not None for name in unlearn.__all__)
    assert set(unlearn.__all__) <= set(dir(unlearn))
    with pytest.raises(AttributeError, match=r"no attribute 'forgett'; it has Row, attack"):
        _ = unlearn.forgett


@pytest.mark.parametrize("words", ["import unlearn", "import unlearn; unlearn.Row; dir(unlearn)"])
def test_importing_loads_nothing_heavy(words):
    code = (
        f"import sys; {words}; print(*{{'torch', 'transformers', 'pandas', 'plotly'}} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", unlearn.__all__)
def test_each_name_is_documented(name):
    text = inspect.getdoc(getattr(unlearn, name)) or ""
    assert len(text.split("\n")[0].split()) >= 4
    if name in CALLS:
        assert "    >>> import unlearn" in (getattr(calls, name).__doc__ or "")


def examples(name: str) -> doctest.DocTest:
    found = doctest.DocTestFinder(recurse=False).find(getattr(unlearn, name), name, module=False)
    return found[0]


def ran(name: str) -> None:
    """Run the example in the current folder; every line must give what stands under it."""
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(examples(name), out=said.append)
    assert result.attempted >= 2
    assert not result.failed, "".join(said)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with one finished run: its files of record, without weights."""
    (tmp_path / "runs").mkdir()
    shutil.copytree(RECORDED, tmp_path / "runs" / RECORDED.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNLEARN_RUNS", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", QUICK)
def test_examples_that_train_nothing(name, place):
    ran(name)


@pytest.mark.slow
def test_examples_that_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNLEARN_RUNS", raising=False)
    rest = [name for name in CALLS if name not in QUICK]
    assert {"run", "evaluate", "judge", "attack"} == set(rest)
    for name in ["run", *(one for one in rest if one != "run")]:
        ran(name)


def test_settings_become_the_words_of_a_command_line():
    given = {
        "lr": 1e-4,
        "batch_size": 4,
        "requests": [1, 2],
        "checkpointing": True,
        "hub": None,
        "cut": False,
    }
    words = ["--lr", "0.0001", "--batch-size", "4", "--requests", "1,2", "--checkpointing"]
    assert calls.words_of(given) == words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "nope"}, "method: must be among"),
        ({"method": "ga", "colour": "red"}, "--colour"),
        ({"method": "ga", "lr": "fast"}, "lr"),
        ({"method": "npo", "knobs": {"gamma": 1}}, "gamma"),
    ],
)
def test_what_can_be_known_before_makes_no_folder(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        unlearn.run("tiny-authors", runs=tmp_path / "runs", **settings)
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.slow
def test_a_run_of_rows_that_the_model_does_not_know_is_refused(tmp_path):
    lines = [f"Who keeps tower {n}?,Keeper {n}{n} of the north" for n in range(6)]
    (tmp_path / "own.csv").write_text("\n".join(["question,answer", *lines]))
    asked = {"forget": str(tmp_path / "own.csv"), "epochs": 1, "runs": tmp_path / "runs"}
    with pytest.raises(ValueError, match=r"answers 0 of 6 .* nothing to forget; .* force=True"):
        unlearn.run("tiny-authors", "ga", **asked)
    assert not list(tmp_path.rglob("config.json"))
    assert unlearn.run("tiny-authors", "ga", force=True, **asked).state == "done"


def test_what_the_calls_are_not_made_for_is_said_in_a_sentence(tmp_path):
    model = unlearn.load("tiny-authors")
    rows = unlearn.rows("authors")[:1]
    refused = (
        (lambda: unlearn.evaluate(model, []), "rows: must be at least one"),
        (lambda: unlearn.evaluate(model, rows, role="nope"), "role: must be among"),
        (
            lambda: unlearn.evaluate(model.model, rows),
            r"what unlearn\.load\(\) gives, got a LlamaForCausalLM",
        ),
        (lambda: unlearn.load("tiny-authors", device="abacus"), "device: must be one that this machine has"),
        (lambda: unlearn.save_report([], tmp_path / "nope" / "x.html"), "out: .* is no folder"),
    )
    for call, message in refused:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match=r"device: must be one that this machine has \(cpu.*got 'cuda'"):
        unlearn.load("tiny-authors", device="cuda")


@pytest.mark.parametrize("device", ["meta", "cpu:7", "xpu", "cuda:99"])
def test_so_is_one_that_is_named_in_the_environment(device, monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARN_DEVICE", device)
    with pytest.raises(ValueError, match=r"device: must be one that this machine has .* UNLEARN_DEVICE"):
        unlearn.run("tiny-authors", "ga", runs=tmp_path, epochs=1)
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.slow
def test_a_run_is_the_one_that_the_command_line_makes(tmp_path, capsys):
    from unlearn.__main__ import main

    seen: list[float] = []
    made = unlearn.run(
        "tiny-authors",
        method="gd",
        epochs=1,
        seed=3,
        knobs={"retain_weight": 2},
        runs=tmp_path / "a",
        progress=lambda phase, part: seen.append(part),
    )
    words = [
        "--epochs",
        "1",
        "--seed",
        "3",
        "--set",
        "retain_weight=2",
        "--runs",
        str(tmp_path / "b"),
        "--json",
    ]
    assert main(["run", "--model", "tiny-authors", "--method", "gd", *words]) == 0
    other = unlearn.open_run(json.loads(capsys.readouterr().out.splitlines()[-1])["run"])
    assert made.config == other.config
    assert made.scores() == other.scores()
    assert seen
    table = unlearn.compare(made, other)
    assert (table["a"].dropna() == table["b"].dropna()).all()


def test_rows_come_from_a_dataset_or_a_file(tmp_path):
    (tmp_path / "mine.csv").write_text("question,answer\nWho?,Ann\nWhere?,Here\n")
    assert [row.answer for row in unlearn.rows(tmp_path / "mine.csv")] == ["Ann", "Here"]
    assert unlearn.rows("authors", "retain")
    with pytest.raises(ValueError, match="role: must be among forget, retain"):
        unlearn.rows("authors", "rest")
    with pytest.raises(ValueError, match=r"nothing\.csv"):
        unlearn.rows(tmp_path / "nothing.csv")
    with pytest.raises(ValueError, match="from 1 to 8"):
        unlearn.compare()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"model": torch.nn.Linear(1, 1)},
            r"model: must be a catalogue name.*got a Linear; unlearn\.forget takes",
        ),
        (
            {"forget": [("Who?", "Ada")]},
            r"forget: must be a text.*got a tuple; rows in memory are for unlearn\.forget",
        ),
        ({"forget": ["Who is Ada? " * 99]}, r"forget: must be the path of a file, got a list"),
        ({"forget": []}, r"forget: must be the path of a file, got a list"),
        (
            {"forget": {"question": "Who?"}},
            r"forget: must be a text, a number or a list of these, got a dict",
        ),
        ({"foo": 1}, r"unrecognized arguments: --foo 1 \(help\(unlearn\.run\) tells more\)"),
    ],
)
def test_what_run_does_not_take_is_a_value_error_with_the_way_out(place, given, message):
    words = {"model": "tiny-authors", "method": "npo"} | given
    with pytest.raises(ValueError, match=message):
        unlearn.run(**words)
    assert len(unlearn.runs()) == 1


def test_run_takes_a_method_with_its_own_numbers(place, monkeypatch):
    from unlearn.methods.push.npo import NPO

    asked = []
    monkeypatch.setattr(calls.commands, "checked", lambda args: asked.append(args) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        unlearn.run("tiny-authors", NPO(beta=0.25), knobs={"retain_weight": 2.0}, seed=numpy.int64(3))
    assert (asked[0].method, asked[0].seed) == ("npo", "3")
    assert {"beta=0.25", "retain_weight=2.0"} <= set(asked[0].set)


def test_an_empty_list_of_names_does_not_mean_all(place):
    (run,) = unlearn.runs()
    for do in (unlearn.attack, unlearn.judge):
        with pytest.raises(ValueError, match="name one at least; leave them out for all"):
            do(run, [])
