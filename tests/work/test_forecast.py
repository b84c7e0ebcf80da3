"""What a model takes before it is here: memory by its parameters, time by the pace of finished runs."""

import json
from types import SimpleNamespace

import pytest

from unlearn.__main__ import main
from unlearn.models.catalogue import CATALOGUE
from unlearn.store.runs import RunConfig
from unlearn.work.forecast import STEP, TOKENS, activation_bytes, forecast, held_bytes, pace
from unlearn.work.preflight import preflight


def test_memory_is_that_of_weights_and_what_moves_them():
    """Four numbers of 32 bits a weight; lean: one of 32 bits and two of 16; LoRA: 16 bits and 5 % more."""
    n = 1_000_000_000
    assert held_bytes(n, "full", "float32", "float32") == 16 * n
    assert held_bytes(n, "full", "float32", "float32", "lean") == 8 * n
    assert held_bytes(n, "lora", "bfloat16", "bfloat16") == pytest.approx(2.1 * n)
    assert held_bytes(n, "lora", "nf4", "bfloat16") == pytest.approx(0.546 * n)
    sizes = {one.name: one.bytes for one in forecast(n, {})}
    assert sizes["all weights"] == 16 * n + activation_bytes(n, STEP)
    assert sizes["LoRA, 4 bits"] < sizes["LoRA"] < sizes["all weights, lean"] < sizes["all weights"]


def finished(tuning, flops, seconds, **meta):
    results = {"flops": flops, "phases": {"training": seconds}}
    return SimpleNamespace(results=lambda: results, config=SimpleNamespace(tuning=tuning), meta=meta)


def test_time_is_the_pace_of_the_newest_run_of_that_tuning_on_this_machine():
    runs = [
        finished("lora", 1e12, 1.0, imported=True),
        finished("lora", 6e12, 2.0),
        finished("lora", 1e12, 9.0),
        finished("full", 0.0, 1.0),
    ]
    assert pace(runs) == {"lora": 3e12}
    told = {one.name: one.seconds for one in forecast(500_000_000, pace(runs))}
    assert told["LoRA"] == pytest.approx(6 * 5e8 * TOKENS / 3e12)
    assert told["all weights"] is None


def test_the_list_of_models_says_all_of_it(tmp_path, capsys):
    assert main(["models", "--json", "--runs", str(tmp_path)]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out.splitlines()[-1])["models"]}
    assert set(rows) == set(CATALOGUE)
    one = rows["llama-3.2-1b"]
    assert (one["gated"], one["chat"], one["loaded"]) == (True, True, False)
    assert one["memory"]["all weights"] > one["memory"]["LoRA"] > 2 * one["parameters"]
    assert set(one["seconds"].values()) == {None}
    assert rows["tofu-llama-1b"]["retrained"]["tofu-forget10"].endswith("retain90")
    assert rows["tiny-authors"]["retrained"] == {"authors": "bundled"}
    assert main(["models", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "Gemma Terms of Use" in shown.out
    assert "Memory in GiB" in shown.err


@pytest.mark.parametrize(
    ("times", "word"), [(30, "× the tuned rate"), (1 / 30, "times below the"), (5, ""), (0.2, "")]
)
def test_a_learning_rate_far_from_the_tuned_one_is_said(times, word):
    from unlearn.methods import METHODS

    tuned = METHODS["npo"].settings("tiny", "full", "tiny-authors")["lr"]
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo", lr=tuned * times)
    said = [text for text in preflight(config).warnings if "learning rate" in text]
    assert [f" {word} " in text for text in said] == ([True] if word else [])
