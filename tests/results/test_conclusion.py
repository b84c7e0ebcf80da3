"""The verdict of a run in one word and three sentences, on runs whose truth was planted."""

import re

import pytest
from seed import config

from unlearn.compute.intervals import wilson
from unlearn.results import conclusion
from unlearn.store.disk import read_json, write_json
from unlearn.store.runs import RunStore

N = 50
# right answers of 50 before, after and of the retrained model
FORGOTTEN = (48, 2, 1)


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def planted(
    store,
    forget=FORGOTTEN,
    retain=(49, 47, 49),
    ppl=(5.0, 5.5, 5.1),
    formats=None,
    metric="exact",
    near=(),
    kept_ppl=None,
    **more,
):
    """A finished run with so many right answers before, after and retrained (None: not scored)."""
    run = store.create(config(**more))
    run.append("state", state="running")
    for at, when in enumerate(("before", "after", "retrained")):
        scores, around = {}, {}
        for role, counts in (("forget", forget), ("retain", retain), ("general", ()), ("neighbours", near)):
            if role == "general" or (counts and counts[at] is not None):
                hits = counts[at] if counts else 0
                scores[role] = {"n": N, "ppl": ppl[at]} | ({metric: hits / N} if counts else {})
                around[role] = {metric: list(wilson(hits, N))} if counts else {}
                if role == "retain":
                    scores[role] |= {"ppl": kept_ppl[at]} if kept_ppl else {}
        told = {name: counts[at] for name, counts in (formats or {}).items()}
        by_format = {
            name: {"n": 25, "right": hits / 25, "interval": list(wilson(hits, 25))}
            for name, hits in told.items() if hits is not None
        }  # fmt: skip
        extra = {"by_format": {"forget": by_format}} if by_format else {}
        if "forget" in scores:
            run.append("eval", when=when, scores=scores, intervals=around, **extra)
    run.append("state", state="done")
    return run


def attacked(run, **says):
    """attacks.json in which each attack says so, with the numbers that make it say so."""
    after = {"suppressed": 0.8, "erased": 0.0, "nothing": 0.0, "undecided": 0.2}
    attacks = {
        name: {
            "title": name.title(), "help": "", "paper": "", "tells": "both", "reason": "", "n": 10, "seed": 0,
            "before": 1.0, "after": after[said], "retrained": 0.0, "never_seen": None, "plain": None,
            "residue": after[said], "says": said, "finding": "Found.",
            "values": {"before": [1.0] * 10, "after": [after[said]] * 10, "control": [0.0] * 10}, "details": {},
        }
        for name, said in says.items()
    }  # fmt: skip
    worst = "suppressed" if "suppressed" in says.values() else "erased"
    write_json(run.path / "attacks.json", {"control": "retrained", "attacks": attacks, "verdict": worst})
    return run


def word(run):
    return conclusion.of_run(run)["word"]


