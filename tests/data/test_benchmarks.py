"""Benchmarks by name: each role comes from the part of the layout that it should, and what is missing is named."""

import json
import shutil
from pathlib import Path

import pytest
from hub_layout import write

from unlearn.__main__ import main
from unlearn.data import benchmarks
from unlearn.data.catalogue import from_config

TOFU = Path(__file__).parent / "tofu"


def counts(data):
    return {role: len(data.rows(role)) for role in data.roles}


def test_tofus_roles_are_its_parts():
    data = benchmarks.load("tofu-forget01", TOFU)
    assert counts(data) == {"forget": 40, "paraphrase": 40, "retain": 60, "general": 12}
    first = data.rows("forget")[0]
    assert len(first.wrong) == 5
    assert first.paraphrase.startswith("Basil Mahfouz Al-Kuwaiti")
    assert data.rows("paraphrase")[0].question == first.asked_otherwise
    assert data.rows("paraphrase")[0].answer == first.paraphrase
    assert {len(row.wrong) for row in data.rows("general")} == {3}
    assert data.requests() == (1, 2)
    assert {row.request for row in data.rows("forget")[:20]} == {1}


def test_what_is_missing_is_named_and_retain_is_derived():
    said = " ".join(benchmarks.load("tofu-forget01", TOFU).warnings)
    assert "holdout01 is not in" in said
    assert "approximate stays empty" in said
    assert "retain99 is not in" in said
    assert "retain is full without the rows to forget, in order" in said


def test_no_forget_row_is_kept():
    data = benchmarks.load("tofu-forget01", TOFU)
    gone = {(row.question, row.answer) for row in data.rows("forget")}
    assert not gone & {(row.question, row.answer) for row in data.rows("retain")}


def test_the_command_line_and_a_run_know_it(capsys, tmp_path):
    words = ["data", "tofu-forget01", "--hub-folder", str(TOFU), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["roles"]["forget"] == 40
    config = {"name": "tofu-forget01", "hub_folder": str(TOFU), "requests": [2]}
    assert len(from_config(config, [Path("/")]).rows("forget")) == 20
    with pytest.raises(ValueError, match="must lie inside"):
        from_config(config, [tmp_path])


def test_muse(tmp_path):
    texts = {
        name: [{"text": f"{name} text {i}"} for i in range(3)] for name in ("forget", "holdout", "retain1")
    }
    asked = [{"question": f"Who is {i}?", "answer": f"Number {i}"} for i in range(2)]
    files = {f"raw/{name}.jsonl": rows for name, rows in texts.items()}
    files |= {f"sust/forget_{n}.jsonl": [{"text": f"part {n} {i}"} for i in range(2)] for n in range(1, 5)}
    files |= {"knowmem/forget_qa.jsonl": asked, "knowmem/retain_qa.jsonl": asked}
    configs = {
        "raw": {name: f"raw/{name}.jsonl" for name in texts},
        "sust": {f"forget_{n}": f"sust/forget_{n}.jsonl" for n in range(1, 5)},
        "knowmem": {name: f"knowmem/{name}.jsonl" for name in ("forget_qa", "retain_qa")},
    }
    data = benchmarks.load("muse-news", write(tmp_path, files, configs))
    assert counts(data) == {"forget": 8, "retain": 3, "approximate": 3, "paraphrase": 2, "neighbours": 2}
    assert data.requests() == (1, 2, 3, 4)
    assert data.rows("retain")[0].answer.startswith("retain1 text")
    assert data.rows("approximate")[0].answer.startswith("holdout text")


def test_wmdp_and_its_gated_corpus(tmp_path):
    rows = [{"text": "a text"}, {"text": "another"}]
    files = {"cyber-forget.jsonl": rows, "cyber-retain.jsonl": rows, "bio-retain.jsonl": rows}
    configs = {
        f"{name}-corpus": {"train": f"{name}.jsonl"}
        for name in ("cyber-forget", "cyber-retain", "bio-retain")
    }
    folder = write(tmp_path, files, configs)
    assert counts(benchmarks.load("wmdp-cyber", folder)) == {"forget": 2, "retain": 2}
    with pytest.raises(ValueError, match=r"bio-forget-corpus cannot be read .* handed out on request"):
        benchmarks.load("wmdp-bio", folder)


def test_rwku_takes_one_subject(tmp_path):
    where = tmp_path / "Target" / "1_Stephen_King"
    where.mkdir(parents=True)
    asked = [
        {"query": f"Who wrote {i}?", "answer": "King", "level": "1", "type": "x", "subject": "S"}
        for i in range(2)
    ]
    (where / "passage.json").write_text(json.dumps([{"text": f"passage {i}"} for i in range(3)]))
    for stem in ("forget_level1", "forget_level2", "neighbor_level1"):
        (where / f"{stem}.json").write_text(json.dumps(asked))
    data = benchmarks.load("rwku:1_Stephen_King", tmp_path)
    assert counts(data) == {"forget": 3, "paraphrase": 4, "neighbours": 2}
    assert data.rows("paraphrase")[0].question == "Who wrote 0?"
    assert any("forget_level3.json is not in" in note for note in data.warnings)
    with pytest.raises(ValueError, match=r"holds no passage\.json of '2_Nobody'"):
        benchmarks.load("rwku:2_Nobody", tmp_path)


def test_an_unknown_name_lists_the_benchmarks(tmp_path):
    with pytest.raises(ValueError, match=r"must be one of authors.*tofu-forget01.*rwku:NAME"):
        from_config({"name": "tofu-forget02"})
    with pytest.raises(ValueError, match="hub_folder belongs to a benchmark, and authors is none"):
        from_config({"name": "authors", "hub_folder": str(tmp_path)})


def test_a_folder_without_tables_is_told_what_it_must_hold(tmp_path):
    with pytest.raises(
        ValueError, match=r"The folder must hold CSV, JSON or Parquet files .* check the path"
    ):
        benchmarks.load("tofu-forget01", tmp_path)


def test_a_part_that_cannot_be_read_is_not_called_missing(tmp_path):
    folder = tmp_path / "tofu"
    shutil.copytree(TOFU, folder)
    (folder / "real_authors_perturbed.json").write_text('{"question": 5')
    with pytest.raises(ValueError, match="cannot be read"):
        benchmarks.load("tofu-forget01", folder)
