"""Tasks of lm-evaluation-harness: a real one over a local file in its own process, refusals, and what is kept."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from seed import seed_run

from unlearn.__main__ import main
from unlearn.compute.intervals import wilson
from unlearn.store.runs import RunStore
from unlearn.work import harness
from unlearn.work.harness_process import plain

TASK = """task: where_from
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{label}}}}"
doc_to_choice: "{{{{choices}}}}"
unsafe_code: {unsafe}
metric_list:
  - metric: acc
metadata:
  version: 1.0
"""
here = importlib.util.find_spec("lm_eval") is not None
needs_lm_eval = pytest.mark.skipif(not here, reason="lm-eval is not installed (requirements-dev.txt has it)")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    store = tmp_path_factory.mktemp("runs")
    words = ["run", "--model", "tiny-authors", "--method", "ga", "--epochs", "4", "--probes", "0"]
    assert main([*words, "--runs", str(store)]) == 0
    return RunStore(store).list()[0]


def task(folder, count=12, unsafe="false"):
    """A task file over questions that the bundled model knows, each with one wrong answer."""
    from unlearn.data.catalogue import load

    rows = [row for row in load("authors").rows("forget") if row.wrong][:count]
    lines = [{"question": row.question, "choices": [row.answer, row.wrong[0]], "label": 0} for row in rows]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = folder / "where.yaml"
    path.write_text(TASK.format(file=data, unsafe=unsafe))
    return path


@needs_lm_eval
@pytest.mark.slow
def test_a_local_task_is_carried_out_on_the_model_before_and_after(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = ["evaluate", str(run.path), "--harness", str(task(tmp_path)), "--json"]
    assert main(words) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    entry = record["metrics"]["harness_where_from_acc"]
    found = {score["when"]: score for score in entry["scores"]}
    assert found["before"]["value"] == 1.0
    assert found["before"]["n"] == found["after"]["n"] == 12
    assert found["after"]["value"] < 1.0
    assert entry["title"] == "where_from, acc"
    assert entry["ideal"] == "higher"
    # Compare and the report read the same file.
    from unlearn.report.numbers import metrics

    (row,) = [row for row in metrics([run])["rows"] if row["title"] == "where_from, acc"]
    # Twelve of twelve: Wilson's interval, since the harness' own error is 0.
    assert row["before"] == "1 [0.758, 1]"
    # The same again starts no process.
    monkeypatch.setattr(harness, "_in_a_process", lambda *_: pytest.fail("measured twice"))
    assert main(words) == 0


@needs_lm_eval
@pytest.mark.slow
def test_what_executes_the_models_words_needs_a_word_of_its_own(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    unsafe = task(tmp_path, count=3, unsafe="true")
    assert main(["evaluate", str(run.path), "--harness", str(unsafe), "--limit", "2"]) == 2
    assert "Allow that with --allow-code" in capsys.readouterr().err


def test_the_word_is_handed_on_with_the_limit(run, tmp_path, monkeypatch):
    """To the harness, and to metrics that execute code themselves."""
    asked = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(harness, "version", lambda name: "0")

    def process(spec, progress):
        asked.append(spec)
        return {"tasks": {}, "n": {}, "shots": {}, "higher_is_better": {}, "version": "0"}

    monkeypatch.setattr(harness, "_in_a_process", process)
    assert main(["evaluate", str(run.path), "--harness", "mbpp", "--limit", "2", "--allow-code"]) == 0
    assert [(one["when"], one["limit"], one["allow_code"]) for one in asked] == [
        ("before", 2, True),
        ("after", 2, True),
    ]
    assert main(["evaluate", str(run.path), "--harness", "mbpp", "--limit", "3"]) == 0
    assert asked[-1]["allow_code"] is False
    assert harness._environment(True)["HF_ALLOW_CODE_EVAL"] == "1"
    assert harness._environment(False)["HF_ALLOW_CODE_EVAL"] == "0"
    assert main(["evaluate", str(run.path), "--harness", "mbpp", "--limit", "0"]) == 2


@needs_lm_eval
@pytest.mark.slow
def test_an_unknown_task_is_a_refusal(run, capsys):
    assert main(["evaluate", str(run.path), "--harness", "no_such_task_at_all"]) == 2
    assert "has no task no_such_task_at_all" in capsys.readouterr().err


def test_without_the_package_the_line_that_brings_it_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    run = seed_run(RunStore(tmp_path))
    assert main(["evaluate", str(run.path), "--harness", "mmlu"]) == 2
    assert "pip install lm-eval==0.4.13" in capsys.readouterr().err


def test_names_groups_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    assert harness.chosen_tasks(["wmdp-paper", "piqa", "piqa"]) == ["wmdp_bio", "wmdp_cyber", "mmlu", "piqa"]
    file = tmp_path / "own.yaml"
    file.write_text("task: own\n")
    assert harness.chosen_tasks([str(file)]) == [str(file)]
    with pytest.raises(ValueError, match="is not a file"):
        harness.chosen_tasks([str(tmp_path / "none.yaml")])
    with pytest.raises(ValueError, match="no name of a task"):
        harness.chosen_tasks(["--model hf"])
    with pytest.raises(ValueError, match="name a task"):
        harness.chosen_tasks([])


@needs_lm_eval
@pytest.mark.slow
@pytest.mark.heavy
def test_the_tasks_of_our_lists_are_known_to_the_harness():
    """Where the package puts its files; what a task asks of the hub is asked only when it is carried out."""
    from lm_eval.tasks import TaskManager

    known = set(TaskManager().all_tasks)
    assert not {task for tasks in harness.GROUPS.values() for task in tasks} - known


def test_lists_of_papers_and_what_executes_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    assert harness.chosen_tasks(["undial", "copa"]) == [
        *("piqa", "arc_challenge", "copa", "winogrande", "pubmedqa", "hellaswag")
    ]
    monkeypatch.setattr(
        harness, "_in_a_process", lambda *_: pytest.fail("the refusal comes before a process")
    )
    run = seed_run(RunStore(tmp_path))
    assert main(["evaluate", str(run.path), "--harness", "yao"]) == 2
    said = capsys.readouterr().err
    assert "humaneval executes what the model writes" in said
    assert "--harness mmlu,arc_easy,arc_challenge,gsm8k." in said
    harness.check_code(harness.chosen_tasks(["yao"]), allowed=True)
    with pytest.raises(ValueError, match=r"--allow-code\.$"):
        harness.check_code(["humaneval"], allowed=False)


def test_what_the_harness_gives_becomes_entries_with_the_difference():
    found = {
        "results": {
            "t": {"alias": "t", "acc,none": 0.5, "acc_stderr,none": 0.1, "ppl,none": 3.0, "sample_len": 4}
        },
        "higher_is_better": {"t": {"acc": True, "ppl": False}},
        "n-samples": {"t": {"original": 9, "effective": 4}},
        "n-shot": {"t": 5},
    }
    values = plain(found) | {"version": "0"}
    after = json.loads(json.dumps(values))
    after["tasks"]["t"]["acc,none"]["value"] = 0.25
    made = harness.entries({"before": values, "after": after}, 4)
    acc = made["harness_t_acc"]
    assert [score["value"] for score in acc["scores"]] == [0.5, 0.25]
    assert acc["scores"][0]["details"]["stderr"] == 0.1
    assert acc["scores"][0]["details"]["interval"] == pytest.approx([0.304, 0.696], abs=1e-4)
    assert "interval" not in made["harness_t_ppl"]["scores"][0]["details"]
    # Items that are all alike have no error. Of a share that says little, of another number nothing.
    for right, around in ((0.0, wilson(0, 4)), (1.0, wilson(4, 4)), (2.5, None)):
        after["tasks"]["t"]["acc,none"] |= {"value": right, "stderr": 0.0}
        (score,) = harness.entries({"after": after}, 4)["harness_t_acc"]["scores"]
        assert score["details"].get("interval") == (list(around) if around else None)
    assert acc["scores"][0]["n"] == 4
    assert acc["help"] == "lm-evaluation-harness, task t, 5 examples above each, the first 4 items."
    assert (made["harness_t_ppl"]["ideal"], acc["ideal"]) == ("lower", "higher")


def test_a_process_that_dies_says_its_last_line(tmp_path, monkeypatch):
    real = subprocess.Popen

    def dies(words, **more):
        return real(
            [sys.executable, "-c", "import sys; sys.stderr.write('no such thing\\n'); sys.exit(3)"], **more
        )

    monkeypatch.setattr(subprocess, "Popen", dies)
    with pytest.raises(ValueError, match="harness: no such thing"):
        harness._in_a_process({"allow_code": False, "run": str(tmp_path / "run")}, lambda phrase, part: None)
    assert not list(tmp_path.iterdir())


def test_the_process_ends_when_the_one_that_started_it_is_killed(tmp_path):
    """A task may take an hour, and nobody would read what it gives."""
    code = (
        "import subprocess, sys, time; from unlearn.work import harness_process as h; "
        "h.end_with_starter(); print('up', flush=True); time.sleep(60)"
    )
    starter = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE, "
        "stdout=subprocess.PIPE); p.stdout.readline(); print(p.pid, flush=True); p.wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", starter, code], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while Path(f"/proc/{child}/exe").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}/exe").exists()
