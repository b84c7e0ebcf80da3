"""A run is a folder: what it says of itself is true after torn lines, kills, full disks and hostile names."""

import contextlib
import errno
import json
import os
import subprocess
import sys

import pytest

from unlearn.store import disk, runs
from unlearn.store.disk import append_line, new_folder, read_lines
from unlearn.store.runs import Run, RunConfig, RunStore

STEP = {"of": 9, "terms": {"forget": 1.0}, "seconds": 0.5}


def config(**changes):
    return RunConfig(**({"model": "tiny-authors", "data": {"name": "authors"}, "method": "npo"} | changes))


@pytest.fixture
def run(tmp_path):
    return RunStore(tmp_path).create(config(), owner="me", title="Mine")


# -- config ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lr", 2.0, r"lr must lie in \[1e-08, 1\], got 2.0"),
        ("lr", float("nan"), "lr must lie in .* got nan"),
        ("lr", "fast", "lr must lie in .* got 'fast'"),
        ("epochs", 0, r"epochs must lie in \[1, 1000\], got 0"),
        ("epochs", 2.5, "epochs must be a whole number, got 2.5"),
        ("batch_size", True, "batch_size must lie in .* got True"),
        ("accumulation", None, "accumulation must lie in .* got None"),
        ("seed", -1, "seed must lie in .* got -1"),
        ("max_length", 4, r"max_length must lie in \[8, 8192\], got 4"),
        ("probes", 10**9, "probes must lie in"),
        ("lora_rank", 0, "lora_rank must lie in"),
        ("lora_alpha", float("inf"), "lora_alpha must lie in .* got inf"),
        ("tuning", "magic", "tuning must be among full, lora.* got 'magic'"),
        ("model", " ", "model is empty"),
        ("model", 3, "model must be text, got 3"),
        ("data", "authors", "data must be an object"),
        ("knobs", [1], "knobs must be an object"),
        ("method", "../up", "method must be a plain name such as npo, got '../up'"),
    ],
)
def test_a_bad_config_names_field_rule_and_value(field, value, message):
    with pytest.raises(ValueError, match=message):
        config(**{field: value})


def test_config_survives_json_and_refuses_what_it_does_not_know():
    one = config(knobs={"beta": 0.2}, lr=3e-5, epochs=7, tuning="lora", lora_alpha=8)
    again = RunConfig.from_json(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert (type(again.epochs), type(again.lora_alpha)) == (int, float)
    with pytest.raises(ValueError, match="unknown field colour; known: accumulation"):
        RunConfig.from_json(one.to_json() | {"colour": 1})
    with pytest.raises(ValueError, match="field method is missing"):
        RunConfig.from_json({"model": "m", "data": {}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "run: memory lean needs max_grad_norm 0, got 1: the norm of all gradients is known only when"),
        (
            {"max_grad_norm": 0, "accumulation": 4},
            "run: memory lean needs accumulation 1, got 4: a step's grad",
        ),
    ],
)
def test_what_a_lean_training_cannot_do_is_refused_with_the_setting_to_change(changes, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        config(memory="lean", **changes)
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith(", or memory to usual.")
    assert config(memory="lean", max_grad_norm=0).accumulation == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"memory": "lean", "max_grad_norm": 0.0},
        {"tuning": "lora", "lora_rank": 3, "lora_alpha": 7.5, "accumulation": 2},
        {"max_length": 64, "probes": 0, "title": "two words", "seed": 5},
        {"precision": "nf4", "tuning": "lora"},
        {"checkpointing": True, "start": "20260101-000000-npo-abcd"},
        {"data": {"name": "authors", "requests": [1, 3]}},
        {
            "data": {
                "forget": "my file.csv",
                "retain": "-odd.csv",
                "question_column": "Q",
                "answer_column": "A",
            }
        },
        {"data": {"forget": "a.csv", "general": "b.csv", "text_column": "t", "request_column": "r"}},
        {"data": {"hub": "a/b", "config": "c", "split": "d", "limit": 20, "retain_config": "e"}},
        {"method": "gd", "knobs": {"retain_source": "both", "retain_weight": 2.0}},
    ],
)
def test_the_command_repeats_the_config(changes):
    import shlex

    from unlearn.__main__ import parser
    from unlearn.commands.options import config_of
    from unlearn.methods import method_named

    one = config(**({"lr": 2.5e-5, "epochs": 3, "batch_size": 4} | changes))
    one = config(**(one.to_json() | {"knobs": method_named(one.method).from_knobs(one.knobs).to_json()}))
    words = shlex.split(one.command())
    assert words[:4] == ["python", "-m", "unlearn", "run"]
    assert config_of(parser().parse_args(words[3:])) == one


