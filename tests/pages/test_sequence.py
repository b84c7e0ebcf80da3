"""The Sequence page: what a sequence came to stands first, in a sentence; several have theirs one below the other."""

import pytest

from tests.pages.test_compare import opened
from tests.work.test_sequence import seed_sequence
from unlearn.store.runs import RunStore

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    return RunStore(tmp_path)


def bold(app) -> list[str]:
    said = [one.value.replace("\\", "").replace("\u00a0", " ") for one in app.main.markdown]
    return [words.strip("*") for words in said if words.startswith("**")]


def test_the_first_sentence_says_what_is_left_and_what_it_cost(store):
    record = seed_sequence(store)
    said = "3 of 3 requests were honoured: 22 % of their answers are left; of the rest it answers 80 %, before 95 %."
    names, sentence, *figures = bold(opened("sequence", sequence=record.id))[1:]
    assert names.startswith("NPO · chain · 3, 1, 2")
    assert sentence == said
    assert figures[0].startswith("NPO chain: after 3 requests 22 % of the answers are left")


def test_of_several_each_has_its_own_sentence(store):
    chain, fuse = seed_sequence(store), seed_sequence(store, mode="fuse")
    told = [
        words for words in bold(opened("sequence", sequence=f"{chain.id},{fuse.id}")) if "honoured" in words
    ]
    assert len(told) == 2
    assert [" chain ·" in told[0], " fuse ·" in told[1]] == [True, True]
