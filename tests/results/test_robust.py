"""What resists relearning, from recorded rows: residues, equal utility, intervals over seeds, and the sentences."""

import pytest
from robust_rows import curve, rows

from unlearn.results import robust
from unlearn.results.robust import CONTROL


def test_the_residue_lies_between_the_control_at_the_same_step_and_the_original():
    found = robust.residues(rows(), "tiny-authors", "undo")
    assert found[3] == pytest.approx({0: 0.0, 5: 0.1 / 0.9, 30: 0.2 / 0.8})
    assert robust.curve(rows(), "tiny-authors", "gd")[30].mean == pytest.approx(1.0)


def test_a_seed_without_its_control_does_not_count():
    some = [r for r in rows() if (r["way"], r["seed"]) != (CONTROL, 4)]
    assert set(robust.residues(some, "tiny-authors", "undo")) == {0, 1, 2, 3}
    assert robust.against(some, "tiny-authors", "undo").less is not None


def test_only_plain_methods_of_equal_utility_stand_beside():
    found = robust.against(rows(), "tiny-authors", "undo")
    assert found.plain == ("NPO",)
    assert found.left.mean == pytest.approx(0.25)
    assert found.beside.mean == pytest.approx(0.5)
    assert found.less.mean == pytest.approx(0.25)
    # The interval is Student's over the five seeds: NPO's residues lie 0.0125 apart.
    half = 2.776 * 0.0125 * (2.5 / 5) ** 0.5
    assert (found.less.low, found.less.high) == pytest.approx((0.25 - half, 0.25 + half), abs=1e-4)


def test_the_sentence_says_who_resists_and_of_whom_that_was_not_seen():
    said = robust.sentence(rows(), "tiny-authors")
    assert said.startswith(
        "Of UNDO after NPO, SAM with NPO and AltPO, relearning brings back less after UNDO after NPO than after plain "
        "methods. On tiny-authors, at the worst of up to 30 steps of practice"
    )
    assert "UNDO after NPO leaves 25 %, 25 points less than NPO (95 % interval 23 to 27)" in said
    assert (
        "between SAM with NPO (50 % left) and NPO (50 %) no difference was seen (0 points, 95 % interval −2 to 2)"
        in said
    )
    assert "AltPO leaves 87 %, and no plain method keeps as much utility as it does (50 %)" in said
    assert "5 seeds, about 36 answers each; equal utility: within 5 points." in said


def with_curve(way, *values):
    return [r | {"curve": curve(*values)} if r["way"] == way else r for r in rows()]


def test_of_several_plain_methods_the_best_stands_beside_alone():
    more = [r | {"kept": 0.92} if r["way"] == "gd" else r for r in with_curve("gd", 0.1, 0.3, 0.32)]
    found = robust.against(more, "tiny-authors", "undo")
    assert found.plain == ("NPO", "GA+GD")
    title, less = found.best
    gd, mine = robust.worst(more, "tiny-authors", "gd"), robust.worst(more, "tiny-authors", "undo")
    assert title == "GA+GD"
    assert less.mean == pytest.approx(sum(gd[seed] - mine[seed] for seed in mine) / 5)
    said = robust.sentence(more, "tiny-authors")
    assert found.beats()
    assert not found.beats_best()
    assert "after plain methods on average, and less than after the best of these was not seen. On" in said
    assert f", and beside GA+GD, the best of them, {-100 * less.mean:+.0f} points (95 % interval" in said


def test_a_method_that_leaves_more_is_told_so():
    said = robust.sentence(with_curve("undo", 0.1, 0.5, 0.92), "tiny-authors")
    assert said.startswith(
        "That UNDO after NPO, SAM with NPO or AltPO resists relearning better than plain methods was "
    )
    assert "UNDO after NPO leaves 90 %, 40 points more than NPO (95 % interval 38 to 42)" in said


def test_an_attack_counts_at_its_worst_step():
    found = robust.worst(with_curve("undo", 0.1, 0.64, 0.4), "tiny-authors", "undo")
    assert list(found.values()) == pytest.approx([0.6] * 5)


def test_answers_are_compared_seed_by_seed():
    said = robust.said_sentence(rows(), "tiny-authors")
    assert said.startswith("On tiny-authors 90 % of the answers after AltPO are of the right form:")
    assert "40 points more than after NPO (95 % interval 40 to 40)" in said
    assert "read by the original at 0.5 times the perplexity (0.5 to 0.5)" in said
    assert "80 points more than after IdkDPO" in said
    found = robust.said(rows(), "tiny-authors")
    assert list(found)[:2] == ["the original", "the retrained model"]
    assert found["the retrained model"]["perplexity"].mean == pytest.approx(40.0)


def test_shares_end_at_all_and_perplexities_are_averaged_by_their_logarithms():
    some = [r for r in rows() if r["way"] in (CONTROL, "npo") and r["seed"] < 2]
    for one, (form, perplexity) in zip(
        [r for r in some if r["way"] == "npo"], ((0.1, 10.0), (0.9, 1000.0)), strict=True
    ):
        one["says"] |= {"form": form, "perplexity": perplexity}
    found = robust.said(some, "tiny-authors")["NPO"]
    assert (found["form"].mean, found["form"].low, found["form"].high) == (0.5, 0.0, 1.0)
    assert found["perplexity"].mean == pytest.approx(100.0)
    assert found["perplexity"].low > 0


def test_without_a_record_there_is_nothing_to_say(tmp_path):
    assert robust.recorded(tmp_path / "none.json") == []
    assert robust.worlds([]) == []
    assert robust.sentence([], "tiny-authors") == ""
    assert robust.said_sentence([], "tiny-authors") == ""
