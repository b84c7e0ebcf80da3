"""The blind test: fair draws, votes that are kept with the run, a result that matches them, and its page."""

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store, words  # noqa: F401  (a fixture)
from unlearn.results import blind
from unlearn.results.compare import pair_samples
from unlearn.store.disk import append_line
from unlearn.store.runs import RunStore
from unlearn.store.transfer import export_run, import_run


def rows(count: int = 40) -> list[dict]:
    texts = [{"before": {"text": f"old {i}"}, "a": {"text": f"new {i}"}} for i in range(count)]
    named = [{"role": "retain", "index": i, "question": f"q {i}", "answer": f"a {i}"} for i in range(count)]
    return [name | text for name, text in zip(named, texts, strict=True)]


def test_a_ballot_hides_which_is_which_and_leaves_out_what_is_alike():
    alike = {
        "role": "retain",
        "index": 99,
        "question": "",
        "answer": "",
        "before": {"text": "x"},
        "a": {"text": "x "},
    }
    half = alike | {"index": 98, "a": None}
    pairs = blind.ballot([*rows(), alike, half], "seed", rounds=40)
    assert sorted(pair["index"] for pair in pairs) == list(range(40))
    assert [pair["index"] for pair in pairs] != list(range(40))
    assert 8 <= sum(pair["is_left"] == "before" for pair in pairs) <= 32  # p < 1e-4 outside for a fair coin
    for pair in pairs:
        old = pair["left"] if pair["is_left"] == "before" else pair["right"]
        assert old == f"old {pair['index']}"
        assert {pair["left"], pair["right"]} == {f"old {pair['index']}", f"new {pair['index']}"}
    assert blind.ballot(rows(), "seed") == blind.ballot(rows(), "seed")
    assert len(blind.ballot(rows(), "seed")) == blind.ROUNDS


@pytest.mark.parametrize(
    ("is_left", "choice", "better"),
    [
        ("before", "left", "before"),
        ("before", "right", "after"),
        ("after", "left", "after"),
        ("after", "same", "same"),
    ],
)
def test_a_vote_is_counted_for_the_text_that_was_chosen(tmp_path, is_left, choice, better):
    run = seed_run(RunStore(tmp_path))
    blind.vote(run, "b", {"role": "forget", "index": 1, "is_left": is_left}, choice)
    assert [v["better"] for v in blind.votes(run)] == [better]
    back = import_run(export_run(run, tmp_path), RunStore(tmp_path / "there"))
    assert blind.votes(back) == blind.votes(run)


def test_the_result_is_that_of_the_votes():
    cast = [{"role": "retain", "better": word} for word in ["before"] * 9 + ["after"] + ["same"] * 2]
    found = blind.tally([*cast, {"role": "forget", "better": "same"}])
    assert found["retain"] == {"before": 9, "after": 1, "same": 2, "n": 12, "p": pytest.approx(22 / 1024)}
    assert found["forget"]["p"] == 1.0
    scipy = pytest.importorskip("scipy.stats")
    for a, b in ((0, 0), (5, 5), (1, 7), (12, 3)):
        expected = scipy.binomtest(a, a + b).pvalue if a + b else 1.0
        assert blind.sign_test(a, b) == pytest.approx(expected)


def test_bad_votes_are_refused_or_passed_over(tmp_path, monkeypatch):
    run = seed_run(RunStore(tmp_path))
    pair = {"role": "forget", "index": 1, "is_left": "after"}
    with pytest.raises(ValueError, match="vote: must be among left, right, same, got 'up'"):
        blind.vote(run, "b", pair, "up")
    append_line(run.path / blind.FILE, {"better": "everything", "role": "forget"})
    append_line(run.path / blind.FILE, {"better": "same"})
    assert blind.votes(run) == []
    monkeypatch.setattr(blind, "MOST", 0)
    with pytest.raises(ValueError, match="has 0 votes already"):
        blind.vote(run, "b", pair, "left")


def test_a_person_votes_and_is_told_at_the_end(store):  # noqa: F811
    run = seed_run(store)
    app = opened("compare", tab="Blind test", a=run.id)
    app.button(key=f"blind.{run.id}.start").click().run()
    pairs = app.session_state[f"blind.{run.id}"]["pairs"]
    assert pairs == blind.ballot(
        [r for r in pair_samples([run]) if r["role"] == "forget"], ballot_id(app, run)
    )
    for at, pair in enumerate(pairs):
        assert "before**" not in words(app)  # nothing tells which is which
        assert pair["answer"] not in words(app)
        side = "left" if pair["is_left"] == "before" else "right"
        app.button(key=f"blind.{ballot_id(app, run)}.{at}.{side}").click().run()
        assert not app.exception
    assert f"the answer **before** unlearning {len(pairs)} times" in words(app)
    assert [v["better"] for v in blind.votes(run)] == ["before"] * len(pairs)
    app.button(key=f"blind.{run.id}.again").click().run()
    assert f"blind.{run.id}" not in app.session_state


def ballot_id(app, run) -> str:
    return app.session_state[f"blind.{run.id}"]["id"]
