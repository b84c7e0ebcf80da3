"""The container's file, read: what it copies is there, what it starts is ours, and its steps work in a new environment.

No image is built by a test; docs/demo.md says how one was built by hand. The steps are carried out by the test that is
marked heavy.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.test_package import Place, wheel  # noqa: F401  (a fixture)
from unlearn.commands import app
from unlearn.store import environment

ROOT = Path(__file__).resolve().parents[1]
PORT = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["server"]["port"]


def steps() -> list[tuple[str, str]]:
    """The instructions of the Containerfile, as (word, the rest)."""
    text = (ROOT / "Containerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [(word, rest) for line in lines if line.strip() for word, _, rest in [line.partition(" ")]]


def rest_of(word: str) -> list[str]:
    return [rest for found, rest in steps() if found == word]


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in rest_of("ENV") for pair in shlex.split(line))


def started() -> list[str]:
    """The words with which the container starts the app."""
    (shell, flag, script) = json.loads(rest_of("CMD")[-1])
    assert (shell, flag) == ("sh", "-c")
    words = shlex.split(script)
    return words[words.index("unlearn-studio") :]


def test_what_it_copies_is_there_and_what_the_wheel_needs_is_copied():
    copied = {one for line in rest_of("COPY") if "--from" not in line for one in line.split()[:-1]}
    assert not [one for one in copied if not (ROOT / one).exists()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {one.partition("/")[0] for one in (*packed["force-include"], *packed["packages"])}
    assert needed | {"pyproject.toml", "requirements.txt", "README.md", "LICENSE"} <= copied
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied


def test_it_starts_our_command_on_the_apps_port_and_only_in_there_everywhere():
    args = app.parser().parse_args(started()[1:])
    assert (args.host, args.port) == ("0.0.0.0", PORT)
    assert rest_of("EXPOSE") == [str(PORT)]
    (check,) = rest_of("HEALTHCHECK")
    assert f"http://127.0.0.1:{PORT}/_stcore/health" in check
    compile(json.loads(check.partition("CMD ")[2])[2], "health", "exec")
    assert (
        tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["server"]["address"] == "127.0.0.1"
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert started()[0] in project["project"]["scripts"]


def test_it_is_a_demo_that_runs_as_nobody_of_importance():
    assert variables()["UNLEARN_DEMO"] == "1"
    known = {one.name for one in environment.VARIABLES}
    assert not {name for name in variables() if name.startswith("UNLEARN_")} - known
    assert rest_of("USER") == ["studio"]
    order = [word for word, _ in steps()]
    assert order.index("USER") > max(i for i, word in enumerate(order) if word in ("RUN", "COPY"))
    assert {line.split(":")[1].split()[0] for line in rest_of("FROM")} == {"3.11-slim"}


def test_its_steps_install_torchs_build_for_cpus_and_the_pins():
    install = (ROOT / "space" / "install").read_text()
    assert "sh space/install" in rest_of("RUN")[0]
    assert subprocess.run(["sh", "-n", ROOT / "space" / "install"], check=False).returncode == 0
    calls = [line for line in install.splitlines() if line.startswith("pip ") and "()" not in line]
    assert [call.split()[-1] for call in calls] == ['requirements.txt)"', "requirements.txt", "."]
    assert "/whl/cpu" in install


def test_the_header_of_the_space_names_what_is_there():
    header = yaml.safe_load((ROOT / "space" / "README.md").read_text().split("---")[1])
    assert (header["sdk"], header["app_port"]) == ("docker", PORT)
    assert header["license"] == "apache-2.0"
    assert len(header["short_description"]) <= 60
    assert {header["colorFrom"], header["colorTo"]} <= {
        *("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
    }


def test_its_variables_reach_the_server(monkeypatch):
    """SPACE_HOST, which Hugging Face sets, is a name of the server unless other names are given."""
    (script,) = [word for word in json.loads(rest_of("CMD")[-1]) if "unlearn-studio" in word]
    seen = script.replace("exec unlearn-studio --host 0.0.0.0 --port 8501", "sh -c 'echo $UNLEARN_NAMES'")
    assert seen != script
    for given, names in (
        ({"SPACE_HOST": "a.hf.space"}, "a.hf.space"),
        ({"UNLEARN_NAMES": "b"}, "b"),
        ({}, ""),
    ):
        env = {
            "PATH": os.environ["PATH"],
            "SPACE_HOST": "a.hf.space" if "UNLEARN_NAMES" in given else "",
        } | given
        done = subprocess.run(["sh", "-c", seen], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == names


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.network
def test_its_steps_and_its_command_serve_a_demo(wheel, tmp_path):  # noqa: F811
    """In a new environment that borrows the pinned packages: only what they lack is fetched. With another port."""
    place = Place(tmp_path, wheel)
    source = tmp_path / "source"
    copied = [one for line in rest_of("COPY") if "--from" not in line for one in line.split()[:-1]]
    for one in copied:
        if (ROOT / one).is_dir():
            shutil.copytree(ROOT / one, source / one, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / one, source / one)
    words = [place.bin / "python", "-m", "pip", "uninstall", "--quiet", "--yes", "unlearn-studio"]
    subprocess.run(words, check=True, cwd=tmp_path)
    # What builds the wheel is borrowed as well; pip's way to say "no isolation" in its environment is 0.
    own = {"PYTHON": str(place.bin / "python"), "TORCH_INDEX": "", "PIP_NO_BUILD_ISOLATION": "0"}
    env = place.env | own
    subprocess.run(["sh", source / "space" / "install"], check=True, cwd=tmp_path, env=env)
    assert "unlearn-studio" in place.run("python", "-m", "pip", "list").stdout
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = variables() | {"PATH": f"{place.bin}{os.pathsep}{os.environ['PATH']}"}
    own |= {"UNLEARN_RUNS": str(tmp_path / "runs"), "UNLEARN_NAMES": "demo.example"}
    script = json.loads(rest_of("CMD")[-1])[2].replace(str(PORT), str(port))
    log = (tmp_path / "log").open("w+")
    served = subprocess.Popen(
        ["sh", "-c", script], cwd=place.empty, env=place.env | own, stdout=log, stderr=log
    )
    try:
        for _ in range(900):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)
                break
            except OSError:
                assert served.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        asked = [
            urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": name})
            for name in ("demo.example", "evil.example")
        ]
        assert urllib.request.urlopen(asked[0], timeout=60).status == 200
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(asked[1], timeout=60)
    finally:
        served.terminate()
        served.wait(60)
    assert "Traceback" not in (tmp_path / "log").read_text()
