"""Who a browser is, and what it may change and see: a demo's visitor, a pupil, and whoever owns the machine."""

from types import SimpleNamespace

import pytest
from seed import config, seed_run

from tests.ui.test_actions import GIVEN, Spy, a_record, files
from ui import actions, shell
from ui.demo import visitor
from unlearn.store.caps import NOBODY, VISITOR
from unlearn.store.runs import RunStore

TOKEN = "0123456789abcdef"
ME, YOU = VISITOR + TOKEN, f"{VISITOR}somebody"


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setattr(visitor, "_token", lambda: TOKEN)
    return RunStore(tmp_path)


@pytest.fixture
def called_from(monkeypatch):
    """Set where the browser is: its address as the server sees it, and the request's headers."""

    def say(address: str | None, **headers: str) -> None:
        context = SimpleNamespace(ip_address=address, headers=headers, cookies={})
        monkeypatch.setattr(visitor.st, "context", context)

    return say


@pytest.mark.parametrize(
    ("mode", "address", "headers", "found"),
    [
        ("", "192.0.2.7", {}, False),
        ("1", None, {}, True),
        ("class", None, {}, False),
        ("class", "127.0.0.2", {}, True),
        ("class", "192.0.2.7", {}, True),
        ("class", "10.1.2.3", {}, False),
        ("class", "::ffff:10.1.2.3", {}, False),
        ("class", None, {"X-Forwarded-For": "192.0.2.7"}, True),
        ("class", "10.1.2.3", {"Forwarded": "for=192.0.2.7"}, True),
    ],
)
def test_in_a_class_the_machine_knows_its_own_browsers(
    monkeypatch, called_from, mode, address, headers, found
):
    monkeypatch.setenv("UNLEARN_DEMO", mode)
    monkeypatch.setattr(visitor, "_addresses", lambda: frozenset({"10.1.2.3", "::ffff:10.1.2.3"}))
    called_from(address, **headers)
    assert visitor.here() == found


def test_the_machines_own_addresses_are_found():
    assert "127.0.0.1" in visitor._addresses()


def test_the_owner_says_who_is_a_visitor(store, monkeypatch):
    assert shell.owner() == TOKEN
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    assert shell.owner() == ME
    monkeypatch.setattr(visitor, "_token", lambda: "")
    assert shell.owner() == NOBODY


@pytest.mark.parametrize(
    ("made_by", "me", "may"),
    [
        (ME, ME, True),
        (YOU, ME, False),
        ("", ME, False),
        (TOKEN, ME, False),
        (NOBODY, NOBODY, False),
        (YOU, TOKEN, True),
        ("", TOKEN, True),
        ("another browser", TOKEN, False),
    ],
)
def test_who_may_change_what(made_by, me, may):
    assert visitor.may_change(made_by, me) == may


@pytest.mark.parametrize("owner", [YOU, "", "the host's browser", NOBODY])
@pytest.mark.parametrize("name", actions.ACTIONS)
def test_a_visitor_stops_deletes_and_renames_nothing_of_others(store, monkeypatch, name, owner):
    spy = Spy()
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    monkeypatch.setattr(shell, "runner", lambda: spy)
    record = a_record(store.root, name, owner)
    before = files(store.root)
    with pytest.raises(ValueError, match="started in another browser"):
        actions.do(name, record, *GIVEN.get(name, ()))
    assert (spy.asked, files(store.root)) == ([], before)


def test_lists_of_a_demo_show_no_runs_of_other_visitors(store, monkeypatch):
    mine, others, hosts = (seed_run(store, owner=owner) for owner in (ME, YOU, ""))

    def listed() -> set[str]:
        return {known.id for known in shell.summaries() if not shell.is_recorded(known)}

    assert listed() == {mine.id, others.id, hosts.id}
    monkeypatch.setenv("UNLEARN_DEMO", "class")
    assert listed() == {mine.id, others.id, hosts.id}
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    assert listed() == {mine.id, hosts.id}
    assert shell.find_run(others.id) == others, "a link opens it all the same"


def test_only_a_visitor_is_asked_for_what_it_may(store, monkeypatch):
    foreign = config(model="owner/name", data={"hub": "owner/rows"})
    visitor.allow([foreign])
    visitor.allow_model("owner/name")
    visitor.allow_data(foreign.data)
    assert visitor.offered({"a": "A", "b": "B"}, ["a"]) == {"a": "A", "b": "B"}
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    for ask, given in ((visitor.allow, [foreign]), (visitor.allow_model, "owner/name")):
        with pytest.raises(ValueError, match=r"^demo: the model must be among"):
            ask(given)
    with pytest.raises(ValueError, match=r"^demo: hub is not read here"):
        visitor.allow_data(foreign.data)
    assert visitor.offered({"a": "A", "b": "B"}, ["a"]) == {"a": "A"}


def test_only_a_visitor_reads_no_folders(store, monkeypatch):
    text = f"run: no run in {store.root}; see {store.root}/x"
    assert shell.plain(text).replace("\\", "") == text
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    assert shell.plain(text).replace("\\", "") == "run: no run in this server; see x"
    assert visitor.public_rows([{"forget": f"{store.root}/a.csv", "n": 1}]) == [{"forget": "a.csv", "n": 1}]
    assert visitor.public_bytes(text.encode()) == b"run: no run in this server; see x"
