"""A demo as its visitors meet it: a real server, two browsers, a run within the caps and one beyond them."""

import os
import re

import pytest
from seed import seed_run

from tests.pages.test_browser import SLOW, Server, chromium, person  # noqa: F401  (fixtures)
from unlearn.store.caps import is_visitor
from unlearn.store.runs import Run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.heavy]
CAPS = "run_minutes=0.1,minutes_each=0.1,upload_mb=0.001"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    before = {name: os.environ.get(name) for name in ("UNLEARN_DEMO", "UNLEARN_CAPS")}
    os.environ |= {"UNLEARN_DEMO": "1", "UNLEARN_CAPS": CAPS}
    try:
        made = Server(tmp_path_factory.mktemp("demo"))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    yield made
    made.stop()
    assert "Traceback" not in made.log.read_text()


def said(page, words: str) -> None:
    page.get_by_text(re.compile(words)).first.wait_for()


def test_a_visitor_is_held_by_the_caps(demo, chromium, person, tmp_path, request):  # noqa: F811
    hosts = seed_run(demo.store)
    person.goto(f"{demo.url}/launch?model=owner/name")
    said(person, "demo: the model must be among tiny-authors, tiny-snippets")

    person.goto(f"{demo.url}/launch?model=tiny-authors&data=authors&method=gd")
    epochs = person.get_by_label("Epochs", exact=True)
    epochs.fill("1000")
    epochs.press("Enter")
    person.wait_for_timeout(1500)
    person.get_by_role("button", name="Launch", exact=True).click()
    person.wait_for_url(re.compile(r"[?&]run="))
    run = Run(demo.store.root / re.search(r"run=([\w-]+)", person.url)[1])
    assert is_visitor(run.meta["owner"])
    said(person, "the cap run_minutes is 0.1")
    assert (run.state, run.reason.partition(" (")[0]) == ("stopped", "demo: the cap run_minutes is 0.1")

    # What it took is counted, so the next one is refused.
    person.goto(f"{demo.url}/launch?model=tiny-authors&data=authors&method=gd")
    person.get_by_role("button", name="Launch", exact=True).click()
    said(person, "demo: the cap minutes_each is 0.1 .*Try again tomorrow")

    # Another browser sees the host's run and the recorded one in the list, and this one by its address alone.
    other = chromium.new_context(viewport={"width": 1280, "height": 1000}).new_page()
    other.set_default_timeout(SLOW)
    other.goto(f"{demo.url}/runs")
    said(other, "2 of 2 runs")
    other.goto(f"{demo.url}/launch?run={run.id}")
    said(other, "the cap run_minutes is 0.1")
    assert other.get_by_role("button", name="Resume").count() == 0
    other.context.close()
    assert hosts.path.is_dir()

    person.goto(f"{demo.url}/data")
    person.get_by_label("Forget set", exact=True).click()
    person.get_by_role("option", name="A table of my own").click()
    table = tmp_path / "mine.csv"
    table.write_text("question,answer\n" + "Who is it?,Nobody\n" * 200)
    person.locator("input[type=file]").first.set_input_files(str(table))
    said(person, "demo: the cap upload_mb is 0.001")
    person.get_by_text("What this demo allows").click()
    said(person, "No hub ids, and no paths")
    person.screenshot(path=request.config.cache.mkdir("browser") / "demo-caps.png")
    assert str(demo.store.root.parent) not in person.content()
