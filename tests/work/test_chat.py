"""A chat model is asked, trained and scored through its own template, end to end."""

import csv
import math

import pytest
from chat_templates import chat_tokenizer
from conftest import make_model

from unlearn.commands.options import config_of
from unlearn.models.catalogue import default_prompt
from unlearn.store.runs import RunStore
from unlearn.work.execute import execute

FACTS = {"red": "one two", "green": "two one", "blue": "three one", "one": "red blue"}


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A folder with a tiny random chat model and two tables."""
    folder = tmp_path_factory.mktemp("chat")
    model, tokenizer = make_model(folder / "model", max_position_embeddings=256)
    tokenizer = chat_tokenizer(tokenizer, "smollm2")
    tokenizer.save_pretrained(folder / "model")
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder / "model")
    for role, names in (("forget", ("red", "green")), ("retain", ("blue", "one"))):
        with (folder / f"{role}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [("question", "answer"), *((f"What is {n}?", FACTS[n]) for n in names)]
            )
    return folder


def asked(chat, *words):
    from unlearn.__main__ import parser

    given = ["run", "--model", str(chat / "model"), "--method", "gd", "--forget", str(chat / "forget.csv")]
    return config_of(parser().parse_args([*given, "--retain", str(chat / "retain.csv"), *words]))


def test_chat_is_the_default_where_the_tokenizer_has_a_template(chat, tiny_folder):
    assert default_prompt(str(chat / "model")) == "chat"
    assert default_prompt(str(tiny_folder)) == "plain"
    assert asked(chat).prompt == "chat"
    assert asked(chat, "--prompt", "plain").prompt == "plain"
    assert "--prompt plain" in asked(chat, "--prompt", "plain").command()


def test_chat_without_a_template_is_refused_before_a_run(chat, tiny_folder, capsys):
    from unlearn.__main__ import main

    words = ["run", "--model", str(tiny_folder), "--method", "ga", "--forget", str(chat / "forget.csv")]
    runs = chat / "none"
    assert main([*words, "--prompt", "chat", "--runs", str(runs)]) == 2
    assert "has no chat template; choose --prompt plain" in capsys.readouterr().err
    assert not RunStore(runs).list()


def test_a_system_prompt_without_a_chat_is_refused(chat, capsys):
    from unlearn.__main__ import main

    words = ["run", "--model", str(chat / "model"), "--method", "ga", "--forget", str(chat / "forget.csv")]
    assert main([*words, "--prompt", "plain", "--system", "Be two.", "--runs", str(chat / "none")]) == 2
    assert "a system prompt stands above a chat" in capsys.readouterr().err


def test_a_mistyped_model_is_asked_about(chat, capsys):
    from unlearn.__main__ import main

    assert main(["run", "--model", "tiny-author", "--method", "ga", "--runs", str(chat / "none")]) == 2
    assert "for tiny-author; did you mean tiny-authors?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_asks_trains_and_scores_in_chat(chat):
    run = RunStore(chat / "runs").create(asked(chat, "--epochs", "2", "--system", "Be two."))
    execute(run, roots=[chat])
    assert (run.state, run.reason) == ("done", "")
    prompts = {sample["prompt"] for sample in run.samples()}
    assert all(
        p.startswith("<|im_start|>system\nBe two.<|im_end|>\n<|im_start|>user\nWhat is ") for p in prompts
    )
    assert all(p.endswith("<|im_start|>assistant\n") for p in prompts)
    assert any(
        "Above each chat stands" in (e.get("text") or "") and "Be two." in e["text"]
        for e in run.events("note")
    )
    ends = [sample["tokens"][-1]["token"] for sample in run.samples()]
    assert set(ends) == {"<|im_end|>"}


@pytest.mark.slow
def test_several_formats_train_each_row_once_in_each(chat):
    from unlearn.work.preflight import preflight

    one, two = (
        asked(chat, "--prompt", p, "--epochs", "3", "--batch-size", "2") for p in ("chat", "chat+plain")
    )
    single, double = (preflight(config, roots=[chat]) for config in (one, two))
    assert double.steps == 2 * single.steps
    run = RunStore(chat / "runs").create(two)
    execute(run, roots=[chat])
    assert (run.state, run.reason) == ("done", "")
    assert run.events("step")[-1]["of"] == double.steps


@pytest.fixture(scope="module")
def done(chat):
    """A finished run that asks in chat."""
    run = RunStore(chat / "runs").create(asked(chat, "--epochs", "2", "--title", "two"))
    execute(run, roots=[chat])
    assert (run.state, run.reason) == ("done", "")
    return run


def test_a_persons_question_is_put_in_the_runs_format(chat, done, capsys):
    import json

    from unlearn.__main__ import main

    words = ["ask", str(done.path), "What is red?", "--answer", "one two", "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    kept = next(s for s in done.samples() if s["when"] == "after" and s["question"] == "What is red?")
    assert said["prompt"] == kept["prompt"]
    assert [t["lp"] for t in said["tokens"]] == pytest.approx([t["lp"] for t in kept["tokens"]], abs=1e-3)
    assert main([*words, "--raw"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == "What is red?"
    assert main(words[:3]) == 0


def test_pages_and_report_show_the_question_and_not_the_template(done):
    from ui.replay import frames
    from unlearn.report import numbers, texts
    from unlearn.results.compare import pair_samples

    questions = {f"What is {name}?" for name in FACTS}
    assert {row["question"] for row in pair_samples([done])} <= questions
    assert {row["question"] for row in texts.probes(done)["rows"]} <= questions
    assert any("Chat template" in text for text in numbers.limits([done], []))
    assert {item["question"] for item in frames(done, done.probes(), False)["items"]} <= questions


def test_the_templates_tokens_count_in_a_rows_length(chat, capsys):
    from unlearn.data.catalogue import from_config
    from unlearn.models.reading import as_read, reader_of

    config = asked(chat)
    plain = reader_of(config.model, 512)
    rows = from_config(dict(config.data), [chat]).rows("forget")
    most = max(plain.lengths(rows))
    short = asked(chat, "--max-length", str(most), "--prompt", "plain")
    assert not as_read(from_config(dict(config.data), [chat]), short).warnings
    with pytest.raises(ValueError, match="longer than the"):
        as_read(from_config(dict(config.data), [chat]), asked(chat, "--max-length", str(most)))


def test_every_format_is_asked_before_and_after(chat, done, capsys):
    import json

    from unlearn.__main__ import main

    told = done.by_format()
    assert list(told) == ["before", "after"]
    for roles in told.values():
        assert {role: list(found) for role, found in roles.items()} == {
            role: ["chat", "plain", "completion"] for role in ("forget", "retain")
        }
    value = told["after"]["forget"]["chat"]
    seen = [s for s in done.samples() if (s["when"], s["role"]) == ("after", "forget")]
    assert value["n"] == len(seen) == 2
    assert value["rouge_l"] == pytest.approx(sum(s["rougeL"] for s in seen) / 2)
    assert value["probability"] == pytest.approx(sum(math.exp(-s["nll"]) for s in seen) / 2, rel=1e-3)
    assert main(["show", str(done.path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["scores"]
    assert shown["after"]["forget"]["by_format"] == told["after"]["forget"]
    assert done.results()["scores"] == shown
    assert "by_format" not in done.scores()["after"]["forget"]
    assert main(["show", str(done.path)]) == 0
    assert "forget answers are left, as a plain question" in capsys.readouterr().out


@pytest.mark.slow
def test_a_model_without_a_template_is_asked_once(tmp_path):
    from conftest import small_run

    run = small_run(tmp_path, method="gd")
    assert not run.by_format()
    assert "by_format" not in run.results()["scores"]["after"]["forget"]


def test_compare_stress_and_report_show_the_formats(done, monkeypatch):
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from unlearn.report.build import html
    from unlearn.results.formats import headline

    said = headline(done)
    assert said.startswith("In chat ")
    assert " of 2 forget answers are left" in said
    page = html([done]).decode()
    assert said in page
    assert "In every prompt format" in page
    monkeypatch.setenv("UNLEARN_RUNS", str(done.path.parent))
    app = AppTest.from_file(str(Path(__file__).parents[2] / "ui" / "main.py"), default_timeout=60)
    app.run()
    app.query_params["a"] = done.id
    app.query_params["tab"] = "Scores"
    app.switch_page("../pages/compare.py").run()
    assert not app.exception
    assert any(said in element.value for element in app.markdown)
    app.query_params["run"] = done.id
    app.switch_page("../pages/stress.py").run()
    assert not app.exception
    assert any(said in element.value for element in app.markdown)


def test_a_lead_is_left_out_where_a_chat_is_spoken(monkeypatch):
    from unlearn.data.base import Row
    from unlearn.measure import formats
    from unlearn.metrics import Observation

    asked = []

    def observe(model, tokenizer, chosen, *, continued, **_):
        asked.append([(row.lead, row.answer, row.format, continued) for row in chosen[""]])
        return [
            Observation(
                "", 0, row.question, "", row.answer, "It is Rome." if continued else "", ({"lp": -1.0},)
            )
            for row in chosen[""]
        ]

    class Loaded:
        model = tokenizer = device = None

    monkeypatch.setattr(formats, "observe", observe)
    monkeypatch.setattr(formats, "encode_rows", lambda tokenizer, rows, max_length: None)
    row = Row(question="Where?", lead="It is", answer="Rome")
    found = formats.by_format(Loaded(), {"forget": [row]})["forget"]
    together = [("", "It is Rome", "chat", True)]
    together += [("It is", "Rome", name, True) for name in ("plain", "completion")]
    assert asked == [together, [("It is", "Rome", "chat", False)]]
    assert found["chat"]["right"] == 1.0
    assert found["chat"]["probability"] == pytest.approx(math.exp(-1))


@pytest.mark.parametrize(("hits", "n"), [(0, 25), (12, 25), (25, 25), (1, 3)])
def test_the_interval_is_wilsons(hits, n):
    from scipy.stats import binomtest

    from unlearn.measure.formats import wilson

    wanted = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


def test_what_the_scores_have_asked_is_not_asked_again(monkeypatch):
    """The run's own format is one of the formats: its rows were read and continued a moment before."""
    from unlearn.data.base import Row
    from unlearn.data.prompts import in_format
    from unlearn.measure import formats
    from unlearn.metrics import Observation

    asked = []

    def observe(model, tokenizer, chosen, **_):
        asked.extend(row.format for row in chosen[""])
        return [Observation("", 0, "Where?", "", "Rome", "Oslo", ({"lp": -2.0},)) for _ in chosen[""]]

    class Loaded:
        model = tokenizer = device = None

    monkeypatch.setattr(formats, "observe", observe)
    monkeypatch.setattr(formats, "encode_rows", lambda tokenizer, rows, max_length: None)
    (row,) = in_format([Row(question="Where?", answer="Rome")], "chat", "Be brief.")
    before = Observation("forget", 0, "Where?", "", "Rome", "Rome", ({"lp": -1.0},))
    found = formats.by_format(Loaded(), {"forget": [row]}, system="Be brief.", known={row: before})["forget"]
    assert asked == ["plain", "completion"]
    assert (found["chat"]["right"], found["plain"]["right"]) == (1.0, 0.0)
    assert found["chat"]["probability"] == pytest.approx(math.exp(-1))


