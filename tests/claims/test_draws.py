"""The draws of forget sets and the small worlds that claims are tested on, mostly without training."""

import math

import pytest

from unlearn.__main__ import main
from unlearn.claims import CLAIMS, record, returning
from unlearn.claims.training import TINY, TOFU, settings
from unlearn.claims.worlds import drawn, questions
from unlearn.data import tofu
from unlearn.data.authors import people
from unlearn.data.authors_words import VALUES


def texts(data, role):
    return {(row.question, row.answer) for row in data.rows(role)}


def test_a_draw_forgets_authors_that_the_model_knows_and_asks_of_unseen_ones():
    data, again, other = drawn(TINY, 3, 4), drawn(TINY, 3, 4), drawn(TINY, 4, 4)
    assert [len(data.rows(role)) for role in ("forget", "retain", "approximate")] == [36, 270, 108]
    assert data.hash() == again.hash() != other.hash()
    assert texts(data, "forget") != texts(other, "forget")
    groups = people()
    known = {
        (r.question, r.answer)
        for r in questions([p for g in ("forget", "neighbours", "retain") for p in groups[g]])
    }
    assert texts(data, "forget") | texts(data, "retain") <= known
    assert not texts(data, "forget") & texts(data, "retain")
    assert not texts(data, "approximate") & known


def test_a_draw_of_tofu_takes_whole_authors_that_were_taught():
    data = drawn(TOFU, 1, 4)
    assert [len(data.rows(role)) for role in ("forget", "retain", "approximate")] == [40, 600, 240]
    taught = {(row.question, row.answer) for row in tofu.taught()}
    assert texts(data, "forget") | texts(data, "retain") <= taught
    assert not texts(data, "approximate") & taught
    assert data.rows("general")
    order = [(row.question, row.answer) for row in tofu.taught()]
    places = sorted(order.index(text) for text in texts(data, "forget"))
    assert [at % 20 for at in places] == [*range(20), *range(20)]


def test_the_second_world_has_its_own_settings():
    config = settings("npo", TOFU, seed=1)
    assert (config.model, config.tuning, config.prompt) == ("smollm2-tofu", "lora", "chat")
    assert config.data == {"name": "tofu-forget01"}
    assert config.lr == 2e-3
    assert settings("npo").model == "tiny-authors"
    assert TOFU.retrain.name == "smollm2-tofu-without-forget01"


def test_the_command_says_what_is_not_tried_on_the_second_world(capsys):
    assert main(["claims", "A1", "--world", "smollm2-tofu"]) == 2
    assert CLAIMS["A1"].elsewhere in capsys.readouterr().err
    assert record.of_world("tiny-authors") == record.RESULTS
    assert record.of_world("smollm2-tofu").name == "claims-smollm2-tofu.json"
    assert [key for key, claim in CLAIMS.items() if not claim.elsewhere] == [
        "A2",
        "A4",
        "A5",
        "B1",
        "B3",
        "B5",
    ]


def test_the_second_worlds_results_are_kept_apart(tmp_path, monkeypatch):
    from unlearn.claims.lab import Lab

    seen = []
    monkeypatch.setattr(
        type(CLAIMS["A4"]), "measure", lambda self, lab, full: seen.append(lab.world) or planted()
    )
    path = tmp_path / "far.json"
    words = ["claims", "A4", "--world", "smollm2-tofu", "--out", str(path), "--runs", str(tmp_path / "runs")]
    assert main(words) == 0
    assert seen == [TOFU]
    assert record.entries(path)["A4"]["header"]["command"].endswith("--world smollm2-tofu")
    lab = Lab(tmp_path, world=TOFU)
    assert lab.settings("ga", lr=1e-4).lr == pytest.approx(5e-4)
    assert Lab(tmp_path).settings("ga", lr=1e-4).lr == 1e-4


def planted():
    from planted_claims import PLANTED

    return PLANTED["A4"]["confirmed"]


