"""The report: everything is in it, nothing in it runs, and nothing is fetched; also of several and of failed runs."""

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from seed import seed_run

from unlearn.__main__ import main
from unlearn.figures import base as figures
from unlearn.figures import svg
from unlearn.figures.losses import losses
from unlearn.figures.tradeoff import tradeoff
from unlearn.report.build import groups, report
from unlearn.results.compare import number, rounded, score_table
from unlearn.store.disk import append_line, write_json
from unlearn.store.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)> &amp; {{ 7*7 }} {% raw %} \u202e"


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def written(runs, tmp_path):
    return report(runs, tmp_path / "report.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every element and attribute of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.names, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names += [(name, value) for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def metrics(**changes):
    score = {"when": "after", "role": "forget", "value": 0.61, "n": 150, "per_example": []}
    score |= {"details": {"interval": [0.55, 0.67]}}
    entry = {"title": "MIA loss", "help": "AUC of telling", "ideal": 0.5, "reason": "", "scores": [score]}
    return {"identity": {}, "metrics": {"mia_loss": entry | changes}, "cost": [{"seconds": 3.0}]}


def test_without_rows_it_shows_numbers_and_no_word_of_a_row(store, tmp_path):
    run = seed_run(store)
    run.append("note", text="Lisbon stands in row 1.")
    whole = Tags(written([run], tmp_path)).text
    bare = Tags(report([run], tmp_path / "bare.html", rows=False).read_text(encoding="utf-8")).text
    for word in ("Lisbon", "Alma Reyes", "Porto", "short stories", "Heron"):
        assert word in whole
        assert word not in bare
    assert "--without-rows" in whole
    assert "was made without the rows" in bare
    for row in score_table([run]):
        assert rounded(row["a"]) in bare


def test_every_score_is_in_it(store, tmp_path):
    runs = [seed_run(store), seed_run(store, lr=2e-3)]
    text = Tags(written(runs, tmp_path)).text
    for row in score_table(runs):
        for key in ("before", "a", "delta_a", "b", "delta_b", "retrained"):
            value = number(row[key])
            assert value != value or rounded(value, sign=key.startswith("delta")) in text
    for run in runs:
        assert run.config.command() in text
        assert run.id in text
    for word in (
        "2.13.0",
        "1" * 12,
        "0" * 12,
        "share of answer tokens",
        "Seed 0",
        "Lisbon",
        "7.4 s",
        "Step 10",
    ):
        assert word in text


def test_further_metrics_and_their_intervals(store, tmp_path):
    run = seed_run(store)
    write_json(run.path / "metrics.json", metrics())
    text = Tags(written([run], tmp_path)).text
    assert "0.61 [0.55, 0.67]" in text
    assert "AUC of telling" in text
    # A p-value never stands alone.
    tested = {"when": "after", "role": "paraphrase", "value": 0.031, "n": 90, "per_example": []}
    write_json(run.path / "metrics.json", metrics(scores=[tested | {"details": {"d": 0.214}}]))
    text = Tags(written([run], tmp_path)).text
    assert "0.031 (D 0.214)" in text
    assert "90" in text


def attacked(says="suppressed", **changes):
    """attacks.json with one attack, of the shape that unlearn.work.stress writes."""
    entry = {
        "title": "Relearning",
        "help": "Share after practice.",
        "paper": "",
        "tells": "both",
        "reason": "",
    }
    entry |= {"n": 60, "before": 1.0, "after": 0.83, "retrained": 0.04, "never_seen": None, "plain": 0.02}
    entry |= {"residue": 0.823, "says": says, "seed": 0, "seconds": 1.0, "finding": "It comes back at once."}
    values = {"before": [1.0, 1.0], "after": [1.0, 0.0], "control": [0.0, 0.0]}
    entry |= {"values": values, "details": {}}
    skipped = {**entry, "title": "Dial", "reason": "needs an adapter", "says": ""}
    known = {"identity": {}, "seed": 0, "control": "retrained", "plain": values, "verdict": says}
    return known | {"attacks": {"relearn": entry | changes, "dial": skipped}}


def test_attacks_and_their_verdict(store, tmp_path):
    run = seed_run(store)
    write_json(run.path / "attacks.json", attacked())
    text = Tags(written([run], tmp_path)).text
    for word in (
        "Verdict: suppressed",
        "0.823 [0, 1]",
        "0.83 [0.0945, 0.905]",
        "It comes back at once",
        "Left out: Dial: needs an adapter",
    ):
        assert word in text
    assert "It was not attacked" not in text
    assert "Not every run was attacked" not in text


def swept():
    """attacks.json after a sweep: a setting that was tried again, and one that could not be done."""
    record = attacked()
    entry = record["attacks"]["relearn"] | {"family": "Relearning", "setting": "LoRA, retain texts"}
    entry |= {"title": "Relearning: LoRA, retain texts", "after": 0.9, "residue": 0.9}
    entry |= {"again": [{"seed": 1, "after": 0.7, "retrained": 0.1, "never_seen": None, "residue": 0.61}]}
    chat = {"title": "Other format: in chat", "tells": "suppressed", "reason": "there is no template"}
    chat |= {"family": "Other format", "setting": "in chat"}
    swept = {"of": 40, "done": 2, "minutes": 1.5, "next": "NF4 weights", "next_minutes": 0.4}
    return record | {"sweep": {"practice-retain-lora-lr": entry, "format-chat": chat}, "swept": swept}


def test_a_sweep_is_a_table_below_its_worst(store, tmp_path):
    run = seed_run(store)
    write_json(run.path / "attacks.json", swept())
    text = Tags(written([run], tmp_path)).text
    for word in (
        "Of 2 settings tried the worst, relearning: LoRA, retain texts, leaves 90 %",
        "2 of 40 settings were tried in 1.5 minutes; next comes NF4 weights",
        "Every setting that the sweep tried, the worst first.",
        "Relearning: LoRA, retain texts",
        "0, 1: 61 %",
        "Left out: Other format: in chat: there is no template",
        "Left out: Dial: needs an adapter",
        "Finds it still there (1 of 1): relearning.",
    ):
        assert word in text
    write_json(run.path / "attacks.json", attacked())
    assert "Every setting that the sweep tried" not in Tags(written([run], tmp_path)).text


@pytest.mark.parametrize("file", ["metrics.json", "attacks.json"])
@pytest.mark.parametrize(
    "value", [{"metrics": 3, "attacks": 3}, {"metrics": {"a": 1}, "attacks": {"a": 1}}, {"x": 1}]
)
def test_files_of_another_shape_are_said_so_or_passed_over(store, tmp_path, file, value):
    run = seed_run(store)
    write_json(run.path / file, value)
    assert "Unlearning report" in written([run], tmp_path)


def hostile_run(store):
    run = seed_run(store, title=HOSTILE, data={"name": HOSTILE}, knobs={HOSTILE: HOSTILE})
    run.set_meta(title=HOSTILE)
    for when in ("before", "after", "retrained"):
        kept = next(s for s in run.samples() if (s["when"], s["role"], s["index"]) == (when, "forget", 0))
        changed = dict.fromkeys(("text", "question", "prompt", "answer"), HOSTILE + when)
        tokens = [kept["tokens"][0] | {"token": HOSTILE, "top": [[HOSTILE, -1.0]]}]
        append_line(run.path / "samples.jsonl", kept | changed | {"tokens": tokens})
    probe = run.probes()[0]
    probe["items"][0] |= dict.fromkeys(("text", "prompt", "answer"), HOSTILE)
    append_line(run.path / "probes.jsonl", probe)
    run.append("note", text=HOSTILE)
    run.append("eval", when="after", scores={HOSTILE: {"n": 1, HOSTILE: 0.5, "exact": 0.5}})
    run.append("step", step=21, of=21, terms={HOSTILE: 1.0, "retain": 1.0}, seconds=1.0)
    write_json(run.path / "metrics.json", metrics(title=HOSTILE, help=HOSTILE))
    write_json(
        run.path / "results.json", run.results() | {"versions": {HOSTILE: HOSTILE}, "method_title": HOSTILE}
    )
    run.append("state", state="failed", reason=HOSTILE)
    return run


def test_hostile_text_is_text(store, tmp_path):
    page = written([hostile_run(store)], tmp_path)
    seen = Tags(page)
    assert not {"script", "img", "iframe", "object", "base", "form"} & set(seen.tags)
    assert not [name for name, _ in seen.names if name.startswith("on") or name in ("src", "style")]
    assert {value for name, value in seen.names if name == "href"} == {
        value for name, value in seen.names if name == "href" and value.startswith("#")
    }
    assert page.count(html.escape("<script>alert(1)</script>")) > 10
    assert "{{ 7*7 }}" in seen.text  # not 49: no text is a template


def test_half_a_surrogate_pair_is_no_error(store, tmp_path):
    run = seed_run(store)
    path = run.path / "meta.json"
    path.write_text(json.dumps(run.meta | {"title": "half \ud800 pair"}), encoding="utf-8")
    assert "half ? pair" in written([run], tmp_path)


def test_policy_forbids_all_but_the_one_style_sheet(store, tmp_path):
    page = written([seed_run(store)], tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)
    assert html.unescape(policy).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert page.count("<style") == 1


def test_failed_run_says_why(store, tmp_path):
    text = Tags(written([seed_run(store, state="failed")], tmp_path)).text
    assert "This run is failed" in text
    assert "nan at step 12" in text
    assert "no scores after unlearning" in text


def test_run_that_never_began(store, tmp_path):
    run = seed_run(store, state="queued")
    text = Tags(written([run], tmp_path)).text
    for word in ("Nothing was scored", "No training step", "No answers", "No probe", "interrupted"):
        assert word in text


def test_runs_on_other_data_have_tables_of_their_own(store, tmp_path):
    same = [seed_run(store), seed_run(store, lr=2e-3)]
    other = seed_run(store, data={"name": "capitals"})
    assert groups([same[0], other, same[1]]) == [same, [other]]
    text = Tags(written([same[0], other, same[1]], tmp_path)).text
    assert "Runs A, C" in text
    assert "After C" in text


def test_number_of_runs_is_checked(store, tmp_path):
    for runs in ([], [seed_run(store, state="queued") for _ in range(9)]):
        with pytest.raises(ValueError, match="1 to 8"):
            report(runs, tmp_path / "report.html")
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.slow
def test_command_line_writes_it_without_torch(store, tmp_path):
    runs = [seed_run(store), seed_run(store)]
    out = tmp_path / "out.html"
    code = (
        "import sys; from unlearn.__main__ import main; status = main(sys.argv[1:]); "
        "assert not {'torch', 'transformers', 'streamlit'} & set(sys.modules); sys.exit(status)"
    )
    words = ["report", *(run.id for run in runs), "--out", str(out), "--runs", str(store.root)]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    assert "Unlearning report" in out.read_text(encoding="utf-8")
    assert main(["report", "nothing", "--out", str(out), "--runs", str(store.root)]) == 2


# -- figures without a script --------------------------------------------------------------------------------------


def test_svg_draws_what_the_figure_holds():
    steps = [{"step": i, "terms": {"forget": float(i), "retain": 1.0}} for i in range(10)]
    drawing = svg.draw(losses(steps))
    assert drawing.svg.count("<polyline") == 4  # raw and smoothed in two panels
    assert drawing.svg.count("forget term (nats)") == 1
    assert [name for _, name in drawing.legend] == ["forget term", "retain term"]
    assert "0.0" in drawing.title or "forget" in drawing.title.lower()


def test_svg_breaks_a_line_where_a_value_is_not_finite_and_marks_it():
    values = [1.0, 2.0, "nan", 4.0, 5.0]
    steps = [{"step": i, "terms": {"forget": value}} for i, value in enumerate(values)]
    drawing = svg.draw(losses(steps))
    assert drawing.svg.count("<polyline") == 4
    assert "nan" not in drawing.svg
    assert "not finite" in drawing.svg


def test_a_third_and_a_fourth_run_have_other_marks_than_the_retrained_model():
    points = [
        {"label": kind, "kind": kind, "forget": 0.1, "retain": 0.9} for kind in ("A", "C", "D", "retrained")
    ]
    legend = dict(svg.draw(tradeoff(points)).legend[i][::-1] for i in range(4))
    corners = {name: re.sub(r"[^,]", "", mark.partition("points=")[2]) for name, mark in legend.items()}
    assert {name: len(found) for name, found in corners.items()} == {"A": 0, "C": 4, "D": 3, "retrained": 4}
    assert len({mark.partition("points=")[2] for mark in legend.values()}) == 4


def test_svg_escapes_names():
    point = {"label": HOSTILE, "kind": "A", "forget": 0.1, "retain": 0.9, "seconds": 3.0}
    drawing = svg.draw(tradeoff([point, point | {"kind": "before"}]))
    assert "<script" not in drawing.svg
    assert html.escape("<script>alert(1)</script>") in drawing.svg
    assert any(name == figures.text(HOSTILE) or "<script>" in name for _, name in drawing.legend)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-5.3, 0.03, [-5, -4, -3, -2, -1, 0]),
        (0, 115, [0, 20, 40, 60, 80, 100]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert svg.ticks(low, high) == pytest.approx(expected)


def test_palette_has_both_shades():
    assert f"color:{figures.FORGET}" in svg.palette()
    assert f"color:{figures.ON_DARK[figures.FORGET]}" in svg.palette(dark=True)


# -- in a browser --------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_offline_without_a_request_or_a_word_of_complaint(store, tmp_path, scheme):
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    from playwright.sync_api import sync_playwright

    out = report([seed_run(store), hostile_run(store)], tmp_path / "report.html")
    said, asked = [], []
    with sync_playwright() as playwright:
        args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        page = browser.new_context(offline=True, color_scheme=scheme).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(out.as_uri())
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        line = page.evaluate("getComputedStyle(document.querySelector('.cD55E00')).color")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        browser.close()
    assert said == []
    assert asked == [out.as_uri()]
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 21, 21)")
    assert line == ("rgb(213, 94, 0)" if scheme == "light" else "rgb(232, 118, 43)")
    assert wide <= 0
