"""Where records are carried out: what is refused before anything is made, and with which remedy."""

import importlib.util
import socket
from types import SimpleNamespace

import pytest

from unlearn.__main__ import main
from unlearn.commands import where
from unlearn.commands.parser import Parser
from unlearn.compute import threads
from unlearn.engines.elsewhere import last_place
from unlearn.engines.place import Place, environ_of
from unlearn.engines.seats import check_listens
from unlearn.engines.slurm import Slurm
from unlearn.store.runs import RunConfig, RunStore


def asked(*words):
    parser = Parser(prog="x")
    where.add(parser)
    return where.place_of(parser.parse_args(words))


def test_an_engine_and_its_address_are_read_from_one_word():
    assert (Place().engine, Place().here) == ("thread", True)
    assert Place(on="local") == Place()
    far = Place(on="ray:10.0.0.3:6379")
    assert (far.engine, far.address, far.here) == ("ray", "10.0.0.3:6379", False)
    assert Place(on="slurm:gpu").address == "gpu"


def test_the_words_of_a_command_become_a_place(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    options = ("--on", "slurm", "--at-once", "4", "--cpus", "2", "--gpus-per-run", "1")
    place = asked(*options, "--slurm", "time=2:00:00", "--slurm", "account=lab")
    assert place == Place(
        on="slurm", at_once=4, cpus=2, gpus_per_run=1.0, slurm={"time": "2:00:00", "account": "lab"}
    )
    assert Place.from_json(place.to_json()) == place


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on", "kubernetes"], r"must be thread, ray\[:ADDRESS\] or slurm\[:PARTITION\], got 'kubernetes'"),
        (["--on", "ray:"], "got 'ray:'"),
        (["--on", "thread:2"], "got 'thread:2'"),
        (["--at-once", "3"], "one run after the other, got 3; with --on ray"),
        (["--at-once", "many"], "at_once must lie in"),
        (["--gpus-per-run", "0.5"], "give --on ray or --on slurm"),
        (["--on", "slurm", "--gpus-per-run", "0.5"], "whole GPUs, got 0.5; fractions are for --on ray"),
        (["--slurm", "time=5"], "give --on slurm with them"),
        (["--on", "slurm", "--slurm", "time"], "must be KEY=VALUE, such as time=2:00:00, got 'time'"),
    ],
)
def test_what_cannot_be_is_refused(words, said):
    with pytest.raises(ValueError, match=said):
        asked(*words)


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_extra_that_is_missing_is_refused_with_what_to_install(
    engine, package, monkeypatch, tmp_path, capsys
):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == package else there(name, *more)
    )
    words = ["--model", "tiny-authors", "--method", "gd", "--on", engine, "--runs", str(tmp_path)]
    assert main(["run", *words]) == 2
    said = capsys.readouterr().err
    assert f'the package {package} is not installed; pip install "unlearn-studio[{engine}]"' in said
    assert not list(tmp_path.iterdir())


def test_a_record_tells_where_it_was_carried_out(tmp_path):
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method="gd")
    run = RunStore(tmp_path).create(config)
    assert last_place(run) == Place()
    for cpus in (1, 2):
        run.append("note", place=Place(on="ray", cpus=cpus).to_json())
    assert last_place(run) == Place(on="ray", cpus=2)
    run.append("note", place={"on": 5, "cpus": []})
    assert last_place(run) == Place()
    run.append("note", place=Place(on="ray:somewhere:1").to_json())
    run.set_meta(imported=True)
    assert last_place(run) == Place()


def test_cores_of_a_run_here_are_threads(monkeypatch):
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    try:
        with where.engine_at(Place(cpus=2), None) as engine:
            assert engine is None
            assert threads.choose_threads(small=True) == 2
    finally:
        torch.set_num_threads(before)


def test_an_address_where_nobody_listens_is_refused_at_once():
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{there.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"nobody listens at {address} .*`ray start --head`"):
            check_listens(address)
        there.listen()
        check_listens(address)
    for named in ("auto", "local", "ray://head:10001"):
        check_listens(named)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}),
        ({"GOMP_SPINCOUNT": "5"}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "5"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_threads_elsewhere_wait_as_they_do_here(monkeypatch, given, told):
    """Those that sleep at once are slower, as unlearn.compute.memory says."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert environ_of(3) == {"OMP_NUM_THREADS": "3"} | told
    job = Slurm._parameters(SimpleNamespace(place=Place(on="slurm"), options={}), [])["setup"][0]
    assert job.startswith("export OMP_NUM_THREADS=1 ")
    assert all(f"{name}={value}" in job for name, value in told.items())
