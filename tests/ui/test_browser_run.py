"""From Start to an attacked run as a person does it: with a mouse, with the keyboard alone, and on a phone."""

import re
import time

import pytest

from tests.pages.test_browser import chromium, no_exception, person, server  # noqa: F401  (fixtures)
from ui import shell
from unlearn.results import conclusion
from unlearn.store.runs import ACTIVE
from unlearn.work import stress

pytestmark = [pytest.mark.browser, pytest.mark.heavy]
# Seconds for all attacks on the bundled model on a machine that has other work.
ATTACKS = 900
RECORDED = next(path.name for path in shell.Path(shell.RECORDED).iterdir())
PHONE = {"width": 390, "height": 844}
# What must not lie over each other: content on the page, and the words of a figure.
OVERLAPS = """() => {
  // What is folded away stays in the page; it lies over nothing.
  const seen = (node) => !node.closest("details:not([open])") && node.checkVisibility({visibilityProperty: true});
  const boxes = (root, names) => [...root.querySelectorAll(names)].filter(seen)
    .map((node) => ({node, box: node.getBoundingClientRect()}))
    .filter(({box}) => box.width > 1 && box.height > 1);
  const bad = [];
  const compare = (found) => found.forEach((one, i) => found.slice(i + 1).forEach((other) => {
    if (one.node.contains(other.node) || other.node.contains(one.node)) return;
    const [a, b] = [one.box, other.box];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    const name = ({node}) =>
      (node.dataset?.testid || node.getAttribute("class")) + ": " + node.textContent.slice(0, 60);
    if (wide > 2 && high > 2) bad.push(`${name(one)} | ${name(other)} | ${wide.toFixed(0)} x ${high.toFixed(0)}`);
  }));
  const main = document.querySelector("[data-testid=stMain]");
  const kinds = ["PlotlyChart", "DataFrame", "Metric", "Markdown", "Button", "Alert", "PageLink"];
  compare(boxes(main, [...kinds.map((kind) => `[data-testid=st${kind}]`), "svg[role=img]"].join(", ")));
  main.querySelectorAll(".js-plotly-plot").forEach((plot) => {
    compare(boxes(plot, ".xtitle, .ytitle, .legend, .annotation-text"));
  });
  if (document.documentElement.scrollWidth > innerWidth + 1) bad.push("it scrolls sideways");
  return bad;
}"""


def test_from_start_over_the_lesson_to_an_attacked_run(server, person):  # noqa: F811
    person.goto(server.url)
    person.get_by_role("link", name="A lesson in five steps").click()
    person.get_by_role("button", name="Ask the model").click()
    person.get_by_text(
        re.compile(r"Asked just now\. It gives the right answer a likelihood of \d+ %")
    ).wait_for()
    person.get_by_text("From its own training on these texts").click()
    person.get_by_text(re.compile(r"Yes\. The authors are invented")).wait_for()
    no_exception(person)
    person.get_by_role("link", name="Start").first.click()
    person.get_by_role("button", name="Try it yourself").click()
    person.get_by_role("button", name="Launch", exact=True).click()
    # Rows and stages are there before the first answer.
    person.get_by_text("Loading the model").first.wait_for()
    person.locator("div.text", has_text="In which city was Enorosk Tamborrin born?").first.wait_for()
    person.get_by_text("not attacked yet").wait_for()
    person.get_by_text(re.compile(r"\d+ % \(retrained 3\.3 %\)")).first.wait_for()
    person.get_by_role("button", name="Is it really gone? Attack it").click()
    person.get_by_role("heading", name="Stress").wait_for()
    run = server.store.list()[0]
    assert f"run={run.id}" in person.url
    person.get_by_role("button", name="Attack", exact=True).click()
    deadline = time.time() + ATTACKS
    while ((job := stress.latest(run)) is None or job.state in ACTIVE) and time.time() < deadline:
        time.sleep(1)
    assert job.state == "done", job.reason
    word = conclusion.of_run(run)["word"]
    assert word in ("suppressed", "erased")
    person.get_by_text(re.compile(f"{word}$")).first.wait_for()
    no_exception(person)
    person.goto(f"{server.url}/launch?run={run.id}")
    person.get_by_text(
        re.compile("Came back under attack|Picked in pairs|Read from a layer")
    ).first.wait_for()
    person.get_by_role("button", name="Look at the attacks").wait_for()


