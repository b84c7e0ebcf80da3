"""TOFU's numbers equal what its own script makes of its published logs; other layouts and bad files are known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hmean

from unlearn.__main__ import main
from unlearn.metrics.tofu.truth import ratio as truth_ratio
from unlearn.results.tofu import parse, read_log, summary

LOGS = Path(__file__).parent / "tofu_logs"
FULL, RETAIN = LOGS / "phi_full.json", LOGS / "phi_retain90.json"
# What TOFU's own script prints for these two files.
UTILITY = {"phi_full": 0.52207, "phi_retain90": 0.53199}
QUALITY, D = 2.1943e-16, 0.34667
NINE = {
    "retain": (0.9261, 0.9293, 0.4827),
    "real_authors": (0.3774, 0.4157, 0.4560),
    "world_facts": (0.4090, 0.7774, 0.4923),
}


@pytest.mark.parametrize("name", UTILITY)
def test_utility_is_what_tofus_script_makes_of_it(name):
    assert summary(read_log(LOGS / f"{name}.json"))["model_utility"] == pytest.approx(UTILITY[name], abs=1e-5)


def test_the_nine_parts_are_tofus():
    parts = summary(read_log(FULL))["parts"]
    for name, want in NINE.items():
        assert tuple(parts[name].values()) == pytest.approx(want, abs=5e-5), name


def test_forget_quality_is_the_ks_test_against_the_retrained_model(capsys):
    assert main(["tofu", str(FULL), "--retain", str(RETAIN), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["forget_quality"] == pytest.approx(QUALITY, rel=1e-4)
    assert found["ks"] == {"d": pytest.approx(D, abs=1e-5), "n": 300, "n_retrained": 300}
    assert set(found) == {"model_utility", "forget_quality", "ks", "parts", "n"}


def test_the_same_again_with_numpy_alone():
    """An independent computation from the file's columns, to 1e-12."""
    blocks = json.loads(FULL.read_text())
    nine = []
    for name, block in blocks.items():
        columns = {key: np.array(list(block[key].values())) for key in block}
        right, wrong = np.exp(-columns["avg_gt_loss"]), columns["average_perturb_loss"]
        if "real" in name:
            right = right / (right + np.exp(-wrong).sum(-1))
        ratio = np.exp(columns["avg_paraphrased_loss"] - wrong.mean(-1))
        if "forget" not in name:
            nine += [right.mean(), columns["rougeL_recall"].mean(), np.maximum(0, 1 - ratio).mean()]
    assert summary(read_log(FULL))["model_utility"] == pytest.approx(float(hmean(nine)), rel=1e-12)


def test_without_a_retrained_log_there_is_no_quality(capsys):
    assert main(["tofu", str(FULL), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["forget_quality"] is None
    assert found["ks"] is None
    assert main(["tofu", str(FULL), "--retain", str(RETAIN)]) == 0
    assert "TOFU forget quality p = 2.19e-16 (D = 0.347, n = 300 against 300)" in capsys.readouterr().out


def test_truth_ratio_by_hand():
    """Wrong answers at probability 1/2 and 1/8 a token: their geometric mean is 1/4; the right one has 1/2."""
    assert truth_ratio(math.log(2), [math.log(2), math.log(8)]) == pytest.approx(0.5)


def open_log() -> dict:
    """The layout that OpenUnlearning writes, two rows a set."""
    log = {}
    for prefix, prob in (("retain", "Prob"), ("ra", "Prob_normalised"), ("wf", "Prob_normalised")):
        log[f"{prefix}_Q_A_{prob}"] = {
            "agg_value": 0.6,
            "value_by_index": {"0": {"prob": 0.5, "avg_loss": 0.7}, "1": {"prob": 0.7, "avg_loss": 0.4}},
        }
        log[f"{prefix}_Q_A_ROUGE"] = {
            "agg_value": 0.75,
            "value_by_index": {"0": {"rougeL_recall": 0.5}, "1": {"rougeL_recall": 1.0}},
        }
        log[f"{prefix}_Truth_Ratio"] = {
            "agg_value": 0.4,
            "value_by_index": {"0": {"score": 0.2}, "1": {"score": 1.5}, "2": None},
        }
    log["ra_Q_A_Prob"] = {"agg_value": 0.1, "value_by_index": {"0": {"prob": 0.1}}}
    log["forget_truth_ratio"] = {
        "agg_value": 0.5,
        "value_by_index": {"0": {"score": 0.5}, "1": {"score": 2.0}},
    }
    log["forget_quality"] = {"agg_value": 0.01}
    return log


def test_openunlearnings_layout_is_known_by_its_keys():
    found = summary(parse(open_log()))
    for name in ("retain", "real_authors", "world_facts"):
        assert found["parts"][name] == pytest.approx({"probability": 0.6, "rouge": 0.75, "truth_ratio": 0.4})
    assert found["model_utility"] == pytest.approx(9 / (3 / 0.6 + 3 / 0.75 + 3 / 0.4))
    assert found["parts"]["forget"]["truth_ratio"] == pytest.approx(0.5)
    assert found["forget_quality"] is None  # the file's own is not repeated: it names no reference


def test_a_missing_part_leaves_the_utility_open():
    log = open_log()
    del log["wf_Q_A_ROUGE"]
    assert summary(parse(log))["model_utility"] is None


def test_a_folder_and_a_wrong_path_are_told_apart(tmp_path, capsys):
    assert main(["tofu", str(tmp_path)]) == 2
    assert f"is a folder; give the log in it, such as {tmp_path / 'eval_log_aggregated.json'}." in (
        capsys.readouterr().err
    )
    assert main(["tofu", str(tmp_path / "none.json")]) == 2
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("5", "it has no keys"),
        ('{"a": 1}', "holds neither eval_log.json"),
        ('{"eval_log.json": 3}', "avg_gt_loss must be an object"),
        ('{"retain_Q_A_Prob": {"agg_value": 1}}', "has no value_by_index"),
        ('{"retain_Q_A_Prob": {"value_by_index": {"0": {"prob": "x"}}}}', "row 0: must be a finite number"),
        ('{"retain_Q_A_Prob": {"value_by_index": {"0": {"prob": NaN}}}}', "must be a finite number"),
    ],
)
def test_what_is_no_log_is_refused_with_the_place(tmp_path, capsys, content, words):
    bad = tmp_path / "log.json"
    bad.write_text(content)
    assert main(["tofu", str(bad)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "log.json" in said


def test_columns_that_disagree_are_refused():
    block = {
        "avg_gt_loss": {"0": 1.0},
        "rougeL_recall": {"0": 1.0},
        "avg_paraphrased_loss": {"0": 1.0, "1": 2.0},
        "average_perturb_loss": {"0": [1.0]},
    }
    with pytest.raises(ValueError, match=r"eval_log.json: row 1 stands in one column alone"):
        parse({"eval_log.json": block})


def test_a_forget_set_without_ratios_is_said():
    with pytest.raises(ValueError, match="the retrained model's log holds no truth ratio"):
        summary(parse(open_log()), {})
