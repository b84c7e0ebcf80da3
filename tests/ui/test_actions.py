"""Whoever did not start a run changes nothing of it: every action of the list is tried by another browser."""

import ast
from pathlib import Path

import pytest
from seed import seed_run

from tests.pages.test_compare import opened
from ui import actions, shell
from ui.launch import where
from unlearn.engines.place import Place
from unlearn.results import sweep_record
from unlearn.store.runs import RunStore
from unlearn.work import stress

ROOT = Path(__file__).resolve().parents[2]
GIVEN = {  # what an action is given beside the record, where it is given anything
    "rename": ("Mine now",),
    "attack": (["paraphrase"], 7),
    "sweep attacks": (2.0, 7),
    "measure": (["mia_loss"],),
    "enter cost": (1e12,),
}


class Spy:
    """A runner that notes what reached it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.places: list[Place] = []

    def reach(self, place: Place) -> None:
        self.asked.append("reach")
        if place.on == "ray:nowhere":
            raise ValueError("--on ray: nobody listens")

    def submit(self, *records, perform=None, place=None) -> None:
        self.asked.append("submit")
        self.places.append(place)

    def __getattr__(self, name: str):
        return lambda *given, **more: self.asked.append(name)


@pytest.fixture
def spy(tmp_path, monkeypatch) -> Spy:
    made = Spy()
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setattr(shell, "runner", lambda: made)
    monkeypatch.setattr(shell, "owner", lambda: "me")
    return made


def a_record(root: Path, name: str, owner: str):
    """What the action is for: a run, or a sweep for the guide."""
    run = seed_run(RunStore(root), owner=owner, model="somebody/model")
    if name != "follow guide":
        return run
    config = sweep_record.SweepConfig(runs=(run.config,), lrs=(1e-3,))
    return sweep_record.create(config, RunStore(root), owner=owner)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.mark.parametrize("name", actions.ACTIONS)
def test_a_foreign_browser_is_refused_and_nothing_changes(spy, tmp_path, name):
    record = a_record(tmp_path, name, "somebody else")
    before = files(tmp_path)
    with pytest.raises(ValueError, match="started in another browser"):
        actions.do(name, record, *GIVEN.get(name, ()))
    assert (spy.asked, files(tmp_path)) == ([], before)


@pytest.mark.parametrize("owner", ["me", ""])
@pytest.mark.parametrize("name", actions.ACTIONS)
def test_the_owner_may_and_so_may_everybody_where_nobody_owns_it(spy, tmp_path, name, owner):
    record = a_record(tmp_path, name, owner)
    before = files(tmp_path)
    actions.do(name, record, *GIVEN.get(name, ()))
    assert spy.asked or files(tmp_path) != before


def test_a_job_of_the_owner_cannot_be_stopped_by_another(spy, tmp_path):
    job = stress.create(seed_run(RunStore(tmp_path)), metrics=["mia_loss"], owner="somebody else")
    with pytest.raises(ValueError, match="stop"):
        actions.do("stop", job)
    assert not spy.asked


@pytest.mark.parametrize("name", ["attack", "sweep attacks", "measure"])
def test_a_stress_test_goes_where_this_browser_wants_it(spy, tmp_path, monkeypatch, name):
    run = seed_run(RunStore(tmp_path))
    wanted = Place(on="ray", at_once=2)
    monkeypatch.setattr(where, "chosen", lambda: wanted)
    actions.do(name, run, *GIVEN[name])
    assert (spy.asked, spy.places) == (["admit", "reach", "submit"], [wanted])
    before = files(tmp_path)
    monkeypatch.setattr(where, "chosen", lambda: Place(on="ray:nowhere"))
    with pytest.raises(ValueError, match="nobody listens"):
        actions.do(name, run, *GIVEN[name])
    assert files(tmp_path) == before


def test_a_recorded_run_belongs_to_nobody(spy):
    run = shell.recorded()[0]
    for name in actions.ACTIONS:
        with pytest.raises(ValueError, match="ships with the app"):
            actions.do(name, run, *GIVEN.get(name, ()))


CHANGING = {"stop", "resume", "discard", "submit", "set_meta", "delete", "ask_guide", "enter"}


def test_no_page_changes_a_run_past_the_list():
    """Read from the source: a call such as runner().stop(run) stands in ui/actions.py alone."""
    found = []
    for path in [*(ROOT / "ui").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        if path == ROOT / "ui" / "actions.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            name, on = node.attr, ast.unparse(node.value)
            if (name in CHANGING and on not in ("st", "self")) or (on, name) == ("stress", "create"):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {on}.{name}")
    assert not found


@pytest.mark.parametrize("state", ["queued", "interrupted", "stopped", "failed", "done"])
def test_resume_is_offered_for_whatever_ended_before_it_was_done(spy, tmp_path, state):
    """Killed while it waited ("queued" without its process), or before its first checkpoint."""
    run = seed_run(RunStore(tmp_path), "running" if state == "interrupted" else state, owner="me")
    assert shell.may_begin_again(run) == (state != "done")
    assert "Begins again" in shell.resume_help(run)
    with run.lock():
        held = run.state
        assert held not in ("queued", "running") or not shell.may_begin_again(run)


def test_resume_is_not_offered_to_another_browser(spy, tmp_path):
    assert not shell.may_begin_again(seed_run(RunStore(tmp_path), "queued", owner="somebody else"))


@pytest.mark.parametrize(("owner", "able"), [("somebody else", False), ("", True)])
def test_the_stress_page_lets_only_the_owner_attack(tmp_path, monkeypatch, owner, able):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    run = seed_run(RunStore(tmp_path), owner=owner)
    (run.path / "adapter").mkdir(exist_ok=True)
    (run.path / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    app = opened("stress", run=run.id)
    assert app.button(key="stress.go").disabled != able
    said = "".join(caption.value for caption in app.caption)
    assert ("only that one can attack it" in said) != able
