"""Every example in docs/data.md is what the page says: written to a file, read, counted."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from unlearn.data.catalogue import from_config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
EXAMPLE = re.compile(r"^```(\w+) (\S+)\n(.*?)^```\n→ (\d+) rows; the first answer: `([^`\n]*)`$", re.M | re.S)
EXAMPLES = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))


def test_every_example_is_found():
    assert len(EXAMPLES) == PAGE.read_text(encoding="utf-8").count("\n→ ") > 15
    assert all(len(content.splitlines()) == 3 for kind, _, content, _, _ in EXAMPLES if kind != "python")


@pytest.mark.parametrize("example", EXAMPLES, ids=[name for _, name, *_ in EXAMPLES])
def test_an_example_gives_what_the_page_says(example, tmp_path):
    language, name, content, rows, answer = example
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if language == "python":
        subprocess.run([sys.executable, "-c", content], cwd=tmp_path, check=True, timeout=120)
    else:
        path.write_text(content, encoding="utf-8")
    config = {"hub": str(path.parent)} if "/" in name else {"forget": str(path)}
    found = from_config(config, [tmp_path]).rows("forget")
    assert (len(found), found[0].answer) == (int(rows), answer)


def test_what_the_page_says_of_single_forms(tmp_path):
    texts = {name: content for _, name, content, _, _ in EXAMPLES}

    def rows(name, **words):
        (tmp_path / name).write_text(texts[name], encoding="utf-8")
        return from_config({"forget": str(tmp_path / name)} | words, [tmp_path])

    assert rows("alpaca.jsonl").rows("forget")[0].question == "Name the keeper.\n\nThe north tower"
    assert rows("alpaca.jsonl").rows("forget")[2].question == "Who keeps the west tower?"
    first, second, _ = rows("messages.jsonl").rows("forget")
    assert first.system == "Be brief."
    assert second.messages == (("user", "Hello"), ("assistant", "Hello"))
    assert [row.answer for row in rows("messages.jsonl", turns="all").rows("forget")] == [
        "Ada Lind", "Hello", "Bo Falk", "Cy Berg",
    ]  # fmt: skip
    assert rows("preferences.jsonl").rows("forget")[0].wrong == ("Nobody",)
    assert rows("choices.jsonl").rows("forget")[0].wrong == ("Bo Falk", "Nobody")
    tofu = rows("tofu.jsonl")
    assert tofu.rows("forget")[0].paraphrase == "It is Ada Lind"
    assert tofu.rows("paraphrase")[0].question == "Whose is the north tower?"