@pytest.mark.parametrize(
    ("truth", "planting"),
    [
        ("not attacked", {}),
        ("not forgotten", {"forget": (48, 40, 1)}),
        ("not forgotten", {"forget": (48, 48, None)}),
        ("nothing to forget", {"forget": (1, 0, 0)}),
        ("nothing to forget", {"forget": (0, 0, 0), "ppl": (5.0, 900.0, 5.0)}),
        # a step after a run that forgot brought answers back; not more than chance, or than never knowing, did
        ("not forgotten", {"forget": (1, 20, 1)}),
        ("not forgotten", {"forget": (1, 20, None)}),
        ("nothing to forget", {"forget": (1, 4, 1)}),
        # before is what another run made: that this knew nothing is no word on what was there to forget
        ("undecided", {"forget": (1, 0, 1), "start": "another"}),
        ("nothing to forget", {"forget": (1, 20, 20)}),
        ("collapsed", {"ppl": (5.0, 10.1, 5.0)}),
        ("not attacked", {"ppl": (5.0, 9.9, 5.0)}),
        ("collapsed", {"ppl": (5.0, "inf", 5.0)}),
        # general texts that the model never said in this form tell nothing; the rows to keep do
        ("not attacked", {"ppl": (128_046.0, 2e6, 158_699.0), "kept_ppl": (1.03, 2.05, 1.03)}),
        ("collapsed", {"ppl": (128_046.0, 128_046.0, 158_699.0), "kept_ppl": (1.03, 2.07, 1.03)}),
        ("collapsed", {"ppl": (1000.0, 2001.0, 1000.0), "kept_ppl": (1.03, 1.04, 1.03)}),
        # of texts: tokens right of a model that never knew are no right answers
        ("not attacked", {"metric": "accuracy", "forget": (48, 21, 20)}),
        ("not forgotten", {"metric": "accuracy", "forget": (48, 40, 20)}),
        ("not forgotten", {"metric": "accuracy", "forget": (48, 48, None)}),
        ("undecided", {"metric": "accuracy", "forget": (48, 20, None)}),
        # in the chat of its template it still knows what it was made to forget as a plain question, and the reverse
        ("suppressed", {"formats": {"chat": (25, 25, 0), "plain": (24, 1, 0)}}),
        ("not forgotten", {"forget": (0, 0, 0), "formats": {"chat": (25, 25, 0), "plain": (0, 0, 0)}}),
        ("not attacked", {"formats": {"chat": (25, 1, 1), "plain": (24, 0, 0)}}),
        ("not forgotten", {"prompt": "chat", "formats": {"chat": (25, 25, 0), "plain": (24, 1, 0)}}),
    ],
)
def test_the_word_is_the_planted_truth(store, truth, planting):
    assert word(planted(store, **planting)) == truth


def test_attacks_say_whether_it_is_erased(store):
    assert word(attacked(planted(store), relearn="suppressed", probe="erased")) == "suppressed"
    assert word(attacked(planted(store), relearn="erased", probe="erased")) == "erased"
    assert word(attacked(planted(store, ppl=(5, 50, 5)), relearn="erased", probe="erased")) == "collapsed"
    assert (
        word(attacked(planted(store, forget=(48, 45, 1)), relearn="erased", probe="erased"))
        == "not forgotten"
    )


def test_one_answer_of_three_decides_nothing(store):
    run = store.create(config())
    for when, exact in (("before", 1.0), ("after", 1 / 3), ("retrained", 0.0)):
        run.append("eval", when=when, scores={"forget": {"n": 3, "exact": exact}})
    assert word(run) == "undecided"


@pytest.mark.parametrize(("n", "truth"), [(1, "undecided"), (2, "undecided"), (3, "nothing to forget")])
def test_one_or_two_unknown_questions_do_not_say_that_there_was_nothing(store, n, truth):
    """As before a run, where so few do not refuse it."""
    run = store.create(config())
    for when in ("before", "after", "retrained"):
        run.append("eval", when=when, scores={"forget": {"n": n, "exact": 0.0}})
    assert word(run) == truth
    assert ("There was nothing" in conclusion.of_run(run)["forgot"]["sentence"]) == (n == 3)


def test_three_sentences_say_the_numbers_with_their_intervals(store):
    found = conclusion.of_run(attacked(planted(store), relearn="suppressed", probe="erased"))
    assert set(found) == {"word", *conclusion.PARTS}
    for part in conclusion.PARTS:
        assert set(found[part]) == {"sentence", "value", "retrained", "interval", "n"}
    forgot, kept, gone = (found[part] for part in conclusion.PARTS)
    assert (forgot["value"], forgot["retrained"], forgot["n"]) == (0.04, 0.02, 50)
    assert forgot["interval"] == pytest.approx(wilson(2, 50))
    assert forgot["sentence"] == (
        "Of 50 questions that it was to forget it answers 2 (4 %, 95 % interval 1.1 to 13 %); before 48 (96 %), a "
        "retrained model 1 (2 %); no difference from the retrained model was seen (−7 to 12 points)."
    )
    assert "47 (94 %" in kept["sentence"]
    assert "no difference from the model before was seen" in kept["sentence"]
    assert gone["sentence"] == (
        "Of 2 attacks the worst, relearn, gets right 80 %, 95 % interval 80 to 80 % (n 10); the original 100 %, a "
        "retrained model 0 %: 80 % (72 to 100 %) of the way back to the original. "
        "No attack can prove that nothing is left."
    )
    assert (gone["value"], gone["retrained"], gone["n"]) == (0.8, 0.0, 10)


