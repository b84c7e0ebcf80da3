"""The choice of where runs are carried out: last in a form, and only where there is one."""

import importlib.util

import pytest
from streamlit.testing.v1 import AppTest

from ui.launch import where
from unlearn.engines.place import Place


def script():
    import streamlit as st

    from ui.launch import where

    where.choose("launch")
    st.write(str(where.chosen("launch").to_json()))


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


def test_nothing_is_drawn_where_only_this_server_can_carry_runs_out(installed):
    installed("submitit")
    app = AppTest.from_function(script).run()
    assert not app.exception
    assert not app.selectbox
    assert str(Place().to_json()) in app.markdown[0].value


def test_what_is_chosen_is_where_runs_go(installed):
    installed("ray", "submitit", sbatch=True)
    assert where.engines() == ["thread", "ray", "slurm"]
    app = AppTest.from_function(script).run()
    assert not app.number_input
    app.selectbox(key="where.launch.on").select("ray").run()
    app.number_input(key="where.launch.at_once").set_value(3).run()
    assert not app.exception
    assert app.markdown[-1].value == str(Place(on="ray", at_once=3, cpus=1).to_json())
