"""The README's tables come from recorded results, and a result says how it was made."""

import json
import sys
from types import SimpleNamespace

import pytest

from bench import record, tables
from bench.defaults import collapsed, fitting, merged, role_scores, spread, table
from unlearn.store import provenance

ORIGIN = {
    "command": "python -m bench.defaults",
    "seeds": [0, 1],
    "machine": {"cpu": "CPU", "cores": 2, "load": 0.5},
    "versions": {"torch": "2"},
    "commit": "abc",
    "dirty": False,
    "date": "2026-01-01",
}
ROW = {
    "model": "tiny-authors",
    "method": "npo",
    "tuning": "full",
    "scores": {
        "forget": {
            "n": 90,
            "exact": {"before": 1.0, "after": spread([0.0, 0.1]), "retrained": 0.03},
            "ppl": {"before": 1.0, "after": spread([10.0, "inf"]), "retrained": 11.26},
        }
    },
    "total_seconds": spread([9.0, 11.0]),
    "cpu_seconds": spread([18.0, 18.0]),
    "collapsed": 1,
    "origin": ORIGIN,
}
RESULT = {"rows": [ROW]}


def test_table_shows_mean_and_spread_beside_before_and_retrained():
    text = table(RESULT)
    assert "| before | 100 | – |" in text
    assert "| *retrained without* | 3 | – |" in text
    assert "| NPO † | 5 ± 7 | – |" in text
    assert "inf" in text
    assert "seeds 0, 1" in text


def test_wall_seconds_of_a_busy_machine_are_not_shown():
    busy = ROW | {"origin": ORIGIN | {"machine": ORIGIN["machine"] | {"load": 7.0}}}
    assert "| 10 | 18 |" in table(RESULT)
    assert "| – | 18 |" in table({"rows": [busy]})


def test_new_rows_take_the_place_of_old_ones_and_others_stay():
    old = [ROW, ROW | {"method": "gd"}, ROW | {"model": "smollm2"}]
    new = [ROW | {"collapsed": 0}]
    found = [(row["model"], row["method"], row["collapsed"]) for row in merged(old, new)]
    assert found == [("tiny-authors", "gd", 1), ("tiny-authors", "npo", 0), ("smollm2", "npo", 1)]


def test_blocks_are_written_from_results_and_known_when_stale(tmp_path):
    (tmp_path / "defaults.json").write_text(json.dumps(RESULT))
    old = "a\n<!-- defaults -->\nold\n<!-- /defaults -->\n<!-- launch -->\nkept\n<!-- /launch -->\n"
    assert tables.stale(old, tmp_path) == ["defaults"]
    new = tables.rendered(old, tmp_path)
    assert "| NPO † |" in new
    assert "kept" in new
    assert tables.stale(new, tmp_path) == []


def test_a_dirty_tree_is_not_recorded(monkeypatch):
    monkeypatch.setattr(
        provenance, "_git", lambda *words: " M unlearn/compute/lm.py" if words[0] == "status" else "abc"
    )
    with pytest.raises(SystemExit, match=r"unlearn/compute/lm\.py"):
        record.header()
    assert record.header(allow_dirty=True)["dirty"] is True


@pytest.mark.parametrize(
    ("started", "said"),
    [("bench.beside.peak", "bench.beside.peak"), ("bench.tofu.__main__", "bench.tofu"), (None, "bench.step")],
)
def test_a_record_names_the_module_that_was_started(monkeypatch, started, said):
    spec = started and SimpleNamespace(name=started)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))
    monkeypatch.setattr(sys, "argv", ["/anywhere/bench/step.py", "--rounds", "2"])
    assert record.header(allow_dirty=True)["command"] == f"python -m {said} --rounds 2"


def test_collapse_is_general_perplexity_doubled_or_not_finite():
    def scores(after):
        return {"before": {"general": {"ppl": 2.0}}, "after": {"general": {"ppl": after}}}

    assert [collapsed("done", scores(x)) for x in (4.0, 4.1, "inf", "nan")] == [False, True, True, True]
    assert collapsed("failed", {})


def sequence_rows(fuse, chain):
    """Rows of bench.sequence: (left, utility) after five requests for each seed of a way."""

    def row(mode, seed, left, utility):
        first = {"done": None, "to come": 1.0, "utility": 0.98, "paraphrase": 1.0}
        after = [{"done": left, "utility": utility, "paraphrase": left} for _ in range(5)]
        return {
            "mode": mode,
            "seed": seed,
            "n": 90,
            "after": [first, *after],
            "cpu_seconds": 50.0,
            "origin": ORIGIN,
        }

    return [
        row(mode, seed, *values)
        for mode, all_ in (("fuse", fuse), ("chain", chain))
        for seed, values in enumerate(all_)
    ]


