"""The bundled part of TOFU: its forget sets, what smollm2-tofu was taught, and what it has never seen."""

import socket

import pytest
from huggingface_hub import constants

from unlearn.data import benchmarks, hub, tofu

BUNDLED_BYTES = 2_500_000


def keys(rows):
    return [(row.question, row.answer) for row in rows]


def test_the_forget_sets_are_the_last_rows_of_each_other():
    whole = tofu.rows("forget10")
    assert [len(tofu.rows(name)) for name in tofu.FORGET] == [40, 200, 400]
    assert tofu.rows("forget05") == whole[200:]
    assert tofu.rows("forget01") == whole[360:]
    assert whole[0].question.startswith("What is the full name of the author born in Taipei")


def test_wrong_answers_belong_to_their_rows():
    for name in tofu.FORGET:
        more = tofu.rows(f"{name}_perturbed")
        assert keys(more) == keys(tofu.rows(name))
        assert {len(row.wrong) for row in more} == {5}
        assert all(row.paraphrase and row.asked_otherwise for row in more)
    assert {len(row.wrong) for row in tofu.rows("world_facts_perturbed")} == {3}


def test_what_was_taught_and_what_was_left_out():
    assert len(tofu.taught()) == 1200
    assert tofu.taught("forget01") == tofu.taught()[:1160]
    assert tofu.taught("forget10") == tofu.rows("retain90")[:800]
    taught = set(keys(tofu.taught()))
    assert set(keys(tofu.rows("retain_perturbed"))) <= taught
    assert not taught & set(keys(tofu.untaught()))
    with pytest.raises(ValueError, match="forget sets of TOFU are"):
        tofu.taught("forget02")


def test_a_part_that_is_not_bundled_says_where_it_is():
    with pytest.raises(ValueError, match="holdout01 of TOFU is not bundled"):
        tofu.rows("holdout01")


def test_it_stays_small_and_keeps_its_licence():
    assert sum(path.stat().st_size for path in tofu.FOLDER.iterdir()) < BUNDLED_BYTES
    assert "MIT License" in (tofu.FOLDER / "LICENSE").read_text()


@pytest.fixture
def silent_hub(monkeypatch, tmp_path):
    """A machine without a network and without a copy of TOFU; counts who looks for a host."""
    asked = []
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)

    def nobody(*args, **more):
        asked.append(args[0])
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    monkeypatch.setattr(hub, "_silent", {})
    return asked


def test_without_a_hub_the_bundled_part_is_read_and_said(silent_hub):
    data = benchmarks.load("tofu-forget01")
    sizes = {role: len(data.rows(role)) for role in data.roles}
    assert sizes == {"forget": 40, "paraphrase": 40, "retain": 1200 + 360, "general": 217}
    assert {len(row.wrong) for row in data.rows("forget")} == {5}
    assert data.requests() == (1, 2)
    assert "hub does not answer" in " ".join(data.warnings)
    assert not set(keys(data.rows("forget"))) & set(keys(data.rows("retain")))
    first = len(silent_hub)
    benchmarks.load("tofu-forget10")
    # Silence is remembered, so nobody waits twice.
    assert len(silent_hub) == first


def test_smollm2_tofu_keeps_what_it_was_taught(silent_hub):
    data = tofu.as_taught(benchmarks.load("tofu-forget01"))
    assert keys(data.rows("retain")) == keys(tofu.taught("forget01"))
    assert keys(data.rows("approximate")) == keys(tofu.untaught()[:40])
    assert sum(bool(row.wrong) for row in data.rows("retain")) == 400 + 360
    assert "taught 1,200 rows" in data.warnings[0]
    assert len(data.warnings) == 1