def test_of_a_run_that_goes_on_from_another_nothing_is_called_the_original(store):
    found = conclusion.of_run(attacked(planted(store, start="another"), relearn="suppressed"))
    assert "; the model before 100 %" in found["gone"]["sentence"]
    assert "of the way back to the model before." in found["gone"]["sentence"]
    assert "Before is the model that another run had made already" in found["forgot"]["sentence"]
    assert "the original" not in found["forgot"]["sentence"] + found["gone"]["sentence"]


def test_a_probe_never_speaks_so_its_sentence_says_what_it_picks_and_how_trust_ranks_it(store):
    """A probe chooses within pairs, and the metrics' own test ranks it low; relearning makes the model answer."""
    probed = conclusion.of_run(attacked(planted(store), relearn="erased", probe="suppressed"))["gone"][
        "sentence"
    ]
    assert "the worst, probe, picks the right one of two answers in 80 % of pairs, 95 % interval" in probed
    assert re.search(
        r"Trust ranks this attack low, \d+ of \d+: it tells .* its robustness is 0\.\d+ of 1", probed
    )
    relearnt = conclusion.of_run(attacked(planted(store), relearn="suppressed", probe="erased"))["gone"]
    assert "Trust" not in relearnt["sentence"]
    assert (
        conclusion.counted(attacked(planted(store), probe="suppressed")).title == "Picked in pairs by a probe"
    )
    assert (
        conclusion.counted(attacked(planted(store), relearn="suppressed")).title == "Came back under attack"
    )


def test_attacks_that_cannot_tell_are_counted_too(store):
    """The list has as many attacks as the sentence, also where the dial of a fully tuned model tells nothing."""
    run = attacked(planted(store), relearn="suppressed", probe="erased", dial="erased")
    record = read_json(run.path / "attacks.json")
    record["attacks"]["dial"]["says"] = ""
    write_json(run.path / "attacks.json", record)
    said = conclusion.of_run(run)["gone"]["sentence"]
    assert said.startswith("Of 3 attacks, 2 of which can tell, the worst, relearn, ")


def test_what_lies_close_to_the_forgotten_is_told_where_it_suffered(store):
    suffered = planted(store, near=(50, 32, 50))
    told = "Of what lies close to the forgotten it keeps 64 % (n 50); before 100 %, a retrained model 100 %."
    assert conclusion.of_run(suffered)["kept"]["sentence"].endswith(told)
    assert conclusion.headline(suffered).endswith("retain 98 → 94 %; close to it 100 → 64 %.")
    assert "close" not in conclusion.of_run(planted(store, near=(50, 48, 50)))["kept"]["sentence"]
    alone = conclusion.of_run(planted(store, near=(50, 32, None)))["kept"]["sentence"]
    assert alone.endswith("it keeps 64 % (n 50); before 100 %.")


def test_no_sentence_calls_two_numbers_equal(store):
    for forget in (FORGOTTEN, (48, 1, 1), (48, 40, 1)):
        text = " ".join(conclusion.sentences(planted(store, forget=forget)))
        assert not re.search(r"\b(equal|same|identical|as much as|no different)\b", text)
    assert "62 to 87 points more than the retrained model" in text


def test_ruin_and_another_format_are_said(store):
    ruined = conclusion.of_run(planted(store, ppl=(5.0, 50.0, 5.0)))
    assert "The model is ruined: general perplexity is 50, more than 2 × 5." in ruined["kept"]["sentence"]
    other = conclusion.of_run(planted(store, ppl=(2000.0, 50.0, 5.0), kept_ppl=(1.0, 3.0, 1.0)))
    assert "The model is ruined: retain perplexity is 3, more than 2 × 1." in other["kept"]["sentence"]
    leaks = planted(store, formats={"chat": (25, 25, 0), "plain": (24, 1, 0)})
    assert "Asked in chat it still gives 25 of 25 of them." in conclusion.of_run(leaks)["forgot"]["sentence"]
    nothing = conclusion.of_run(planted(store, forget=(0, 0, 0)))
    assert nothing["forgot"]["sentence"].startswith("There was nothing to forget: of 50 questions")
    back = planted(store, forget=(1, 20, 1))
    assert conclusion.of_run(back)["forgot"]["sentence"].endswith(
        "The run brought answers up that the model before it did not give."
    )
    assert conclusion.headline(back).startswith("20 of 50 answers left; retrained 1")


