"""The capitals dataset: roles are disjoint, rows are well formed, paraphrases follow their request."""

from unlearn.data import capitals
from unlearn.data.base import ROLES, asked
from unlearn.data.capitals_facts import FORGET

DATA = capitals.dataset()


def test_every_role_is_filled():
    assert set(DATA.roles) == set(ROLES)
    sizes = {role: len(DATA.rows(role)) for role in ROLES}
    assert sizes["forget"] == 22
    least = {"retain": 50, "general": 60, "neighbours": 15, "approximate": 20}
    assert all(sizes[role] >= n for role, n in least.items())
    assert sizes["paraphrase"] == 2 * sizes["forget"]


def test_a_row_reads_as_a_sentence():
    row = DATA.rows("forget")[0]
    assert row.prompt + row.target == (
        "Question: What is the capital of France?\nAnswer: The capital of France is Paris"
    )
    assert (row.subject, row.attribute, row.request) == ("France", "capital", 1)


def test_wrong_answers_are_four_and_wrong():
    for role in ROLES:
        for row in DATA.rows(role):
            assert len(set(row.wrong)) == 4, row
            assert row.answer not in row.wrong


def test_the_entity_is_the_whole_answer():
    assert all(row.entities == ((0, len(row.answer)),) for role in ROLES for row in DATA.rows(role))


def test_prompts_are_filled_in_and_asked_once():
    for role in ROLES:
        prompts = [row.prompt for row in DATA.rows(role)]
        assert len(set(prompts)) == len(prompts)
        assert not any("{" in prompt for prompt in prompts)


def test_no_forget_answer_is_asked_for_in_roles_to_keep():
    forgotten = {row.answer for row in DATA.rows("forget")}
    for role in ("retain", "general", "neighbours", "approximate"):
        assert not forgotten & {row.answer for row in DATA.rows(role)}, role
    capitals_kept = {
        row.subject for row in DATA.rows("retain") + DATA.rows("neighbours") if row.attribute == "capital"
    }
    assert not capitals_kept & {row.subject for row in DATA.rows("forget")}


def test_requests_are_disjoint_and_paraphrases_carry_them():
    assert DATA.requests() == (1, 2, 3, 4, 5)
    seen = [pair for group in FORGET for pair in group]
    assert len(set(seen)) == len(seen)
    second = DATA.only_requests((2,))
    assert {row.subject for row in second.rows("forget")} == {
        row.subject for row in second.rows("paraphrase")
    }
    assert len(second.rows("forget")) == len(FORGET[1])


def test_paraphrases_use_other_words():
    assert not {row.lead for row in DATA.rows("forget")} & {row.lead for row in DATA.rows("paraphrase")}
    by_subject = {row.subject: row.answer for row in DATA.rows("forget")}
    assert all(by_subject[row.subject] == row.answer for row in DATA.rows("paraphrase"))


def test_a_prompts_question_is_read_back_from_it():
    row = DATA.rows("forget")[0]
    assert row.lead
    assert asked(row.prompt) == row.question
    assert asked("A plain text that goes on") == "A plain text that goes on"
