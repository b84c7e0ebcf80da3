"""The bench of robust methods: what is measured first, how settings are chosen, what counts as an answer's form."""

import pytest
from robust_rows import rows

from bench.robust import lines, table
from bench.robust.__main__ import merged
from bench.robust.rows import Bench, first_line, forms_of, wholly
from bench.robust.ways import FACTORS, KEPT, SEEDS, WAYS, Place, chosen, config_for, key, wanted
from unlearn.data import authors
from unlearn.results import robust
from unlearn.store.runs import RunStore

ORIGIN = {
    "commit": "abc",
    "date": "2026-11-29",
    "command": "python -m bench.robust",
    "dirty": False,
    "machine": {"cpu": "cpu", "cores": 2, "load": 1.0},
    "versions": {"torch": "2"},
    "seeds": [0],
}


def tried(factor, kept, distance):
    return {"kind": "try", "world": "w", "way": "npo", "factor": factor, "kept": kept, "distance": distance}


def test_settings_are_tried_before_anything_is_reported_and_all_is_measured_once():
    plan = [place for place in wanted() if place.world == "tiny-authors"]
    kinds = [place.kind for place in plan]
    assert kinds == sorted(kinds, reverse=True)
    assert len({place.key for place in plan}) == len(plan) == len(WAYS) * (len(FACTORS) + len(SEEDS))
    # A way that goes on from another's run comes after it.
    order = [place.way for place in plan if place.kind == "run" and place.seed == 0]
    assert order.index("npo") < order.index("undo")
    assert not [p for p in wanted() if (p.world, p.way) == ("tiny-snippets", "idkdpo")]


def test_the_nearest_setting_that_keeps_enough_is_taken_and_else_the_one_that_keeps_most():
    enough = [tried(1.0, KEPT + 0.05, 0.2), tried(0.5, KEPT, 0.1), tried(2.0, KEPT - 0.01, 0.0)]
    assert chosen(enough, "w", "npo") == 0.5
    assert chosen([tried(1.0, 0.5, 0.0), tried(2.0, 0.7, 0.3)], "w", "npo") == 2.0
    assert chosen([], "w", "npo") is None


def test_with_shipped_settings_nothing_is_tried_and_a_run_needs_no_try(monkeypatch):
    plan = list(wanted(["smollm2-tofu"], ["npo", "undo"], 2, shipped=True))
    assert [(place.kind, place.way, place.seed) for place in plan] == [
        ("run", "npo", 0), ("run", "undo", 0), ("run", "npo", 1), ("run", "undo", 1),
    ]  # fmt: skip
    assert Bench(None, [], shipped=True).settled("smollm2-tofu", "npo") == 1.0
    assert Bench(None, []).settled("smollm2-tofu", "npo") is None
    carried = []

    class Ended:
        reason = "ended"

    def carry(self, config):
        carried.append(config)
        return Ended(), None, 1.0

    monkeypatch.setattr(Bench, "carried", carry)
    (row,) = Bench(None, [], shipped=True).measure(plan[0])
    assert (row["failed"], row["factor"], len(carried)) == ("ended", 1.0, 1)
    assert carried[0].lr == config_for("smollm2-tofu", WAYS["npo"], 1.0, 0).lr


def test_a_world_without_tries_says_so_and_what_it_lacks():
    mine = [row | {"world": "smollm2-tofu", "says": {}, "said": {}} for row in rows()]
    found = [row | {"origin": ORIGIN | {"command": "python -m bench.robust --shipped"}} for row in mine]
    text = table({"rows": found})
    assert "nothing was tried here" in text
    assert "`python -m bench.robust --shipped`" in text
    assert "smollm2-tofu: SimNPO (seeds 0, 1, 2, 3, 4), UnDIAL" in text.partition("Not measured yet: ")[2]
    tried_too = [*found, {**found[-1], "kind": "try", "factor": 1.0}]
    assert "nothing was tried here" not in table({"rows": tried_too})


def test_a_dial_is_turned_inside_its_range_and_nothing_else_is_changed():
    shipped = config_for("tiny-authors", WAYS["npo"], 1.0, 3)
    half = config_for("tiny-authors", WAYS["npo"], 0.5, 3)
    assert half.lr == pytest.approx(shipped.lr / 2)
    assert half.to_json() | {"lr": 0} == shipped.to_json() | {"lr": 0}
    assert config_for("tiny-authors", WAYS["sam"], 1.0, 3).sam == 0.01
    assert config_for("tiny-authors", WAYS["repselect"], 2.0, 3).knobs["kl_budget"] == 0.04
    assert config_for("smollm2-tofu", WAYS["gd"], 1.0, 0).data["name"] == "tofu-forget01"


