"""A person's own retrain serves wherever a retrain does, and what cannot be one is refused before a run."""

import shutil

import pytest
from conftest import make_model, small_run

from unlearn.commands.options import EVERYWHERE
from unlearn.measure import judge
from unlearn.measure.ask import load_source
from unlearn.models.catalogue import CATALOGUE, exact_retrain
from unlearn.models.load import load
from unlearn.store.runs import RunConfig
from unlearn.work.attack_record import subject_of
from unlearn.work.checks import check
from unlearn.work.sequence import SequenceConfig
from unlearn.work.sequence import check as check_sequence
from unlearn.work.stress import attack


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrained")
    make_model(folder / "own", seed=1)
    return small_run(folder, method="npo", retrained=str(folder / "own"))


def test_it_is_the_exact_retrain_of_the_run(run):
    truth = run.config.retrained
    assert exact_retrain(run.config) == truth
    assert set(run.scores()) == {"before", "after", "retrained"}
    assert {sample["when"] for sample in run.samples()} == {"before", "after", "retrained"}
    (began,) = run.events("inputs")
    assert (began["retrained"], began["retrained_by"]) == (load(truth).hash, "you")
    assert any("given by you" in note.get("text", "") for note in run.events("note"))
    assert "--retrained" in run.config.command()


def test_metrics_attacks_and_asking_use_it(run):
    roots = [run.path.parent.parent]
    record = judge.judge(run, ["kl_retrain", "privleak"], roots=roots)
    scores = record["metrics"]["kl_retrain"]["scores"]
    assert next(score["value"] for score in scores if score["when"] == "after") > 0
    assert record["identity"]["retrained"] == load(run.config.retrained).hash
    subject, _ = subject_of(run, roots)
    assert subject.control == "retrained"
    assert attack(run, ["prefix"], roots=roots)["attacks"]["prefix"]["retrained"] is not None
    assert load_source("retrained", run, roots).hash == load(run.config.retrained).hash


def test_compare_and_report_say_whose_it_is(run):
    from unlearn.report import numbers
    from unlearn.results import compare, score_export

    assert compare.truth_words(run) == f"The retrained model was given by you: {run.config.retrained}."
    assert any(compare.truth_words(run) in line for line in numbers.limits([run], score_export.rows([run])))


def test_another_model_in_its_place_is_noticed(run, tmp_path):
    folder = run.path.parent.parent / "own"
    shutil.copytree(folder, tmp_path / "kept")
    make_model(folder, seed=5)
    try:
        with pytest.raises(
            ValueError, match="retrained model is not the one that this run was compared with"
        ):
            judge.judge(run, ["nll"], roots=[folder.parent])
    finally:
        shutil.copy(tmp_path / "kept" / "model.safetensors", folder / "model.safetensors")


def config(**changes):
    values = {"model": "tiny-authors", "data": {"name": "authors"}, "method": "ga"}
    return RunConfig(**(values | changes))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("tiny-authors", "tiny-authors is the model itself"),
        (str(CATALOGUE["tiny-authors"].path()), "is the model itself"),
        ("tiny-snippets", r"reads other tokens than tiny-authors \(id \d+ is"),
        ("/no/such/folder", "^retrained: /no/such/folder does not exist"),
        ("not a name", "retrained: 'not a name' is neither a known model"),
    ],
)
def test_what_cannot_be_a_retrain_is_refused_before_a_run(given, says):
    with pytest.raises(ValueError, match=says):
        check(config(retrained=given), EVERYWHERE)


def test_it_must_lie_in_an_allowed_folder(tmp_path):
    make_model(tmp_path / "own")
    with pytest.raises(ValueError, match="must lie inside"):
        check(config(retrained=str(tmp_path / "own")))


def test_a_sequence_has_no_single_retrain():
    asked = SequenceConfig(run=config(method="npo", retrained="tiny-snippets"), mode="chain", order=(1, 2))
    with pytest.raises(ValueError, match="leave --retrained out"):
        check_sequence(asked)


def test_the_bundled_models_retrain_given_by_hand_is_the_bundled_one():
    given = config(retrained=str(CATALOGUE["tiny-authors"].retrain()))
    check(given, EVERYWHERE)
    assert exact_retrain(given) == given.retrained
