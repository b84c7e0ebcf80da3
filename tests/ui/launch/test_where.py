"""The choice of where runs are carried out: last in a form, only where there is one, and the same in all forms."""

import importlib.util

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from ui.demo import visitor
from ui.launch import where
from unlearn.engines.place import Place


def script():
    import streamlit as st

    from ui.launch import where

    where.choose()
    st.write(str(where.chosen().to_json()))


@pytest.fixture(autouse=True)
def forgotten():
    """Nobody chose anything before."""
    st.cache_resource.clear()


@pytest.fixture
def installed(monkeypatch):
    """Say which packages and commands there are."""
    there = importlib.util.find_spec

    def say(*packages, sbatch=False):
        wanted = {"ray", "submitit"}
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *more: (
                (object() if name in packages else None) if name in wanted else there(name, *more)
            ),
        )
        monkeypatch.setattr(where.shutil, "which", lambda name: "/usr/bin/sbatch" if sbatch else None)

    return say


def opened():
    app = AppTest.from_function(script).run()
    assert not app.exception
    return app


def test_nothing_is_drawn_where_only_this_server_can_carry_runs_out(installed):
    installed("submitit")
    app = opened()
    assert not app.selectbox
    assert str(Place().to_json()) in app.markdown[0].value


def test_what_is_chosen_is_where_runs_go(installed):
    installed("ray", "submitit", sbatch=True)
    assert where.engines() == ["thread", "ray", "slurm"]
    app = opened()
    assert not app.number_input
    app.selectbox(key="where.on").select("ray").run()
    app.number_input(key="where.at_once").set_value(3).run()
    app.number_input(key="where.parts").set_value(0.25).run()
    assert not app.exception
    wanted = Place(on="ray", at_once=3, cpus=1, gpus_per_run=0.25)
    assert app.markdown[-1].value == str(wanted.to_json())
    # A part of a GPU is Ray's alone.
    app.selectbox(key="where.on").select("slurm").run()
    app.number_input(key="where.gpus").set_value(2).run()
    assert not app.exception
    assert app.markdown[-1].value == str(Place(on="slurm", at_once=3, cpus=1, gpus_per_run=2.0).to_json())


def test_a_choice_outlives_a_refresh_but_not_what_it_needs(installed):
    installed("ray")
    app = opened()
    app.selectbox(key="where.on").select("ray").run()
    app.number_input(key="where.cpus").set_value(2).run()
    again = opened()
    assert again.selectbox(key="where.on").value == "ray"
    assert again.number_input(key="where.cpus").value == 2
    assert where.told() == "It is carried out on Ray, as chosen on Unlearn."
    installed()
    assert "thread" in opened().markdown[-1].value
    assert where.told() == ""


def test_another_browser_and_a_visitor_do_not_have_it(installed, monkeypatch):
    installed("ray")
    monkeypatch.setattr(visitor, "owner", lambda: "one")
    opened().selectbox(key="where.on").select("ray").run()
    assert where.chosen().on == "ray"
    monkeypatch.setattr(visitor, "here", lambda: True)
    assert where.chosen() == Place()
    monkeypatch.setattr(visitor, "here", lambda: False)
    monkeypatch.setattr(visitor, "owner", lambda: "another")
    assert where.chosen() == Place()
