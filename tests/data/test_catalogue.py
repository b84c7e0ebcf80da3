"""A run's data field: bundled names, files inside allowed folders, and hub datasets tested as local folders."""

import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from unlearn.data import catalogue, hub
from unlearn.data.catalogue import CATALOGUE, from_config, load
from unlearn.store.allowed import allowed_path


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, a default root; its parent is not."""
    folder = tmp_path / "inside"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("UNLEARN_ROOTS", raising=False)
    return folder


@pytest.fixture
def tofu(inside: Path) -> Path:
    """A small folder of the layout of locuslab/TOFU: one JSON-lines file a config, named in the card."""
    folder = inside / "TOFU"
    folder.mkdir()
    configs = ""
    for config in ("forget10", "retain90"):
        lines = [json.dumps({"question": f"{config} {i}?", "answer": f"answer {i}"}) for i in range(5)]
        (folder / f"{config}.json").write_text("\n".join(lines))
        configs += f"- config_name: {config}\n  data_files: {config}.json\n"
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return folder


@pytest.fixture
def yao(inside: Path) -> Path:
    """A small folder of the layout of llmunlearn/unlearn_dataset: configs, splits, a text column."""
    folder = inside / "yao"
    (folder / "arxiv").mkdir(parents=True)
    card = "---\nconfigs:\n- config_name: arxiv\n  data_files:\n"
    for split in ("forget", "approximate", "retain"):
        frame = pd.DataFrame(
            {"text": [f"{split} {i}" for i in range(4)], "meta": [{"id": i} for i in range(4)]}
        )
        frame.to_parquet(folder / "arxiv" / f"{split}.parquet")
        card += f"  - split: {split}\n    path: arxiv/{split}.parquet\n"
    (folder / "README.md").write_text(card + "---\n")
    return folder


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_bundled_datasets_carry_their_name(name: str):
    assert load(name).name == name


def test_names_and_requests():
    assert from_config({"name": "capitals", "requests": [2, 3]}).requests() == (2, 3)
    with pytest.raises(
        ValueError,
        match=r"name must be one of authors, capitals, snippets, dialogues, reviews, tofu-forget01, .*got 'x'",
    ):
        from_config({"name": "x"})
    with pytest.raises(ValueError, match="requests must be among 1, 2, 3, 4, 5, got 9"):
        from_config({"name": "capitals", "requests": [9]})
    with pytest.raises(ValueError, match="got 6 and 94 more"):
        from_config({"name": "capitals", "requests": list(range(1, 101))})


def test_files_by_role(inside: Path):
    (inside / "secrets.csv").write_text("q,a\nx,1\ny,2\n")
    (inside / "keep.txt").write_text("one\ntwo\n")
    data = from_config({"forget": "secrets.csv", "retain": str(inside / "keep.txt")})
    assert (data.name, len(data.rows("forget")), len(data.rows("retain"))) == ("secrets", 2, 2)
    named = from_config({"forget": "secrets.csv", "text_column": "a"})
    assert [row.answer for row in named.rows("forget")] == ["1", "2"]
    with pytest.raises(
        ValueError, match=r"forget file secrets\.csv: has no column 'frage'; it has q, a\. Choose"
    ):
        from_config({"forget": "secrets.csv", "question_column": "frage", "answer_column": "a"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "must have one of name (--data), forget (--forget) or hub (--hub), got none"),
        ({"name": "authors", "forget": "a.csv"}, "got name, forget"),
        (
            {"name": "authors", "retain": "a.csv"},
            "retain (--retain) goes with --forget, and not with name (--data). Remove it",
        ),
        ({"forget": ["a.csv"]}, "forget must be text, got ['a.csv']"),
        ({"forget": ""}, "forget must name a file"),
        ({"forget": "a.csv"}, "a.csv does not exist"),
        ({"forget": "a\0.csv"}, "is not a path"),
        ({"name": "authors", "requests": "1"}, "requests must be a list of whole numbers, got '1'"),
        ({"hub": "csv"}, "a hub id must read owner/name"),
        ({"hub": "https://example.org/a"}, "a hub id must read owner/name"),
        ({"hub": "a/b", "limit": "5"}, "limit must be a whole number, got '5'"),
        ({"hub": "a/b", "limit": 10**6}, "limit must lie in [1, 20,000], got 1000000"),
    ],
)
def test_bad_configs(inside: Path, data: dict, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared literally below)
        from_config(data)
    assert message in str(caught.value)


def test_paths_outside_the_roots_are_refused(inside: Path, monkeypatch: pytest.MonkeyPatch):
    outside = inside.parent / "outside.csv"
    outside.write_text("text\na\nb\n")
    (inside / "link.csv").symlink_to(outside)
    for path in (outside, "../outside.csv", "link.csv", "/etc/passwd", "../not-there.csv", "~/x.csv"):
        with pytest.raises(
            ValueError, match=r"must lie inside .*inside.* or add its folder to UNLEARN_ROOTS"
        ):
            allowed_path(path)
    assert allowed_path("link.csv", roots=[Path("/")]) == outside
    monkeypatch.setenv("UNLEARN_ROOTS", os.pathsep.join(["/nowhere", str(inside.parent)]))
    assert from_config({"forget": "../outside.csv"}).name == "outside"
    with pytest.raises(ValueError, match="there is none"):
        allowed_path(inside, roots=[])
    with pytest.raises(ValueError, match=r"^model: .* must lie inside"):
        allowed_path(inside, roots=[], place="model")


def test_a_dataset_of_tofus_layout(tofu: Path):
    data = from_config({"hub": "TOFU", "config": "forget10", "retain_config": "retain90", "limit": 3})
    assert data.name == "TOFU forget10"
    assert data.rows("forget")[0].prompt == "Question: forget10 0?\nAnswer:"
    assert [row.answer for row in data.rows("retain")] == ["answer 0", "answer 1", "answer 2"]


def test_a_dataset_of_yaos_layout(yao: Path):
    config = {"hub": str(yao), "config": "arxiv", "split": "forget", "text_column": "text"}
    data = from_config({**config, "retain_split": "retain", "approximate_split": "approximate"})
    assert {role: data.rows(role)[1].answer for role in data.roles} == {
        "forget": "forget 1",
        "retain": "retain 1",
        "approximate": "approximate 1",
    }


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "has 2 parts (forget10, retain90). Choose one"),
        ({"config": "forget99"}, "BuilderConfig 'forget99' not found. Available: ['forget10', 'retain90']"),
        ({"config": "forget10", "split": "test"}, "Bad split: test. Available splits: ['train']"),
        (
            {"config": "forget10", "named": ["texte"]},
            "has no column 'texte'; it has question, answer",
        ),
    ],
)
def test_what_a_dataset_lacks_is_named(tofu: Path, asked: dict, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        hub.from_hub(tofu, **asked)
    assert str(caught.value).startswith(f"{tofu}: ")
    assert message in str(caught.value)


def test_scripts_and_foreign_files_are_refused(inside: Path):
    (inside / "evil").mkdir()
    (inside / "evil" / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ValueError, match="scripts are no longer supported"):
        hub.from_hub(inside / "evil")
    outside = inside.parent / "outside.csv"
    outside.write_text("text\na\nb\n")
    (inside / "pointing").mkdir()
    (inside / "pointing" / "README.md").write_text(
        f"---\nconfigs:\n- config_name: a\n  data_files: {outside}\n---\n"
    )
    with pytest.raises(ValueError, match="must lie in the dataset's own folder"):
        hub.from_hub(inside / "pointing")
    with pytest.raises(ValueError, match="must lie inside"):
        from_config({"hub": str(inside.parent)})
    with pytest.raises(ValueError, match="is not a folder"):
        hub.from_hub(outside)


def test_of_a_dataset_in_parts_the_parts_are_named_with_a_remedy_that_works(inside: Path):
    folder = inside / "parts"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.json").write_text('{"question": "q", "answer": "a"}\n' * 3)
    card = "".join(f"- config_name: {name}\n  data_files: {name}.json\n" for name in ("one", "two"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{card}---\n")
    with pytest.raises(
        ValueError, match=r"has 2 parts \(one, two\). Choose one, as with --hub-config one\.$"
    ):
        hub.from_hub(folder)
    assert hub.from_hub(folder, config="one") is not None


def test_only_a_datasets_own_files_count_as_inside(tmp_path: Path):
    assert hub._inside("hf://datasets/a/b@123/x.json", "a/b")
    for file in ("/etc/passwd", "https://x.org/a/b", "hf://datasets/a/bc@1/x", "hf://datasets/a/b@1/../../c"):
        assert not hub._inside(file, "a/b")
    assert not hub._inside("https://x.org/a.csv", Path.cwd())
    assert hub._inside(str(tmp_path / "a.csv"), tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("no route\nto host"), "a/b: the hub cannot be reached (no route). Download a file"),
        (RepositoryNotFoundError.__new__(RepositoryNotFoundError), "a/b: the hub has no such dataset"),
    ],
)
def test_a_hub_without_an_answer(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str):
    def dataset_info(self: object, spec: str, timeout: float) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        hub.from_hub("a/b")
    assert message in str(caught.value)


def test_the_catalogue_is_light():
    code = "import sys, unlearn.data.catalogue as c; sys.exit(bool({'torch', 'pandas', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(catalogue.KEYS) == {"name", "forget", "hub"}
