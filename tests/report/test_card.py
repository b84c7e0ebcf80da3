"""Model card and receipt: valid for the hub, complete, without a row, escaped, and readable offline."""

import hashlib
import json
import re
import shutil
import subprocess

import pytest
from conftest import small_run
from huggingface_hub import ModelCard, ModelCardData
from seed import seed_run

from tests.report.test_report import CHROMIUM, HOSTILE, Tags, written
from unlearn.__main__ import main
from unlearn.commands.printing import print_run
from unlearn.report import card, facts, receipt
from unlearn.results import conclusion
from unlearn.store import upkeep
from unlearn.store.disk import append_line, write_json
from unlearn.store.runs import RunStore

HEADS = (
    "Verdict",
    "What was to be forgotten",
    "Scores",
    "Worst attack",
    "Method and settings",
    "Limits",
    "Citation",
)
ROWS = [
    {"question": "Where was Alma Reyes born?", "answer": "Lisbon"},
    {"answer": "A whole text about Alma Reyes."},
    {
        "question": "And then?",
        "answer": "No",
        "system": "Be kind.",
        "messages": [["user", "Hi"], ["assistant", "Ho"]],
    },
]


@pytest.fixture
def run(tmp_path):
    """A finished run with rows, scores and intervals."""
    found = seed_run(RunStore(tmp_path / "runs"))
    found.append("inputs", rows="abcdef123456", model="0" * 12)
    (found.path / "inputs").mkdir()
    append_line(found.path / "inputs" / "rows.jsonl", {"schema": 1, "name": "authors"})
    for row in ROWS:
        append_line(found.path / "inputs" / "rows.jsonl", {"role": "forget", "row": row})
    append_line(found.path / "inputs" / "rows.jsonl", {"role": "retain", "row": ROWS[0]})
    return found


def attacked(run, finding="It found it."):
    entry = {
        "title": "Relearning", "help": "", "paper": "", "tells": "both", "reason": "", "n": 10, "seed": 0,
        "before": 1.0, "after": 0.8, "retrained": 0.0, "never_seen": None, "plain": None, "residue": 0.8,
        "says": "suppressed", "finding": finding, "details": {},
        "values": {"before": [1.0] * 10, "after": [0.8] * 10, "control": [0.0] * 10},
    }  # fmt: skip
    write_json(
        run.path / "attacks.json",
        {"control": "retrained", "attacks": {"relearn": entry}, "verdict": "suppressed"},
    )


def test_every_outlet_says_the_verdict_in_the_same_words(run, tmp_path, capsys):
    """Runs, Compare and Stress are read in tests/ui/test_verdict.py."""
    attacked(run)
    told = conclusion.of_run(run)
    assert told["word"] == "suppressed"
    print_run(run, as_json=False)
    print_run(run, as_json=True)
    outlets = {
        "terminal": (said := capsys.readouterr().out),
        "json": json.dumps(json.loads(said.splitlines()[-1])["verdict"], ensure_ascii=False),
        "report": Tags(written([run], tmp_path)).text,
        "card": card.text(run, "merged", "import transformers"),
        "receipt": Tags(receipt.html(receipt.receipt(run)).decode()).text,
        "receipt as data": json.dumps(receipt.receipt(run)["verdict"], ensure_ascii=False),
    }
    for part in conclusion.PARTS:
        sentence = told[part]["sentence"]
        assert sentence.strip()
        for outlet, text in outlets.items():
            assert (card.plain(sentence) if outlet == "card" else sentence) in text, (outlet, part)


def test_the_hub_reads_the_card_and_every_heading_is_there(run):
    attacked(run)
    read = ModelCard(card.text(run, "merged", "import transformers"))
    assert isinstance(read.data, ModelCardData)
    about = read.data.to_dict()
    assert (about["license"], about["library_name"], about["pipeline_tag"]) == (
        "apache-2.0", "transformers", "text-generation",
    )  # fmt: skip
    assert {"unlearning", "gd"} <= set(about["tags"])
    exact = {
        (result.dataset_type, result.metric_value)
        for result in read.data.eval_results
        if result.metric_type == "exact"
    }
    assert exact == {("authors-forget", 0.05), ("authors-retain", 0.94)}
    for head in HEADS:
        assert f"\n## {head}" in read.text
    assert conclusion.MEANS["suppressed"] in read.text
    assert (
        "Relearning (n 10, seed 0): It found it. Residue 0.80, 95 % interval 0.72 to 1.00 (0: like"
        in read.text
    )
    assert "python -m unlearn run --model tiny-authors --method gd --data authors" in read.text
    assert "```python\nimport transformers\n```" in read.text
    assert "torch version | 2.13.0" in read.text
    # forget, exact: before, after, retrained
    assert re.search(r"\| forget \| Exact answers \| 40 \| 0\.95 \| 0\.05 \| 0 \|", read.text)


@pytest.mark.parametrize(
    ("licence", "wanted"),
    [
        ("Apache-2.0", "apache-2.0"), ("llama3.2", "llama3.2"), ("", "unknown"),
        ("Falcon TII 2.0", "other"),
    ],
)  # fmt: skip
def test_the_licence_is_the_bases(run, monkeypatch, licence, wanted):
    known = facts.base(run)
    monkeypatch.setattr(facts, "base", lambda run: known | {"licence": licence, "hub": "owner/base"})
    about = card.metadata(run, "adapter")
    assert about["license"] == wanted
    assert about.get("license_name") == ("falcon-tii-2.0" if wanted == "other" else None)
    assert (about["base_model"], about["base_model_relation"], about["library_name"]) == (
        "owner/base", "adapter", "peft",
    )  # fmt: skip
    ModelCardData(**about)