# -- events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b'{"kind": "step", "st', b"\xff\xfe\x00", b"{", b"12", b'"half', b"[1,"])
def test_a_torn_last_line_spoils_only_itself(run, torn):
    run.append("step", step=1, **STEP)
    with open(run.path / "events.jsonl", "ab") as file:
        file.write(torn)
    assert [e["step"] for e in run.events("step")] == [1]
    run.append("step", step=2, **STEP)
    run.append("note", text="zwei Zeilen\nund\u2028eine")
    assert [e["step"] for e in run.events("step")] == [1, 2]
    assert run.events("note")[0]["text"] == "zwei Zeilen\nund\u2028eine"


def test_a_line_being_written_is_not_read_yet(run):
    with open(run.path / "events.jsonl", "ab") as file:
        file.write(b'{"kind": "note", "time": 1.0, "text": "x"}')
        file.flush()
        assert run.events("note") == []
        file.write(b"\n")
    assert [e["text"] for e in run.events("note")] == ["x"]


def test_numbers_that_are_not_finite_keep_their_names(run):
    run.append("note", terms={"forget": float("nan"), "retain": [float("inf"), float("-inf"), 1.5]})
    assert run.events("note")[0]["terms"] == {"forget": "nan", "retain": ["inf", "-inf", 1.5]}
    assert "NaN" not in (run.path / "events.jsonl").read_text()


def test_what_a_resume_does_again_appears_once(run):
    run.append("state", state="running")
    for step in range(1, 8):
        run.append("step", step=step, loss=1.0, **STEP)
        if step % 2 == 0:
            append_line(run.path / "probes.jsonl", {"step": step, "items": []})
            run.append("probe", step=step)
    run.append("state", state="running", resumed_from=3)
    assert [e["step"] for e in run.events("step")] == [1, 2, 3]
    assert [p["step"] for p in run.probes()] == [2]  # the one of step 6 is of a future that was taken back
    for step in range(4, 7):
        run.append("step", step=step, loss=2.0, **STEP)
    assert [(e["step"], e["loss"]) for e in run.events("step")][2:] == [
        (3, 1.0),
        (4, 2.0),
        (5, 2.0),
        (6, 2.0),
    ]


def test_each_event_is_parsed_once(run, monkeypatch):
    read, loads = [], json.loads
    monkeypatch.setattr(disk.json, "loads", lambda line: read.append(line) or loads(line))

    def news() -> int:
        found = sum(b'"step"' in line for line in read)
        read.clear()
        return found

    run.append("step", step=1, **STEP)
    assert (len(run.events("step")), news()) == (1, 1)
    assert (len(run.events("step")), news()) == (1, 0)
    run.append("step", step=2, **STEP)
    run.append("step", step=3, **STEP)
    assert (len(run.events("step")), news()) == (3, 2)
    assert (len(Run(run.path).events("step")), news()) == (3, 0)


