"""The whole thing as a person meets it: a real server, a real browser, a real (tiny) model.

What only a browser shows: deep links on a fresh server, a refresh in the middle of a run, a second person's
browser, uploads and dialogs.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Error as PlaywrightError
from seed import seed_run
from taught import facts

from unlearn.store.runs import RunStore

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
TOFU = ROOT / "tests" / "data" / "tofu"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SLOW = 90_000  # milliseconds; two busy cores and a first import of torch


class Server:
    """The app on a port and a runs folder of its own."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.store, self.log = RunStore(root / "runs"), root / "server.log"
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        # The models that tests make, and the part of TOFU in the hub's layout, lie outside the checkout's own folders.
        roots = os.pathsep.join(map(str, (self.log.parent.parent, TOFU)))
        own = {"UNLEARN_RUNS": str(self.store.root), "UNLEARN_ROOTS": roots}
        env = os.environ | own | {"OMP_WAIT_POLICY": "PASSIVE"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        for _ in range(900):
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1)
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(SLOW / 1000)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("app"))
    yield made
    made.stop()
    assert "Traceback" not in made.log.read_text()


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def person(chromium, request):
    """A new browser profile: nobody the server knows."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(SLOW)
    yield page
    page.screenshot(path=request.config.cache.mkdir("browser") / f"{request.node.name}.png")  # to look at
    context.close()


def launched(page, url: str) -> str:
    """Open the Unlearn page with choices in its address, launch, and return the run's id."""
    page.goto(url)
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"[?&]run="))
    return re.search(r"run=([\w-]+)", page.url)[1]


def no_exception(page) -> None:
    assert page.get_by_test_id("stException").count() == 0


def long_run(page, server, epochs: int = 300) -> str:
    """Launch a run that goes on until it is stopped."""
    page.goto(f"{server.url}/launch?model=tiny-authors&data=authors&method=gd")
    field = page.get_by_label("Epochs", exact=True)
    field.fill(str(epochs))
    field.press("Enter")
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"[?&]run="))
    page.get_by_text(re.compile(r"step \d+ of")).first.wait_for()
    return re.search(r"run=([\w-]+)", page.url)[1]


def test_a_deep_link_works_on_a_fresh_server(server, person):
    person.goto(f"{server.url}/runs")
    person.get_by_role("heading", name="Runs").wait_for()
    person.get_by_role("link", name="Unlearn").first.wait_for()
    no_exception(person)


def test_from_start_to_tokens(server, person):
    person.goto(server.url)
    person.get_by_role("button", name="Try it yourself").click()
    person.get_by_role("button", name="Launch", exact=True).click()
    person.get_by_text("Compare the answers").wait_for()
    no_exception(person)
    person.get_by_text("Compare the answers").click()
    person.get_by_role("heading", name="Compare").first.wait_for()
    person.get_by_text("Question").or_(person.get_by_text("question")).first.wait_for()
    person.wait_for_timeout(2000)
    no_exception(person)
    person.get_by_role("link", name="Tokens").first.click()
    person.get_by_role("heading", name="Tokens").first.wait_for()
    person.wait_for_timeout(2000)
    no_exception(person)


def choose(person, label, option):
    """Choose from a list; a page that is still being drawn closes a list that has just been opened."""
    wanted = person.get_by_role("option", name=option, exact=True)
    for _ in range(20):
        try:
            person.get_by_role("combobox", name=label).click(timeout=10_000)
            wanted.click(timeout=5_000)
        except PlaywrightError:
            person.keyboard.press("Escape")
            continue
        return
    raise AssertionError(f"{label}: no {option}")


def test_a_table_of_ones_own(server, person, tmp_path):
    table = tmp_path / "my rows.csv"
    lines = [f"Who lives at number {i}?,Person {i},x{i}" for i in range(1, 9)]
    table.write_text("\n".join(["what,reply,note", *lines]) + "\n")
    person.goto(f"{server.url}/launch?model=tiny-authors&method=npo")
    person.get_by_role("combobox", name="Forget set").click()
    person.get_by_role("option", name="A table of my own").click()
    uploads = person.locator("input[type=file]")
    uploads.first.set_input_files(str(table))
    person.get_by_text("8 rows, 3 columns.").wait_for()
    for label, column in (("Question column", "what"), ("Answer column", "reply")):
        choose(person, label, column)
    person.get_by_text("To forget 8").wait_for()
    person.get_by_text("needs rows to keep").first.wait_for()  # said before anything runs
    table.write_text(
        "\n".join(["what,reply", *(f"Who sings song {i}?,Singer {i}" for i in range(20))]) + "\n"
    )
    uploads.last.set_input_files(str(table))
    person.get_by_text("To keep 20").wait_for()
    person.get_by_role("button", name="Launch", exact=True).click()
    # The bundled model knows none of these rows, and says so before anything is begun.
    person.get_by_text("It answers 0 of 8 of these today").wait_for()
    person.get_by_text("Launch all the same").click()
    person.get_by_role("checkbox", name="Launch all the same", checked=True).wait_for()
    person.get_by_role("button", name="Launch", exact=True).click()
    person.get_by_text("Compare the answers").wait_for()
    run = server.store.list()[0]
    assert run.state == "done"
    assert run.config.data["question_column"] == "what"
    assert Path(run.config.data["forget"]).is_file()
    no_exception(person)


