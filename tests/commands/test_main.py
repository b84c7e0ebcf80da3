"""The command line: its answers, its exit status, and one line for every bad input."""

import json
import re
import subprocess
import sys

import pytest

from unlearn.__main__ import main
from unlearn.methods import OFFERED
from unlearn.store.runs import RunStore

GOOD = "question,answer\nWhat is red?,red\nWhat is two?,two\nWhat is blue?,blue\n"


@pytest.fixture
def words(tmp_path, tiny_folder):
    """A run on a tiny random model and the person's own two files, ready to be spoilt."""
    (tmp_path / "forget.csv").write_text(GOOD)
    (tmp_path / "retain.csv").write_text(GOOD.replace("What", "Who"))
    return {
        "--model": str(tiny_folder), "--method": "npo", "--forget": str(tmp_path / "forget.csv"),
        "--retain": str(tmp_path / "retain.csv"), "--epochs": "1", "--batch-size": "2", "--probes": "0",
        "--runs": str(tmp_path / "runs"),
    }  # fmt: skip


def run(words, *more):
    return main(["run", *[part for pair in words.items() for part in pair], "--force", *more])


def last_json(capsys):
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_run_show_runs_export_import(words, tmp_path, capsys):
    assert run(words, "--json", "--title", "My run", "--tuning", "full") == 0
    told = last_json(capsys)
    assert (told["state"], told["reason"]) == ("done", "")
    assert told["seconds"] > 0
    assert set(told["scores"]) == {"before", "after"}
    assert set(told["scores"]["after"]) == {"forget", "retain"}
    assert {"n", "exact", "rougeL", "accuracy", "nll", "ppl"} <= set(told["scores"]["after"]["forget"])
    store, runs = RunStore(tmp_path / "runs"), ["--runs", words["--runs"]]
    (made,) = store.list()
    assert (told["run"], made.title) == (str(made.path), "My run")
    assert main(["runs", "--json", *runs]) == 0
    row = {"run": made.id, "state": "done", "model": words["--model"], "method": "npo", "title": "My run"}
    assert last_json(capsys) == {"runs": [row]}
    assert main(["show", str(made.path), *runs]) == 0
    text = capsys.readouterr().out
    assert "forget" in text
    assert made.config.command() in text
    assert main(["export", made.id, str(tmp_path / "one.zip"), *runs]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "one.zip")
    (tmp_path / f"{made.id}.zip").write_bytes(b"mine")
    for out, message in (
        ("one.zip", "one.zip is there already; name another file, or delete it first."),
        (".", f"{made.id}.zip is there already"),
        ("one.tar", "it writes a zip file, got one.tar; name it one.zip."),
    ):
        assert main(["export", made.id, str(tmp_path / out), *runs]) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / f"{made.id}.zip").read_bytes() == b"mine"
    assert not (tmp_path / "one.tar").exists()
    with made.held():
        made.append("state", state="running")
        assert main(["export", made.id, str(tmp_path / "half.zip"), *runs]) == 2
        assert f"{made.id} is running; stop it, or export it when it has ended." in capsys.readouterr().err
        made.append("state", state="done")
    assert main(["import", str(tmp_path / "one.zip"), "--json", *runs]) == 0
    again = last_json(capsys)
    assert again["scores"] == told["scores"]
    assert len(store.list()) == 2
    assert main(["resume", made.id, *runs]) == 2
    assert "is done; only an interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["models", "data", "methods"])
def test_listings(command, capsys):
    assert main([command, "--json"]) == 0
    rows = last_json(capsys)
    rows = rows["datasets" if command == "data" else command]
    assert all(row["name"] and row["title"] for row in rows)
    assert main([command]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]


def test_a_method_is_found_by_the_name_that_a_paper_gives_it(capsys):
    assert main(["methods", "--json"]) == 0
    also = {row["name"]: row["also"] for row in last_json(capsys)["methods"]}
    assert also == {name: list(method.also) for name, method in OFFERED.items()}
    assert "Unlearning with adversarial samples (Yao et al. 2024)" in also["adversarial"]


def test_columns_by_name_and_plain_text(words, tmp_path, capsys):
    (tmp_path / "forget.csv").write_text(GOOD.replace("question,answer", "Frage,Antwort"))
    columns = ("--question-column", "Frage", "--answer-column", "Antwort")
    assert run(words, *columns, "--json") == 0
    assert last_json(capsys)["scores"]["before"]["forget"]["n"] == 3
    (tmp_path / "forget.csv").write_text("id,body\n1,red is two and blue\n2,one is three or green\n")
    assert run(words | {"--method": "ga"}, "--text-column", "body", "--json") == 0
    scores = last_json(capsys)["scores"]["before"]["forget"]
    assert scores["n"] == 2
    assert "exact" not in scores  # a plain text has no question


