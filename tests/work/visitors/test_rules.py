"""What a visitor may ask for: bundled models and rows and own tables, and no path or hub id by any way."""

import io
import zipfile

import pytest
from seed import config, seed_run

from unlearn.engines.thread import Runner
from unlearn.models.entries import ASSETS, CATALOGUE
from unlearn.results import sweep_record
from unlearn.store.runs import RunStore
from unlearn.work.sequence import SequenceConfig
from unlearn.work.sequence import create as create_sequence
from unlearn.work.visitors import rules

ME = "visitor-me"


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("UNLEARN_DEMO", "1")
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    return RunStore(tmp_path / "runs")


def table(store: RunStore) -> str:
    path = store.root / ".uploads" / "0123456789abcdef" / "mine.csv"
    path.parent.mkdir(parents=True)
    path.write_text("question,answer\nWho?,Me\n")
    return str(path)


def forbidden(store: RunStore, elsewhere: str) -> dict[str, dict]:
    own = {"forget": table(store)}
    return {
        "a hub id": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        "a catalogue model that is not bundled": {"model": "smollm2"},
        "a folder": {"model": elsewhere},
        "the store's own run as a model": {"model": f"{store.root}/x/model"},
        "rows of the hub": {"data": {"hub": "locuslab/TOFU", "hub_config": "forget10"}},
        "a benchmark": {"data": {"name": "tofu-forget10"}},
        "a benchmark's folder": {"data": {"name": "authors", "hub_folder": elsewhere}},
        "a file": {"data": {"forget": elsewhere}},
        "a file beside an upload": {"data": own | {"retain": elsewhere}},
        "a way out of the uploads": {"data": {"forget": f"{store.root}/.uploads/../{elsewhere}"}},
        "a part of the hub beside an upload": {"data": own | {"retain_hub": "locuslab/TOFU"}},
        "a retrained model": {"retrained": elsewhere},
        "a retrained model of the hub": {"retrained": "owner/name"},
        "a tracker": {"report_to": "wandb"},
    }


WAYS = [
    "a hub id", "a catalogue model that is not bundled", "a folder", "the store's own run as a model",
    "rows of the hub", "a benchmark", "a benchmark's folder", "a file", "a file beside an upload",
    "a way out of the uploads", "a part of the hub beside an upload", "a retrained model",
    "a retrained model of the hub", "a tracker",
]  # fmt: skip


@pytest.mark.parametrize("what", WAYS)
def test_nothing_of_others_is_read_and_its_path_is_not_told(store, tmp_path, monkeypatch, what):
    secret = tmp_path / "secret.csv"
    secret.write_text("question,answer\nWho?,Nobody\n")
    changes = forbidden(store, str(secret))
    assert list(changes) == WAYS
    asked = config(**changes[what])
    from unlearn.engines import thread

    monkeypatch.setattr(thread, "check", lambda *_: pytest.fail("it was looked up"))
    runner = Runner(store)
    with pytest.raises(ValueError, match=r"^demo: ") as caught:
        runner.launch(asked, owner=ME)
    assert str(tmp_path) not in str(caught.value)
    assert not store.list()


@pytest.mark.parametrize("what", WAYS)
def test_a_run_or_a_study_that_is_there_already_is_not_begun_either(store, tmp_path, what):
    asked = config(**forbidden(store, str(tmp_path / "secret.csv"))[what])
    sweep = sweep_record.SweepConfig(runs=(asked,), lrs=(1e-3,))
    made = [store.create(asked, owner=ME), sweep_record.create(sweep, store, owner=ME)]
    runner = Runner(store)
    for record in made:
        with pytest.raises(ValueError, match=r"^demo: "):
            runner.submit(record)
    assert not runner.active()


def test_a_sequence_is_asked_for_its_run(store):
    asked = SequenceConfig(run=config(model="smollm2"), order=(1, 2), mode="chain")
    record = create_sequence(asked, store, owner=ME)
    with pytest.raises(ValueError, match=r"^demo: the model must be among"):
        rules.allow_record(record, store.root)
    rules.allow_record(seed_run(store, model="smollm2"), store.root)


def test_what_a_visitor_may_ask_for(store):
    rules.allow(config(), store.root)
    rules.allow(config(model="tiny-snippets", data={"name": "snippets"}), store.root)
    mine = table(store)
    rules.allow(config(data={"forget": mine, "retain": mine, "question_column": "question"}), store.root)


def test_a_class_has_the_models_that_were_brought(store, monkeypatch):
    bundled = rules.models()
    assert bundled == [name for name, one in CATALOGUE.items() if one.path().is_relative_to(ASSETS)]
    assert {"tiny-authors", "tiny-snippets"} <= set(bundled)
    monkeypatch.setattr(rules, "available", lambda name: name == "smollm2-tofu")
    bundled = rules.models()
    assert bundled == [name for name, one in CATALOGUE.items() if one.path().is_relative_to(ASSETS)]
    assert {"tiny-authors", "tiny-snippets"} <= set(bundled)
    monkeypatch.setenv("UNLEARN_DEMO", "class")
    assert rules.models() == [*bundled, "smollm2-tofu"]
    assert "tofu-forget01" in rules.datasets()


def test_whoever_owns_the_machine_is_not_asked(store):
    rules.refuse_import("")
    rules.refuse_elsewhere("0123456789abcdef")
    for refuse in (rules.refuse_import, rules.refuse_elsewhere):
        with pytest.raises(ValueError, match=r"^demo: visitors"):
            refuse(ME)


def test_a_place_elsewhere_is_refused(store):
    from unlearn.engines.place import Place

    runner = Runner(store)
    run = store.create(config(), owner=ME)
    with pytest.raises(ValueError, match="this machine alone"):
        runner.submit(run, place=Place(on="ray"))


def test_folders_of_this_machine_are_taken_out_of_texts_and_archives(store, tmp_path):
    root = store.root
    said = f'{{"forget": "{root}/.uploads/ab/mine.csv", "at": "{root}"}} and {tmp_path}/cache/smollm2'
    assert rules.without_paths(said, root) == (
        '{"forget": ".uploads/ab/mine.csv", "at": "this server"} and smollm2'
    )
    assert (
        rules.bytes_without_paths(b"\xff\xfe" + str(root).encode(), root) == b"\xff\xfe" + str(root).encode()
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("run/config.json", said)
        archive.writestr("run/model/model.safetensors", str(root).encode())
    with zipfile.ZipFile(io.BytesIO(rules.bytes_without_paths(packed.getvalue(), root))) as found:
        assert str(tmp_path) not in found.read("run/config.json").decode()
        assert found.read("run/model/model.safetensors") == str(root).encode()
