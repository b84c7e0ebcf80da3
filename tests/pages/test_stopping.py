"""The stop rule on the pages: one line of the form, what a run read, and UNDO on a finished run."""

import pytest
from seed import config, seed_run

from tests.pages.test_app import opened, store, texts  # noqa: F401  (a fixture)
from unlearn.store.disk import write_json
from unlearn.store.runs import RunStore
from unlearn.store.stop_rule import Course, Reading, ended_sentence

RULE = {"stop_at": "0.3", "budget": ("general-ppl=1.1",), "keep": "best"}


def ruled_run(store, **changes):  # noqa: F811
    """A finished run with the events of a stop rule that ended it at step 10."""
    run = seed_run(store, **(RULE | changes))
    course = Course(run.config.stop_rule(), 0.3, "given")
    for step, value in ((0, 0.9), (5, 0.5), (10, 0.2)):
        reading = Reading(step, value, {"general-ppl": 1 + step / 200})
        course = course.after(reading)
        run.append("watch", **course.event(reading))
    run.append("end", **course.end(reading, 20))
    return run


@pytest.mark.slow
def test_one_line_of_the_form_is_the_rule(store):  # noqa: F811
    app = opened("launch.py", model="tiny-authors", data="authors", method="npo")
    assert "--stop-at" not in command_of(app)
    box = app.checkbox(key="form.stop")
    assert box.label == (
        "Stop when it has forgotten like the retrained model, or when general text suffers by more than 3 %"
    )
    box.check().run()
    assert "--stop-at target --budget general-ppl=1.03" in command_of(app)
    box = app.checkbox(key="form.stop")
    box.uncheck().run()
    assert "--stop-at" not in command_of(app)


def command_of(app):
    """The command line that the page offers."""
    return " ".join(str(code.value) for code in app.code if "unlearn run" in str(code.value))


@pytest.mark.slow
def test_a_loaded_rule_of_another_kind_is_kept(store):  # noqa: F811
    run = seed_run(store, **RULE)
    app = opened("launch.py", clone=run.id)
    assert app.checkbox(key="form.stop").value
    assert "stop at 0.3" in app.checkbox(key="form.stop").label
    assert "--stop-at 0.3 --budget general-ppl=1.1 --keep best" in command_of(app)


@pytest.mark.slow
def test_a_run_shows_what_its_rule_read_and_why_it_ended(store):  # noqa: F811
    run = ruled_run(store)
    # What ended it is the reason of its state, as execute() writes it.
    run.append("state", state="done", reason=ended_sentence(run.ended()))
    write_json(run.path / "results.json", run.results() | {"beside": {"stop rule": 0.5}})
    words = texts(opened("launch.py", run=run.id)).replace("\\", "")
    assert (
        "probability of the answers to forget 0.9 → 0.2 (target 0.3); general perplexity / start 1 → 1.05"
        in (words.replace("Probability", "probability"))
    )
    assert "Ended at step 10 of 20: the answers that the rule reads have a mean probability of 0.2" in words
    assert "Its readings took 0.5 s of 6.0 s of training (8 %)." in words
    assert "Kept: the weights of step 10" in words


@pytest.mark.slow
def test_a_finished_run_offers_undo_where_it_keeps_weights(store, monkeypatch):  # noqa: F811
    run = seed_run(store)
    assert not [b for b in opened("launch.py", run=run.id).button if b.key == f"undo.{run.id}.begin"]
    (run.path / "model").mkdir()
    (run.path / "model" / "model.safetensors").write_bytes(b"")
    app = opened("launch.py", run=run.id)
    (button,) = [b for b in app.button if b.key == f"undo.{run.id}.begin"]
    asked = []
    from unlearn.engines.thread import Runner

    def launch(self, made, owner=""):
        asked.append(made)
        return RunStore(store.root).create(made)

    monkeypatch.setattr(Runner, "launch", launch)
    app.slider(key=f"undo.{run.id}.share").set_value(0.4)
    button.click().run()
    assert [(c.method, c.start, c.knobs["share"]) for c in asked] == [("undo", run.id, 0.4)]


def test_the_report_and_the_figure_say_it_too(store):  # noqa: F811
    from unlearn.figures.stop_rule import watched
    from unlearn.report.build import html

    run = ruled_run(store)
    said = ended_sentence(run.ended())
    figure = watched(run.events("watch"), run.ended())
    assert figure.layout.title.text == (
        "Probability of the answers to forget 0.9 → 0.2 (target 0.3); general perplexity / start 1 → 1.05 (budget 1.1)"
    )
    assert [list(trace.y) for trace in figure.data] == [[0.9, 0.5, 0.2], [1.0, 1.025, 1.05]]
    lines = [shape.y0 for shape in figure.layout.shapes if shape.y0 == shape.y1]
    assert lines == [0.3, 1.1]
    assert watched([], {}).layout.title.text == "Nothing was read yet"
    page = html([run]).decode()
    assert said in page
    assert "the nearest to the target inside the budget" in html([run], rows=False).decode()


def test_the_likelihood_curve_has_the_line_where_a_run_should_stop(store, monkeypatch):  # noqa: F811
    """The retrained model's; without one the start's on rows that it never saw."""
    from unlearn.figures.tokens import probe_overview
    from unlearn.results import compare

    run = seed_run(store)
    both = compare.probe_references(run)["forget"]
    assert set(both) == {"retrained"}
    kept = [s for s in run.samples() if s["when"] != "retrained"]
    unseen = [{**kept[0], "when": "before", "role": "approximate", "nll": nll} for nll in (2.0, 3.0)]
    monkeypatch.setattr(type(run), "samples", lambda self: [*kept, *unseen])
    found = compare.probe_references(run)
    assert found["forget"] == {"never seen": -2.5}
    shapes = probe_overview(run.probes(), found).layout.shapes
    assert [shape.y0 for shape in shapes if shape.y0 == shape.y1] == [-2.5]


def test_a_redacted_run_keeps_what_ended_it(store):  # noqa: F811
    import json

    from unlearn.store import records, redaction

    run = ruled_run(store)
    lines = redaction.bare("events.jsonl", (run.path / "events.jsonl").read_bytes()).splitlines()
    events = [json.loads(line) for line in lines]
    (end,) = [e for e in events if e["kind"] == "end"]
    assert records.event(end)
    assert ended_sentence(end) == ended_sentence(run.ended())
    told = json.dumps({"ended": run.ended(), "model_hash": "x"}).encode()
    bare = json.loads(redaction.bare("results.json", told))
    assert bare["ended"] == run.ended()
    assert config().stop_rule().on is False
