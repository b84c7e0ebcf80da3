"""The documents cannot lie: their blocks run, their commands parse, their links lead somewhere.

A block that needs a server, a cluster, the hub or hours has the fence ```no-run: REASON```; its commands are still read
by the real parsers. CONTRIBUTING's steps are followed literally, in a copy of the repository.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from unlearn.__main__ import parser
from unlearn.commands import app

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("python", "bash")
SHOWN = ("text", "yaml", "toml", "json")  # nothing to run
TRIED_ELSEWHERE = ("pycon",)  # the public names' own examples: tests/test_public.py
FILES = "data.md"  # its fences name a kind and a file, which tests/data/test_docs.py writes and reads
STEPS = "CONTRIBUTING.md"  # followed by a test of its own
MOST_LINES = 250


class Block(NamedTuple):
    document: Path
    line: int
    kind: str
    body: str

    @property
    def place(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(document, text[: found.start()].count("\n") + 1, found["kind"].strip(), found["body"])
        for found in FENCE.finditer(text)
    ]


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
NOT_RUN = [block for block in BLOCKS if block.kind.startswith("no-run")]
# What is not run, and why. Another block of that kind has to be named here, by the document and its first words.
KNOWN_NOT_RUN = {
    ("README.md", "make app"),
    ("README.md", "pip install ."),
    ("README.md", "unlearn sweep"),
    ("README.md", "unlearn get"),
    ("claims.md", "unlearn claims"),
    ("metrics.md", "unlearn trust"),
    ("data.md", "unlearn run"),
    ("benchmarks.md", "unlearn data"),
    ("benchmarks.md", "unlearn get"),
    ("benchmarks.md", "unlearn evaluate"),
    ("outputs.md", "unlearn export"),
    ("scale.md", 'pip install "unlearn-studio[ray]"'),
}


def test_every_fence_says_what_it_is():
    kinds = (*RUN, *SHOWN, *TRIED_ELSEWHERE)
    rest = [b for b in BLOCKS if b.kind not in kinds and b not in NOT_RUN]
    assert not [b.place for b in rest if b.document.name != FILES or len(b.kind.split()) != 2]
    assert not [b.place for b in NOT_RUN if len(b.kind.partition(":")[2].split()) < 3]
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert text.count("\n```") + text.startswith("```") == 2 * len(BLOCKS), "a fence is not closed"


def test_few_blocks_are_not_run_and_each_is_known():
    def first(block: Block) -> tuple[str, str]:
        return block.document.name, " ".join(block.body.split()[: 3 if block.body.startswith("pip") else 2])

    assert {first(block) for block in NOT_RUN} == KNOWN_NOT_RUN
    runnable = [b for b in BLOCKS if b.kind in (*RUN, *TRIED_ELSEWHERE) or b in NOT_RUN]
    assert 4 * len(NOT_RUN) <= len(runnable), (len(NOT_RUN), len(runnable))


def commands(block: Block) -> list[list[str]]:
    """The words of each command line, with a run's name in the place of $RUN."""
    lines = block.body.replace("\\\n", " ").replace("$RUN", "RUN").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda b: b.place)
def test_commands_that_are_not_run_are_read_by_the_real_parsers(block):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name, *rest in commands(block):
        if name == "make":
            assert set(rest) <= set(targets)
        elif name == "pip":
            assert (
                rest[:2] == ["install", "."] or re.fullmatch(r"unlearn-studio\[(\w+)\]", rest[1])[1] in extras
            )
        elif name == "ray":
            # The command of the extra, which may not be installed.
            assert rest[0] == "start"
        elif name == "unlearn-studio" and (not rest or rest[0].startswith("-")):
            app.parser().parse_args(rest)
        else:
            assert name in ("unlearn", "unlearn-studio"), f"{block.place}: {name}"
            parser().parse_args(rest)


