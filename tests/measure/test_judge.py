"""evaluate RUN, end to end on the bundled model: numbers, cache, files, command line, bad input."""

import json
import shutil

import pytest
from seed import seed_run

from unlearn.__main__ import main
from unlearn.measure import judge
from unlearn.metrics import METRICS
from unlearn.results import cost
from unlearn.store.runs import Run, RunStore
from unlearn.store.transfer import export_run, import_run

RUN = ("--model", "tiny-authors", "--method", "npo", "--epochs", "2", "--probes", "0")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """(run, what `evaluate` computed) of a short real run."""
    store = tmp_path_factory.mktemp("runs")
    assert main(["run", *RUN, "--runs", str(store)]) == 0
    (run,) = RunStore(store).list()
    assert main(["evaluate", run.id, "--runs", str(store)]) == 0
    return run, judge.read_metrics(run)


def values(record, name, role="forget"):
    return {s["when"]: s["value"] for s in record["metrics"][name]["scores"] if s["role"] == role}


@pytest.mark.slow
def test_before_is_found_out_and_the_retrained_model_is_at_chance(judged):
    _, record = judged
    assert set(record["metrics"]) == set(METRICS)
    for attack in ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus"):
        found = values(record, attack)
        assert found["before"] > 0.9
        assert found["retrained"] == pytest.approx(0.5, abs=0.12)
    scores = record["metrics"]["mia_states"]["scores"]
    low = {score["when"]: score["details"]["interval"][0] for score in scores}
    assert low["before"] > 0.5 >= low["retrained"]
    assert values(record, "privleak")["before"] < -50
    assert values(record, "memorised")["before"] == 1.0
    assert values(record, "extraction")["before"] == 1.0
    assert values(record, "el_3")["before"] == 1.0
    assert values(record, "forget_quality", "paraphrase")["retrained"] == 1.0
    assert values(record, "forget_quality", "paraphrase")["before"] < 1e-6
    # It reads as many facts as the role forget, each in one other wording.
    counts = {score["n"] for score in record["metrics"]["forget_quality"]["scores"]}
    assert counts == {
        score["n"] for score in record["metrics"]["exact"]["scores"] if score["role"] == "forget"
    }
    assert values(record, "kl_retrain")["retrained"] == 0.0
    assert values(record, "kl_retrain")["before"] > 1.0
    assert values(record, "choice")["before"] > values(record, "choice")["retrained"] + 0.5
    assert values(record, "entity_loss")["retrained"] > values(record, "entity_loss")["before"] + 1
    assert not any(values(record, "collapse", "general").values())


@pytest.mark.slow
def test_scores_of_the_run_and_of_evaluate_agree(judged):
    run, record = judged
    for when, roles in run.scores().items():
        for role, found in roles.items():
            for name in ("nll", "exact", "accuracy"):
                if name in found:
                    assert values(record, name, role)[when] == pytest.approx(found[name], abs=1e-6)