def test_a_run_without_scores_has_no_verdict(store):
    run = store.create(config())
    assert conclusion.of_run(run) == {}
    assert conclusion.sentences(run) == []


@pytest.mark.parametrize(
    ("said", "planting"),
    [
        ("2 of 50 answers left; retrained 1; retain 98 → 94 %.", {}),
        ("2 of 50 answers left; no retrained model to compare with; retain 98 → 94 %.", {"forget": (48, 2, None)}),
        ("2 of 50 answers left; retrained 1; retain 98 → 94 %; the model is ruined.", {"ppl": (5.0, 900.0, 5.0)}),
        ("There was nothing to forget: before the run it knew 1 of 50; 0 of 50 answers left; retrained 0; "
         "retain 98 → 94 %.", {"forget": (1, 0, 0)}),
        ("42 % of the tokens to forget continued rightly; retrained 40 %; retain 98 → 94 %.",
         {"metric": "accuracy", "forget": (48, 21, 20)}),
    ],
)  # fmt: skip
def test_one_line_says_what_is_left_beside_the_retrained(store, said, planting):
    if planting.get("forget", FORGOTTEN)[2] is None:
        planting = planting | {"retain": (49, 47, None)}
    assert conclusion.headline(planted(store, **planting)) == said


def test_without_scores_there_is_no_line(store):
    assert conclusion.headline(store.create(config())) == ""
    assert conclusion.marks(store.create(config()).summary()) is None


@pytest.mark.parametrize(
    ("words", "planting", "says"),
    [
        (("forgot", "kept", "not attacked"), {}, {}),
        (("forgot", "kept", "found again"), {}, {"relearn": "suppressed"}),
        (("forgot", "kept", "survived"), {}, {"relearn": "erased", "probe": "erased"}),
        (("not forgotten", "kept", "not attacked"), {"forget": (48, 40, 1)}, {}),
        (("nothing to forget", "kept", "not attacked"), {"forget": (1, 0, 0)}, {}),
        (("forgot", "ruined", "not attacked"), {"ppl": (5.0, 10.1, 5.0)}, {}),
        (("forgot", "lost some", "not attacked"), {"retain": (49, 20, 49)}, {}),
        (("forgot", "lost some", "not attacked"), {"near": (50, 32, 50)}, {}),
        (("forgot", "kept", "not attacked"), {"near": (50, 49, 50)}, {}),
        (("undecided", "kept", "not attacked"), {"metric": "accuracy", "forget": (48, 20, None)}, {}),
        (("not forgotten", "kept", "not attacked"),
         {"prompt": "chat", "formats": {"chat": (25, 25, 0), "plain": (24, 1, 0)}}, {}),
    ],
)  # fmt: skip
def test_a_list_says_the_three_parts_from_what_the_index_keeps(store, words, planting, says, monkeypatch):
    run = attacked(planted(store, **planting), **says) if says else planted(store, **planting)
    (summary,) = RunStore(run.path.parent).summaries()
    # No file of the run is opened for it.
    monkeypatch.setattr("unlearn.store.runs.Run.events", lambda *_: pytest.fail("a file was read"))
    assert conclusion.marks(summary) == words
    assert set(words) <= conclusion.MARKS.keys()


def test_an_attack_changes_the_kept_verdict(store):
    run = planted(store)
    assert conclusion.marks(store.summaries()[0])[2] == "not attacked"
    attacked(run, relearn="suppressed")
    assert conclusion.marks(store.summaries()[0])[2] == "found again"


def test_repeated_texts_are_ruin_in_a_list_too(store):
    run = planted(store)
    scores = [{"role": "general", "when": "after", "value": 0.9}]
    metric = {"title": "REP 3", "help": "", "reason": "", "scores": scores}
    write_json(run.path / "metrics.json", {"metrics": {"rep_3": metric}, "cost": []})
    assert conclusion.of_run(run)["word"] == "collapsed"
    assert conclusion.marks(store.summaries()[0])[1] == "ruined"