def test_a_run_that_fails_has_status_1_and_keeps_its_reason(words, monkeypatch, capsys):
    import torch

    from unlearn.methods.push.npo import NPO

    monkeypatch.setattr(NPO, "loss", lambda *_: {"forget": torch.tensor(float("nan"), requires_grad=True)})
    assert run(words, "--json") == 1
    told = last_json(capsys)
    assert told["state"] == "failed"
    assert told["reason"].startswith("term forget became nan at step 1 of 2; lower lr (now")
    assert set(told["scores"]) == {"before"}
    monkeypatch.undo()
    assert main(["resume", told["run"], "--runs", words["--runs"], "--json"]) == 0
    assert last_json(capsys)["state"] == "done"


def test_an_option_that_a_command_has_not_points_at_the_help_of_that_command(capsys):
    assert main(["sweep", "--probes", "0"]) == 2
    assert re.search(
        r"unrecognized arguments: --probes 0 \(`.* sweep --help` tells more\)", capsys.readouterr().err
    )


def test_whoever_stops_reading_gets_no_error(tmp_path):
    """As `| head -1` does: what is printed then is lost, and nothing was refused."""
    code = "import sys; from unlearn.__main__ import main; sys.exit(main(['methods']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as made:
        made.stdout.close()
        told = made.stderr.read()
    assert (told, made.returncode) == (b"", 128 + 13)


@pytest.mark.parametrize("title", ["two\nlines", "bell\a", "long" * 99])
def test_a_title_that_breaks_a_list_is_refused(words, capsys, title):
    assert "title: must be one line of at most 200 characters" in refused(words, capsys, "--title", title)


def refused(words, capsys, *more):
    """The one line of a refusal, after which nothing is left behind."""
    assert run(words, *more) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert not RunStore(words["--runs"]).list()
    return lines[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,b\n1,2\n3,4\n", "columns must be called question and answer, .* got a, b"),
        (b"question,answer\n", "must have at least one row, got none"),
        (b"question,answer\nOne?,\n,two\n", "must have at least one row .* filled, got none of 2"),
        (bytes(range(256)) * 4, "must be text, got binary data"),
        ("question,answer\nЧто это?,Мир\nКто?,Он\n".encode("cp866"), "is not UTF-8 .* --encoding NAME"),
        (
            ("question,answer\nA?,b\nB?," + "x" * 100_000).encode(),
            r"longer than the 128 tokens .* \(row 2 of 100,0.. tokens\)\. Shorten it; leave .* --long skip",
        ),
        (b"question,answer\n" + b"A?,b\n" * 20_001, "at most 20,000 rows, got at least 20,001"),
        (b"question,answer\nA?,b,c\nB?,d\n", "every row must have|columns"),
    ],
)
def test_bad_files(words, tmp_path, capsys, content, message):
    import re

    (tmp_path / "forget.csv").write_bytes(content)
    line = refused(words, capsys)
    assert re.search(message, line), line


def test_other_bad_data(words, tmp_path, capsys):
    assert "has no column 'Q'" in refused(
        words, capsys, "--question-column", "Q", "--answer-column", "answer"
    )
    assert "must name question and answer" in refused(
        words, capsys, "--text-column=answer", "--answer-column=answer"
    )
    assert "does not exist" in refused(words | {"--forget": str(tmp_path / "gone.csv")}, capsys)
    (tmp_path / "rows.exe").write_text(GOOD)
    assert "the ending must be one of" in refused(words | {"--forget": str(tmp_path / "rows.exe")}, capsys)
    (tmp_path / "retain.csv").write_text("")
    assert "retain file retain.csv: is empty" in refused(words, capsys)
    alone = {k: v for k, v in words.items() if k != "--retain"}
    assert "needs rows to keep" in refused(alone, capsys)
    assert "data:" in refused(words, capsys, "--data", "authors")  # a name and a file: which one?
    none = {k: v for k, v in alone.items() if k != "--forget"}
    assert "give --data NAME, --forget FILE or --hub ID" in refused(none, capsys)
    # Without data and without such a model both are said; a name of the hub may be one.
    no_model = "no folder here has this name"
    assert no_model in refused(none | {"--model": "nope"}, capsys)
    assert no_model not in refused(none | {"--model": "someone/nope"}, capsys)
    assert "name must be one of authors" in refused(none | {"--data": "moon"}, capsys)
    assert "requests must be among" in refused(none | {"--data": "authors", "--requests": "99"}, capsys)
    assert "--requests: must be whole numbers" in refused(
        none | {"--data": "authors", "--requests": "1,x"}, capsys
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--method": "moon"}, "ga, "),
        ({"--set": "moon=1"}, "NPO: no knob moon; it has"),
        ({"--set": "beta"}, "--set: must be KNOB=VALUE, got 'beta'"),
        ({"--set": "beta=7"}, "NPO: beta must lie in [0.01, 1], got 7"),
        ({"--set": "beta=nan"}, "NPO: beta must lie in"),
        ({"--lr": "7"}, "run: lr must lie in [1e-08, 1], got 7"),
        ({"--lr": "fast"}, "run: lr must lie in [1e-08, 1], got 'fast'"),
        ({"--epochs": "0"}, "run: epochs must lie in [1, 1000], got 0"),
        ({"--epochs": "2.5"}, "run: epochs must be a whole number, got 2.5"),
        ({"--tuning": "half"}, "argument --tuning: invalid choice: 'half'"),
        ({"--colour": "red"}, "unrecognized arguments: --colour red"),
        ({"--model": "nothing-of-that-name"}, "check the name and the network"),
        ({"--model": "nobody/nothing"}, "check the name and the network"),
        ({"--model": "/not/there"}, "there is no folder /not/there"),
    ],
)
def test_bad_words(words, capsys, changes, message):
    assert message in refused(words | changes, capsys)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no config", "has no config.json"),
        ("pickle", "only pickled weights"),
        ("damaged", "is not a safetensors file"),
    ],
)
def test_bad_folders(words, tmp_path, tiny_folder, capsys, kind, message):
    from tests.models.test_load import bad_folder

    folder = bad_folder(tmp_path, tiny_folder, kind)
    assert message in refused(words | {"--model": str(folder)}, capsys)


