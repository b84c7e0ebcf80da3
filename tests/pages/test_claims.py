"""The Claims page and command with planted results: every verdict, nothing tested yet, and a broken file."""

import json
from pathlib import Path

import pytest
from planted_claims import PLANTED
from streamlit.testing.v1 import AppTest

from tests.pages.test_methods import sheets
from ui.claims import verdicts
from unlearn.__main__ import main
from unlearn.claims import CLAIMS, record

ROOT = Path(__file__).resolve().parents[2]
HEADER = {
    "commit": "abc",
    "dirty": False,
    "date": "2026-11-21",
    "machine": {"cpu": "x", "cores": 2, "load": 0.0},
    "versions": {"torch": "2"},
}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A claims.json that the page reads; no file yet."""
    path = tmp_path / "claims.json"
    read = record.entries
    monkeypatch.setattr(record, "entries", lambda place=path: read(place))
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path / "runs"))
    return path


def plant(path, word):
    for key, claim in CLAIMS.items():
        data = PLANTED[key][word]
        entry = {"mode": "full", "seconds": 1.0, "header": HEADER, "data": data}
        record.keep(path, claim, entry | {"finding": claim.judge(data).to_json()})


def opened(**state) -> AppTest:
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    app.run()
    for key, value in state.items():
        app.session_state[key.replace("_", ".")] = value
    app.switch_page("../pages/claims.py").run()
    assert not app.exception, app.exception
    return app


def said(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("word", ["confirmed", "refuted", "undecided"])
def test_the_page_shows_the_verdict_its_rule_and_where_it_comes_from(results, word, monkeypatch):
    plant(results, word)
    drawn = sheets(monkeypatch)
    app = opened(claims_A1=True, claims_C3=True)
    words = said(app)
    for key in ("A1", "C3"):
        claim = CLAIMS[key]
        assert claim.judge(PLANTED[key][word]).sentence.replace("_", "")[:40] in words.replace(
            "\\", ""
        ).replace("_", "")
        assert f"python -m unlearn claims {key} --full" in words
    assert f"**{word.capitalize()}.**" in words
    told = {"confirmed": "confirmed here", "undecided": "left undecided"}.get(word, word)
    assert f"**Of {len(CLAIMS)} claims that papers make, {len(CLAIMS)} were {told}.**" in words.replace(
        "\\", ""
    )
    assert "seeds 0, 1, 2" in words
    assert "commit abc" in words
    assert f"Not tried on smollm2-tofu. {CLAIMS['A1'].elsewhere}" in words.replace("\\", "")
    heads = [column["title"] for column in drawn["claims.table"]["columns"]]
    assert heads == ["Claim", "Verdict", "Why", "What would decide it"]
    rows = [
        [cell["parts"][0][0].replace("\u00a0", " ") for cell in row["cells"]]
        for row in drawn["claims.table"]["rows"]
    ]
    for claim, (text, verdict, why, decides) in zip(CLAIMS.values(), rows, strict=True):
        # Nothing is cut: the claim stands there whole, and so does the reason.
        assert claim.sentence in text
        assert verdict == word
        assert claim.judge(PLANTED[claim.key][word]).sentence in why
        assert (decides == "Decided.") == (word != "undecided")
        assert word != "undecided" or claim.confirms in decides or "At least 3" in decides


def test_what_the_second_world_gave_stands_beside(tmp_path, monkeypatch):
    far = tmp_path / "far.json"
    monkeypatch.setattr(record, "of_world", lambda model: far)
    assert "unlearn claims B5 --world smollm2-tofu" in verdicts.elsewhere(CLAIMS["B5"])
    plant(far, "refuted")
    said = CLAIMS["B5"].judge(PLANTED["B5"]["refuted"]).sentence
    assert verdicts.elsewhere(CLAIMS["B5"]) == f"On smollm2-tofu: refuted. {said}"


def test_seeds_that_give_one_number_are_said_to_be_one():
    figures = [{"name": "regret", "mean": 1.0, "low": 1.0, "high": 1.0, "n": 3, "of": "seeds", "unit": ""}]
    entry = {"finding": {"verdict": "undecided", "figures": figures}}
    assert "count as one" in verdicts.decides(CLAIMS["A5"], entry)
    figures[0] |= {"low": 0.5, "high": 1.5}
    assert "more seeds than 3" in verdicts.decides(CLAIMS["A5"], entry)


@pytest.mark.parametrize("text", [None, "", "[1]", '{"claims": {"A1": {"full": {"data": 1}}}}'])
def test_without_results_it_says_how_to_get_them(results, text, monkeypatch):
    if text is not None:
        results.write_text(text)
    drawn = sheets(monkeypatch)
    app = opened()
    assert "python -m unlearn claims --quick" in said(app)
    assert "claims.table" not in drawn


def test_the_command_writes_what_the_page_reads(results, monkeypatch, capsys):
    monkeypatch.setattr(type(CLAIMS["A4"]), "measure", lambda self, lab, full: PLANTED["A4"]["refuted"])
    words = ["claims", "a4", "--quick", "--out", str(results), "--runs", str(results.parent / "runs")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["claims"]["A4"]["finding"]["verdict"] == "refuted"
    (entry,) = record.entries().values()
    assert entry["mode"] == "quick"
    assert entry["header"]["commit"]
    assert "refuted" in said(opened(claims_A4=True))


def test_the_readme_table_is_made_from_the_results(results):
    from bench.claims import table

    plant(results, "refuted")
    whole = json.loads(results.read_text())
    del whole["claims"]["B4"]
    rows = table(whole).splitlines()
    assert sum("**refuted**" in row for row in rows) == len(CLAIMS) - 1
    assert any(row.startswith("| B4 |") and "not tested" in row for row in rows)
    assert "commit abc" in rows[-1]
