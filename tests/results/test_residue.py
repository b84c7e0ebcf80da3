"""The residue's interval by algebra, by hand and by how often it holds the truth; the rows, sentences and figure."""

import math
import random
from itertools import pairwise

import pytest

from unlearn.compute.intervals import wilson
from unlearn.figures import residue as figures
from unlearn.results import residue
from unlearn.results.verdict import residue as left
from unlearn.results.verdict import says


def shares(after, before, control, n=50):
    sides = {"after": after, "before": before, "control": control}
    return {side: [1.0] * hits + [0.0] * (n - hits) for side, hits in sides.items() if hits is not None}


def entry(title, values, *, tells="both", details=None, **more):
    """An entry of attacks.json with what carry_out() computes of the values."""
    mean = {side: sum(found) / len(found) for side, found in values.items()}
    return {
        "title": title, "help": "", "paper": "", "tells": tells, "reason": "", "seconds": 1.0, "seed": 0,
        "n": len(values["after"]), "before": mean["before"], "after": mean["after"],
        "retrained": mean.get("control"), "never_seen": None, "plain": None,
        "residue": left(values), "says": says(values, tells), "finding": f"{title} found it.",
        "values": values, "details": details or {},
    } | more  # fmt: skip


def planted(**more):
    attacks = {"prefix": entry("Answer prefix", shares(2, 50, 1))}
    attacks["probe"] = entry("Linear probe", shares(30, 50, 20), details={"chance": 0.5})
    attacks["lens"] = {"title": "Layer-wise residue", "tells": "both", "reason": "needs a decoder-only model"}
    sweep = {
        f"practice-{name}": entry(
            f"Relearning: {name}", shares(hits, 50, 1), family="Relearning", setting=name
        )
        for name, hits in (("lr", 20), ("LoRA", 40), ("retain", 3))
    }
    sweep["format-chat"] = {"title": "Other format: in chat", "tells": "suppressed", "reason": "no template"}
    record = {"control": "retrained", "seed": 0, "attacks": attacks, "sweep": sweep}
    return (
        record
        | {"swept": {"minutes": 3.25, "of": 9, "done": 4, "next": "NF4 weights: x", "next_minutes": 0.5}}
        | more
    )


def test_where_original_and_control_are_known_it_is_that_of_the_share():
    """With as good as no doubt about them, the residue of B = 1 and C = 0 is A itself."""
    many = 200_000
    values = {"after": [1.0] * 9 + [0.0] * 21, "before": [1.0] * many, "control": [0.0] * many}
    assert residue.around(values) == pytest.approx(wilson(9, 30), abs=1e-3)


def test_it_is_the_squares_of_the_three_distances_by_hand():
    values = shares(20, 45, 5)
    a, b, c = 0.4, 0.9, 0.1
    (al, ah), (bl, bh), (cl, ch) = wilson(20, 50), wilson(45, 50), wilson(5, 50)
    point = (a - c) / (b - c)
    low = math.hypot((al - c) / (b - c) - point, (a - c) / (bh - c) - point, (a - ch) / (b - ch) - point)
    high = math.hypot((ah - c) / (b - c) - point, (a - c) / (bl - c) - point, (a - cl) / (b - cl) - point)
    assert residue.around(values) == pytest.approx((point - low, point + high))


@pytest.mark.parametrize("truth", [(0.3, 0.95, 0.05), (0.05, 0.9, 0.1), (0.6, 0.8, 0.2)])
def test_it_holds_the_truth_about_as_often_as_it_says(truth):
    draw, held, trials = random.Random(0), 0, 400
    a, b, c = truth
    for _ in range(trials):
        values = {
            side: [float(draw.random() < share) for _ in range(60)]
            for side, share in (("after", a), ("before", b), ("control", c))
        }
        ends = residue.around(values)
        assert ends is not None
        held += ends[0] <= (a - c) / (b - c) <= ends[1]
    assert 0.92 <= held / trials <= 1.0


def test_more_right_answers_move_it_up_and_no_answer_leaves_room():
    ends = [residue.around(shares(hits, 50, 0)) for hits in range(0, 51, 10)]
    assert all(x[0] < y[0] and x[1] < y[1] for x, y in pairwise(ends))
    assert ends[0][1] > 0.05
    assert residue.around(shares(30, 30, 28)) is None
    assert residue.around({"after": [0.0] * 20, "before": [1.0] * 20}, floor=0.5) is not None