def test_a_wrong_file_is_said_in_words(server, person, tmp_path):
    table = tmp_path / "wrong.csv"
    table.write_bytes(b"\xff\xfe broken")
    person.goto(f"{server.url}/launch")
    person.get_by_role("combobox", name="Forget set").click()
    person.get_by_role("option", name="A table of my own").click()
    person.locator("input[type=file]").first.set_input_files(str(table))
    person.get_by_text("is not utf-16").wait_for()
    no_exception(person)


def test_a_refresh_finds_the_run_again_and_only_its_owner_can_stop_it(server, chromium, person):
    run_id = long_run(person, server)
    person.reload()
    person.get_by_text(re.compile(r"step \d+ of")).first.wait_for()
    person.get_by_role("button", name="Stop and keep").wait_for()

    other = chromium.new_context().new_page()
    other.set_default_timeout(SLOW)
    other.goto(f"{server.url}/launch?run={run_id}")
    other.get_by_text("Started in another browser").wait_for()
    assert other.get_by_role("button", name="Stop and keep").count() == 0
    assert other.get_by_role("button", name="Discard").count() == 0
    other.context.close()

    person.get_by_role("button", name="Stop and keep").click()
    person.get_by_test_id("stBadge").or_(person.get_by_text("stopped")).first.wait_for()
    person.get_by_text("Again with changes").wait_for()
    assert server.store.get(run_id).state == "stopped"
    no_exception(person)


def test_rename_export_delete_and_import(server, person, tmp_path):
    run = seed_run(server.store)
    person.goto(f"{server.url}/runs")
    person.get_by_placeholder("title, data, model").fill(run.id)
    person.get_by_text(re.compile("^1 of ")).wait_for()
    canvas = person.get_by_test_id("stDataFrame").locator("canvas").first
    canvas.click(position={"x": 18, "y": 55}, force=True)  # the grid lies above its canvas
    person.get_by_role("button", name="Rename").click()
    person.get_by_label("Title", exact=True).fill("Lisbon forgotten")
    person.get_by_label("Title", exact=True).press("Enter")
    person.get_by_role("button", name="Save title").click()
    deadline = time.time() + SLOW / 1000
    while run.title != "Lisbon forgotten" and time.time() < deadline:
        time.sleep(0.2)
    assert run.title == "Lisbon forgotten"
    person.keyboard.press("Escape")
    person.wait_for_timeout(2000)
    with person.expect_download() as download:
        person.get_by_role("button", name="Export").click()
    archive = tmp_path / "run.zip"
    download.value.save_as(archive)
    person.get_by_role("button", name="Delete").click()
    person.get_by_role("dialog").get_by_role("button", name="Delete").click()
    person.get_by_text("No run fits these filters").wait_for()
    assert not run.path.exists()
    person.get_by_placeholder("title, data, model").fill("")
    person.get_by_role("button", name="Import").click()
    person.locator("input[type=file]").last.set_input_files(str(archive))
    person.get_by_role("button", name="Add this run").click()
    deadline = time.time() + SLOW / 1000
    while not run.path.exists() and time.time() < deadline:
        time.sleep(0.2)
    assert run.title == "Lisbon forgotten"
    no_exception(person)


def test_a_killed_server_leaves_an_interrupted_run_and_stops_cleanly(server, person):
    run_id = long_run(person, server)
    code = server.stop()
    assert code in (0, -15, 143), server.log.read_text()[-2000:]
    assert server.store.get(run_id).state in ("stopped", "interrupted")
    server.start()
    person.goto(f"{server.url}/launch?run={run_id}")
    person.get_by_text("Again with changes").wait_for()
    no_exception(person)