def test_all_formats_go_on_together_with_the_runs_own_and_say_the_same(chat, done, monkeypatch):
    """One continuation before the run and one behind it, beside the probes'; each answer is what it is alone."""
    from unlearn.compute import continuing
    from unlearn.data.catalogue import from_config
    from unlearn.data.prompts import asked_in
    from unlearn.measure import formats
    from unlearn.measure.evaluate import rows_to_score
    from unlearn.models import tuning

    rooms = []

    def greedy(model, kept, starts, *more, **named):
        rooms.append(len(starts))
        return real(model, kept, starts, *more, **named)

    real = continuing.greedy
    monkeypatch.setattr(continuing, "greedy", greedy)
    run = RunStore(chat / "together").create(done.config)
    execute(run, roots=[chat])
    assert run.state == "done"
    # Four rows in three formats, before and behind the last step but for the probes, which are all of the run's own.
    assert [n for n in rooms if n > 4] == [12, 8]
    assert run.by_format() == done.by_format()
    config = done.config
    loaded = tuning.starting_model(config, None)
    chosen = rows_to_score(asked_in(from_config(dict(config.data), [chat]), config.prompt, config.system))
    alone = formats.by_format(loaded, chosen, system=config.system, max_length=config.max_length)
    for role, told in done.by_format()["before"].items():
        for name, value in told.items():
            found = alone[role][name]
            assert (value["n"], value["right"]) == (found["n"], found["right"])
            assert value["probability"] == pytest.approx(found["probability"], abs=1e-5)
            assert value["rouge_l"] == found["rouge_l"]
