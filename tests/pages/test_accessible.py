"""Every page for everybody: axe-core finds nothing serious, light and dark; on a phone nothing lies on anything else.

axe-core is fetched from its registry at this version, once, into pytest's cache; its licence (MPL-2.0) stays with it.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile

import pytest
from seed import seed_run

from tests.pages.test_browser import ROOT, SLOW, Server, chromium, no_exception  # noqa: F401  (fixtures)
from tests.pages.test_stress import planted
from unlearn.store.disk import write_json

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AXE, DIGEST = "axe-core@4.14.1", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
# Nodes that Streamlit or a library of it draws and this program cannot change: rule, part of the node, reason.
KNOWN = (
    ("list", "stSidebarNavItems", "Streamlit puts each entry of its menu into a div inside the list."),
    (
        "listitem",
        "<li class=.st-emotion-cache",
        "The same menu: its entries are no direct children of the list.",
    ),
    ("color-contrast", "class=.token ", "Streamlit's highlighter colours words of code blocks."),
)
# The pages whose layout on a phone is checked here.
PHONE = ("compare", "tokens", "stress", "runs", "claims", "sequence", "methods", "data")
BARS = ".modebar-container, [data-testid=stElementToolbar]"
OVERLAPS = """(bars) => {
  const parts = `[data-testid=stElementContainer], [data-testid=stWidgetLabel], ${bars}`;
  const shown = [...document.querySelector("[data-testid=stMain]").querySelectorAll(parts)]
    .filter((node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
    .map((node) => [node, node.getBoundingClientRect()])
    .filter(([, box]) => box.width > 1 && box.height > 1);
  const said = (node) => node.innerText.slice(0, 50) || node.className.slice(0, 70);
  const found = [];
  shown.forEach(([one, a], i) => shown.slice(i + 1).forEach(([two, b]) => {
    if (one.contains(two) || two.contains(one)) return;
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 2 && high > 2) found.push(`${said(one)} / ${said(two)}`);
  }));
  return [...found, ...shown.filter(([, b]) => b.right > innerWidth + 1).map(([n]) => `too wide: ${said(n)}`)];
}"""


@pytest.fixture(scope="module")
def axe(request) -> str:
    """The text of axe.min.js of this version."""
    folder = request.config.cache.mkdir("axe")
    file = folder / "axe.min.js"
    if not file.exists():
        if shutil.which("npm") is None:
            pytest.skip("axe-core comes by npm, which is not here")
        words = ["npm", "pack", AXE, "--silent", "--pack-destination", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=folder)
        if done.returncode:
            pytest.skip(f"axe-core could not be fetched: {done.stderr[-200:]}")
        with tarfile.open(folder / done.stdout.split()[-1]) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            file.write_bytes(member.read())
    content = file.read_bytes()
    assert hashlib.sha256(content).hexdigest() == DIGEST
    return content.decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The app with a run that was attacked, one that failed, and one that was made by a sweep."""
    made = Server(tmp_path_factory.mktemp("everybody"))
    run = seed_run(made.store)
    (run.path / "model").mkdir()
    (run.path / "model" / "model.safetensors").write_bytes(b"x")
    write_json(run.path / "attacks.json", planted())
    seed_run(made.store, "failed")
    seed_run(made.store).set_meta(sweep="20261121-154000-sweep")
    made.run = run.id
    yield made
    made.stop()
    assert "Traceback" not in made.log.read_text()


def opened(chromium, server, page, width=1280, scheme="light"):  # noqa: F811
    """The page when it has come to rest, with the run that was attacked where it shows one."""
    run = {"compare": "a", "tokens": "run", "stress": "run"}.get(page)
    address = f"{'' if page == 'start' else page}" + (f"?{run}={server.run}" if run else "")
    return at_rest(chromium, f"{server.url}/{address}", width, scheme)


def at_rest(chromium, url, width=1280, scheme="light", **options):  # noqa: F811
    """The page at this address when it has come to rest."""
    viewport = {"width": width, "height": 844}
    context = chromium.new_context(viewport=viewport, color_scheme=scheme, **options)
    tab = context.new_page()
    tab.set_default_timeout(SLOW)
    tab.goto(url)
    tab.get_by_role("heading", level=1).first.wait_for()
    tab.wait_for_function(
        "() => !document.querySelector('[data-testid=\"stSkeleton\"]')"
        " && !document.querySelector('[data-test-script-state=\"running\"]')"
    )
    tab.wait_for_timeout(1500)
    no_exception(tab)
    return tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing_serious(chromium, server, axe, page, scheme):  # noqa: F811
    tab = opened(chromium, server, page, scheme=scheme)
    bad = violations(tab, axe)
    tab.context.close()
    assert not bad, "\n".join(bad[:12])


def violations(tab, axe: str) -> list[str]:
    """What axe finds serious on this page, without what this program cannot change."""
    tab.evaluate(axe)
    found = tab.evaluate(
        "() => axe.run(document, {resultTypes: ['violations'],"
        " runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}})"
    )
    return [
        f"{rule['id']}: {node['html'][:220]} {node['failureSummary'][-160:]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        if not known(rule["id"], node)
    ]


def known(rule: str, node: dict) -> bool:
    place = json.dumps(node["target"]) + node["html"]
    return any(rule == name and re.search(part, place) for name, part, _ in KNOWN)


@pytest.mark.parametrize("page", PHONE)
def test_on_a_phone_nothing_lies_on_anything_else(chromium, server, page):  # noqa: F811
    tab = opened(chromium, server, page, width=390)
    found = tab.evaluate(OVERLAPS, BARS)
    bars = sum(tab.locator(BARS).nth(i).is_visible() for i in range(tab.locator(BARS).count()))
    wide = tab.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    tab.context.close()
    assert found == []
    assert bars == 0
    assert wide <= 0


@pytest.mark.parametrize("width", [390, 1280])
def test_the_names_in_the_benchmarks_plane_do_not_lie_on_each_other(chromium, server, width):  # noqa: F811
    """They are drawn for two widths, and those for the other one are not seen."""
    tab = opened(chromium, server, "benchmark", width=width)
    tab.locator(".st-key-benchmark-plane .textpoint").first.wait_for(state="attached")
    shown, on_each_other = tab.evaluate("""() => {
      const names = [...document.querySelectorAll(".st-key-benchmark-plane .textpoint")]
        .map((node) => [node.textContent, node.getBoundingClientRect()]).filter(([, box]) => box.width > 0);
      const bad = names.flatMap(([one, a], i) => names.slice(i + 1).filter(([, b]) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2).map(([two]) => `${one} / ${two}`));
      return [names.map(([name]) => name), bad];
    }""")
    tab.context.close()
    assert "start" in shown
    assert len(shown) == len(set(shown))
    assert on_each_other == []


def test_charts_say_their_result_to_those_who_cannot_see_them(chromium, server):  # noqa: F811
    tab = opened(chromium, server, "compare")
    charts = tab.get_by_test_id("stPlotlyChart")
    charts.first.wait_for()
    said = [
        charts.nth(i).evaluate('n => n.outerHTML.match(/aria-label="([^"]*)"/)?.[1]')
        for i in range(charts.count())
    ]
    tab.context.close()
    assert any("answers to forget" in (words or "") for words in said), said


INK = """() => {
  const node = document.querySelector(".js-plotly-plot text");
  return node ? getComputedStyle(node).fill.match(/\\d+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0) : 0;
}"""


def test_charts_take_the_colours_of_a_screen_that_turns_dark(chromium, server):  # noqa: F811
    tab = opened(chromium, server, "stress")
    tab.locator(".js-plotly-plot text").first.wait_for()
    by_day = tab.evaluate(INK)
    tab.emulate_media(color_scheme="dark")
    # Twice as light; the colour of a chart that is being drawn is another for a moment.
    tab.wait_for_function(f"by_day => ({INK})() > 1.5 * by_day", arg=by_day)
    tab.context.close()


def test_the_run_is_carried_over_three_pages_by_the_menu_and_by_the_keyboard(chromium, server):  # noqa: F811
    """The older of two runs is chosen with the keyboard; the menu leads on, and each page names it large."""
    tab = opened(chromium, server, "compare")
    name = tab.get_by_role("heading", level=3).first.inner_text()
    for page in ("Tokens", "Stress", "Compare"):
        link = tab.get_by_role("link", name=page, exact=True).first
        link.focus()
        tab.keyboard.press("Enter")
        tab.get_by_role("heading", name=page, level=1).wait_for()
        tab.wait_for_url(re.compile(f"[?&](a|run)={server.run}"))
        tab.get_by_role("heading", level=3, name=name).first.wait_for()
        no_exception(tab)
    tab.context.close()


def test_a_row_of_a_table_is_ticked_by_the_keyboard(chromium, server):  # noqa: F811
    tab = opened(chromium, server, "runs")
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("() => document.activeElement.tagName") == "CANVAS":
            break
    tab.keyboard.press("Shift+Space")
    # Runs of one second stand in any order, so the first row may be a run or a sweep.
    tab.get_by_text("Selected: ").wait_for()
    tab.context.close()


def test_no_page_leaves_an_error_in_the_console(chromium, server):  # noqa: F811
    said = []
    for page in PAGES:
        context = chromium.new_context()
        tab = context.new_page()
        tab.set_default_timeout(SLOW)
        tab.on("console", lambda m: said.append(f"{page}: {m.text}") if m.type == "error" else None)  # noqa: B023
        tab.on("response", lambda r: said.append(f"{page}: {r.status} {r.url}") if r.status >= 400 else None)  # noqa: B023
        tab.goto(f"{server.url}/{'' if page == 'start' else page}")
        tab.get_by_role("heading", level=1).first.wait_for()
        tab.wait_for_timeout(1500)
        context.close()
    assert said == []
