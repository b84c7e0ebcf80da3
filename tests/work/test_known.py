"""Before a run the model is asked whether it knows what it is to forget; the answers are asked once."""

import json
from dataclasses import replace

import pytest

from unlearn.__main__ import main
from unlearn.metrics import Observation
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work import known as knowing
from unlearn.work.execute import execute

pytestmark = pytest.mark.slow

AUTHORS = RunConfig(model="tiny-authors", data={"name": "authors", "requests": [1]}, method="ga", probes=0)


def seen(role="forget", index=0, text="", lp=-5.0, question="Who?", answer="Ann Lee"):
    return Observation(role, index, question, "prompt", answer, text, ({"lp": lp},) * 3)


def test_what_counts_as_answered():
    said = [seen(text="Ann Lee."), seen(text="It was Ann, I think"), seen(text="Bob"), seen(text="")]
    found = knowing.judged(said)
    assert (found.asked, found.answered, found.share, found.nothing) == (4, 2, 0.5, False)
    assert [one["said"] for one in found.examples] == ["Bob", "", "Ann Lee."]
    assert found.rule == "An answer counts when it holds at least half of the right one's words."


@pytest.mark.parametrize(
    ("asked", "answered", "nothing"), [(2, 0, False), (3, 0, True), (25, 0, True), (25, 1, False)]
)
def test_when_there_is_nothing_to_forget(asked, answered, nothing):
    assert knowing.Known(asked, answered, ()).nothing == nothing


def test_a_text_is_known_where_it_is_likelier_than_others_or_said():
    text = seen(question="", text="x", lp=-0.5)
    never = seen("approximate", question="", lp=-3.0)
    assert knowing.judged([text, never]).answered == 1
    assert knowing.judged([text, replace(never, tokens=({"lp": -0.6},) * 3)]).answered == 0
    assert knowing.judged([text]).answered == 0
    assert knowing.judged([replace(text, text="Ann Lee")]).answered == 1
    assert knowing.judged([text]).rule.startswith("A text counts when")
    assert knowing.judged([text, seen()]).rule == f"{knowing.RULE} {knowing.RULE_OF_TEXTS}"


@pytest.mark.parametrize("model", ["tiny-authors", "tiny-snippets"])
def test_a_bundled_model_knows_its_own_rows_and_they_are_asked_once(tmp_path, monkeypatch, model):
    data = {"name": {"tiny-authors": "authors", "tiny-snippets": "snippets"}[model]}
    config = RunConfig(model=model, data=data, method="ga", probes=0, epochs=1)
    found = knowing.known(config, RunStore(tmp_path))
    assert found.asked == 25
    assert found.share >= 0.9

    counts = []
    observe = knowing.observe

    def counted(*args, **more):
        counts.append({role: len(rows) for role, rows in args[2].items()})
        return observe(*args, **more)

    monkeypatch.setattr(knowing, "observe", counted)
    assert knowing.known(config, RunStore(tmp_path)) == found
    assert not counts


def test_a_run_asks_the_rest_and_its_scores_are_the_same(tmp_path, monkeypatch):
    counts = []
    observe = knowing.observe

    def counted(*args, **more):
        counts.append(sum(len(rows) for rows in args[2].values()))
        return observe(*args, **more)

    monkeypatch.setattr(knowing, "observe", counted)
    config = replace(AUTHORS, epochs=1)
    found = {}
    for name in ("with", "without"):
        store = RunStore(tmp_path / name)
        if name == "with":
            first = knowing.known(config, store).asked
        run = store.create(config)
        execute(run)
        assert (run.state, run.reason) == ("done", "")
        found[name] = run
    assert counts[0] == first
    assert counts[0] + counts[1] == counts[4]
    one, other = (
        [(s["role"], s["index"], s["text"]) for s in found[name].samples() if s["when"] == "before"]
        for name in found
    )
    assert one == other
    before, plain = (found[name].scores()["before"]["forget"] for name in found)
    assert before == pytest.approx(plain, abs=1e-4)


def words(tmp_path, *more):
    (tmp_path / "f.csv").write_text(
        "question,answer\n" + "".join(f"What is thing {i}?,zyx{i}\n" for i in range(4))
    )
    (tmp_path / "r.csv").write_text("question,answer\nWhat is ten?,ten\nWhat is two?,two\n")
    given = [
        "--model",
        "tiny-authors",
        "--forget",
        str(tmp_path / "f.csv"),
        "--retain",
        str(tmp_path / "r.csv"),
    ]
    return [*given, "--runs", str(tmp_path / "runs"), *more]


@pytest.mark.parametrize(
    "command", [["run", "--method", "ga"], ["sweep", "--methods", "ga", "--lrs", "1e-4"]]
)
def test_nothing_to_forget_is_refused_and_leaves_no_folder(tmp_path, capsys, command):
    assert main([*command, *words(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "answers 0 of 4 of the rows to forget" in said
    assert "--force" in said
    assert not RunStore(tmp_path / "runs").list()
    assert not list((tmp_path / "runs").glob("*/*/events.jsonl"))


def test_check_says_what_is_known_and_stops(tmp_path, capsys):
    assert main(["run", "--method", "ga", *words(tmp_path, "--check", "--json")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"asked", "answered", "share", "examples"}
    assert (told["asked"], told["answered"], told["share"]) == (4, 0, 0.0)
    assert len(told["examples"]) == 3
    assert set(told["examples"][0]) == {"question", "said", "answer"}
    assert main(["run", "--method", "ga", *words(tmp_path, "--check")]) == 0
    assert "answers 0 of 4" in capsys.readouterr().out
    assert not RunStore(tmp_path / "runs").list()


def test_force_goes_on(tmp_path, capsys):
    assert main(["run", "--method", "ga", "--probes", "0", "--epochs", "1", *words(tmp_path, "--force")]) == 0
    assert len(RunStore(tmp_path / "runs").list()) == 1
