"""The stop rule in plain numbers: what ends a run, which step is the best, and what a sentence says of it."""

import math

import pytest

from unlearn.store.config import RunConfig
from unlearn.store.stop_rule import Course, Reading, StopRule, ended_sentence

# Steps 1 to 6: forgotten too little, then too much; general text leaves its budget of 1.1 after step 4.
FORGET = (0.9, 0.6, 0.35, 0.25, 0.05, 0.01)
PPL = (1.0, 1.02, 1.05, 1.09, 1.2, 1.5)


def course_of(rule, target, readings):
    course = Course(rule, target, "given").after(Reading(0, 0.95, dict.fromkeys(rule.limits, 1.0)))
    ended = None
    for reading in readings:
        course = course.after(reading)
        ended = ended or ((reading, course.why(reading)) if course.why(reading) else None)
    return course, ended


def readings():
    return [Reading(i, f, {"general-ppl": p}) for i, (f, p) in enumerate(zip(FORGET, PPL, strict=True), 1)]


@pytest.mark.parametrize(
    ("stop_at", "budget", "step", "why"),
    [
        ("0.3", (), 4, "target"),  # the first step at or below it
        ("0.25", (), 4, "target"),  # at it is enough
        ("", ("general-ppl=1.1",), 5, "budget"),
        ("0.02", ("general-ppl=1.1",), 5, "budget"),
        ("0.3", ("general-ppl=1.1",), 4, "target"),
        ("", ("general-ppl=1.09",), 5, "budget"),  # what is spent to the last bit is still inside
        ("0.001", ("general-ppl=2",), None, ""),
    ],
)
def test_what_ends_a_run_first(stop_at, budget, step, why):
    rule = StopRule.of(stop_at, budget, "last")
    told = [Reading(r.step, r.forget, {n: r.spent[n] for n in rule.limits}) for r in readings()]
    _, ended = course_of(rule, rule.given, told)
    assert (ended[0].step, ended[1]) == (step, why) if step else ended is None


def test_the_best_step_is_the_nearest_to_the_target_inside_the_budget():
    """By hand: to .2 the distances of steps 0 to 6 are .75 .7 .4 .15 .05 .15 .19, and steps 5 and 6 are outside."""
    rule = StopRule.of("0.2", ("general-ppl=1.1",), "best")
    assert course_of(rule, 0.2, readings())[0].best == 4
    # To .05 step 5 would be exact, but it is outside; 4 is the nearest of the others.
    assert course_of(rule, 0.05, readings())[0].best == 4
    assert course_of(StopRule.of("0.05", (), "best"), 0.05, readings())[0].best == 5
    # Equally near: the earlier, which has done less.
    twice = [Reading(i, 0.5, {}) for i in (1, 2, 3)]
    assert course_of(StopRule.of("0.4", (), "best"), 0.4, twice)[0].best == 1
    # Nothing inside the budget is nearer than the start.
    none = StopRule.of("0.2", ("general-ppl=1",), "best")
    assert course_of(none, 0.2, readings()[1:])[0].best == 0


def test_a_budget_of_probability_is_a_floor_and_what_is_no_number_is_outside():
    rule = StopRule.of("", ("retain=0.9", "kl=0.01"), "last")
    assert rule.inside({"retain": 0.9, "kl": 0.01})
    assert rule.broken({"retain": 0.899, "kl": 0.0}) == "retain"
    assert rule.broken({"retain": 1.2, "kl": 0.011}) == "kl"
    assert not rule.inside({"retain": math.nan, "kl": 0.0})
    assert rule.roles == ("forget", "retain", "general")


def test_events_bring_the_course_back():
    rule = StopRule.of("0.2", ("general-ppl=1.1",), "best")
    course, events = Course(rule, 0.2, "given"), []
    for reading in readings():
        course = course.after(reading)
        events.append(course.event(reading))
    again = Course(rule, 0.2, "given")
    for event in events:
        again = again.again(event)
    assert again == course
    assert [e["best"] for e in events] == [1, 2, 3, 4, 4, 4]
    assert [e["inside"] for e in events] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stop_at": "soon"}, r"stop_at must be target or a probability between 0 and 1, got 'soon'"),
        ({"stop_at": "1"}, "between 0 and 1"),
        ({"stop_at": "nan"}, "between 0 and 1"),
        ({"budget": ("ppl=1.03",)}, "NAME=LIMIT with a name among general-ppl, kl, retain, got 'ppl=1.03'"),
        ({"budget": ("kl",)}, "NAME=LIMIT"),
        ({"budget": ("general-ppl=0.9",)}, r"general-ppl must lie in \[1, 1e\+06\], got 0.9"),
        ({"budget": ("retain=1.1",)}, r"retain must lie in"),
        ({"budget": ("kl=.01,kl=.02",)}, "kl is given twice"),
        ({"keep": "first"}, "keep must be among last, best"),
    ],
)
def test_what_cannot_be_a_rule_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo", **settings)


def test_settings_survive_json_and_the_command_line():
    config = RunConfig(
        model="tiny-authors", data={"name": "authors"}, method="npo", stop_at="target", keep="best",
        budget=["general-ppl=1.03,kl=0.01"], sam=0.01,
    )  # fmt: skip
    assert config.budget == ("general-ppl=1.03", "kl=0.01")
    assert RunConfig.from_json(config.to_json()) == config
    # A file may state it as a number.
    assert RunConfig.from_json(config.to_json() | {"stop_at": 0.25}).stop_rule().given == 0.25
    words = config.command().split()
    for flag, value in (("--stop-at", "target"), ("--budget", "general-ppl=1.03,kl=0.01"), ("--sam", "0.01")):
        assert words[words.index(flag) + 1] == value


@pytest.mark.parametrize(
    ("stop_at", "budget", "keep", "kept", "said"),
    [
        ("0.3", (), "last", 4, "Ended at step 4 of 9: the answers that the rule reads have a mean probability of "
         "0.25, at or below the target 0.3 (as asked for)."),
        ("", ("general-ppl=1.1",), "last", 5, "Ended at step 5 of 9: general perplexity is 1.2 times the start's, "
         "above the budget of 1.1."),
        ("0.2", ("general-ppl=1.1",), "best", 4, "above the budget of 1.1. Kept: the weights of step 4, the nearest to "
         "the target inside the budget."),
        ("0.001", (), "last", 6, "Ran all 9 steps: the answers that the rule reads have a mean probability of "
         "0.01, above the target 0.001 (as asked for)."),
    ],
)  # fmt: skip
def test_the_sentence_says_what_ended_it(stop_at, budget, keep, kept, said):
    rule = StopRule.of(stop_at, budget, keep)
    told = [Reading(r.step, r.forget, {n: r.spent[n] for n in rule.limits}) for r in readings()]
    course, last = Course(rule, rule.given, "given"), told[-1]
    for reading in told:
        course = course.after(reading)
        if course.why(reading):
            last = reading
            break
    end = course.end(last, 9)
    assert end["kept"] == kept
    assert said in ended_sentence(end)
    assert ended_sentence({}) == ""
