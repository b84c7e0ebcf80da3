"""`evaluate RUN --metrics uds` on the bundled model: both ends, an adapter at part of its scale, and what it needs."""

import json

import pytest

from unlearn.__main__ import main
from unlearn.attacks.dial import lora_dial
from unlearn.measure import judge
from unlearn.metrics import METRICS
from unlearn.store.runs import RunStore

RUN = ("--method", "npo", "--tuning", "lora", "--probes", "0")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    store = tmp_path_factory.mktemp("runs")
    assert main(["run", "--model", "tiny-authors", *RUN, "--runs", str(store)]) == 0
    return RunStore(store).list()[0]


@pytest.mark.slow
def test_the_command_measures_the_depth_and_keeps_it(run, capsys):
    words = ["evaluate", run.id, "--runs", str(run.path.parent), "--metrics", "uds"]
    assert main([*words, "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)["metrics"]["uds"]
    found = {score["when"]: score for score in entry["scores"]}
    assert found["before"]["value"] == pytest.approx(0.0, abs=0.02)
    assert found["retrained"]["value"] == pytest.approx(1.0, abs=0.02)
    after = found["after"]
    assert 0.02 < after["value"] < 0.98
    low, high = after["details"]["interval"]
    assert low < after["value"] < high
    assert len(after["details"]["lacked"]) == 4
    assert after["n"] + after["details"]["left_out"] == 90
    assert judge.read_metrics(run)["metrics"]["uds"] == entry
    assert main(words) == 0
    assert "Unlearning depth (UDS)" in capsys.readouterr().out


@pytest.mark.slow
def test_an_adapter_at_part_of_its_scale_lies_between(run):
    """Turned to 0 the adapter is the original, and more of it never lets more of the answers stay."""
    depths = []
    for scale in (0.0, 0.5, 1.0):
        evidence, _ = judge.evidence_of(run)
        evidence.store = None
        lora_dial(evidence.reader.model("after").model)(scale)
        depths.append(METRICS["uds"].measure(evidence)["after", "forget"].value)
    assert depths[0] == pytest.approx(0.0, abs=1e-3)
    assert 0.01 < depths[1] < depths[2] < 1


@pytest.mark.slow
def test_without_an_exact_retrain_it_says_what_it_needs(tmp_path, capsys):
    store = str(tmp_path)
    data = tmp_path / "forget.csv"
    data.write_text("question,answer\n" + "".join(f"Who is {i}?,nobody {i}\n" for i in range(4)))
    rows = ("--forget", str(data), "--retain", str(data), "--force")
    words = ["run", "--model", "tiny-authors", "--method", "npo", "--epochs", "1", "--probes", "0", *rows]
    assert main([*words, "--runs", store]) == 0
    (made,) = RunStore(tmp_path).list()
    capsys.readouterr()
    assert main(["evaluate", made.id, "--runs", store, "--metrics", "uds"]) == 0
    said = capsys.readouterr().out
    assert "uds: left out, needs the exact retrained model" in said
    assert "--retrained MODEL" in said
