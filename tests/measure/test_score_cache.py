"""Tests that values are kept by what they depend on, and that those which come with the product are found."""

import gzip
import json

import pytest

from unlearn.measure import score_cache
from unlearn.store import content

IDENTITY = {"model": "abc", "data": "def", "dtype": "float32", "device": "cpu", "max_length": 64}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of values as they come with the product, with one of IDENTITY."""
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(score_cache, "SHIPPED", folder)
    store = tmp_path / "made"
    score_cache.remember(store, IDENTITY, lambda: {"value": 1})
    (made,) = (store / ".cache" / "values").iterdir()
    (folder / f"{made.name}.gz").write_bytes(gzip.compress(made.read_bytes()))
    return folder


def test_what_comes_with_the_product_is_not_read_anew(shipped, tmp_path):
    found = score_cache.remember(tmp_path / "store", IDENTITY, lambda: pytest.fail("read anew"))
    assert found == {"value": 1}


@pytest.mark.parametrize(
    "change", [{"model": "abd"}, {"data": "deg"}, {"device": "cuda"}, {"max_length": 65}]
)
def test_another_model_row_or_device_is_read_anew(shipped, tmp_path, change):
    assert score_cache.remember(tmp_path / "store", IDENTITY | change, lambda: {"value": 2}) == {"value": 2}


def test_the_store_has_the_last_word(shipped, tmp_path):
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_cache, "SHIPPED", tmp_path / "nowhere")
        score_cache.remember(store, IDENTITY, lambda: {"value": 3})
    assert score_cache.remember(store, IDENTITY, lambda: pytest.fail("read anew")) == {"value": 3}


@pytest.mark.parametrize(
    "broken", [b"", b"no gzip", gzip.compress(b"{", mtime=0)], ids=["empty", "other", "cut"]
)
def test_a_broken_file_is_as_good_as_none(shipped, tmp_path, broken):
    (one,) = shipped.iterdir()
    one.write_bytes(broken)
    assert score_cache.remember(tmp_path / "store", IDENTITY, lambda: {"value": 4}) == {"value": 4}


def test_what_comes_with_the_product_is_whole():
    for path in score_cache.SHIPPED.glob("*.gz"):
        assert json.loads(gzip.decompress(path.read_bytes()))


def test_what_comes_with_the_product_is_asked_for_by_these_names():
    """A name that is made in another way now would leave them unread, without a word."""
    names = json.loads((score_cache.SHIPPED / score_cache.NAMES).read_text())
    assert {f"{name}.json.gz" for name in names} == {path.name for path in score_cache.SHIPPED.glob("*.gz")}
    for name, identity in names.items():
        whole = identity | {"format": score_cache.FORMAT}
        assert content.name_of(whole) == name
