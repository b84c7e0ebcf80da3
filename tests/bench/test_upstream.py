"""bench/upstream on a small shape: every way gives the same, and the table has a row for each."""

import json

import pytest
import torch

from bench import upstream
from unlearn.compute import chunks


@pytest.mark.slow
def test_every_part_is_measured_beside_upstreams_way(tmp_path):
    out, threads = tmp_path / "upstream.json", torch.get_num_threads()
    words = ["--toy", "--rounds", "1", "--only", "head", "chunks", "packing", "places", "header"]
    upstream.main([*words, "--allow-dirty", "--out", str(out)])
    torch.set_num_threads(threads)
    found = json.loads(out.read_text())
    assert {row["part"] for row in found["rows"]} == {"head", "chunks", "packing", "places", "header"}
    ways = {row["way"] for row in found["rows"] if row["part"] == "chunks"}
    assert ways == {"ours"} | {
        f"{count} tokens, p - q {kept}" for count in chunks.ROWS for kept in ("kept", "made again")
    }
    assert all(row["cpu"] > 0 < row["over_ours"] for row in found["rows"])
    assert all(
        row["over_ours"] == row["bytes_over_ours"] == 1 for row in found["rows"] if row["way"] == "ours"
    )
    lines = [line for line in upstream.table(found).splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(found["rows"])


def test_a_way_that_computes_something_else_is_not_timed():
    same = [torch.ones(3)]
    with pytest.raises(SystemExit, match="head: other gives something else than ours"):
        upstream.check_same("head", {"ours": same, "other": [torch.ones(3) * 1.01]})
    with pytest.raises(SystemExit, match="header: other gives"):
        upstream.check_same("header", {"ours": {"a": (1,)}, "other": {"a": (2,)}})
    upstream.check_same("head", {"ours": same, "other": [torch.ones(3)]})