@pytest.mark.slow
def test_what_is_there_is_not_computed_again(judged, capsys, monkeypatch):
    run, record = judged
    monkeypatch.setattr("unlearn.measure.judge.load_source", lambda *_: pytest.fail("no model is needed"))
    assert judge.judge(run) == record
    assert main(["evaluate", run.id, "--runs", str(run.path.parent), "--metrics", "nll, ppl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == record
    assert len(record["cost"]) == 1
    assert record["cost"][0]["flops"] > 0


@pytest.mark.slow
def test_what_another_process_computes_in_the_meantime_stays(judged, tmp_path):
    run, _ = judged
    copied = Run(shutil.copytree(run.path, tmp_path / "runs" / run.id))
    (copied.path / "metrics.json").unlink()
    other = []

    def progress(phrase, fraction):
        if not other:
            other.append(1)
            judge.judge(copied, ["ppl"])

    judge.judge(copied, ["nll"], progress=progress)
    record = judge.read_metrics(copied)
    assert set(record["metrics"]) == {"nll", "ppl"}
    assert [row["metrics"] for row in record["cost"]] == [["ppl"], ["nll"]]


@pytest.mark.slow
def test_meanings_are_compared_by_the_encoder_that_is_given(judged, tmp_path, capsys):
    from tests.measure.test_encoder import make_encoder

    run, record = judged
    assert record["metrics"]["similarity"]["reason"].startswith("needs an encoder (evaluate RUN --encoder")
    one, two = (make_encoder(tmp_path / name, seed) for seed, name in enumerate(("one", "two")))
    words = ["evaluate", run.id, "--runs", str(run.path.parent), "--metrics", "similarity", "--json"]
    assert main([*words, "--encoder", str(one)]) == 0
    first = json.loads(capsys.readouterr().out)
    found = values(first, "similarity")
    assert found["before"] == pytest.approx(1.0)
    assert found["retrained"] < found["before"]
    # What is known stays, also where no encoder is given; another encoder is another number.
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert main([*words, "--encoder", str(two)]) == 0
    assert values(json.loads(capsys.readouterr().out), "similarity")["retrained"] != found["retrained"]
    assert main([*words, "--encoder", str(tmp_path)]) == 2
    assert main([*words, "--encoder", str(one), "--on", "ray"]) == 2


@pytest.mark.slow
def test_in_a_chain_before_is_what_the_earlier_run_left(judged):
    run, record = judged
    store = RunStore(run.path.parent)
    assert main(["run", *RUN, "--start", run.id, "--runs", str(store.root)]) == 0
    later = next(r for r in store.list() if r != run)
    found = judge.judge(later, ["nll", "mia_loss"])
    for name in ("nll", "mia_loss"):
        assert values(found, name)["before"] == pytest.approx(values(record, name)["after"], abs=1e-6)
        assert values(found, name)["retrained"] == pytest.approx(values(record, name)["retrained"], abs=1e-6)


@pytest.mark.slow
def test_a_judged_run_travels(judged, tmp_path):
    run, _ = judged
    back = import_run(export_run(run, tmp_path), RunStore(tmp_path / "there"))
    # Not what the fixture read: another test has computed more of this run since.
    assert judge.read_metrics(back) == judge.read_metrics(run)


@pytest.mark.slow
def test_cost_beside_retraining(judged):
    run, _ = judged
    results = run.results()
    found = results["retraining"]
    recipe = json.loads((cost_folder() / "recipe.json").read_text())
    assert found["kind"] == "measured"
    assert found["token_ratio"] == pytest.approx(recipe["tokens_trained"] / results["tokens"])
    assert found["seconds"] == recipe["seconds"]


def cost_folder():
    from unlearn.models.load import CATALOGUE

    return CATALOGUE["tiny-authors"].retrain()


def test_cost_computed_from_training_tokens():
    results = {"tokens": 40_000, "parameters": 134_515_008, "phases": {"training": 10.0}}
    found = cost.of_model("smollm2", results)
    assert found["kind"] == "computed"
    assert found["token_ratio"] == found["flops_ratio"] == 2e12 / 40_000
    assert found["flops"] == 6 * 134_515_008 * 2e12
    assert "seconds_ratio" not in found
    assert cost.of_model("owner/unknown", results) == {}
    assert cost.retraining(10, {"tokens": 0}, training_tokens=5.0) == {}
    assert cost.retraining(10, {"tokens": 50}, training_tokens=5e6)["token_ratio"] == 1e5


def test_bad_input_is_one_line(tmp_path, capsys):
    run = seed_run(RunStore(tmp_path))
    store = ("--runs", str(tmp_path))
    assert main(["evaluate", run.id, *store, "--metrics", "nll,nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert main(["evaluate", run.id, *store]) == 2
    assert "keeps no weights" in capsys.readouterr().err
    assert main(["evaluate", "none", *store]) == 2
    going = seed_run(RunStore(tmp_path), "running")
    with going.lock():
        assert main(["evaluate", going.id, *store]) == 2
    assert "is running" in capsys.readouterr().err
    assert judge.read_metrics(Run(tmp_path / "none")) == {}


def test_table_puts_the_models_side_by_side():
    record = {
        "metrics": {
            "m": {
                "title": "M",
                "ideal": 0.5,
                "scores": [
                    {"when": when, "role": "forget", "value": value, "n": 3, "details": {"interval": ends}}
                    for when, value, ends in (("before", 0.9, [0.8, 1.0]), ("after", 0.6, [0.4, 0.7]))
                ],
            }
        }
    }
    want = {"metric": "m", "title": "M", "role": "forget", "ideal": 0.5, "before": 0.9, "after": 0.6, "n": 3}
    assert judge.table(record) == [want | {"interval": [0.4, 0.7]}]
    for score in record["metrics"]["m"]["scores"]:
        del score["details"]
    assert judge.table(record) == [want]


def test_a_metric_of_an_earlier_revision_is_computed_again():
    """Forget quality read other rows once; whatever else was computed then stays."""

    def has(name, **told):
        scores = [{"when": "after", "role": "paraphrase", "value": 0.1, "n": 40, "details": {}}]
        return judge._has({"metrics": {name: {"scores": scores} | told}}, METRICS[name], None)

    assert judge.entry(METRICS["forget_quality"], {})["revision"] == METRICS["forget_quality"].revision == 2
    assert has("forget_quality", revision=2)
    assert not has("forget_quality", revision=1)
    assert not has("forget_quality")
    assert has("kl_retrain")
    # One that could not be computed has no scores, and is not tried again for that.
    assert judge._has({"metrics": {"forget_quality": {"scores": []}}}, METRICS["forget_quality"], None)
