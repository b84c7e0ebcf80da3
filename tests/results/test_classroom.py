"""A class votes under one code: the same pairs for all, one vote a person and pair, and nothing in the run's folder."""

import pytest
from seed import seed_run

from unlearn.results import classroom
from unlearn.results.compare import pair_samples
from unlearn.store.disk import append_line
from unlearn.store.runs import RunStore

CODE = "ABC23"


@pytest.fixture
def run(tmp_path):
    return seed_run(RunStore(tmp_path))


@pytest.fixture
def room(tmp_path, run):
    return classroom.begin(tmp_path, CODE, run.id, "forget")


def test_every_browser_judges_the_same_pairs(tmp_path, run, room):
    first = classroom.pairs(room, pair_samples([run]))
    assert first
    assert first == classroom.pairs(classroom.read(tmp_path, CODE), pair_samples([run]))
    assert {pair["role"] for pair in first} == {"forget"}


def test_votes_of_several_people_add_up_and_a_second_one_replaces_the_first(tmp_path, run, room):
    pair, other, *_ = classroom.pairs(room, pair_samples([run]))
    right = {"before": "left", "after": "right"}[pair["is_left"]]
    wrong = {"left": "right", "right": "left"}[right]
    classroom.cast(tmp_path, room, "ann", pair, wrong)
    classroom.cast(tmp_path, room, "ann", pair, right)
    classroom.cast(tmp_path, room, "ben", pair, right)
    classroom.cast(tmp_path, room, "ben", other, "same")
    found = classroom.tally(tmp_path, room)
    assert (found["before"], found["after"], found["same"], found["n"], found["voters"]) == (2, 0, 1, 3, 2)
    assert classroom.sentence(found, "forget").startswith(
        "2 people gave 3 votes on answers to forget: 2 preferred"
    )
    assert not (run.path / "votes.jsonl").exists()


def test_nobody_has_voted_yet(tmp_path, room):
    assert classroom.sentence(classroom.tally(tmp_path, room), "forget") == "Nobody has voted yet."


@pytest.mark.parametrize("code", ["", "abc23", "ABC2", "../AB", "ABC23/", "AB\nC2", "ABCO1"])
def test_a_code_is_no_path(tmp_path, run, code):
    assert classroom.read(tmp_path, code) is None
    with pytest.raises(ValueError, match="code"):
        classroom.begin(tmp_path, code, run.id, "forget")


def test_a_code_that_is_taken_is_not_given_to_another_run(tmp_path, run, room):
    assert classroom.begin(tmp_path, CODE, run.id, "forget") == room
    with pytest.raises(ValueError, match="another run"):
        classroom.begin(tmp_path, CODE, run.id, "retain")
    with pytest.raises(ValueError, match="rows must be among"):
        classroom.begin(tmp_path, "XYZ23", run.id, "general")


def test_too_many_votes_and_classes_are_refused(tmp_path, run, room, monkeypatch):
    monkeypatch.setattr(classroom, "MOST", 1)
    pair = classroom.pairs(room, pair_samples([run]))[0]
    classroom.cast(tmp_path, room, "ann", pair, "left")
    with pytest.raises(ValueError, match="1 votes already"):
        classroom.cast(tmp_path, room, "ben", pair, "left")
    with pytest.raises(ValueError, match="must be among"):
        classroom.cast(tmp_path, room, "ben", pair, "up")
    monkeypatch.setattr(classroom, "MOST_CLASSES", 1)
    with pytest.raises(ValueError, match="1 classes"):
        classroom.begin(tmp_path, "XYZ23", run.id, "forget")


def test_lines_of_another_shape_are_passed_over(tmp_path, run, room):
    pair = classroom.pairs(room, pair_samples([run]))[0]
    classroom.cast(tmp_path, room, "ann", pair, "same")
    path = tmp_path / classroom.FOLDER / f"{CODE}.votes.jsonl"
    for line in (
        {"voter": 3},
        {"better": "before", "voter": "x", "role": "retain", "index": 0},
        {"better": []},
    ):
        append_line(path, line)
    assert classroom.tally(tmp_path, room)["n"] == 1
    (tmp_path / classroom.FOLDER / f"{CODE}.json").write_text('{"run": "x", "role": "general"}')
    assert classroom.read(tmp_path, CODE) is None


def test_codes_differ_and_are_codes():
    made = {classroom.new_code() for _ in range(50)}
    assert len(made) > 45
    assert all(classroom.CODE.fullmatch(code) for code in made)
