"""What a run does with the rows that people have (long ones, conversations, marks), and what it says before."""

import json

import pytest

from unlearn.__main__ import main
from unlearn.store.runs import RunStore

LONG = " ".join(f"the keeper of tower {i} is agent {i}" for i in range(60))
TALK = [
    {"role": "user", "content": "What is red?"},
    {"role": "assistant", "content": "red"},
    {"role": "user", "content": "What is two?"},
    {"role": "assistant", "content": "two"},
]


@pytest.fixture
def run(tmp_path, tiny_folder):
    """Unlearn these forget rows on a tiny random model; gives the exit status."""
    (tmp_path / "retain.csv").write_text("question,answer\nWho is red?,red\nWho is two?,two\n")

    def carry_out(name: str, content: str, *more: str) -> int:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return main([
            *("run", "--model", str(tiny_folder), "--method", "npo", "--forget", str(tmp_path / name)),
            *("--retain", str(tmp_path / "retain.csv"), "--epochs", "1", "--probes", "0"),
            *("--runs", str(tmp_path / "runs"), "--force", *more),
        ])  # fmt: skip

    carry_out.store = RunStore(tmp_path / "runs")
    return carry_out


def noted(run) -> str:
    (made,) = run.store.list()
    return "\n".join(event["text"] for event in made.events("note") if event.get("text"))


@pytest.mark.slow
def test_a_long_text_is_cut_into_windows_that_are_trained_on_and_scored(run, capsys):
    assert run("forget.txt", f"{LONG}\none is two\none is two\n", "--json") == 0
    told = capsys.readouterr()
    assert "row 1 of" in told.err
    assert "and cut into" in told.err
    assert "rows 2, 3 say the same 2 times" in told.err
    assert "and cut into" in noted(run)
    windows = json.loads(told.out.splitlines()[-1])["scores"]["before"]["forget"]["n"] - 2
    assert f"cut into {windows} windows" in noted(run)
    assert windows > 2
    (made,) = run.store.list()
    assert main(["evaluate", str(made.id), "--metrics", "mia_loss", "--runs", str(run.store.root)]) == 0


def test_a_long_question_is_refused_before_a_run_or_left_out(run, capsys):
    rows = f"question,answer\n{LONG},red\nWhat is two?,two\nWhat is blue?,blue\n"
    assert run("forget.csv", rows) == 2
    assert "(row 1 of" in capsys.readouterr().err
    assert not run.store.list()
    assert run("forget.csv", rows, "--skip-long") == 0
    assert "and left out" in noted(run)
    (made,) = run.store.list()
    assert made.config.data["long"] == "skip"


def test_all_answers_of_conversations_are_rows(run, capsys):
    rows = "\n".join(json.dumps({"messages": TALK}) for _ in range(2))
    assert run("forget.jsonl", rows, "--turns", "all", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["scores"]["before"]["forget"]["n"] == 4


def test_marks_in_rows_are_said(run):
    assert run("forget.csv", "question,answer\nWhat is <s>red?,red</s>\nWhat is two?,two<eos>\n") == 0
    assert "2 of 2 rows hold what is a special token" in noted(run)