def test_a_race_of_three_ends_side_by_side(server, person):  # noqa: F811
    person.goto(f"{server.url}/launch?model=tiny-authors&data=authors&method=npo,undial,ga")
    person.get_by_role("button", name="Launch 3 runs").click()
    person.get_by_text(re.compile(r"To forget, likelihood of the right answers: NPO")).wait_for()
    person.get_by_role("button", name="Stop all and keep").wait_for()
    person.get_by_role("button", name="Compare the three").wait_for(timeout=240_000)
    shown = person.get_by_test_id("stMain").inner_text()
    assert shown.index("1. ") < shown.index("2. ") < shown.index("3. Gradient ascent")
    assert (
        "retrained"
        in person.get_by_text(re.compile("To forget, likelihood of the right answers")).inner_text()
    )
    no_exception(person)
    runs = {run.id for run in server.store.list()[:3]}
    person.get_by_role("button", name="Compare the three").click()
    person.get_by_role("heading", name="Compare").first.wait_for()
    person.wait_for_timeout(2000)
    # The link carries all three, and the answers of all stand in one table.
    assert all(run in person.url for run in runs)
    heads = person.locator(".sheet thead th").all_inner_texts()
    assert [head for head in heads if head.startswith("After ")] == ["After A", "After B", "After C"]
    no_exception(person)


# What has the focus, also inside a component: its words, and the name that a reader of the screen says. The page itself
# can have it, since it scrolls, and holds the words of everything: that is no widget.
FOCUSED = """() => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  const words = node?.innerText ?? "";
  return `${words.length < 200 ? words : ""}\n${node?.getAttribute("aria-label") ?? ""}`;
}"""


def tab_to(person, name: str, most: int = 200) -> None:  # noqa: F811
    """Press Tab until the widget of this name has the focus."""
    for _ in range(most):
        person.keyboard.press("Tab")
        if any(line.strip().endswith(name) for line in person.evaluate(FOCUSED).splitlines()):
            return
    raise AssertionError(f"{name} is not reached by {most} tabs")


def arrow_to(person, name: str, most: int = 15) -> None:  # noqa: F811
    """Press the right arrow until the choice of this name has the focus: a row of choices is one stop of Tab."""
    for _ in range(most):
        if name in person.evaluate(FOCUSED):
            return
        person.keyboard.press("ArrowRight")
    raise AssertionError(f"{name} is not reached by {most} arrows")


def test_from_start_to_a_launched_run_by_keyboard_alone(server, person):  # noqa: F811
    person.goto(server.url)
    person.get_by_role("button", name="Try it yourself").wait_for()
    tab_to(person, "Try it yourself")
    person.keyboard.press("Enter")
    person.get_by_role("button", name="Launch", exact=True).wait_for()
    person.wait_for_timeout(1500)
    tab_to(person, "Launch")
    person.keyboard.press("Enter")
    person.wait_for_url(re.compile(r"[?&]run="))
    person.get_by_text("not attacked yet").wait_for()
    no_exception(person)


def at_rest(person) -> None:  # noqa: F811
    """Wait until the page is drawn: what is pressed while it changes may be lost."""
    person.wait_for_timeout(1000)
    person.wait_for_function("() => !document.querySelector('[data-test-script-state=\"running\"]')")
    person.wait_for_timeout(1500)


# What Streamlit does to the tabs of a page while it draws it anew, and what it does when they are drawn.
OFF = """() => document.querySelectorAll('[role=tab]').forEach(tab => {
  tab.removeAttribute('tabindex');
  tab.setAttribute('aria-disabled', 'true');
})"""
ON = """() => document.querySelectorAll('[role=tab]').forEach(tab => {
  tab.setAttribute('tabindex', '0');
  tab.removeAttribute('aria-disabled');
})"""


def test_a_tab_that_is_switched_off_for_a_moment_has_the_focus_again(server, person):  # noqa: F811
    person.goto(f"{server.url}/compare?a={RECORDED}")
    tab = person.get_by_role("tab", name="Scores")
    tab.wait_for()
    at_rest(person)
    tab.focus()
    person.evaluate(OFF)
    person.wait_for_timeout(300)
    assert person.evaluate("document.activeElement === document.body")
    person.evaluate(ON)
    person.wait_for_function("() => document.activeElement.innerText === 'Scores'")
    # The focus is not given back to a tab that somebody has left, nor taken from what has it.
    person.evaluate("document.activeElement.blur()")
    person.wait_for_timeout(300)
    assert person.evaluate("document.activeElement === document.body")
    # Nor where somebody has pressed elsewhere while it was off.
    tab.focus()
    person.evaluate(OFF)
    person.wait_for_timeout(300)
    person.mouse.click(640, 4)
    person.evaluate(ON)
    person.wait_for_timeout(300)
    assert person.evaluate("document.activeElement.innerText !== 'Scores'")
    tab.focus()
    person.evaluate(OFF)
    person.get_by_role("button").first.focus()
    person.evaluate(ON)
    person.wait_for_timeout(300)
    assert person.evaluate("document.activeElement.innerText !== 'Scores'")