def test_rows_hold_all_of_both_the_worst_first():
    rows = residue.rows(planted())
    assert [row["name"] for row in rows] == [
        "practice-LoRA", "practice-lr", "probe", "practice-retain", "prefix",
    ]  # fmt: skip
    worst = rows[0]
    assert worst["interval"] == pytest.approx(wilson(40, 50))
    assert worst["residue"] == pytest.approx(39 / 49)
    assert worst["around"][0] < worst["residue"] < worst["around"][1]
    assert (worst["family"], worst["setting"], worst["swept"]) == ("Relearning", "LoRA", True)
    probe = next(row for row in rows if row["name"] == "probe")
    # A guess gives 50 %, which lies a sixth of the way from the control (40 %) to the original (100 %).
    assert probe["chance"] == pytest.approx((0.5 - 0.4) / (1.0 - 0.4))
    assert probe["swept"] is False
    assert residue.rows({}) == []


def test_the_sentence_names_the_worst_setting_its_doubt_and_that_it_was_picked():
    said = residue.sentence(planted())
    assert said.startswith(
        "Of 5 settings tried the worst, relearning: LoRA, leaves 80 % of what lies between control"
    )
    assert "95 % interval" in said
    assert (
        "it gets right 80 % (67 to 89 %), n 50, the original 100 %, the retrained model 2 %; seed 0." in said
    )
    assert "It was picked because it found most" in said
    assert residue.sentence({}) == ""
    one = residue.sentence(
        {"control": "retrained", "attacks": {"nf4": entry("NF4 weights", shares(0, 50, 0))}}
    )
    assert one.startswith("The one attack that was tried, NF4 weights, leaves 0 %")
    assert "picked" not in one


def test_the_note_and_what_was_left_out():
    record = planted()
    assert residue.sweep_note(record) == (
        "4 of 9 settings were tried in 3.2 minutes; next comes NF4 weights: x, which needs about 0.5 minutes. "
        "Start it again to go on."
    )
    assert residue.sweep_note({"attacks": {}}) == ""
    assert residue.left_out(record) == [
        "Layer-wise residue: needs a decoder-only model", "Other format: in chat: no template",
    ]  # fmt: skip


def test_lines_for_a_terminal():
    lines = residue.lines(planted())
    assert lines[0].startswith("suppressed     80% left")
    assert "Relearning: LoRA: 80 % right (67 to 89 %), original 100 %, control 2 %" in lines[0]
    assert lines[-1] == "left out: Other format: in chat: no template"


def test_entries_without_values_and_hostile_ones_raise_nothing():
    bare = entry("Answer prefix", shares(2, 50, 1)) | {"values": {}}
    odd = entry("Linear probe", shares(30, 50, 20), details={"chance": "half"})
    nan = entry("Lens", shares(30, 50, 20)) | {
        "values": {"after": ["nan"], "before": [1.0], "control": [0.0]}
    }
    record = {"control": "", "attacks": {"a": bare, "b": odd, "c": nan}}
    rows = residue.rows(record)
    assert len(rows) == 3
    assert next(row for row in rows if row["name"] == "a")["interval"] is None
    figures.left(record)
    assert residue.sentence(record)
    assert len(residue.lines(record)) == 3


# -- the figure --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_the_figure_has_a_line_for_each_kind_the_worst_on_top(dark):
    figure = figures.left(planted(), dark)
    traces = {trace.name: trace for trace in figure.data}
    assert set(traces) == {"original", "retrained", "other settings", "unlearned, worst setting", "a guess"}
    worst = traces["unlearned, worst setting"]
    assert [place.partition("<br>")[0] for place in worst.y] == [
        "Relearning",
        "Linear probe",
        "Answer prefix",
    ]
    assert worst.x[0] == pytest.approx(39 / 49)
    assert "<b>80 %</b>, 50 texts" in worst.y[0]
    assert list(traces["original"].x) == [1.0] * 3
    assert list(traces["retrained"].x) == [0.0] * 3
    assert len(traces["other settings"].x) == 2
    assert list(traces["a guess"].x) == pytest.approx([1 / 6])
    row = residue.rows(planted())[0]
    assert worst.error_x.array[0] == pytest.approx(row["around"][1] - row["residue"])
    assert worst.error_x.arrayminus[0] == pytest.approx(row["residue"] - row["around"][0])
    assert figure.layout.title.text.startswith("Relearning: LoRA leaves most: 80 %")
    assert figure.layout.xaxis.title.text == "what is left"


def test_without_attacks_the_figure_says_so_and_escapes_what_others_wrote():
    assert figures.left({}).layout.title.text == "No attack was carried out yet"
    bad = {"control": "never seen", "attacks": {"x": entry("<b>x</b>", shares(20, 50, 1))}}
    figure = figures.left(bad)
    assert "<b>x" not in figure.layout.title.text
    assert {trace.name for trace in figure.data} >= {"never seen"}
