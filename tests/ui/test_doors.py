"""Who may talk to a real server and what its pages may do: foreign names and origins, headers, policy."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.pages.test_browser import ROOT, SLOW, Server, chromium, no_exception, person  # noqa: F401  (fixtures)

PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
pytestmark = pytest.mark.slow  # a server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("doors"))
    yield made
    made.stop()


def answer(server: Server, host: str, origin: str | None) -> int:
    """The status of a websocket's opening request: 101 when it is let in."""
    lines = [
        "GET /_stcore/stream HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: streamlit",
        *([f"Origin: {origin}"] if origin else []),
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(line.recv(1000).split()[1])


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
def test_the_own_pages_connect(server, name):
    assert answer(server, f"{name}:{server.port}", f"http://{name}:{server.port}") == 101


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example:{port}", "http://evil.example:{port}"),  # its name was bound to this machine
        ("localhost.evil.example:{port}", "http://localhost.evil.example:{port}"),
        ("evil.example:{port}", None),
        ("localhost:{port}", "http://evil.example"),
        ("localhost:{port}", "http://localhost:1"),  # another program on this machine
        ("127.0.0.1:{port}", "http://127.0.0.1:1"),
        ("localhost:{port}", "http://127.0.0.1:{port}"),
        ("localhost:{port}", "null"),  # a sandboxed frame, a file
    ],
)
def test_foreign_pages_do_not(server, host, origin):
    origin = origin and origin.format(port=server.port)
    assert answer(server, host.format(port=server.port), origin) in (400, 403)


def test_nothing_is_served_under_a_foreign_name(server):
    request = urllib.request.Request(server.url, headers={"Host": f"evil.example:{server.port}"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    assert caught.value.code == 400


@pytest.mark.parametrize("path", ["/", "/runs", "/_stcore/health", "/media/none"])
def test_every_answer_carries_the_policies(server, path):
    try:
        found = urllib.request.urlopen(server.url + path, timeout=20)
    except urllib.error.HTTPError as error:
        found = error
    headers = found.headers
    rules = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
    assert rules["default-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["object-src"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    assert not re.search(r"https?:|\*", headers["Content-Security-Policy"])
    said = [headers[n] for n in ("X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy")]
    assert said == ["DENY", "nosniff", "same-origin"]


@pytest.mark.browser
def test_every_page_works_under_the_policy(server, person):  # noqa: F811
    """The browser says what a policy forbids; figures and the parts of our own are really drawn."""
    refused = []
    person.on("console", lambda m: refused.append(m.text) if "Content Security Policy" in m.text else None)
    for name in PAGES:
        person.goto(f"{server.url}/{name if name != 'start' else ''}")
        person.get_by_role("heading", level=1).first.wait_for()
        person.wait_for_timeout(1500)
        no_exception(person)
    person.goto(f"{server.url}/tokens")
    person.locator(".js-plotly-plot").nth(1).wait_for()
    strip = person.get_by_role("group", name="Answer tokens")  # a component with a script of its own
    tokens = strip.get_by_role("button")
    chosen, count = strip.locator("[aria-pressed=true]"), tokens.count()
    first = chosen.inner_text()
    slope = person.locator(".js-plotly-plot").first.inner_text
    before = slope()
    next(t for t in map(tokens.nth, range(count)) if t.inner_text() != first).click()
    person.wait_for_timeout(3000)
    assert chosen.inner_text() != first
    assert slope() != before
    assert refused == []


@pytest.mark.browser
def test_no_other_page_may_frame_the_app(server, person, tmp_path):  # noqa: F811
    refused = []
    person.on("console", lambda m: refused.append(m.text) if "frame-ancestors" in m.text else None)
    person.set_content(f"<iframe src='{server.url}'></iframe>")
    person.wait_for_timeout(2000)
    assert refused


NOTE_AT_TORCH = """
import json, os, sys

class Note:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and (file := os.environ.pop("NOTE_AT_TORCH", "")):
            with open(file, "w") as out:
                json.dump(dict(os.environ), out)

sys.meta_path.insert(0, Note())
"""


def test_app_and_command_line_import_torch_in_the_same_environment(tmp_path):
    """Waiting threads that spin cost the app half of its speed: what the command line sets, the server must, too."""
    (tmp_path / "sitecustomize.py").write_text(NOTE_AT_TORCH)
    dropped = ("OMP_", "GOMP_", "TOKENIZERS", "HF_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    clean |= {"PYTHONPATH": str(tmp_path), "UNLEARN_RUNS": str(tmp_path / "runs")}
    words = [sys.executable, "-m", "unlearn", "doctor"]  # which asks torch for its device
    told = {name: tmp_path / f"{name}.json" for name in ("command", "app")}
    subprocess.run(
        words, cwd=ROOT, env=clean | {"NOTE_AT_TORCH": str(told["command"])}, check=True, capture_output=True
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    env = clean | {"NOTE_AT_TORCH": str(told["app"])}
    served = subprocess.Popen(
        [*words, "--server.enableAgentApi", "true"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: opened(port))
        wait_until(told["app"].is_file)
        time.sleep(0.5)
    finally:
        served.terminate()
        served.wait(SLOW / 1000)
    command, app = (relevant(file, dropped) for file in (told["command"], told["app"]))
    assert command == app
    assert command["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "GOMP_SPINCOUNT" in command


def relevant(file: Path, names: tuple[str, ...]) -> dict[str, str]:
    return {k: v for k, v in json.loads(file.read_text()).items() if k.startswith(names)}


def opened(port: int) -> bool:
    """The first page, asked for without a browser."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_stcore/agent/interact", b"{}", {"Content-Type": "application/json"}
    )
    try:
        return urllib.request.urlopen(request, timeout=20).status == 200
    except OSError:
        return False


def wait_until(there) -> None:
    """A new server imports torch before it answers a button; other work on the machine makes that minutes."""
    end = time.monotonic() + 2 * SLOW / 1000
    while not there():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


@pytest.mark.browser
def test_a_server_killed_before_the_first_checkpoint_leaves_runs_to_resume(tmp_path, person):  # noqa: F811
    """One run that works and one that waits; both begin again in the app of the next server."""
    server = Server(tmp_path)
    try:
        person.goto(f"{server.url}/launch?model=tiny-authors&data=authors&method=gd,npo")
        person.get_by_role("button", name="Launch 2 runs").wait_for()
        for place in (0, 1):
            field = person.get_by_label("Epochs", exact=True).nth(place)
            field.fill("300")
            field.press("Enter")
            person.wait_for_timeout(1000)
        person.get_by_role("button", name="Launch 2 runs").click()
        person.get_by_text(re.compile(r"step \d+ of")).first.wait_for()
        works, waits = re.search(r"run=([^&]+)", person.url)[1].replace("%2C", ",").split(",")
        server.process.kill()
        server.process.wait(SLOW / 1000)
        assert not server.store.get(works).has_checkpoint()
        assert [server.store.get(run).state for run in (works, waits)] == ["interrupted"] * 2
        server.start()
        for run in (works, waits):
            person.goto(f"{server.url}/launch?run={run}")
            person.get_by_role("button", name="Resume").click()
            wait_until(lambda run=run: server.store.get(run).state in ("queued", "running"))
        no_exception(person)
    finally:
        server.stop()
