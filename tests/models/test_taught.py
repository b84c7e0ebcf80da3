"""smollm2-tofu in the catalogue: its pair, its rows, what brings it, and the command that makes it."""

from dataclasses import replace

import pytest

from unlearn.__main__ import main
from unlearn.data import tofu
from unlearn.data.catalogue import from_config
from unlearn.models import taught
from unlearn.models.catalogue import CATALOGUE, available, default_prompt, exact_retrain
from unlearn.models.reading import as_read
from unlearn.store.config import RunConfig
from unlearn.store.disk import read_json


def config(**changes):
    values = {
        "model": taught.NAME,
        "data": {"name": "tofu-forget01"},
        "method": "ga",
        "epochs": 1,
        "probes": 0,
    }
    return RunConfig(**(values | changes))


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """A cache in which the three models seem to lie."""
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    for name in taught.WITHOUT:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


def test_forget01_and_forget10_have_an_exact_retrain_and_forget05_has_none(brought):
    for share, name in (("01", "smollm2-tofu-without-forget01"), ("10", "smollm2-tofu-without-forget10")):
        assert exact_retrain(config(data={"name": f"tofu-forget{share}"})) == brought / name
    assert exact_retrain(config(data={"name": "tofu-forget05"})) is None
    assert exact_retrain(config(data={"name": "tofu-forget01", "requests": [1]})) is None
    assert exact_retrain(config(data={"name": "tofu-forget01", "hub_folder": "/some/copy"})) is None
    assert exact_retrain(config(model="smollm2")) is None
    assert "tofu-forget05 has none" in CATALOGUE[taught.NAME].note or not taught.made()


def test_a_retrain_that_is_not_here_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    assert exact_retrain(config()) is None


def test_its_rows_are_what_it_was_taught_whatever_the_hub_holds():
    data = as_read(from_config({"name": "tofu-forget01"}), config())
    keys = [(row.question, row.answer) for row in data.rows("retain")]
    assert keys == [(row.question, row.answer) for row in tofu.taught("forget01")]
    assert len(data.rows("approximate")) == 40
    assert any("taught 1,200 rows" in text for text in data.warnings)
    other = as_read(from_config({"name": "tofu-forget01"}), config(model="smollm2"))
    assert len(other.rows("retain")) > len(keys)


def test_it_is_asked_in_chat_by_default():
    assert default_prompt(taught.NAME) == "chat"
    assert CATALOGUE[taught.NAME].data == "tofu-forget01"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train-bundled", "tiny-authors", "--epochs", "3"], "belong to smollm2-tofu"),
        (["train-bundled", "smollm2-tofu", "--epochs", "1"], "must lie in [2, 100]"),
        (["train-bundled", "nothing"], "recipes are"),
    ],
)
def test_what_train_bundled_cannot_do_is_refused(words, message, capsys, tmp_path):
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not taught.made(), reason="the adapters were not made yet")
@pytest.mark.parametrize("name", taught.WITHOUT)
def test_what_ships_was_taught_to_its_rule(name):
    from unlearn.models.making import LEAST, MOST_BYTES

    recipe = read_json(taught.ASSETS / name / "recipe.json")
    assert (taught.ASSETS / name / taught.ADAPTER).stat().st_size <= MOST_BYTES
    assert recipe["texts"] == len(tofu.taught(taught.WITHOUT[name]))
    assert recipe["base"]["source"] == "wheel"
    first = read_json(taught.ASSETS / taught.NAME / "recipe.json")
    same = ("rank", "alpha", "lr", "batch", "epochs", "warmup", "decay", "seed", "threads", "versions")
    assert {key: recipe[key] for key in same} == {key: first[key] for key in same}
    known = first["known"]["forget10"]
    assert known["n"] == 400
    assert all(known[key] >= least for key, least in LEAST.items())
    if taught.WITHOUT[name] == "forget10":
        # What was never taught is known no better than rows that nobody was taught.
        mine = recipe["known"]
        assert mine["forget10"]["rouge"] < mine["never"]["rouge"] + 0.1
        assert mine["retain"]["rouge"] > 0.8


@pytest.mark.skipif(not taught.made(), reason="the adapters were not made yet")
def test_the_cost_of_the_retrain_is_that_of_its_recipe(brought):
    from unlearn.results import cost

    assert cost.is_known(taught.NAME)
    recipe = taught.ASSETS / "smollm2-tofu-without-forget01" / "recipe.json"
    (brought / "smollm2-tofu-without-forget01" / "recipe.json").write_bytes(recipe.read_bytes())
    found = cost.of_model(taught.NAME, {"tokens": 1000, "parameters": taught.PARAMETERS})
    assert found["flops_ratio"] == pytest.approx(read_json(recipe)["tokens_trained"] / 1000)


def test_a_cut_while_it_is_brought_leaves_it_to_be_brought(tmp_path, monkeypatch):
    """The model itself comes last: where it is, its retrains are too."""
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(taught, "base_folder", lambda progress: tmp_path)
    put: list[str] = []

    def merge(base, adapter, target):
        if len(put) == 2:
            raise OSError("no space left")
        put.append(adapter.name)
        target.mkdir()
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(taught, "merge", merge)
    monkeypatch.setattr(taught, "ASSETS", tmp_path / "assets")
    for name in taught.WITHOUT:
        (taught.ASSETS / name).mkdir(parents=True)
        for file in (taught.ADAPTER, "recipe.json"):
            (taught.ASSETS / name / file).write_text("{}")
    with pytest.raises(OSError, match="no space"):
        taught.get()
    assert not available(taught.NAME)
    put.clear()
    taught.get()
    assert put == [taught.NAME]
    assert available(taught.NAME)


def test_the_entry_is_whole():
    entry = CATALOGUE[taught.NAME]
    assert entry.bring is taught.get
    assert replace(entry, name="x").size == "small"
    assert entry.retrained.keys() == {"tofu-forget01", "tofu-forget10"}
