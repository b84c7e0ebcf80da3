"""bench/peer: without a checkout it says so; with one, the two sides must compute the same, and the table has both."""

import subprocess
import sys

import pytest

from bench import peer
from bench.beside import there

ORIGIN = {
    "command": "python -m bench.peer",
    "machine": {"cpu": "CPU", "cores": 2, "load": 0.5},
    "versions": {"torch": "2"},
    "commit": "abc",
    "dirty": False,
    "date": "2026-01-01",
}


@pytest.mark.parametrize("words", [[], ["--peer", "nowhere"]])
def test_without_a_checkout_there_is_a_sentence_and_no_record(words, tmp_path, monkeypatch, capsys):
    out = tmp_path / "peer.json"
    monkeypatch.setattr(sys, "argv", ["bench.peer", *words, "--out", str(out)])
    peer.main()
    assert "so nothing was measured" in capsys.readouterr().out
    assert not out.exists()


def test_a_folder_whose_commit_is_not_known_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no git checkout"):
        peer.commit_of(tmp_path)
    (tmp_path / "file").write_text("text")
    for words in (
        ["init", "-q"],
        ["add", "file"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    assert len(peer.commit_of(tmp_path)) == 12
    with pytest.raises(SystemExit, match="no git checkout"):
        peer.commit_of(tmp_path / ".git")


def test_both_sides_read_the_same_ids_and_the_answer_is_behind_the_prompt():
    given = peer.inputs("tiny-authors", 3, steps=2)
    for role in ("forget", "retain"):
        assert len(given[role]) == len(given["rows"][role]) == 3
        for text in given[role]:
            place = len(text["prompt"])
            assert list(text["input_ids"][:place]) == list(text["prompt"])
            assert set(text["labels"][:place]) == {-100}
            assert list(text["labels"][place:]) == list(text["input_ids"][place:])
    assert 6 < given["room"] <= 64


def test_ours_trains_and_says_the_loss_of_the_first_rows():
    """NPO at its start is 2/beta · log 2 for the texts to forget, and the retain rows' NLL."""
    given = peer.inputs("tiny-authors", 8, steps=1)
    found = peer.train_ours(given, "npo")
    assert found["loss"] == pytest.approx(20 * 0.693147, abs=0.01)
    assert found["steps"] > 0
    assert 0 < peer.evaluate_ours(given)["probability"] <= 1


def test_the_sides_are_compared_only_where_they_compute_the_same():
    laps = {
        "ours": [{"begin": 1.0, "steps": 2.0, "loss": 1.0}, {"begin": 1.0, "steps": 4.0, "loss": 1.0}],
        "theirs": [{"begin": 2.0, "steps": 6.0, "loss": 1.0005}, {"begin": 2.0, "steps": 8.0, "loss": 1.0}],
    }
    row = peer.compare("npo", laps)
    assert row["theirs_over_ours"] == pytest.approx(9 / 4)
    lines = peer.table(ORIGIN | {"rows": [row], "peer": "d3d7cf9", "model": "m", "steps": 5}).splitlines()
    assert lines[2] == "| NPO | begin | 1.0 | 2.0 | 2.00 |"
    assert lines[4] == "| **NPO** | **together** | | | **2.25** |"
    assert "OpenUnlearning at d3d7cf9" in lines[-1]
    laps["theirs"][0]["loss"] = 1.1
    with pytest.raises(SystemExit, match="npo: the loss differs"):
        peer.compare("npo", laps)
    assert peer.compare("undial", laps)["theirs_over_ours"] > 1


def test_their_modules_are_imported_without_their_registries(tmp_path, monkeypatch):
    """A stand-in checkout: importing a trainer's file must not run the package's own beginning."""
    for name, text in {
        "trainer/__init__.py": "raise ImportError('hydra')",
        "trainer/unlearn/npo.py": "from data.collators import DataCollatorForSupervisedDataset\nclass NPO: pass",
        "data/__init__.py": "raise ImportError('hydra')",
        "data/unlearn.py": "class ForgetRetainDataset: pass",
        "data/collators.py": "class DataCollatorForSupervisedDataset: pass",
        "evals/__init__.py": "raise ImportError('hydra')",
        "evals/metrics/utils.py": "from omegaconf import OmegaConf\nread = OmegaConf.to_container({'a': 1})",
    }.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in (
        "omegaconf",
        *there.PACKAGES,
        "data.unlearn",
        "data.collators",
        "trainer.unlearn.npo",
        "evals.metrics.utils",
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = set(sys.modules)
    try:
        found = there.import_from(tmp_path)
        assert found["trainer"]("NPO").__name__ == "NPO"
        assert found["metrics"]().read == {"a": 1}
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]
