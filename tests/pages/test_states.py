"""Every page as it is while something runs, when it has ended and when it has failed: for everybody, and on a phone.

axe-core finds nothing serious, light and dark; at 390 pixels nothing lies on anything else and nothing is cut off.
"""

import contextlib

import pytest
from seed import seed_run

from tests.pages.test_accessible import BARS, OVERLAPS, at_rest, axe, violations  # noqa: F401  (a fixture)
from tests.pages.test_browser import Server, chromium  # noqa: F401  (fixtures)
from tests.pages.test_stress import planted as attacks
from tests.results.test_conclusion import planted
from tests.ui.sweep.test_find import planted as searched
from tests.work.test_sequence import seed_sequence
from tests.work.test_sweep import asked as sweep_asked
from tests.work.test_sweep import seed_sweep
from unlearn.results import classroom, sweep_record
from unlearn.store.disk import write_json
from unlearn.work import stress

pytestmark = [pytest.mark.browser, pytest.mark.heavy]
# Each state of a page: its address, with the names of the fixture's runs in braces.
STATES = {
    "a run that waits": "launch?run={waiting}",
    "a run at work": "launch?run={running}",
    "a run that is done": "launch?run={done}",
    "a run that failed": "launch?run={failed}",
    "a race at work": "launch?run={running},{waiting}",
    "a race that ended": "launch?run={done},{ruined},{failed}",
    "three runs compared": "compare?runs={done},{ruined},{other}",
    "three runs' scores": "compare?runs={done},{ruined},{other}&tab=Scores",
    "a failed run compared": "compare?a={failed}",
    "a failed run's tokens": "tokens?run={failed}",
    "an attack at work": "stress?run={attacking}",
    "an attack that failed": "stress?run={halted}",
    "a run that nobody attacked": "stress?run={done}",
    "a search that is done": "sweep?sweep={searched}",
    "a sweep that is done": "sweep?sweep={gridded}",
    "a sweep at work": "sweep?sweep={sweeping}",
    "a sweep that failed": "sweep?sweep={swept}",
    "a sequence at work": "sequence?sequence={chaining}",
    "a sequence that is done": "sequence?sequence={chained}",
    "a sequence that failed": "sequence?sequence={broken}",
    "the lesson's ruin": "lesson?step=2&ruined={ruined}",
    "the lesson's race at work": "lesson?step=3&held={running},{waiting}",
    "the lesson's race": "lesson?step=3&ruined={ruined}&held={done},{other}",
    "the lesson's attack": "lesson?step=4&held={attacked}",
    "the lesson's retrain": "lesson?step=5&held={done}",
    "the lesson for a room": "lesson?step=2&ruined={ruined}&view=large",
    "the ballot of a class": "lesson?class={code}",
    "all runs": "runs",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The app with runs and studies in every state. Those at work are held by this process."""
    made = Server(tmp_path_factory.mktemp("states"))
    store, named = made.store, {}

    def keeps(run):
        (run.path / "model").mkdir()
        (run.path / "model" / "model.safetensors").write_bytes(b"x")
        return run

    for name, state in (("running", "running"), ("waiting", "queued"), ("failed", "failed")):
        named[name] = seed_run(store, state, method="npo" if name == "running" else "undial")
    named |= {name: keeps(seed_run(store, method=method)) for name, method in METHODS.items()}
    named["ruined"] = planted(
        store, forget=(48, 0, 1), retain=(49, 0, 49), ppl=(5.0, 900.0, 5.0), method="ga"
    )
    write_json(named["attacked"].path / "attacks.json", attacks())
    jobs = {name: stress.create(named[name], ["prefix"]) for name in ("attacking", "halted")}
    for job in jobs.values():
        job.append("state", state="running")
    jobs["halted"].append("state", state="failed", reason="out of memory; choose a smaller model.")
    for name, state in (("chaining", "running"), ("chained", "done"), ("broken", "failed")):
        named[name] = seed_sequence(store, state)
    for name in ("sweeping", "swept"):
        named[name] = sweep_record.create(sweep_asked(), store)
        named[name].append("state", state="running")
    named["swept"].append("state", state="failed", reason="the disk is full")
    named["searched"], named["gridded"] = searched(store)[0], seed_sweep(store)
    classroom.begin(store.root, "ABC23", named["done"].id, "forget")
    made.named = {name: one.id for name, one in named.items()} | {"code": "ABC23"}
    with contextlib.ExitStack() as held:
        for one in (named["running"], named["waiting"], jobs["attacking"]):
            held.enter_context(one.lock())
        for name in ("chaining", "sweeping"):
            held.enter_context(named[name].lock())
        yield made
        made.stop()
    assert "Traceback" not in made.log.read_text()


METHODS = {"done": "npo", "other": "undial", "attacked": "simnpo", "attacking": "gd", "halted": "gd"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_serious_in_this_state(chromium, server, axe, state, scheme):  # noqa: F811
    tab = at_rest(chromium, f"{server.url}/{STATES[state].format(**server.named)}", scheme=scheme)
    bad = violations(tab, axe)
    tab.context.close()
    assert not bad, "\n".join(bad[:12])


@pytest.mark.parametrize("state", STATES)
def test_in_this_state_nothing_overlaps_on_a_phone(chromium, server, state):  # noqa: F811
    tab = at_rest(chromium, f"{server.url}/{STATES[state].format(**server.named)}", width=390)
    found = tab.evaluate(OVERLAPS, BARS)
    wide = tab.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    tab.context.close()
    assert found == []
    assert wide <= 0