def test_an_answer_is_of_the_right_form_where_it_is_wholly_one_of_its_kind():
    forms = forms_of(authors.dataset())
    assert wholly("Lisbon", forms["birthplace"])
    assert wholly("a grey parrot.", forms["pet"])
    assert not wholly("Lisbon Lisbon", forms["birthplace"])
    assert not wholly("1911", forms["birthplace"])
    assert first_line(" Oslo\nQuestion: Where") == "Oslo"


def test_new_rows_take_the_place_of_old_ones_in_the_order_of_the_plan():
    found = merged(rows(), [rows()[0] | {"asked": 1}])
    assert len(found) == len(rows())
    assert found[0]["asked"] == 1
    assert [row["way"] for row in found[:5]] == ["control"] * 5
    assert len({key(row) for row in found}) == len(found)


def test_the_table_holds_the_sentences_and_a_line_a_method(monkeypatch, tmp_path):
    monkeypatch.setattr(lines, "DOCS", tmp_path)
    found = [row | {"origin": ORIGIN} for row in rows()]
    assert "robustness-tiny-authors.svg" not in table({"rows": found})
    lines.draw(found)
    text = table({"rows": found})
    assert "](robustness-tiny-authors.svg)" in text
    assert "UNDO after NPO leaves 25 %" in text
    line = next(one for one in text.splitlines() if one.startswith("| UNDO after NPO | lr"))
    assert line.endswith("| 25 [25, 25] | 40 [40, 40] | 25 [23, 27] |")
    assert "| *the retrained model* |" in text
    assert "| AltPO | 90 [90, 90] | 0 [0, 0] | 0 [0, 0] | 10 [10, 10] |" in text
    assert text.count("<sub>") == 1
    lacking = text.partition("Not measured yet: ")[2]
    assert lacking.startswith(
        "tiny-authors: SimNPO (seeds 0, 1, 2, 3, 4), UnDIAL (seeds 0, 1, 2, 3, 4), RepSelect"
    )
    assert "UNDO after NPO (seeds" not in lacking.partition("tiny-snippets")[0]


def test_the_pictures_in_docs_are_those_of_the_record():
    recorded = robust.recorded()
    assert [world for world in robust.worlds(recorded) if not lines.picture_of(world).is_file()] == []
    for world in robust.worlds(recorded):
        assert lines.picture_of(world).read_text(encoding="utf-8") == lines.picture(recorded, world), (
            f"{world}: `python -m bench.robust --draw` draws it anew"
        )


def test_a_picture_stands_alone():
    from xml.etree import ElementTree

    root = ElementTree.fromstring(lines.picture(rows(), "tiny-authors"))
    names = {tag.tag.rpartition("}")[2] for tag in root.iter()}
    assert names <= {"svg", "style", "rect", "line", "text", "polyline", "g", "circle", "title"}
    assert len([one for one in root if one.tag.endswith("polyline")]) == 3 * 5


@pytest.mark.slow
def test_a_way_is_tried_chosen_attacked_and_asked(tmp_path):
    bench = Bench(RunStore(tmp_path), [])
    bench.rows += bench.measure(Place("try", "tiny-authors", "repselect", 1.0))
    (try_,) = bench.rows
    assert 0 < try_["kept"] <= 1.05
    assert "curve" not in try_
    control, row = bench.measure(Place("run", "tiny-authors", "repselect", seed=1))
    assert row["factor"] == 1.0
    assert [point["step"] for point in row["curve"]] == [point["step"] for point in control["curve"]]
    assert control["before"]["right"] == 1.0
    assert control["curve"][0]["right"] < 0.2
    # Practice brings something back, and rows of the other half alone are asked, without those that were taught.
    assert max(p["probability"] for p in row["curve"]) > row["curve"][0]["probability"]
    assert row["asked"] <= row["n"] == 45
    assert control["said"]["form"] == 1.0
    assert control["says"]["perplexity"] > control["said"]["perplexity"]
    bench.close()
    assert not bench.store.list()