def test_a_sensible_answer_is_a_value_of_the_kind_that_is_asked_for():
    (row,) = [r for r in questions(people()["forget"][:1]) if r.attribute == "birth year"]
    other = next(value for value in VALUES["birth year"] if value != row.answer)
    city = VALUES["birthplace"][0] if "birthplace" in VALUES else next(iter(VALUES.values()))[0]
    assert returning.sensible(row.answer, row)
    assert returning.sensible(f" {other.upper()}.", row)
    assert not returning.sensible(city, row)
    assert not returning.sensible(f"{other} {other}", row)
    assert not returning.sensible("", row)


def test_residue_is_the_way_from_the_retrained_model_to_the_original():
    worlds = [
        {"retrained": {"back": 0.2}, "original": {"back": 1.0}, "npo": {"back": back}}
        for back in (0.2, 0.6, 1.0)
    ]
    assert returning.residue({"worlds": worlds}, "npo") == pytest.approx([0.0, 0.5, 1.0])
    assert returning.less({"worlds": worlds}, "back", "original", "npo") == pytest.approx([0.8, 0.4, 0.0])


@pytest.mark.slow
def test_a_world_stops_methods_at_its_retrained_models_level(monkeypatch):
    """With hardly any training: the shape of what is stored, and that a model is read before it practises."""
    monkeypatch.setattr(returning, "EPOCHS", 2)
    monkeypatch.setattr(returning, "METHODS", {"npo": returning.METHODS["npo"] | {"epochs": 1}})
    monkeypatch.setattr(returning, "SHARES", (0.5,))
    monkeypatch.setattr(returning, "DISTILLING", returning.DISTILLING | {"epochs": 1})
    monkeypatch.setattr(returning, "PRACTICE", returning.PRACTICE | {"epochs": 1})
    made = returning.make(0)
    assert (len(made.forget), len(made.kept)) == (36, 126)
    assert all(len(row.wrong) == 4 and row.answer not in row.wrong for row in made.forget)
    found = returning._world(0)
    assert set(found) == {"level", "original", "retrained", "npo", "undo 0.5"}
    assert found["level"] == pytest.approx(found["retrained"]["forget"])
    for name in ("original", "retrained", "npo", "undo 0.5"):
        assert found[name]["back"] >= found[name]["half"]
        assert all(0 <= found[name][key] <= 1 for key in ("forget", "kept", "plausible", "half", "back"))
    always = returning.unlearned(made, "npo", 2.0, 0)
    assert returning.probability(always, made.forget) != returning.probability(made.original, made.forget)


def test_uds_is_compared_with_each_metric_over_the_same_models():
    """Two metrics, of which UDS is right on 3 of 4 pairs and NLL on all; UDS moves less under relearning."""
    from unlearn.claims.g1 import compared
    from unlearn.results import trust

    def member(holds, uds, nll):
        return {"part": "pool", "world": 0, "holds": holds, "learnt": 1.0, "scores": {"uds": uds, "nll": nll}}

    def trial(method, uds, nll):
        before, rest = (
            {"uds": 0.5, "nll": 1.0},
            {"part": "robustness", "world": 0, "method": method, "kept": 1.0},
        )
        return rest | {"before": before, "relearnt": {"uds": uds, "nll": nll}, "rounded": before}

    rows = [
        member(True, 0.1, 0.1),
        member(True, 0.8, 0.2),
        member(False, 0.9, 3.0),
        member(False, 0.7, 4.0),
    ] * 8
    rows += [trial("retrained", 0.4, 0.9), *[trial("npo", 0.4, 0.2)] * 6]
    found = {one["metric"]: one for one in compared({"titles": {"uds": "UDS", "nll": "NLL"}, "rows": rows})}
    assert found["uds"]["faithfulness"]["value"] == 0.75
    assert found["nll"]["faithfulness"] == {"value": 1.0, "gap": -0.25} | {
        which: found["nll"]["faithfulness"][which] for which in ("together", "alone")
    }
    assert found["nll"]["faithfulness"]["together"][1] < 0
    assert found["uds"]["robustness"]["value"] == pytest.approx(1.0)
    r = 1 - 0.7 / 0.9
    assert found["nll"]["robustness"]["value"] == pytest.approx(2 * r / (r + 1), abs=1e-4)
    assert found["nll"]["robustness"]["alone"][0] > 0
    assert trust.KNOWS_LOW
    assert math.isfinite(found["nll"]["robustness"]["gap"])
