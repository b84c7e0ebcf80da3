"""What a benchmark's items are asked, against plain transformers one text at a time; TOFU's log against the arithmetic
of its own script, written anew here with numpy.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import hmean, ks_2samp

from unlearn.__main__ import main
from unlearn.data import catalogue
from unlearn.data.base import Row
from unlearn.data.items.base import Part
from unlearn.measure import items, judge
from unlearn.metrics.base import Answered
from unlearn.models.load import load
from unlearn.store.runs import RunStore

TOFU = Path(__file__).parents[1] / "data" / "tofu"


@pytest.fixture(scope="module")
def tiny():
    return load("tiny-authors")


def questions(count=9):
    rows = catalogue.load("authors").rows("forget")
    return tuple(replace(row, paraphrase=f"It is {row.answer}.") for row in rows if row.wrong)[:count]


@torch.no_grad()
def loss_alone(loaded, prompt, answer):
    """(sum, count) of the answer's token losses from one plain pass over one text, its end included."""
    tokenizer = loaded.tokenizer
    before = tokenizer(prompt)["input_ids"]
    before = before[:-1] if before[-1] == tokenizer.eos_token_id else before
    whole = tokenizer(prompt + answer)["input_ids"]
    whole = whole if whole[-1] == tokenizer.eos_token_id else [*whole, tokenizer.eos_token_id]
    assert whole[: len(before)] == before
    lps = loaded.model(input_ids=torch.tensor([whole])).logits[0].double().log_softmax(-1)
    losses = [-float(lps[at - 1, whole[at]]) for at in range(len(before), len(whole))]
    return sum(losses), len(losses)


@torch.no_grad()
def said_alone(loaded, prompt, total):
    tokenizer = loaded.tokenizer
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    ids = ids[:, :-1] if ids[0, -1] == tokenizer.eos_token_id else ids
    out = loaded.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_length=total, do_sample=False, pad_token_id=0
    )
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_questions_give_the_numbers_of_plain_passes(tiny):
    rows = questions()
    part = Part(rows, "questions", 60)
    found = items.ask(tiny, part)
    assert [item.truth for item in found] == [row.answer for row in rows]
    for row, item in zip(rows, found, strict=True):
        right = loss_alone(tiny, row.prompt, row.target)
        assert (item.right.total, item.right.tokens) == (pytest.approx(right[0], abs=1e-3), right[1])
        again = loss_alone(tiny, row.prompt, f" {row.paraphrase}")
        assert item.paraphrased.mean == pytest.approx(again[0] / again[1], abs=1e-4)
        wrong = [loss_alone(tiny, row.prompt, f" {text}") for text in row.wrong]
        assert [w.mean for w in item.wrong] == pytest.approx([a / n for a, n in wrong], abs=1e-4)
        assert item.said == said_alone(tiny, row.prompt, 60)
    # The model knows its authors, so that the comparison is one of real answers.
    assert sum(item.said.strip() == row.answer for row, item in zip(rows, found, strict=True)) > 5


def test_the_room_counts_the_prompt(tiny):
    rows = questions(2)
    longest = max(len(tiny.tokenizer(row.prompt)["input_ids"]) for row in rows)
    short = items.ask(tiny, Part(rows, "questions", longest + 1))
    assert all(len(tiny.tokenizer(item.said)["input_ids"]) <= longest for item in short)
    assert any(
        len(a.said) < len(b.said)
        for a, b in zip(short, items.ask(tiny, Part(rows, "questions", 100)), strict=True)
    )


def test_texts_have_the_log_probs_of_their_own_tokens(tiny):
    texts = ("One short text.", "Another text that is somewhat longer than the first.")
    found = items.ask(tiny, Part(tuple(Row(answer=text) for text in texts), "texts"))
    for text, item in zip(texts, found, strict=True):
        ids = [i for i in tiny.tokenizer(text)["input_ids"] if i != tiny.tokenizer.eos_token_id]
        with torch.no_grad():
            lps = tiny.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        p = lps.exp()
        assert item.lps == pytest.approx([float(lps[t - 1, ids[t]]) for t in range(1, len(ids))], abs=1e-4)
        mu = (p * lps).sum(-1)
        assert item.mu == pytest.approx(mu[: len(ids) - 1].tolist(), abs=1e-4)
        spread = ((p * lps**2).sum(-1) - mu**2).sqrt()
        assert item.sigma == pytest.approx(spread[: len(ids) - 1].tolist(), abs=1e-3)


def test_openings_and_instructions_are_continued_as_they_stand(tiny):
    opened = Row(lead="Question: Who is it?\nAnswer: ", answer="Nobody")
    (item,) = items.ask(tiny, Part((opened,), "openings", 7))
    assert item.prompt == opened.lead
    # A question's answer stays whole; what follows an opening is cut to what could be said.
    assert item.truth == "Nobody"
    assert len(tiny.tokenizer(item.said)["input_ids"]) <= 9
    text = " ".join(["river"] * 40)
    (item,) = items.ask(tiny, Part((Row(lead="The river", answer=text),), "openings", 5))
    assert 0 < len(item.truth) < len(text) / 2
    asked = Row(question="Please answer.\nQuestion: Who?\n", answer="x", lead="Answer:")
    (item,) = items.ask(tiny, Part((asked,), "instructions", 5))
    assert item.prompt == "Please answer.\nQuestion: Who?\nAnswer:"