def test_a_file_that_did_not_just_grow_is_read_anew(tmp_path):
    path = tmp_path / "lines.jsonl"
    tail = disk.Tail(path, lambda kept, new: [*kept, *new])
    assert not tail.read()

    def holds(text: str, *expected: int) -> bool:
        path.write_text(text)
        return tail.read() == [{"a": value} for value in expected] == list(read_lines(path))

    assert holds('{"a": 1}\n{"a": 2}\n{"a":', 1, 2)  # the third is not complete yet
    assert holds('{"a": 1}\n{"a": 2}\n{"a": 3}\n', 1, 2, 3)
    assert holds('{"a": 1}\n{"a": 2}\n{"a": 3}\nnonsense\n{"a": 4}\n', 1, 2, 3, 4)
    assert holds('{"a": 7}\n', 7)  # shorter
    assert holds('{"a": 8}\n{"a": 9}\n', 8, 9)  # longer, but another beginning
    path.unlink()
    assert not tail.read()


def test_reading_what_is_not_there(tmp_path):
    gone = Run(tmp_path / "gone")
    assert (gone.events(), gone.probes(), gone.samples(), gone.results(), gone.meta) == ([], [], [], {}, {})
    assert gone.state == "interrupted"
    assert list(read_lines(tmp_path / "gone.jsonl")) == []


# -- states ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["queued", "running"])
def test_an_active_run_nobody_holds_is_interrupted(run, last):
    run.append("state", state=last)
    assert run.state == "interrupted"
    lock = run.hold()
    assert run.state == last
    lock.release()
    assert run.state == "interrupted"


@pytest.mark.parametrize("last", ["done", "stopped", "failed"])
def test_an_ended_run_stays_as_it_ended(run, last):
    run.append("state", state=last, reason="because")
    lock = run.hold()
    assert run.state == last
    lock.release()
    assert (run.state, run.reason) == (last, "because")


@pytest.mark.slow
def test_a_run_can_be_held_once_and_looking_does_not_take_it(run):
    run.append("state", state="running")
    import threading

    done = threading.Event()
    looks = [threading.Thread(target=lambda: [run.state for _ in iter(done.is_set, True)]) for _ in range(2)]
    for thread in looks:
        thread.start()
    try:
        for _ in range(20):  # pages look all the time; taking the lock must not lose against a look
            run.hold().release()
    finally:
        done.set()
        for thread in looks:
            thread.join()
    lock = run.hold()
    with pytest.raises(ValueError, match="held by another process"):
        Run(run.path).hold()
    lock.release()


def test_a_lock_held_for_a_block_is_let_go_of_when_the_block_fails(run):
    with contextlib.suppress(RuntimeError), run.held():
        assert Run(run.path).is_held()
        raise RuntimeError
    assert not Run(run.path).is_held()


def test_a_holder_that_is_killed_lets_go(run):
    code = (
        "import sys; from pathlib import Path; from unlearn.store.runs import Run\n"
        "lock = Run(Path(sys.argv[1])).hold(); print('held', flush=True); sys.stdin.read()"
    )
    run.append("state", state="running")
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline().strip() == b"held"
    assert run.state == "running"
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()
    assert run.state == "interrupted"


LOOK = """
import sys, time
from pathlib import Path
from unlearn.store.runs import Run
run, seen = Run(Path(sys.argv[1])), set()
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + 1.0
while time.monotonic() < end:
    seen.add(run.state)
print(",".join(sorted(seen)))
"""


@pytest.mark.slow
def test_any_number_may_look_at_a_dead_run_and_none_sees_another(run):
    """Four processes of eight threads' worth of looks each: a look that took the lock would be seen as a life."""
    import concurrent.futures
    import time

    run.append("state", state="running")
    run.hold().release()  # its lock file is there, as a run leaves it
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", LOOK, str(run.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for one in begun:
        assert one.stdout.readline() == "ready\n"
    for one in begun:
        one.stdin.write("go\n")
        one.stdin.flush()

    def look():
        end, seen = time.monotonic() + 1.0, set()
        while time.monotonic() < end:
            seen.add(Run(run.path).state)
        return seen

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seen = set().union(*[task.result() for task in [pool.submit(look) for _ in range(8)]])
    assert seen == {"interrupted"}
    assert {one.communicate()[0].strip() for one in begun} == {"interrupted"}
    lock = run.hold()  # and the looks keep nobody from taking it
    assert Run(run.path).state == "running"
    lock.release()