@pytest.mark.parametrize(
    "words", [["show", "nope"], ["resume", "../x"], ["export", "nope", "x.zip"], ["get", "moon"], []]
)
def test_other_bad_commands(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path / "runs"))
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_store_that_cannot_be_written_is_one_line_too(words, tmp_path, capsys):
    (tmp_path / "runs").write_text("a file where the folder should be")
    assert run(words) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.slow
def test_the_real_process(tmp_path):
    """As a person starts it: exit status, the JSON line, and threads that sleep while they wait."""
    words = [sys.executable, "-m", "unlearn", "run", "--model", "tiny-authors", "--method", "gd", "--epochs", "1",
             "--requests", "1", "--probes", "0", "--runs", str(tmp_path), "--json"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["state"] == "done"
    assert set(told["scores"]) == {"before", "after"}  # two people of ten: no retrain without just these
    bad = subprocess.run([*words, "--set", "x=1"], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("error: Ascent + descent (GA+GD): no knob x")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--requests", "3..1"], "must begin with the smaller number"),
        (["--requests", "1..999999999"], "at most 10000 numbers"),
        (["--requests", "1..99999999999999999999"], "must be whole numbers"),
        (["--requests", "9" * 5000], "must be whole numbers"),
        (["--requests", "1.."], "must be whole numbers"),
        (["--start", "nope"], "no run 'nope'"),
        (["--start", "../x"], "no run '../x'"),
        (["--start", "sweeps"], "no run 'sweeps'"),
    ],
)
@pytest.mark.parametrize("command", ["run", "sequence"])
def test_what_can_be_known_before_leaves_no_folder(words, capsys, command, more, says):
    (RunStore(words["--runs"]).root / "sweeps").mkdir(parents=True)
    assert main([command, *[part for pair in words.items() for part in pair], *more]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in RunStore(words["--runs"]).root.iterdir()] == ["sweeps"]


def test_a_start_without_weights_or_of_another_tuning_is_said_before(words, capsys):
    assert run(words, "--tuning", "full") == 0
    (made,) = RunStore(words["--runs"]).list()
    assert run(words, "--tuning", "lora", "--start", made.id) == 2
    assert "start must be a run of" in capsys.readouterr().err
    for file in (made.path / "model").glob("*.safetensors"):
        file.unlink()
    assert run(words, "--tuning", "full", "--start", made.id) == 2
    assert "keeps no weights" in capsys.readouterr().err
    assert RunStore(words["--runs"]).list() == [made]


def test_a_sequence_of_one_request_is_refused_before(words, tmp_path, capsys):
    (tmp_path / "forget.csv").write_text("question,answer,request\nWhat is red?,red,1\nWhat is two?,two,1\n")
    for more in ([], ["--order", "1,2"], ["--mode", "joint"]):
        assert main(["sequence", *[part for pair in words.items() for part in pair], *more]) == 2
        assert "error: " in capsys.readouterr().err
    assert not RunStore(words["--runs"]).root.exists()


def test_a_negative_number_of_rows_aside_is_refused(tmp_path, capsys):
    told = ["--share", "0.2", "--split", str(tmp_path / "out"), "--aside", "-1"]
    assert main(["data", "authors", *told]) == 2
    assert "0 or more, got -1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