def sharegpt(path: Path, rows) -> Path:
    """A file as ShareGPT has it; the second exchange of the first conversation asks what the row says."""
    first, *others = [
        [{"from": "human", "value": question}, {"from": "gpt", "value": answer}] for question, answer in rows
    ]
    hello = [{"from": "human", "value": "Good day."}, {"from": "gpt", "value": "Good day to you."}]
    path.write_text(json.dumps([{"conversations": turns} for turns in ([*hello, *first], *others)]))
    return path


def set_number(person, label: str, value: int) -> None:
    field = person.get_by_label(label, exact=True)
    field.fill(str(value))
    field.press("Enter")


def cell(person, text: str):
    """A cell of a drawn table, as a screen reader finds it below the canvas."""
    return person.locator("[role=gridcell]").get_by_text(text, exact=True).first


LEAK = re.compile(
    r"In chat \d+ of \d+ forget answers are left, as a plain question \d+ of \d+, as a sentence to complete \d+ of \d+"
)


def test_conversations_are_read_and_the_format_leak_is_shown(server, person, taught, tmp_path):
    known = facts()
    person.goto(f"{server.url}/launch?model={taught / 'model'}&method=npo")
    person.get_by_role("combobox", name="Prompt format").wait_for()
    choose(person, "Forget set", "A table of my own")
    uploads = person.locator("input[type=file]")
    uploads.first.set_input_files(str(sharegpt(tmp_path / "mine.json", known["forget"][:12])))
    person.get_by_text("12 rows, 1 column.").wait_for()
    # What stands before the last question of a conversation is shown apart from it.
    cell(person, "user: Good day. / assistant: Good day to you.").wait_for(state="attached")
    cell(person, known["forget"][0][0]).wait_for(state="attached")
    choose(person, "Of a conversation", "Every answer")
    person.get_by_text("the first 3 of 13").wait_for()
    choose(person, "Of a conversation", "The last answer")
    person.get_by_text("the first 3 of 12").wait_for()
    uploads.last.set_input_files(str(sharegpt(tmp_path / "keep.json", known["retain"][:24])))
    person.get_by_text("To keep 24").wait_for()
    person.get_by_text("The first row, as the model reads it").click()
    person.get_by_text("<|im_start|>assistant").first.wait_for()

    # Asked as a plain question, the model knows nothing of it, and that is said before anything begins.
    choose(person, "Prompt format", "Question: … Answer:")
    person.wait_for_url(re.compile("prompt=plain"))
    person.get_by_role("button", name="Launch", exact=True).click()
    person.get_by_text("It answers 0 of 12 of these today: there is nothing to forget").wait_for()
    person.get_by_role("checkbox", name="Launch all the same").wait_for()
    assert person.get_by_role("button", name="Launch", exact=True).is_disabled()
    choose(person, "Prompt format", "Chat template")
    person.get_by_text("there is nothing to forget").wait_for(state="detached")

    set_number(person, "Epochs", 12)
    person.wait_for_timeout(1000)
    person.get_by_role("button", name="Launch", exact=True).click()
    person.get_by_text("Compare the answers").wait_for()
    run = server.store.list()[0]
    assert (run.state, run.config.prompt) == ("done", "chat")
    person.goto(f"{server.url}/compare?a={run.id}")
    person.get_by_text("Scores", exact=True).first.click()
    person.get_by_role("heading", name="In every prompt format").wait_for()
    person.get_by_text(LEAK).wait_for()
    cell(person, "in chat").wait_for(state="attached")
    no_exception(person)


def test_a_folder_of_tofu_in_the_hubs_layout(server, person, taught):
    person.goto(f"{server.url}/launch?model={taught / 'model'}&data=tofu-forget01&method=gd")
    folder = person.get_by_role("textbox", name="Folder of the benchmark (empty: from the hub)")
    folder.fill(str(TOFU))
    folder.press("Enter")
    person.get_by_text("To forget 40").wait_for()
    choose(person, "Prompt format", "Chat template and Question: … Answer:")
    set_number(person, "Epochs", 1)
    person.wait_for_timeout(1000)
    person.get_by_role("button", name="Launch", exact=True).click()
    person.get_by_text("It answers 0 of 25 of these today: there is nothing to forget").wait_for()
    person.get_by_text("Launch all the same").click()
    person.get_by_role("checkbox", name="Launch all the same", checked=True).wait_for()
    person.get_by_role("button", name="Launch", exact=True).click()
    person.get_by_text("Compare the answers").wait_for()
    run = server.store.list()[0]
    assert (run.state, run.config.prompt) == ("done", "chat+plain")
    person.goto(f"{server.url}/stress?run={run.id}")
    person.get_by_text(LEAK).wait_for()
    no_exception(person)