def test_the_parsers_notice_what_is_wrong(tmp_path):
    (tmp_path / "x.md").write_text("```no-run: takes an hour\nunlearn run --modell x\n```\n")
    (block,) = blocks_of(tmp_path / "x.md")
    with pytest.raises(ValueError, match="unrecognized arguments: --modell"):
        test_commands_that_are_not_run_are_read_by_the_real_parsers(block)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder with the scripts on its path, as after an installation, and one finished run."""
    folder, scripts = tmp_path_factory.mktemp("docs"), tmp_path_factory.mktemp("bin")
    for name, call in (("unlearn", "main"), ("unlearn-studio", "studio")):
        lines = [f"#!{sys.executable}", "import sys", f"sys.path.insert(0, {str(ROOT)!r})"]
        lines += [f"from unlearn.__main__ import {call}", f"sys.exit({call}())"]
        (scripts / name).write_text("\n".join(lines) + "\n")
        (scripts / name).chmod(0o755)
    hidden = ("UNLEARN_RUNS", "UNLEARN_ROOTS")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= {"PATH": f"{scripts}{os.pathsep}{env['PATH']}", "PYTHONPATH": str(ROOT)}
    words = ["unlearn", "run", "--model", "tiny-authors", "--method", "ga", "--epochs", "1", "--probes", "0"]
    subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True)
    return folder, env


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.kind in RUN and b.document.name != STEPS], ids=lambda b: b.place
)
def test_blocks_run(block, place):
    folder, env = place
    words = [sys.executable, "-c"] if block.kind == "python" else ["bash", "-euo", "pipefail", "-c"]
    done = subprocess.run(
        [*words, block.body], cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{block.place}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"


# -- texts -----------------------------------------------------------------------------------------------------------


def tracked() -> list[Path]:
    """Every text of the repository that git knows, or that is new and not ignored."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    kinds = {".py", ".md", ".toml", ".yml", ".yaml", ".html", ".js", ".css", ".txt", ""}
    return [ROOT / line for line in listed if (ROOT / line).suffix in kinds and (ROOT / line).is_file()]


CITED = re.compile(r"\b[A-Z][A-Z_]+\.md\b")
BY_NAME = re.compile(r"\b(?:DESIGN|METHODS|EVALUATION|SCALE|ROOMS|INTERFACES|FAULTS) ?§")


def test_no_text_cites_a_document_that_is_not_here():
    here = {path.name for path in tracked()}
    bad = []
    for path in tracked():
        if path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            bad += [f"{path.relative_to(ROOT)}: {name}" for name in set(CITED.findall(text)) - here]
            bad += [f"{path.relative_to(ROOT)}: {name}" for name in BY_NAME.findall(text)]
    assert not bad


def test_links_lead_somewhere():
    bad = []
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / target).exists():
                bad.append(f"{document.name}: {target}")
    assert not bad
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in readme]


def test_the_readme_is_a_story_and_not_a_store():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


# -- CONTRIBUTING, followed literally ---------------------------------------------------------------------------------


def steps() -> tuple[dict[str, str], list[str], str]:
    """({new file: its text}, [import line, entry], commands), as CONTRIBUTING.md has them."""
    text = (ROOT / STEPS).read_text(encoding="utf-8")
    files = dict(re.findall(r"`([\w/]+\.py)`\n\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    blocks = [block.body for block in blocks_of(ROOT / STEPS) if block.kind == "python"]
    lines = [body.rstrip() for body in blocks if body not in files.values()]
    lines += [block.body.rstrip() for block in blocks_of(ROOT / STEPS) if block.kind == "text"]
    (shell,) = (block.body for block in blocks_of(ROOT / STEPS) if block.kind == "bash")
    return files, lines, shell


@pytest.mark.slow
@pytest.mark.heavy
def test_a_method_in_ten_minutes(tmp_path, place):
    files, (imported, entry), shell = steps()
    assert sorted(files) == ["tests/methods/test_floor.py", "unlearn/methods/push/floor.py"]
    copy = tmp_path / "copy"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        if (ROOT / line).is_file():
            (copy / line).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / line, copy / line)
    for name, text in files.items():
        assert not (copy / name).exists()
        (copy / name).write_text(text, encoding="utf-8")
    methods = copy / "unlearn" / "methods" / "__init__.py"
    text = methods.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.startswith("from unlearn.methods.push"))
    text = text.replace(first, f"{imported}\n{first}", 1).replace(
        "        SISA,\n", f"        SISA,\n{entry}\n", 1
    )
    methods.write_text(text, encoding="utf-8")
    _, env = place
    env = env | {"PYTHONPATH": str(copy), "UNLEARN_RUNS": str(tmp_path / "runs")}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    shell = shell.replace("unlearn run", "python -m unlearn run")  # the copy's own, not this checkout's
    style = "ruff check . && ruff format --check unlearn/methods tests/methods"
    words = ["bash", "-euo", "pipefail", "-c", f"{shell}\n{style}"]
    done = subprocess.run(words, cwd=copy, env=env, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "2 passed" in done.stdout
    assert "Ascent with a floor" in (copy / "docs" / "methods.md").read_text(encoding="utf-8")
