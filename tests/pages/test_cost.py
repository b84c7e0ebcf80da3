"""What a visit costs, in things that are counted: how often a store is listed, figures are built, a page is drawn."""

import pytest
from seed import add_step, seed_run
from streamlit.runtime.scriptrunner import RerunData
from streamlit.testing.v1 import local_script_runner

from tests.pages.test_compare import opened, store  # noqa: F401  (a fixture)
from ui import shell
from ui.runs import table, watching
from unlearn.figures import tokens as token_figures
from unlearn.store.index import Index

BUILT = ("topk_slope", "token_bars", "probe_curves")


@pytest.fixture
def built(monkeypatch):
    """Names of the figures of Tokens, one for each time that one is built."""
    found: list[str] = []

    def spy(name):
        original = getattr(token_figures, name)

        def build(*args, **options):
            found.append(name)
            return original(*args, **options)

        return build

    for name in BUILT:
        monkeypatch.setattr(token_figures, name, spy(name))
    return found


@pytest.fixture
def listings(store, monkeypatch):  # noqa: F811
    """One entry for each time that the store is listed."""
    found: list[str] = []
    original = Index.summaries

    def summaries(self):
        if self.root == store.root:
            found.append("")
        return original(self)

    monkeypatch.setattr(Index, "summaries", summaries)
    return found


@pytest.mark.parametrize("page", ["start", "runs", "compare", "tokens"])
def test_a_visit_lists_the_store_once(store, listings, page):  # noqa: F811
    for _ in range(2):
        seed_run(store)
    app = opened(page)
    listings.clear()
    app.run()
    assert len(listings) == 1


def test_a_figure_is_built_once_for_what_it_shows(store, built):  # noqa: F811
    run = seed_run(store)
    app = opened("tokens", run=run.id, role="forget", row="1")
    assert sorted(built) == sorted(BUILT)
    titles = [words.value for words in app.markdown if "Largest shift" in str(words.value)]
    built.clear()
    app.run()
    assert built == []
    # A figure that is kept keeps its sentence too, which stands above it.
    assert [words.value for words in app.markdown if "Largest shift" in str(words.value)] == titles != []
    app.segmented_control(key="tokens.quantity").set_value("logit").run()
    assert built == ["token_bars"]
    built.clear()
    app.selectbox(key="pick.row").set_value("0").run()
    assert sorted(built) == sorted(BUILT)


def test_a_figure_is_built_anew_when_the_run_has_written(store, built):  # noqa: F811
    run = seed_run(store, state="running")
    with run.held():
        app = opened("tokens", run=run.id, role="forget", row="0")
        built.clear()
        app.run()
        assert built == []
        add_step(run, 25, 30)
        app.run()
        assert "probe_curves" in built


@pytest.fixture
def drawn(monkeypatch):
    """The number of runs in the table, one for each time that it is made."""
    found: list[int] = []
    original = table.rows

    def rows(lines, baseline):
        found.append(len(lines))
        return original(lines, baseline)

    monkeypatch.setattr(table, "rows", rows)
    return found


def tick(app, monkeypatch):
    """What the browser asks for every two seconds: the fragment that the page drew last."""
    last = list(app._fragment_storage._fragments)[-1]
    with monkeypatch.context() as only:
        only.setattr(
            local_script_runner, "RerunData", lambda **more: RerunData(**more, fragment_id_queue=[last])
        )
        app.run()
    assert not app.exception, app.exception


def test_a_watcher_of_runs_draws_what_has_changed_and_nothing_else(store, drawn, monkeypatch):  # noqa: F811
    monkeypatch.setattr(shell, "recorded", list)
    monkeypatch.setattr(watching, "SECONDS", 0.0)
    monkeypatch.setattr(watching, "DRAWING", 1e9)
    seed_run(store)
    run = seed_run(store, state="running", steps=5)
    with run.held():
        app = opened("runs")
        drawn.clear()
        tick(app, monkeypatch)
        for step in range(6, 9):
            # Another step is nothing that the table shows.
            add_step(run, step, 20)
            tick(app, monkeypatch)
        assert drawn == []
        run.append("eval", when="after", scores={"forget": {"exact": 0.5, "n": 2}})
        tick(app, monkeypatch)
        assert drawn == [2]
        tick(app, monkeypatch)
        assert drawn == [2]
        run.append("state", state="done")
        tick(app, monkeypatch)
    assert drawn == [2, 2]
    # Nothing is at work any more, so only the page itself is left, and nobody watches.
    assert len(app._fragment_storage._fragments) == 1


def test_what_changes_often_is_drawn_as_often_as_the_page_can_afford(store, drawn, monkeypatch):  # noqa: F811
    monkeypatch.setattr(watching, "DRAWING", 1e-9)
    run = seed_run(store, state="running")
    with run.held():
        app = opened("runs")
        drawn.clear()
        run.append("eval", when="after", scores={"forget": {"exact": 0.5, "n": 2}})
        tick(app, monkeypatch)
        tick(app, monkeypatch)
        assert drawn == []
        app.session_state[watching.DRAWN] = -1e18
        tick(app, monkeypatch)
        assert len(drawn) == 1


def test_a_run_at_work_has_no_time_in_the_table(store):  # noqa: F811
    run = seed_run(store, state="running")
    with run.held():
        assert table.rows([run.summary()], table.BEFORE)[0]["seconds"] is None
    assert table.rows([seed_run(store).summary()], table.BEFORE)[0]["seconds"] is not None