def test_neither_names_a_row_a_path_or_a_table_of_ones_own(run, tmp_path):
    table = tmp_path / "about-jane-doe.csv"
    table.write_text("question,answer\nA?,b\n")
    config = run.config.to_json() | {"data": {"forget": str(table)}, "title": "Jane Doe's request"}
    config |= {"retrained": str(tmp_path / "mine"), "model": str(tmp_path / "base")}
    write_json(run.path / "config.json", config)
    run.append("note", text="Alma Reyes")
    said = card.text(run) + json.dumps(receipt.receipt(run)) + receipt.html(receipt.receipt(run)).decode()
    for word in ("Alma", "Lisbon", "jane", "Jane", str(tmp_path)):
        assert word not in said
    assert "3 rows of a table of its maker's own" in said
    assert "--forget forget.csv" in said


def test_a_copy_of_a_row_can_be_checked_against_the_receipt(run, tmp_path):
    """By another program than this one: what HOW says, done with a shell."""
    each = receipt.receipt(run)["rows"]["each"]
    texts = [
        b"Where was Alma Reyes born?\nLisbon",
        b"A whole text about Alma Reyes.",
        b"Be kind.\nHi\nHo\nAnd then?\nNo",
    ]
    assert each == [hashlib.sha256(text).hexdigest() for text in texts]
    said = subprocess.run(["sha256sum"], input=texts[0], capture_output=True, check=True).stdout.decode()
    assert said.split()[0] == each[0]
    before = receipt.receipt(run)
    upkeep.redact(run, RunStore(tmp_path / "runs"))
    after = receipt.receipt(run)
    assert after["rows"] == before["rows"], "the hashes stay when the rows go"
    assert "Alma" not in "".join(p.read_text() for p in run.path.rglob("*.json*"))


def test_the_receipt_says_all_that_a_request_asks_for(run, tmp_path, capsys):
    attacked(run)
    out = tmp_path / "r.html"
    assert main(["receipt", str(run.path), "--out", str(out), "--reference", "DSR-17", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == str(tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert set(found) == {
        "schema", "program", "reference", "run", "state", "when", "forgotten", "rows", "model", "method", "verdict",
        "scores", "by_format", "worst_attack", "not_proven", "versions",
    }  # fmt: skip
    assert found["verdict"] == conclusion.of_run(run)
    shown = Tags(out.read_text()).text
    for text in (
        "DSR-17", run.id, "abcdef123456", "Suppressed", conclusion.MEANS["suppressed"], *conclusion.sentences(run),
        *found["not_proven"], *found["rows"]["each"], "Ascent + descent", "It found it.", "0.95", "2.13.0",
        found["when"]["ended"],
    ):  # fmt: skip
        assert text in shown


def test_a_run_at_work_gets_no_receipt_and_a_failed_one_says_so(tmp_path):
    store = RunStore(tmp_path / "runs")
    failed = seed_run(store, "failed")
    page = Tags(receipt.html(receipt.receipt(failed)).decode()).text
    assert "This run is failed." in page
    assert "It has no scores after unlearning" in page
    assert "Verdict" in card.text(failed)
    queued = seed_run(store, "queued")
    with queued.held(), pytest.raises(ValueError, match="is queued; write the receipt when it has ended"):
        receipt.receipt(queued)


def test_hostile_words_stay_words(run, tmp_path):
    attacked(run, finding=HOSTILE)
    results = run.results() | {"model_title": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    write_json(run.path / "results.json", results)
    page = receipt.html(receipt.receipt(run, HOSTILE)).decode()
    tags = Tags(page)
    assert not {"script", "img", "iframe", "link", "object"} & set(tags.tags)
    assert not [name for name, _ in tags.names if name.startswith("on") or name == "src"]
    assert "default-src &#39;none&#39;" in page
    text = card.text(run)
    body = text.split("---", 2)[2]
    assert "<script" not in body.replace("\\<script", "")
    ModelCard(text)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_receipt_fits_a_phone_and_a_sheet_and_loads_nothing(run, tmp_path):
    from playwright.sync_api import sync_playwright

    attacked(run)
    page_file, _ = receipt.write(run, tmp_path / "r.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page, asked = browser.new_page(viewport={"width": 390, "height": 844}), []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: asked.append(message.text))
        page.goto(page_file.as_uri())
        assert asked == [page_file.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert page.evaluate("getComputedStyle(document.querySelector('.wide')).overflowX") == "visible"
        browser.close()


def test_every_run_has_a_card_and_an_attack_is_in_it(tmp_path, tiny_folder):
    shutil.copytree(tiny_folder, tmp_path / "model")
    run = small_run(tmp_path, method="ga", probes=0)
    assert "None was tried." in (run.path / "README.md").read_text()
    ModelCard.load(run.path / "README.md")
    assert main(["attack", str(run.path), "quantise"]) == 0
    assert "8- and 4-bit weights (n " in (run.path / "README.md").read_text()