def test_two_runs_are_launched_and_compared_by_keyboard_alone(server, person):  # noqa: F811
    person.goto(f"{server.url}/launch?model=tiny-authors&data=authors&method=npo")
    person.get_by_role("button", name="Launch", exact=True).wait_for()
    at_rest(person)
    tab_to(person, "Random labels")
    arrow_to(person, "UnDIAL")
    person.keyboard.press("Space")
    person.get_by_role("button", name="Launch 2 runs").wait_for()
    at_rest(person)
    tab_to(person, "Launch 2 runs")
    person.keyboard.press("Enter")
    person.wait_for_url(re.compile(r"[?&]run="))
    person.get_by_role("button", name="Compare the two").wait_for(timeout=240_000)
    at_rest(person)
    tab_to(person, "Compare the two")
    person.keyboard.press("Enter")
    person.get_by_role("heading", name="Compare", level=1).wait_for()
    # A third run, by the arrow keys of its list.
    third = person.get_by_role("combobox", name="Run C")
    third.wait_for()
    at_rest(person)
    tab_to(person, "Run C")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        person.keyboard.press(key)
    person.wait_for_url(re.compile(r"[?&]c=\d{8}-"))
    person.get_by_role("combobox", name="Run D").wait_for()
    at_rest(person)
    # Another tab, and back.
    tab_to(person, "Answers")
    person.keyboard.press("ArrowRight")
    person.keyboard.press("Enter")
    person.wait_for_url(re.compile(r"[?&]tab=Scores"))
    at_rest(person)
    person.keyboard.press("ArrowLeft")
    person.keyboard.press("Enter")
    person.wait_for_url(lambda url: "tab=" not in url)
    at_rest(person)
    # A filter, and from an answer to its tokens.
    tab_to(person, "To forget")
    arrow_to(person, "To keep")
    person.keyboard.press("Enter")
    person.wait_for_url(re.compile(r"[?&]rows=retain"))
    at_rest(person)
    tab_to(person, "tokens")
    person.keyboard.press("Enter")
    person.get_by_role("heading", name="Tokens", level=1).wait_for()
    person.wait_for_url(re.compile(r"role=retain"))
    no_exception(person)


@pytest.mark.parametrize(
    "address", ["", f"launch?run={RECORDED}", "launch", "lesson", "lesson?step=5", "lesson?step=1&view=large"]
)
def test_nothing_overlaps_on_a_phone(server, person, address):  # noqa: F811
    person.set_viewport_size(PHONE)
    person.goto(f"{server.url}/{address}")
    person.get_by_test_id("stMain").get_by_role("button").first.wait_for()
    person.wait_for_timeout(4000)
    no_exception(person)
    assert not person.evaluate(OVERLAPS)


def test_a_class_votes_from_its_own_browsers(server, chromium, person):  # noqa: F811
    """The teacher begins a vote, a pupil opens the link and another the code; both count, and each of them once."""
    person.goto(f"{server.url}/lesson")
    person.get_by_text("Vote with a class, blindly").click()
    person.get_by_role("button", name=re.compile("Begin a vote on")).click()
    said = person.get_by_text(re.compile("or enter the code [A-Z0-9]{5}"))
    said.wait_for()
    address, code = re.search(r"Open (\S+?), or enter the code (\w{5})", said.inner_text()).groups()
    assert address == f"{server.url}/lesson?class={code}"
    pages = []
    for first in (address, f"{server.url}/lesson"):
        pupil = chromium.new_context(viewport=PHONE).new_page()
        pupil.set_default_timeout(90_000)
        pupil.goto(first)
        if first != address:
            pupil.get_by_role("button", name="Enter the code of a class").click()
            pupil.get_by_label("Code", exact=True).fill(code.lower())
            pupil.get_by_label("Code", exact=True).press("Enter")
            pupil.get_by_role("button", name="Go and vote").click()
        pupil.get_by_text("Which answer reads better?").wait_for()
        pupil.get_by_role("button", name="The left one").click()
        pupil.get_by_text(re.compile("^1 of ")).wait_for()
        assert not pupil.evaluate(OVERLAPS)
        pages.append(pupil)
    person.get_by_text(re.compile("2 people gave 2 votes")).wait_for()
    pages[0].reload()
    pages[0].get_by_text(re.compile("^1 of ")).wait_for()
    no_exception(pages[0])
    for pupil in pages:
        pupil.context.close()
    no_exception(person)


def test_the_second_step_of_the_lesson_runs_ascent_and_a_room_sees_two_figures(server, person):  # noqa: F811
    person.goto(f"{server.url}/lesson?step=2")
    person.get_by_role("button", name="Unlearn by gradient ascent").click()
    person.get_by_text("No: most of what it was to keep went too").click()
    person.get_by_text(re.compile(r"Yes\. Of 40 questions that it was to keep")).wait_for()
    person.get_by_text("Presenter view").click()
    person.wait_for_url(re.compile("view=large"))
    person.get_by_test_id("stPlotlyChart").nth(1).wait_for()
    assert person.get_by_test_id("stPlotlyChart").count() == 2
    assert person.evaluate("getComputedStyle(document.documentElement).fontSize") == "21px"
    person.reload()
    person.get_by_test_id("stPlotlyChart").nth(1).wait_for()
    no_exception(person)
