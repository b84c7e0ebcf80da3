"""What was measured on this machine is kept for every later process."""

import json

import pytest

from unlearn.compute import chunks, products
from unlearn.models import machine


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cache_dir", lambda: tmp_path)
    monkeypatch.delenv("UNLEARN_PRODUCTS", raising=False)
    yield tmp_path
    chunks._chosen = None
    products.use(None)


def test_the_heads_rows_are_tried_once_a_machine_and_library(cache, monkeypatch):
    tried = []
    monkeypatch.setattr(chunks, "_tried", lambda: tried.append(1) or 128)
    chunks._tried.cache_clear = lambda: None
    for _ in range(2):
        machine.choose_products("blas")
        assert chunks.rows() == 128
    assert len(tried) == 2, "once to find out, and once for the assertion in that process"
    kept = json.loads((cache / machine.HEAD_FILE).read_text())
    assert list(kept.values()) == [128]
    assert next(iter(kept)).endswith("blas")
    (cache / machine.HEAD_FILE).write_text(json.dumps(dict.fromkeys(kept, 256)))
    machine.choose_products("blas")
    assert chunks.rows() == 256
    (cache / machine.HEAD_FILE).write_text(json.dumps(dict.fromkeys(kept, 7)))
    machine.choose_products("blas")
    assert chunks.rows() == 128, "what is damaged is found out anew"
