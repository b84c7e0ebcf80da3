"""`unlearn-studio`: alone it opens the app, with a command it is the command line."""

import os
import sys
from pathlib import Path

import pytest

from unlearn import __main__ as line
from unlearn.commands import app
from unlearn.store.caps import caps, mode
from unlearn.store.home import HOME

KNOWN = ["localhost", "127.0.0.1", "::1"]


@pytest.fixture
def started(monkeypatch):
    """What would have been started, instead of this process."""
    calls = []

    def replaced(path, words):
        calls.append(words)
        raise SystemExit  # what execv never does: come back

    monkeypatch.setattr(app, "REPLACES", True)
    monkeypatch.setattr(os, "execv", replaced)
    monkeypatch.setenv("UNLEARN_RUNS", "")
    for name in ("UNLEARN_DEMO", "UNLEARN_CAPS", "UNLEARN_CLASS", "UNLEARN_NAMES"):
        # Set first, so that what a server's start sets is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return calls


def test_alone_it_opens_the_app_and_says_nothing_that_the_settings_say(started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        line.studio([])
    assert started == [[sys.executable, "-m", "streamlit", "run", str(HOME / "app.py")]]
    assert Path(os.environ["UNLEARN_RUNS"]) == tmp_path / "runs"


def test_what_a_person_says_reaches_the_server(started, tmp_path):
    with pytest.raises(SystemExit):
        line.studio(["--port", "9000", "--host", "lab.example", "--runs", str(tmp_path)])
    words = started[0][5:]
    pairs = list(zip(words[::2], words[1::2], strict=True))
    assert ("--server.port", "9000") in pairs
    assert ("--server.address", "lab.example") in pairs
    named = [value for name, value in pairs if name == "--server.allowedHosts"]
    assert named == [*KNOWN, "lab.example"]
    assert os.environ["UNLEARN_RUNS"] == str(tmp_path)


def test_a_class_is_told_where_to_go_and_its_code(started, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNLEARN_CLASS", "")
    monkeypatch.delenv("UNLEARN_CLASS")
    with pytest.raises(SystemExit):
        line.studio(["--port", "9000", "--host", "lab.example", "--runs", str(tmp_path)])
    said, code = capsys.readouterr().out, os.environ["UNLEARN_CLASS"]
    assert "Open http://lab.example:9000 from another machine." in said
    assert f"/lesson?class={code}" in said
    assert app.invitation("127.0.0.1", None, code) == said.splitlines()[-1:]
    assert app.invitation("fe80::1", None, code)[0] == "Open http://[fe80::1]:8501 from another machine."


def pairs(started) -> list[tuple[str, str]]:
    return list(zip(started[0][5::2], started[0][6::2], strict=True))


def test_a_class_has_caps_and_says_so(started, tmp_path, capsys):
    words = ["--host", "lab.example", "--cap", "run_minutes=10", "--cap", "queue=20", "--runs", str(tmp_path)]
    with pytest.raises(SystemExit):
        line.studio(words)
    assert (os.environ["UNLEARN_DEMO"], mode()) == ("class", "class")
    assert (caps().run_minutes, caps().queue) == (10, 20)
    assert "Browsers on other machines are visitors" in capsys.readouterr().out
    # Whoever hosts it may still upload what the settings allow.
    assert "--server.maxUploadSize" not in started[0]


def test_the_rules_of_a_class_can_be_lifted(started, monkeypatch, capsys):
    monkeypatch.setenv("UNLEARN_DEMO", "0")
    with pytest.raises(SystemExit):
        line.studio(["--host", "lab.example"])
    assert mode() == ""
    assert "visitors" not in capsys.readouterr().out


def test_a_demo_has_no_code_of_its_own_and_takes_small_files(started, monkeypatch, capsys):
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    monkeypatch.setenv("UNLEARN_CAPS", "upload_mb=2.5")
    monkeypatch.setenv("UNLEARN_NAMES", "demo.example, other.example,")
    with pytest.raises(SystemExit):
        line.studio(["--host", "0.0.0.0", "--name", "third.example", "--cap", "queue=5"])
    assert mode() == "demo"
    assert "UNLEARN_CLASS" not in os.environ
    assert "class" not in capsys.readouterr().out
    assert (caps().upload_mb, caps().queue) == (2.5, 5)
    assert ("--server.maxUploadSize", "3") in pairs(started)
    named = [value for name, value in pairs(started) if name == "--server.allowedHosts"]
    assert {*KNOWN, "demo.example", "other.example", "third.example"} <= set(named)
    assert "" not in named


def test_a_name_behind_a_proxy_needs_no_other_address(started):
    with pytest.raises(SystemExit):
        line.studio(["--name", "demo.example"])
    assert [name for name, _ in pairs(started)] == ["--server.allowedHosts"] * 4
    assert pairs(started)[-1][1] == "demo.example"


def test_every_address_means_the_names_of_this_machine_not_every_name():
    named = [word for word in app.settings("0.0.0.0", None) if not word.startswith("--")]
    assert named[0] == "0.0.0.0"
    assert set(KNOWN) < set(named)
    assert "*" not in named
    assert not [name for name in named[1:] if name in app.EVERY_ADDRESS]


def test_elsewhere_the_server_is_a_process_of_its_own(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(app, "REPLACES", False)
    monkeypatch.setenv("UNLEARN_RUNS", "")
    monkeypatch.setattr(app.subprocess, "call", lambda words: calls.append(words) or 7)
    assert app.serve(["--runs", "there"]) == 7
    assert len(calls) == 1


@pytest.mark.parametrize(
    "words",
    [["--port", "0"], ["--port", "http"], ["--colour", "red"], ["--cap", "que=1"], ["--cap", "queue=many"]],
)
def test_bad_words_are_refused(words, started, capsys):
    assert line.studio(words) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not started


def test_with_a_command_it_is_the_command_line(started, capsys, tmp_path):
    assert line.studio(["runs", "--runs", str(tmp_path)]) == 0
    assert line.studio(["run", "--model", "tiny-authors", "--method", "nope"]) == 2
    assert "method: must be among" in capsys.readouterr().err
    assert not started