def test_items_are_kept_as_plain_values(tiny):
    found = items.ask(tiny, Part(questions(3), "questions", 40))
    assert items.from_json(json.loads(json.dumps(items.to_json(found)))) == found
    assert items.from_json(items.to_json([Answered("p", "t", lps=(0.5,))])) == [
        Answered("p", "t", lps=(0.5,))
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run on TOFU's layout, with its store."""
    store = tmp_path_factory.mktemp("runs")
    words = ["run", "--model", "tiny-authors", "--data", "tofu-forget01", "--hub-folder", str(TOFU)]
    more = ["--method", "ga", "--epochs", "1", "--probes", "0", "--force"]
    assert main([*words, *more, "--runs", str(store)]) == 0
    return RunStore(store).list()[0]


def theirs(block, forget):
    """Probability, ROUGE-L and truth ratio of one set of TOFU's log, as its aggregate_eval_stat.py takes them."""
    column = {
        name: np.array(list(values.values())) for name, values in block.items() if name != "generated_text"
    }
    right, wrong = np.exp(-column["avg_gt_loss"]), np.exp(-column["average_perturb_loss"])
    share = right / (right + wrong.sum(-1)) if "normalized_gt_loss" in block else right
    turned = np.exp(column["average_perturb_loss"].mean(-1) - column["avg_paraphrased_loss"])
    truth = np.minimum(turned, 1 / turned) if forget else np.maximum(0, 1 - 1 / turned)
    return share.mean(), column["rougeL_recall"].mean(), truth.mean(), turned


@pytest.mark.slow
def test_a_runs_log_is_tofus_and_gives_the_same_utility_and_quality(run, tmp_path, capsys):
    paths = {when: tmp_path / f"{when}.json" for when in ("before", "after")}
    for when, path in paths.items():
        words = ["evaluate", str(run.path), "--tofu-log", str(path), "--log-of", when, "--json"]
        assert main(words) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    logs = {when: json.loads(path.read_text()) for when, path in paths.items()}
    assert {name: len(block["avg_gt_loss"]) for name, block in logs["after"].items()} == {
        "eval_log.json": 20,
        "eval_real_author_wo_options.json": 6,
        "eval_real_world_wo_options.json": 6,
        "eval_log_forget.json": 40,
    }
    # The columns of the published log, and no other.
    published = json.loads(
        (Path(__file__).parents[1] / "results" / "tofu_logs" / "phi_full.json").read_text()
    )
    for name, block in published.items():
        assert set(block) <= set(logs["after"][name])
    nine = [
        value for name in list(logs["before"])[:3] for value in theirs(logs["before"][name], forget=False)[:3]
    ]
    assert main(["tofu", str(paths["before"]), "--retain", str(paths["after"]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    utility = float(hmean(nine)) if all(value > 0 for value in nine) else 0.0
    assert found["model_utility"] == pytest.approx(utility, rel=1e-9)
    test = ks_2samp(*(theirs(logs[when]["eval_log_forget.json"], True)[3] for when in ("before", "after")))
    assert found["forget_quality"] == pytest.approx(test.pvalue, rel=1e-9)
    assert found["ks"]["d"] == pytest.approx(test.statistic)
    told = {
        (name, s["role"], s["when"]): s["value"]
        for name, one in record["metrics"].items()
        for s in one["scores"]
    }
    assert told["tofu_utility", "kept", "before"] == pytest.approx(utility)
    for title, name in (
        ("forget", "eval_log_forget.json"),
        ("world_facts", "eval_real_world_wo_options.json"),
    ):
        share, said, truth, _ = theirs(logs["after"][name], title == "forget")
        assert told["tofu_probability", title, "after"] == pytest.approx(share)
        assert told["tofu_rouge", title, "after"] == pytest.approx(said)
        assert told["tofu_truth_ratio", title, "after"] == pytest.approx(truth)
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    block = logs["before"]["eval_log_forget.json"]
    for at, (_, said, truth) in block["generated_text"].items():
        assert block["rougeL_recall"][at] == scorer.score(truth, said)["rougeL"].recall
    assert record["metrics"]["tofu_forget_quality"]["reason"].startswith("needs a retrained model")


@pytest.mark.slow
def test_what_is_missing_is_named(run, tmp_path, capsys):
    """Another benchmark is asked for where there is no such folder of it."""
    folder = tmp_path / "half"
    folder.mkdir()
    for name in ("forget01.json", "forget01_perturbed.json"):
        (folder / name).write_text((TOFU / name).read_text())
    card = [f"- config_name: {n}\n  data_files: {n}.json" for n in ("forget01", "forget01_perturbed")]
    (folder / "README.md").write_text("\n".join(["---", "configs:", *card, "---", ""]))
    evidence, _ = judge.evidence_of(run, [Path("/")], judge.Benchmark("tofu-forget01", folder))
    assert evidence.parts == ("tofu forget",)
    assert any("real_authors_perturbed is not in" in note for note in evidence.items.notes)
    words = ["evaluate", str(run.path), "--benchmark", "tofu-forget01", "--hub-folder", str(folder)]
    assert main([*words, "--metrics", "tofu_utility"]) == 0
    assert "left out, needs TOFU's sets" in capsys.readouterr().out
    assert main([*words, "--tofu-log", str(tmp_path / "out.json"), "--metrics", "tofu_utility"]) == 2
    assert "missing are retain, real_authors, world_facts" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
    assert main(["evaluate", str(run.path), "--metrics", "tofu", "--benchmark", "tofu-forget02"]) == 2
    assert "benchmark: must be one of tofu-forget01" in capsys.readouterr().err


def test_a_benchmarks_name_means_all_its_metrics():
    names = [metric.name for metric in judge.chosen_metrics(["tofu", "exact"])]
    assert names[0] == "exact"
    assert names[1:] == [
        f"tofu_{name}" for name in ("utility", "forget_quality", "probability", "rouge", "truth_ratio")
    ]
    assert not any(metric.benchmark for metric in judge.chosen_metrics(None))
    with pytest.raises(ValueError, match="must be among tofu, muse, rwku, exact"):
        judge.chosen_metrics(["tofu_sum"])
