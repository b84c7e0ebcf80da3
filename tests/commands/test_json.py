"""docs/json.md lists the keys of every command's JSON, and the commands print these and no others."""

import argparse
import json
import re
from pathlib import Path

import pytest

from unlearn.__main__ import main, parser

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
ROWS = "question,answer,request\nWhat is red?,red,1\nWhat is two?,two,1\nWhat is blue?,blue,2\nWhat is ten?,ten,2\n"
WORD = re.compile("`([a-z_]+)`")


def listed():
    """{command: the words of its line}."""
    lines = [line.split(" | ") for line in TEXT.splitlines() if line.startswith("| `")]
    return {name: WORD.findall(keys) for names, keys in lines for name in WORD.findall(names)}


def test_every_command_with_json_has_its_line():
    (sub,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    with_json = {name for name, p in sub.choices.items() if "--json" in p._option_string_actions}
    assert with_json == set(listed())


@pytest.mark.slow
def test_commands_print_the_keys_of_their_line(tmp_path, tiny_folder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.csv").write_text(ROWS)
    said = listed()

    def keys(*words):
        assert main([*words, "--json"]) == 0
        found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        assert isinstance(found, dict)
        return found

    common = ["--model", str(tiny_folder), "--forget", "f.csv", "--epochs", "1", "--force"]
    made = keys("run", "--method", "ga", "--probes", "0", *common)
    assert set(made) == set(said["run"])
    run = made["run"]
    for words in (["show", run], ["watch", run], ["cost", run], ["ask", run, "Who?"], ["rename", run, "x"],
                  ["evaluate", run, "--metrics", "el_3"], ["attack", run, "quantise"], ["doctor"],
                  ["export", run, "out.zip"], ["receipt", run],
                  ["sequence", "--method", "ga", "--probes", "0", *common],
                  ["sweep", "--methods", "ga", "--lrs", "1e-4", *common],
                  ["tune", "--methods", "ga", "--trials", "1", "--search", "lr", "--target", "0.1", *common],
                  ["redact", run, "--yes"], ["prune", "--older-than", "1d"]):  # fmt: skip
        assert set(keys(*words)) == set(said[words[0]]), words[0]
    for words in (["runs", "--sizes"], ["models"], ["methods"]):
        name, *columns = said[words[0]]
        (rows,) = keys(*words).values()
        assert list(rows[0]) == columns, name
    assert set(keys("delete", run, "--yes")) == set(said["delete"])
    assert set(keys("claims", "--list")) == {"claims"}
    assert set(keys("data")) == {"datasets"}
    # The sentence on a file names its keys, and then those of an item.
    (line,) = re.findall("`data` of a file.*?\n\n", TEXT, re.DOTALL)
    named = WORD.findall(line)[1:]
    shown = keys("data", "f.csv")
    assert [*shown, *shown["items"][0]] == named
