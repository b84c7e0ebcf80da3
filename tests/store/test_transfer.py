"""A run survives export and import; a hostile archive does not get in."""

import io
import json
import zipfile

import pytest
from seed import seed_run

from unlearn.models.catalogue import tensor_shapes
from unlearn.store import transfer
from unlearn.store.disk import is_run_id
from unlearn.store.runs import Run, RunStore
from unlearn.store.scratch import folder_beside
from unlearn.store.transfer import export_run, import_run

GOOD = {
    "r1/config.json": json.dumps({"model": "m", "data": {"name": "d"}, "method": "ga"}),
    "r1/events.jsonl": '{"kind": "state", "time": 1, "state": "done"}\n',
}


def packed(files, links=()) -> bytes:
    """A zip with these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(info, text)
    return out.getvalue()


def test_round_trip_keeps_everything_but_lock_checkpoint_and_owner(tmp_path):
    run = seed_run(RunStore(tmp_path / "here"), owner="someone")
    run.set_meta(title="My run")
    (run.path / "checkpoint").mkdir()
    (run.path / "checkpoint" / "state.json").write_text("{}")
    (run.path / "adapter").mkdir()
    (run.path / "adapter" / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"kind": "no')  # torn by a crash
    archive = export_run(run, tmp_path)
    names = zipfile.ZipFile(archive).namelist()
    assert not [name for name in names if "lock" in name or "checkpoint" in name]
    assert b"someone" not in archive.read_bytes()
    back = import_run(archive, RunStore(tmp_path / "there"))
    assert back.id == run.id
    assert back.title == "My run"
    assert back.state == "done"
    assert back.config == run.config
    assert back.events() == run.events()
    assert back.samples() == run.samples()
    assert back.probes() == run.probes()
    assert back.results() == run.results()
    assert (back.path / "adapter" / "adapter_model.safetensors").is_file()


def test_a_taken_id_gets_a_suffix_and_nothing_is_overwritten(tmp_path):
    store = RunStore(tmp_path)
    run = seed_run(store)
    again = import_run(export_run(run, tmp_path / "out.zip"), store, owner="me")
    assert again.id.startswith(run.id + "-")
    assert again.meta["owner"] == "me"
    assert {r.id for r in store.list()} == {run.id, again.id}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"../evil.json": "{}"}, "not a path inside"),
        ({"/etc/evil.json": "{}"}, "not a path inside"),
        ({"r1/../../evil.json": "{}"}, "not a path inside"),
        ({"r1\\evil.json": "{}"}, "not a path inside"),
        ({"loose.json": "{}"}, "not a path inside"),
        ({"r1/evil.py": "print()"}, "does not belong"),
        ({"r1/model/pytorch_model.bin": "x"}, "must be safetensors"),
        ({"r1/model/deep/x.safetensors": "x"}, "does not belong"),
        ({"r2/meta.json": "{}"}, "exactly one run"),
        ({"r1/adapter/a.safetensors": "no header"}, "not a safetensors file"),
        ({"r1/results.json": "{"}, "not valid JSON"),
        ({"r1/results.json": "[]"}, "must hold a JSON object"),
        ({"r1/results.json": "[" * 100_000}, "not valid JSON"),
        ({"r1/events.jsonl": "{}\nno\n"}, "events.jsonl line 2"),
        ({"r1/config.json": '{"model": "m"}'}, "missing"),
        ({"r1/config.json": '{"model": "m", "data": [], "method": "ga"}'}, "data must be"),
        ({"r1/config.json": '{"model": "m", "data": {}, "method": "ga", "lr": 7}'}, "lr must lie"),
        ({"r1/samples.jsonl": " " * 30_000_000}, "times its size"),
        ({f"r1/model/{i}.json": "{}" for i in range(300)}, "at most 200 files"),
    ],
)
def test_hostile_archives_are_refused_with_a_reason(tmp_path, changes, words):
    store = RunStore(tmp_path / "runs")
    with pytest.raises(ValueError, match=words):
        import_run(packed(GOOD | changes), store)
    assert store.list() == []
    assert not list(tmp_path.rglob("evil*"))
    assert not list(store.root.glob(".import-*"))


def test_links_missing_files_and_noise_are_refused(tmp_path):
    store = RunStore(tmp_path / "runs")
    with pytest.raises(ValueError, match="symbolic link"):
        import_run(packed(GOOD | {"r1/meta.json": "/etc/passwd"}, links=("r1/meta.json",)), store)
    with pytest.raises(ValueError, match=r"events\.jsonl is missing"):
        import_run(packed({"r1/config.json": GOOD["r1/config.json"]}), store)
    with pytest.raises(ValueError, match="not a readable run archive"):
        import_run(b"hello", store)
    with pytest.raises(ValueError, match="not a readable run archive"):
        import_run(tmp_path / "nowhere.zip", store)
    broken = bytearray(packed(GOOD))
    broken[60:70] = b"0123456789"
    with pytest.raises(ValueError, match="import: "):
        import_run(bytes(broken), store)
    assert store.list() == []


def test_the_size_limit_counts_all_files(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="the limit is"):
        import_run(packed(GOOD), RunStore(tmp_path))


@pytest.mark.parametrize("name", ["sweeps", "sequences", "claims", "r1", "my run", ".hidden", "-x"])
def test_a_folder_that_is_no_id_becomes_a_fresh_one(tmp_path, name):
    store = RunStore(tmp_path)
    kept = tmp_path / "sweeps" / "20260101-000000-npo-aaaa"
    kept.mkdir(parents=True)
    files = {f"{name}/{path.partition('/')[2]}": text for path, text in GOOD.items()}
    run = import_run(packed(files), store)
    assert is_run_id(run.id)
    assert store.get(run.id).state == "done"
    store.delete(run)
    assert kept.is_dir()


@pytest.mark.parametrize("name", ["sweeps", "sequences", "claims", "..", "20260101-000000-npo-aaaa/x"])
def test_what_is_no_run_is_never_listed_given_or_deleted(tmp_path, name):
    store = RunStore(tmp_path / "runs")
    folder = store.root / name
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in GOOD.items():
        (folder / path.partition("/")[2]).write_text(text)
    assert store.list() == []
    with pytest.raises(ValueError, match="no run"):
        store.get(name)
    with pytest.raises(ValueError, match="is no run of"):
        store.delete(Run(folder))
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("results.json", '{"scores": [' + "{}," * 300_000 + "{}]}"),
        ("meta.json", '{"a": [' + "1," * 2_000 + "1]}"),
        ("metrics.json", '{"a": [' + "[]," * 2_000_000 + "1]}"),
    ],
)
def test_what_a_file_becomes_is_bounded(tmp_path, monkeypatch, file, text):
    """Counted while it is unpacked, before any JSON is read; the ratio of compression is not what refuses it here."""
    monkeypatch.setattr(transfer, "MAX_RATIO", 10**9)
    monkeypatch.setattr(transfer, "_parse", lambda *_: pytest.fail("was read"))
    store = RunStore(tmp_path)
    with pytest.raises(ValueError, match=f"{file} holds more values"):
        import_run(packed(GOOD | {f"r1/{file}": text}), store)
    assert list(tmp_path.iterdir()) == []


def test_a_long_file_is_refused_by_its_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "MAX_RATIO", 10**9)
    text = '{"title": "' + "x" * (9 * 2**20) + '"}'
    with pytest.raises(ValueError, match=r"results\.json would unpack to more than 8 MiB"):
        import_run(packed(GOOD | {"r1/results.json": text}), RunStore(tmp_path))


def test_a_header_of_safetensors_is_bounded(tmp_path):
    header = b"{" + b" " * (9 * 2**20) + b"}"
    weights = len(header).to_bytes(8, "little") + header
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        for name, text in (GOOD | {"r1/model/model.safetensors": weights}).items():
            out.writestr(name, text)
    with pytest.raises(ValueError, match="is not a safetensors file"):
        import_run(archive.getvalue(), RunStore(tmp_path / "runs"))
    file = tmp_path / "model.safetensors"
    file.write_bytes(weights)
    with pytest.raises(ValueError, match="is not a safetensors file"):
        tensor_shapes(file)


def test_what_a_killed_import_left_is_removed_and_one_at_work_is_not(tmp_path):
    left = tmp_path / ".import-3"
    with folder_beside(tmp_path, "import") as held:
        for folder in (left, held):
            folder.mkdir(exist_ok=True)
            (folder / "samples.jsonl").write_text("x" * 1000)
        import_run(packed(GOOD), RunStore(tmp_path))
        assert [folder.is_dir() for folder in (left, held)] == [False, True]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    run = seed_run(RunStore(tmp_path / "runs"))
    out = tmp_path / "out.zip"
    out.write_bytes(b"the one before")

    def full(*_args, **_kwargs):
        assert out.read_bytes() == b"the one before"  # what a kill at this moment would leave
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space"):
        export_run(run, out)
    assert out.read_bytes() == b"the one before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.zip"]


def test_a_device_is_no_archive(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        import_run("/dev/zero", RunStore(tmp_path))