# -- store -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", ".cache", "nope", "a\0b", "x" * 300])
def test_an_id_is_a_name_and_never_a_path(tmp_path, run, name):
    with pytest.raises(ValueError, match="no run"):
        RunStore(tmp_path).get(name)


def test_get_list_and_delete(tmp_path, run):
    store = RunStore(tmp_path)
    assert store.get(run.id) == run
    assert (run.meta["owner"], run.title) == ("me", "Mine")
    (tmp_path / "no run").mkdir()
    broken = tmp_path / "20260101-000000-gd-aaaa"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    assert store.list() == [run]
    lock = run.hold()
    with pytest.raises(ValueError, match="is queued; stop it before deleting"):
        store.delete(run)
    lock.release()
    store.delete(run)
    assert store.list() == []
    assert RunStore(tmp_path / "never made").list() == []


def test_a_full_disk_while_creating_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runs, "append_line", full)
    with pytest.raises(OSError, match="No space"):
        RunStore(tmp_path).create(config())
    assert list(tmp_path.iterdir()) == []


def test_json_is_written_whole_or_not_at_all(run, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = (run.path / "meta.json").read_text()
    monkeypatch.setattr(disk.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        run.set_meta(title="other")
    assert (run.path / "meta.json").read_text() == before
    assert not list(run.path.glob(".meta*"))


def test_a_checkpoint_without_its_file_is_none(run):
    folder = run.path / "checkpoint"
    folder.mkdir()
    (folder / "state.json").write_text('{"step": 4, "file": "step-4.safetensors"}')
    assert (run.has_checkpoint(), run.checkpoint_step()) == (False, 0)
    (folder / "step-4.safetensors").write_bytes(b"x")
    assert (run.has_checkpoint(), run.checkpoint_step()) == (True, 4)


def test_importing_needs_no_torch():
    names = (
        *("store.runs", "figures.base", "models.load", "results.compare", "store.transfer"),
        *("engines.thread", "work.execute", "__main__"),
    )
    imports = "; ".join(f"import unlearn.{name}" for name in names)
    code = f"import sys; {imports}; sys.exit(' '.join(sys.modules.keys() & {{'torch', 'transformers'}}) or 0)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.strip()) == (0, "")


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written") as caught:
        new_folder(tmp_path / "file" / "runs", "gd")
    assert str(caught.value) == (
        f"runs: the folder {tmp_path / 'file' / 'runs'} cannot be written (Not a directory); name another with --runs "
        "or UNLEARN_RUNS."
    )
    assert caught.value.errno == errno.ENOTDIR


def test_a_run_that_was_being_made_when_its_process_was_killed_is_nowhere(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def cut(path, value, indent=1):
        raise Killed

    store = RunStore(tmp_path)
    with monkeypatch.context() as here:
        here.setattr("unlearn.store.runs.write_json", cut)
        # Nothing clears up after kill -9; the kernel lets go of the lock.
        here.setattr("unlearn.store.scratch.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            store.create(config())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new-0"]
    assert store.list() == []
    made = store.create(config(), sweep="20260101-000000-sweep-aaaa")
    assert made.meta["sweep"] == "20260101-000000-sweep-aaaa"
    assert [path.name for path in tmp_path.iterdir()] == [made.id]


def test_two_runs_of_one_second_never_share_a_folder(tmp_path, monkeypatch):
    drawn = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(
        "unlearn.store.disk.secrets.token_hex", lambda n: next(drawn) if n == 2 else "cafecafe"
    )
    monkeypatch.setattr("unlearn.store.disk.time.strftime", lambda form: "20260101-000000")
    found = [new_folder(tmp_path, "gd"), new_folder(tmp_path, "gd")]
    assert [path.name for path in found] == ["20260101-000000-gd-aaaa", "20260101-000000-gd-bbbb"]
