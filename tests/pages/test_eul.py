"""The Unlearn page with a method that has a tuning of its own, beside one that has not."""

from tests.pages.test_app import opened, store, texts
from unlearn.store.runs import RunConfig, RunStore

assert store  # the fixture of the page tests


def test_each_method_is_launched_with_a_tuning_that_it_can_train(store):
    app = opened("launch.py", model="tiny-authors", data="authors", method="eul,npo")
    commands = next(block.value for block in app.code if "--method" in block.value).splitlines()
    assert len(commands) == 2
    for command in commands:
        assert ("--tuning layers" if "--method eul" in command else "--tuning full") in command
    assert "Trains layers of its own" in texts(app)


def test_repeating_a_run_of_layers_leaves_the_form_s_own_choice_alone(store):
    knobs = {"layer_share": 0.07}
    run = RunStore(store.root).create(
        RunConfig(
            model="tiny-authors",
            data={"name": "authors"},
            method="eul",
            tuning="layers",
            knobs=knobs,
            epochs=3,
        )
    )
    app = opened("launch.py", clone=run.id)
    command = next(block.value for block in app.code if "--method" in block.value)
    assert "--method eul" in command
    assert "--tuning layers" in command
    assert "--set layer_share=0.07" in command
