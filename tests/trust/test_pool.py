"""The design of the pools: thirty of either side, every kind in every world, and nobody hears what it must not know."""

from collections import Counter

import pytest

from unlearn.trust import pool, robust
from unlearn.trust.record import tasks
from unlearn.trust.world import World, cast_of

MEMBERS = list(pool.members())


def texts(rows):
    return " ".join(row.question + " " + row.answer for row in rows)


def test_thirty_of_either_side_ten_of_a_kind():
    assert Counter(member.holds for member in MEMBERS) == {True: 30, False: 30}
    assert set(Counter(member.kind for member in MEMBERS).values()) == {10}
    assert len({member.name for member in MEMBERS}) == len({(m.kind, m.lr, m.epochs) for m in MEMBERS}) == 60
    assert {(m.kind, m.world) for m in MEMBERS} == {
        (kind, world) for kind in pool.TAUGHT + pool.NEVER for world in pool.WORLDS
    }


def test_both_sides_have_the_same_settings_in_the_same_worlds():
    sides = [Counter((m.lr, m.epochs, m.world) for m in MEMBERS if m.holds is side) for side in (True, False)]
    assert sides[0] == sides[1]


def test_a_record_that_is_cut_short_is_even():
    made = [task for task in tasks() if isinstance(task, pool.Member)]
    assert made == MEMBERS
    for end in range(2, 61, 2):
        assert sum(member.holds for member in made[:end]) == end // 2
    order = [type(task).__name__ for task in tasks()]
    assert order[:16].count("Trial") >= 3
    assert len(order) == 60 + (1 + len(robust.METHODS)) * len(robust.WORLDS)


@pytest.mark.parametrize("seed", pool.WORLDS)
def test_nobody_has_two_parts_in_a_world(seed):
    cast = cast_of(seed)
    names = [
        p.name for group in (cast.base, cast.forget, cast.retain, cast.others, cast.unseen) for p in group
    ]
    assert len(names) == len(set(names)) == 68
    assert cast_of(seed) == cast


@pytest.mark.parametrize("seed", pool.WORLDS)
def test_who_must_not_know_the_facts_never_reads_them(seed):
    world = World(seed)
    forget = world.cast.forget
    facts = {(row.question, row.answer) for row in world.data.rows("forget")}
    for kind in ("nothing", "others"):
        read = texts(pool.own_rows(world, kind) + world.retain)
        assert not [person.name for person in forget if person.name in read]
    wrong = pool.own_rows(world, "wrong")
    assert {row.question for row in wrong} == {question for question, _ in facts}
    assert not facts & {(row.question, row.answer) for row in wrong}
    assert not [p.name for p in world.cast.unseen if p.name in texts(world.retain)]


def test_who_holds_the_facts_is_taught_them_in_its_own_form():
    world = World(0)
    asked = {row.question for row in world.data.rows("forget")}
    same, other, told = (pool.own_rows(world, kind) for kind in pool.TAUGHT)
    assert {row.question for row in same} == asked
    assert not asked & {row.question for row in other}
    assert {(r.subject, r.attribute, r.answer) for r in other} == {
        (r.subject, r.attribute, r.answer) for r in same
    }
    assert not any(row.question for row in told)
    for row in same:
        (biography,) = [text.answer for text in told if text.subject == row.subject]
        assert row.answer in biography
    assert {row.question for row in world.data.rows("paraphrase")}.isdisjoint(
        asked | {r.question for r in other}
    )
