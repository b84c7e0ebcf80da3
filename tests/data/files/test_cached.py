"""A dataset that a cache of this machine keeps: as files of the hub, and as the datasets library prepared them."""

import json
import os
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from hub_layout import write
from huggingface_hub import constants

from unlearn.data import benchmarks, hub
from unlearn.data.files import cached
from unlearn.data.items.find import items_of

TOFU = Path(__file__).parents[1] / "tofu"
COMMIT = "a" * 40


def of_the_hub(root: Path, source: Path, name: str = "locuslab--TOFU") -> Path:
    """The folder as the hub's cache keeps it: each file a link to a blob that is named by a number."""
    kept = root / f"datasets--{name}"
    snapshot, blobs = kept / "snapshots" / COMMIT, kept / "blobs"
    blobs.mkdir(parents=True)
    for at, file in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        link = snapshot / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blobs / str(at))
        link.symlink_to(os.path.relpath(blobs / str(at), link.parent))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    return kept


def of_datasets(root: Path, source: Path, parts, name: str = "locuslab___tofu", splits=None) -> Path:
    """The folder as load_dataset() leaves it: each part in Arrow files below its name, version and hash."""
    import datasets

    for part in parts:
        made = root / name / part / "0.0.0" / COMMIT
        made.mkdir(parents=True)
        rows = datasets.Dataset.from_json(str(source / f"{part}.json"), cache_dir=str(root / "making"))
        for split in splits or ("train",):
            rows.save_to_disk(str(root / "arrow"))
            shutil.move(root / "arrow" / "data-00000-of-00001.arrow", made / f"tofu-{split}.arrow")
        (made / "dataset_info.json").write_text(
            json.dumps({"splits": {split: {} for split in splits or ("train",)}})
        )
    return root / name


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches, and a hub that does not answer. Counts who asks it."""
    import datasets

    asked = []

    def silent(self, spec, timeout):
        asked.append(spec)
        raise OSError("no route to host")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", silent)
    monkeypatch.setattr(hub, "_silent", {})
    return asked


def counts(data):
    return {role: len(data.rows(role)) for role in data.roles}


@pytest.mark.parametrize("inner", ["", f"snapshots/{COMMIT}"])
def test_a_folder_of_the_hubs_cache_is_a_copy_of_the_dataset(tmp_path, inner):
    kept = of_the_hub(tmp_path, TOFU)
    data = benchmarks.load("tofu-forget01", kept / inner)
    assert counts(data) == {"forget": 40, "paraphrase": 40, "retain": 60, "general": 12}
    assert "holdout01 is not in" in " ".join(data.warnings)
    assert set(items_of("tofu-forget01", kept / inner).parts) == {
        f"tofu {name}" for name in ("forget", "retain", "real_authors", "world_facts")
    }


def test_of_several_snapshots_the_one_that_main_names_is_read(tmp_path):
    kept = of_the_hub(tmp_path, TOFU)
    shutil.copytree(kept / "snapshots" / COMMIT, kept / "snapshots" / ("b" * 40), symlinks=True)
    assert cached.resolved(kept).name == COMMIT
    (kept / "refs" / "main").unlink()
    assert cached.resolved(kept) == kept
    shutil.rmtree(kept / "snapshots" / COMMIT)
    assert cached.resolved(kept).name == "b" * 40
    assert cached.resolved(TOFU) == TOFU


def test_a_link_to_a_file_that_is_no_blob_is_refused(tmp_path):
    kept = of_the_hub(tmp_path, TOFU)
    secret = tmp_path / "secret.json"
    shutil.copy(TOFU / "forget01.json", secret)
    link = kept / "snapshots" / COMMIT / "forget01.json"
    link.unlink()
    link.symlink_to(secret)
    with pytest.raises(ValueError, match="must lie in the dataset's own folder"):
        benchmarks.load("tofu-forget01", kept)
    # Nor do the blobs of another dataset's cache count, nor those above an ordinary folder.
    assert cached.homes(TOFU) == (TOFU,)
    other = of_the_hub(tmp_path / "other", TOFU)
    assert not hub._inside(str(other / "blobs" / "0"), kept / "snapshots" / COMMIT)


def test_where_the_hub_does_not_answer_its_cache_is_read(tmp_path, caches):
    of_the_hub(tmp_path / "hub", TOFU)
    data = benchmarks.load("tofu-forget01")
    assert counts(data) == {"forget": 40, "paraphrase": 40, "retain": 60, "general": 12}
    assert data.warnings[0].startswith("The hub does not answer, so the copy on this machine was read: ")
    # Each part is read without asking again.
    assert caches == ["locuslab/TOFU"]
    table = hub.from_hub("locuslab/TOFU", config="forget01")
    assert (len(table), table.name) == (40, "locuslab/TOFU")
    assert "the copy on this machine was read" in table.notes[0]


def test_a_hub_that_has_no_such_dataset_is_not_silent(tmp_path, caches, monkeypatch):
    from huggingface_hub.errors import RepositoryNotFoundError

    def none(self, spec, timeout):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    of_the_hub(tmp_path / "hub", TOFU)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", none)
    with pytest.raises(ValueError, match="the hub has no such dataset"):
        hub.from_hub("locuslab/TOFU", config="forget01")


def test_what_load_dataset_prepared_is_read_too(tmp_path, caches):
    parts = ("forget01", "forget01_perturbed", "full", "retain_perturbed", "world_facts_perturbed")
    made = of_datasets(tmp_path / "datasets", TOFU, parts)
    # The card alone is what load_dataset() leaves in the hub's cache.
    card = tmp_path / "hub" / "datasets--locuslab--TOFU" / "snapshots" / COMMIT
    card.mkdir(parents=True)
    (card.parents[1] / "blobs").mkdir()
    shutil.copy(TOFU / "README.md", card)
    plain = benchmarks.load("tofu-forget01", TOFU)
    for data in (benchmarks.load("tofu-forget01"), benchmarks.load("tofu-forget01", made)):
        assert data.rows("forget") == plain.rows("forget")
        assert data.rows("retain") == plain.rows("retain")
        said = " ".join(data.warnings)
        assert "real_authors is not in" in said
        assert "holdout01 is not in" in said
    with pytest.raises(ValueError, match=r"has 5 parts \(forget01, .*\). Choose one, as with --hub-config"):
        hub.from_hub(made)


def test_of_a_part_the_newest_whole_copy_and_the_asked_split_are_read(tmp_path):
    made = of_datasets(tmp_path, TOFU, ["forget01"], splits=("train", "retain1"))
    old = made / "forget01" / "0.0.0" / COMMIT
    newer = shutil.copytree(old, old.with_name("b" * 40))
    shutil.copytree(old, old.with_name(f"{'c' * 40}.incomplete"))
    os.utime(old, (1, 1))
    found = cached.prepared(made, "forget01")
    assert found == {split: [str(newer / f"tofu-{split}.arrow")] for split in ("train", "retain1")}
    shutil.move(newer / "tofu-train.arrow", newer / "tofu-train-00000-of-00002.arrow")
    shutil.copy(newer / "tofu-train-00000-of-00002.arrow", newer / "tofu-train-00001-of-00002.arrow")
    assert len(cached.prepared(made, None)["train"]) == 2
    assert len(hub.from_hub(made)) == 80
    with pytest.raises(ValueError, match="Bad split: test"):
        hub.from_hub(made, split="test")


def test_muse_and_rwku_are_found_in_the_caches_too(tmp_path, caches):
    texts = [{"text": f"text {i}"} for i in range(3)]
    files = {"raw/forget.jsonl": texts, "raw/retain1.jsonl": texts, "privleak/forget.jsonl": texts}
    configs = {
        "raw": {"forget": "raw/forget.jsonl", "retain1": "raw/retain1.jsonl"},
        "privleak": {"forget": "privleak/forget.jsonl"},
    }
    of_the_hub(tmp_path / "hub", write(tmp_path / "muse", files, configs), "muse-bench--MUSE-News")
    assert counts(benchmarks.load("muse-news")) == {"forget": 3, "retain": 3}
    assert set(items_of("muse-news").parts) == {"muse privleak_forget"}
    place = tmp_path / "rwku" / "Target" / "1_Stephen_King"
    place.mkdir(parents=True)
    (place / "passage.json").write_text(json.dumps(texts))
    kept = of_the_hub(tmp_path / "own", tmp_path / "rwku", "jinzhuoran--RWKU")
    assert counts(benchmarks.load("rwku:1_Stephen_King", kept)) == {"forget": 3}


def test_without_any_copy_it_is_said_that_the_hub_is_silent(caches):
    assert cached.copy_of("locuslab/TOFU") is None
    with pytest.raises(ValueError, match="the hub cannot be reached"):
        benchmarks.load("muse-news")


@pytest.mark.parametrize("named", ["absolute", "../../elsewhere"])
def test_a_cache_leads_to_no_place_outside_itself(tmp_path, named):
    """Somebody's folder may name any place as its main snapshot, or have a link for one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = tmp_path / "datasets--who--what"
    (kept / "blobs").mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "snapshots").mkdir()
    (kept / "refs" / "main").write_text(str(elsewhere) if named == "absolute" else named)
    assert cached.resolved(kept) == kept
    (kept / "snapshots" / COMMIT).symlink_to(elsewhere)
    (kept / "refs" / "main").write_text(COMMIT)
    assert cached.resolved(kept) == kept