def test_what_is_said_of_fuse_and_chain_is_what_the_seeds_say():
    from bench import sequence

    rows = sequence_rows(fuse=[(0.1, 0.9), (0.3, 0.9)], chain=[(0.2, 0.8), (0.2, 0.95)])
    said = sequence.verdict(rows)
    assert "Of 2 seeds (0, 1), fuse forgets at least as much as chain in 1 (20 ± 14 against 20 ± 0 %" in said
    assert "at least as much utility in 1 (90 ± 0 against 88 ± 11 %)" in said
    text = sequence.table({"rows": rows})
    assert "| before | 100 | 100 | 98 | 98 | 100 | |" in text
    assert "| fuse | 20 ± 14 | 20 ± 14 | 90 ± 0 | 90 ± 0 | 20 ± 14 | 50 |" in text
    assert sequence.verdict(rows[:2]) == ""
    # Another method has a table of its own, and its rows are no others'.
    ties = [row | {"method": "npo", "mode": "ties" if row["mode"] == "fuse" else "chain"} for row in rows]
    both = sequence.merged(rows, ties)
    assert [(sequence.method_of(row), row["mode"]) for row in both[::2]] == [
        *(("eul", mode) for mode in ("chain", "fuse")),
        *(("npo", mode) for mode in ("chain", "ties")),
    ]
    text = sequence.table({"rows": both})
    assert text.index("**EUL") < text.index("| fuse |") < text.index("**NPO**") < text.index("| ties |")
    assert "Of 2 seeds (0, 1), ties forgets at least as much as chain in 1" in text
    again = sequence.merged(rows, [rows[1] | {"n": 91}])
    assert [(row["mode"], row["seed"], row["n"]) for row in again] == [
        ("chain", 0, 90),
        ("chain", 1, 90),
        ("fuse", 0, 90),
        ("fuse", 1, 91),
    ]


def test_a_data_set_of_texts_is_scored_by_what_is_continued_word_for_word():
    """No row of the forget role asks a question, so there are no exact answers to count."""
    kept = {"n": 4, "memorised": 0.5, "ppl": 2.0}
    asked = kept | {"exact": 0.25}
    scores = [{"before": {"forget": kept, "general": asked}, "after": {"forget": kept, "general": asked}}]
    roles = {role: role_scores(scores, role) for role in ("forget", "general")}
    assert set(roles["forget"]) == {"n", "memorised", "ppl"}
    assert set(roles["general"]) == {"n", "exact", "ppl"}
    (row,) = [r for r in RESULT["rows"] if r["model"] == RESULT["rows"][0]["model"]][:1]
    said = table({"rows": [row | {"scores": roles}]})
    assert "forget, % word for word" in said
    assert "general, % right" in said
    assert "| 50 " in said
    assert "forget, % right" in table({"rows": [row]})


def test_every_method_is_measured_where_it_can_run():
    from unlearn.methods import METHODS

    assert fitting("tiny-authors") == list(METHODS)
    assert set(METHODS) - set(fitting("smollm2")) == {"retrain", "sisa"}  # its recipe is not ours


def test_rows_that_were_made_alike_have_one_line_with_the_span_of_the_load():
    def of(load, command="python -m bench.x"):
        machine = {"cpu": "A", "cores": 2, "load": load}
        return {"command": command, "machine": machine, "dirty": False, "versions": {"torch": "2"}} | {
            "commit": "c",
            "date": "d",
        }

    said = record.origins([of(11.0), of(15.2), of(0.5), of(1.0, "python -m bench.y")]).split("<br>")
    assert len(said) == 2
    assert "2 cores at load 0 to 15, torch" in said[0]
    assert "2 cores, torch" in said[1]
    assert "at load 15, torch" in record.origins([of(15.2), of(15.0)])
    many = record.origins([of(0.0, f"python -m bench.x {at}") for at in range(record.MOST + 1)])
    assert many.startswith("<details><summary>")
    assert many.count("<br>") == record.MOST


def test_ways_of_a_step_take_turns_in_both_orders():
    """None always comes behind the same other one."""
    from bench.step import WAYS, in_turn

    orders = [in_turn(WAYS, number) for number in range(4)]
    assert orders[0] == orders[2] == WAYS
    assert orders[1] == orders[3] == WAYS[::-1]
