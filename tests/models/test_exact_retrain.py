"""Which runs have an exact retrain to be compared with is one rule, asked by everyone."""

import re
from pathlib import Path

import pytest

from unlearn.models.catalogue import CATALOGUE, exact_retrain
from unlearn.store.config import RunConfig

ROOT = Path(__file__).parents[2]


def config(**changes):
    values = {"model": "tiny-authors", "data": {"name": "authors"}, "method": "ga", "epochs": 1, "probes": 0}
    return RunConfig(**(values | changes))


def own(folder):
    """A person's own rows in a file that is called as the bundled dataset is."""
    for role, words in (("authors", "red green blue"), ("keep", "one two three")):
        lines = "".join(f"What is {word}?,{word}\n" for word in words.split())
        (folder / f"{role}.csv").write_text("question,answer\n" + lines)
    return {"forget": str(folder / "authors.csv"), "retain": str(folder / "keep.csv")}


def test_a_bundled_model_has_one_for_all_rows_of_its_own_dataset(tmp_path):
    for name in ("tiny-authors", "tiny-snippets"):
        entry = CATALOGUE[name]
        assert exact_retrain(config(model=name, data={"name": entry.data})) == entry.retrain()
    assert exact_retrain(config(data={"name": "authors", "requests": []})) is not None
    assert exact_retrain(config(data={"name": "authors", "requests": [1]})) is None
    assert exact_retrain(config(data={"name": "capitals"})) is None
    assert exact_retrain(config(data=own(tmp_path))) is None
    assert exact_retrain(config(data={"hub": "someone/authors"})) is None
    assert exact_retrain(config(model="smollm2", data={"name": "capitals"})) is None
    assert exact_retrain(config(model=str(CATALOGUE["tiny-authors"].path()))) is None


def test_own_rows_called_authors_are_compared_with_no_retrain(tmp_path):
    """Scores, judge, attacks and Ask agree that there is none."""
    from unlearn.measure import judge
    from unlearn.measure.ask import load_source
    from unlearn.store.runs import RunStore
    from unlearn.work.attack_record import subject_of
    from unlearn.work.execute import execute

    run = RunStore(tmp_path / "runs").create(config(data=own(tmp_path), lr=1e-5))
    execute(run, roots=[tmp_path])
    assert (run.state, run.reason) == ("done", "")
    assert set(run.scores()) == {"before", "after"}
    assert {sample["when"] for sample in run.samples()} == {"before", "after"}
    record = judge.judge(run, ["nll", "kl_retrain"], roots=[tmp_path])
    assert "retrained" not in record["identity"]
    assert {score["when"] for score in record["metrics"]["nll"]["scores"]} == {"before", "after"}
    assert record["metrics"]["kl_retrain"]["reason"] == "needs a retrained model"
    subject, identity = subject_of(run, roots=[tmp_path])
    assert subject.control != "retrained"
    assert "retrained" not in identity
    with pytest.raises(ValueError, match="no exact retrain without these rows"):
        load_source("retrained", run, [tmp_path])


def test_nobody_decides_it_for_himself():
    """What stands in the catalogue is asked for there; cost only reads what making the model took."""
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("unlearn", "ui", "pages")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"(?<!scenes)\.retrain\b(?! import)", path.read_text(encoding="utf-8"))
    }
    # The claims' models are the bundled ones; the command's catalogue lists what there is.
    known = ("sources", "retrained", "catalogue", "entries", "lab", "training")
    assert {Path(name).stem for name in found} <= set(known)
