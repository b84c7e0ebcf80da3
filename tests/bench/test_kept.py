"""Values of a start that come with the product: which are taken, how they are found, and whose rows they are of."""

import json

import pytest

from bench import kept
from unlearn.data.catalogue import from_config
from unlearn.data.prompts import asked_in
from unlearn.measure import score_cache
from unlearn.store import content
from unlearn.store.config import FORMATS

IDENTITY = {"model": "start", "data": "def", "dtype": "float32", "device": "cpu", "max_length": 64}


@pytest.fixture
def files(monkeypatch):
    # Restores the function that noted() replaces.
    monkeypatch.setattr(content, "place", content.place)
    return kept.noted(["start"])


def test_values_of_the_start_alone_are_shipped_with_their_origin(files, tmp_path, monkeypatch):
    store, out = tmp_path / "store", tmp_path / "kept"
    monkeypatch.setattr(score_cache, "SHIPPED", tmp_path / "none")
    for model in ("start", "trained"):
        score_cache.remember(store, IDENTITY | {"model": model}, lambda: {"value": 1})
    # Asked for and never kept: there is nothing to ship of it.
    assert score_cache.read(store, IDENTITY | {"data": "other"}) is None
    written = kept.ship(files, out, {"commit": "abc"})
    (packed,) = out.glob("*.gz")
    assert packed.stat().st_size == written
    (name,) = json.loads((out / kept.ORIGINS).read_text())
    assert json.loads((out / kept.ORIGINS).read_text()) == {name: {"commit": "abc"}}
    assert json.loads((out / score_cache.NAMES).read_text())[name]["model"] == "start"
    monkeypatch.setattr(score_cache, "SHIPPED", out)
    found = score_cache.remember(tmp_path / "new", IDENTITY, lambda: pytest.fail("read anew"))
    assert found == {"value": 1}


def test_shipping_again_keeps_what_others_shipped(files, tmp_path, monkeypatch):
    monkeypatch.setattr(score_cache, "SHIPPED", tmp_path / "none")
    out = tmp_path / "kept"
    for data in ("one", "two"):
        score_cache.remember(tmp_path / data, IDENTITY | {"data": data}, lambda: {"value": 1})
        kept.ship(files, out, {"commit": data})
    assert len(json.loads((out / score_cache.NAMES).read_text())) == len(list(out.glob("*.gz"))) == 2


def test_what_ships_of_the_capitals_is_of_their_rows_of_today():
    """Other rows have another name, and would be read anew without a word: python -m bench.kept makes it again."""
    names, origins = (
        json.loads((score_cache.SHIPPED / name).read_text()) for name in (score_cache.NAMES, kept.ORIGINS)
    )
    hashes = {asked_in(from_config({"name": "capitals"}), name).hash() for name in FORMATS}
    mine = [names[one] for one in origins if names[one]["data"] in hashes]
    assert sorted((one["dtype"], "asked in" in one) for one in mine) == [
        ("bfloat16", False), ("bfloat16", True), ("float32", False), ("float32", True)
    ]  # fmt: skip
    assert not any(one["dirty"] for one in origins.values())
