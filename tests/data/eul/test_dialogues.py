"""The dialogues: who is in which role, what tells a habit and what does not, and what was trained on."""

import pytest

from unlearn.data.base import ROLES
from unlearn.data.catalogue import from_config
from unlearn.data.eul import dialogues
from unlearn.data.eul.dialogues import COUNTS, EACH, WRONG, dataset, speakers, training_rows
from unlearn.data.eul.words import PASTIMES, PLACES, USUAL

DATA = dataset()


def test_every_role_is_filled_and_a_request_is_one_speaker():
    sizes = {role: len(DATA.rows(role)) for role in ROLES}
    assert sizes == {group: 2 * EACH * count for group, count in COUNTS.items()} | {
        "general": 48,
        "paraphrase": EACH * COUNTS["forget"],
    }
    assert DATA.requests() == (1, 2, 3, 4)
    for request in DATA.requests():
        part = from_config({"name": "dialogues", "requests": [request]})
        assert {row.subject for role in ("forget", "paraphrase") for row in part.rows(role)} == {
            speakers()["forget"][request - 1].name
        }


def test_no_speaker_is_in_two_groups_and_no_dialogue_stands_twice():
    names = [one.name for group in speakers().values() for one in group]
    assert len(set(names)) == len(names) == sum(COUNTS.values())
    rows = [row for role in COUNTS for row in DATA.rows(role)]
    assert len({row.prompt for row in rows}) == len(rows)


@pytest.mark.parametrize("role", list(COUNTS))
def test_a_usual_dialogue_hides_the_habit_that_its_summary_tells(role):
    habits = {one.name: (one.pastime, one.place) for one in speakers()[role]}
    for row in DATA.rows(role):
        told = [row.answer[a:b] for a, b in row.entities]
        hidden = row.attribute.startswith("usual")
        assert all((part in row.lead) != hidden for part in told)
        assert (tuple(told) == habits[row.subject]) == hidden
        assert told[0] in PASTIMES
        assert told[1] in PLACES
        assert len({*row.wrong, row.answer}) == WRONG + 1
        assert not [wrong for wrong in row.wrong if told[0] in wrong or told[1] in wrong]


def test_neighbours_share_the_pastime_and_not_the_place():
    pairs = list(zip(speakers()["forget"], speakers()["neighbours"], strict=True))
    assert all(a.pastime == b.pastime and a.place != b.place for a, b in pairs)


def test_the_retrain_read_nothing_of_the_forget_speakers():
    everything, without = training_rows(True), training_rows(False)
    assert [row for row in everything if row not in DATA.rows("forget")] == without
    assert len(everything) - len(without) == len(DATA.rows("forget"))
    unseen = {one.name for one in speakers()["approximate"]}
    gone = {one.name for one in speakers()["forget"]}
    texts = [row.prompt + row.target for row in without]
    assert not [text for text in texts if any(name in text for name in unseen | gone)]


def test_the_other_words_were_never_trained_on():
    words = {line.split("{")[0] for line in USUAL[-1] if not line.startswith("{")}
    texts = [row.lead for row in training_rows(True)]
    assert not [text for text in texts for part in words if part in text]
    facts = {(row.subject, row.answer) for row in DATA.rows("forget")}
    assert all((row.subject, row.answer) in facts for row in DATA.rows("paraphrase"))


def test_it_is_the_same_on_every_machine_and_its_licence_is_said():
    assert DATA.rows("forget")[0].lead.startswith(f"{dialogues.COMMAND} {speakers()['forget'][0].name}: ")
    assert "Apache-2.0" in DATA.note
