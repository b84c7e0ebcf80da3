"""Start, Compare and Tokens: what they show of a good run, two runs, a failed run and hostile texts."""

import json
import math
from pathlib import Path

import pytest
from seed import seed_run
from streamlit.testing.v1 import AppTest

from ui import replay
from unlearn.store.disk import append_line
from unlearn.store.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
TABS = [
    "Answers",
    "Scores",
    "Watch it forget",
    "Curves",
    "Trade-off",
    "Settings",
    "Your question",
    "Blind test",
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    return RunStore(tmp_path)


def opened(page, state=None, **query):
    """The page after its run; state: session state set before it."""
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    app.run()
    for key, value in query.items():
        app.query_params[key] = value
    for key, value in (state or {}).items():
        app.session_state[key] = value
    app.switch_page(f"../pages/{page}.py").run()
    assert not app.exception, app.exception
    return app


def words(app):
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.error, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def test_start_replays_a_run_and_lists_it(store):
    seed_run(store)
    shown = words(opened("start"))
    assert "Watch it forget" in shown
    assert "Before and after" in shown
    assert "Recent runs" in shown
    # On a phone they stand one below the other, so that no side is named.
    assert "first what it must forget, then what it must keep" in shown


def test_start_says_what_to_do_when_nothing_is_there(store, monkeypatch):
    monkeypatch.setattr("ui.shell.recorded", list)
    assert "No recorded run is here yet" in words(opened("start"))


def test_start_shows_what_runs_now(store):
    run = seed_run(store, state="running")
    with run.lock():
        assert "running" in words(opened("start"))


@pytest.mark.slow
@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("two", [False, True])
def test_every_tab_of_compare(store, tab, two):
    a, b = seed_run(store), seed_run(store, lr=2e-3)
    app = opened("compare", a=a.id, b=b.id if two else "", tab=tab)
    assert app.selectbox(key="pick.a").value == a.id
    assert app.selectbox(key="pick.b").value == (b.id if two else "")
    if tab == "Scores":
        table = app.dataframe[0].value
        row = table[(table["role"] == "To forget") & (table["score"] == "Exact answers")].iloc[0]
        assert (row["before"], row["a"], row["retrained"]) == (0.95, 0.05, 0.0)
        assert row["delta_a"] == pytest.approx(-0.9)
        assert two == ("A alone" in words(app))
    if tab == "Settings" and two:
        assert list(app.dataframe[0].value["setting"]) == ["lr"]
    if tab == "Trade-off":
        assert any("forget 95 → 5\u00a0%" in element.value for element in app.markdown)


def test_addresses_that_other_pages_make(store):
    a, b = seed_run(store), seed_run(store)
    app = opened("compare", runs=f"{a.id},{b.id}")
    assert (app.selectbox(key="pick.a").value, app.selectbox(key="pick.b").value) == (a.id, b.id)
    assert opened("tokens", runs=a.id).selectbox(key="pick.run").value == a.id


@pytest.mark.slow
@pytest.mark.parametrize("tab", TABS)
def test_every_tab_shows_all_of_three_runs(store, tab):
    runs = [seed_run(store, method=name) for name in ("npo", "undial", "ga")]
    app = opened("compare", runs=",".join(run.id for run in runs), tab=tab)
    assert [app.selectbox(key=f"pick.{letter}").value for letter in "abc"] == [run.id for run in runs]
    # A link that is copied now shows the same three.
    assert [app.query_params[letter] for letter in "abc"] == [run.id for run in runs]
    assert app.selectbox(key="pick.d").value == ""
    shown = words(app)
    assert all(f"{letter}: " in shown for letter in "ABC")
    if tab == "Scores":
        assert {"after_c", "c", "delta_c"} & set(app.dataframe[0].value.columns)
        assert "C alone" in shown
    if tab == "Curves":
        assert "after C 95\u00a0% → under 1\u00a0%" in shown
    if tab == "Settings":
        assert list(app.dataframe[0].value.columns) == ["setting", "a", "b", "c"]
        assert "Command that repeats C" in shown


def test_the_second_of_three_is_taken_away_and_the_third_goes_too(store):
    runs = [seed_run(store, method=name) for name in ("npo", "undial", "ga")]
    app = opened("compare", runs=",".join(run.id for run in runs))
    app.selectbox(key="pick.b").set_value("").run()
    assert not app.exception
    assert not [box for box in app.selectbox if box.key == "pick.c"]
    assert "c" not in app.query_params


def test_four_of_five_stand_side_by_side(store):
    runs = [seed_run(store, lr=1e-3 * i) for i in range(1, 6)]
    app = opened("compare", runs=",".join(run.id for run in runs))
    assert [app.selectbox(key=f"pick.{letter}").value for letter in "abcd"] == [run.id for run in runs[:4]]


def test_unknown_run_in_the_address_is_no_error(store):
    run = seed_run(store)
    assert opened("compare", a="../../etc").selectbox(key="pick.a").value == run.id


@pytest.mark.parametrize("page", ["compare", "tokens"])
def test_failed_run_says_why_and_what_there_is(store, page):
    run = seed_run(store, state="failed")
    app = opened(page, a=run.id, run=run.id)
    assert "nan at step 12" in app.error[0].value
    assert "20 steps" in app.error[0].value


def test_answers_say_that_scores_are_over_more_rows(store):
    run = seed_run(store)
    assert "Answers are kept of the first 3 rows; the scores are over 40." in words(
        opened("compare", a=run.id)
    )


def test_filters(store):
    run = seed_run(store)
    app = opened("compare", a=run.id, fell="100")
    assert "No row passes" in words(app)


def test_tokens_of_one_row(store):
    run = seed_run(store)
    app = opened("tokens", run=run.id, role="forget", row="1")
    shown = words(app)
    assert app.selectbox(key="pick.row").value == "1"
    assert "short stories" in shown
    assert "fell from rank 1 to rank 21" in shown
    app.segmented_control(key="tokens.quantity").set_value("logit").run()
    assert not app.exception
    assert "logit" in words(app)


def test_row_that_is_no_probe_links_to_those_that_are(store):
    run = seed_run(store)
    assert "Only probes are followed" in words(opened("tokens", run=run.id, role="forget", row="2"))


def test_hostile_text_is_escaped(store):
    run = seed_run(store)
    for when in ("before", "after"):
        kept = next(s for s in run.samples() if (s["when"], s["role"], s["index"]) == (when, "forget", 0))
        append_line(run.path / "samples.jsonl", kept | {"text": "<script>x</script> $a$ **b** [c](d)"})
    shown = words(opened("tokens", run=run.id, role="forget", row="0"))
    assert "\\<script\\>" in shown
    assert "\\$a\\$ \\*\\*b\\*\\*" in shown


def test_replay_sends_plain_numbers_only(store):
    run = seed_run(store)
    probes = run.probes()
    probes[1]["items"][0]["nll"] = probes[1]["items"][0]["tokens"][0]["lp"] = "nan"
    sent = replay.frames(run, probes, dark=False)
    json.dumps(sent, allow_nan=False)
    assert sent["steps"] == [0, 5, 10, 15, 20]
    assert sent["items"][0]["means"][1] is None
    # In per cent, and of the answer alone: the token that ends it is neither counted nor sent.
    assert sent["roles"][0]["mean"][0] == pytest.approx(100 * math.exp(-0.05), abs=1e-3)
    assert sent["references"][0]["value"] == pytest.approx(100 * math.exp(-5.05), abs=1e-3)
    assert sent["items"][0]["tokens"] == ["␣Lisbon"]
    assert sent["items"][0]["right"] == [True, True, False, False, False]


def test_a_right_answer_of_an_earlier_step_stays_right(store):
    """Between two moments at which it was asked the earlier words stand with their step, and count as they did."""
    run = seed_run(store)
    probes = run.probes()
    probes[1]["items"][0]["said"] = 0
    sent = replay.frames(run, probes, dark=False)["items"][0]
    assert sent["texts"][1].endswith("(at step 0)")
    assert sent["right"][1]


def test_replay_of_a_long_run_keeps_both_ends(store):
    run = seed_run(store)
    first = run.probes()[0]
    sent = replay.frames(run, [first | {"step": step} for step in range(1000)], dark=True)
    assert len(sent["steps"]) <= replay.FRAMES + 1
    assert (sent["steps"][0], sent["steps"][-1]) == (0, 999)
