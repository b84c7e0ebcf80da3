"""Stress page: nothing there, a run not attacked yet, one attacked, one at work, one that failed; figures by hand."""

from pathlib import Path

import pytest
from seed import seed_run
from streamlit.testing.v1 import AppTest

from tests.results.test_residue import planted as planted_sweep
from unlearn.figures import residue as residue_figures
from unlearn.figures import stress as stress_figures
from unlearn.results.residue import rows as rows_of
from unlearn.results.verdict import evidence_sentences, overall, residue, says, worst_first
from unlearn.store.disk import write_json
from unlearn.store.runs import RunStore
from unlearn.work import stress

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path))
    monkeypatch.setattr("ui.shell.recorded", list)
    return RunStore(tmp_path)


def opened(**query):
    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    app.run()
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page("../pages/stress.py").run()
    assert not app.exception, app.exception
    return app


def words(app):
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.error, app.warning)
    said = "\n".join(str(element.value) for kind in kinds for element in kind)
    return said.replace("\\", "").replace("\u00a0", " ")


def with_weights(store, **changes):
    run = seed_run(store, **changes)
    (run.path / "model").mkdir()
    (run.path / "model" / "model.safetensors").write_bytes(b"x")
    return run


def entry(title, after, tells, details=None, finding="It found it.", n=50):
    values = {"before": [1.0] * n, "after": [1.0] * round(after * n) + [0.0] * round((1 - after) * n)}
    values["control"] = [0.0] * n
    return {
        "title": title,
        "help": title,
        "paper": "",
        "tells": tells,
        "reason": "",
        "seconds": 1.0,
        "seed": 0,
        "n": n,
        "before": 1.0,
        "after": after,
        "retrained": 0.0,
        "never_seen": None,
        "plain": 0.0,
        "residue": residue(values),
        "says": says(values, tells),
        "finding": finding,
        "values": values,
        "details": details or {},
    }


CURVES = {
    "before": {"0": 1.0},
    "after": {"0": 0.0, "5": 0.6, "10": 0.5},
    "control": {"0": 0.0, "5": 0.02, "10": 0.0},
}
DIAL = {f"{s / 5:g}": {"forget": 1 - min(1, s / 5), "retain": 1.0} for s in range(7)}
CELL = {"lp": [-0.1, -3.0], "rank": [0, 4]}
SQUARE = {
    "question": "Where?",
    "tokens": [" Lis", "bon"],
    **dict.fromkeys(("before", "after", "control"), [CELL] * 2),
}


def planted():
    lens = {"layer": 0, "layers": 2, "squares": [SQUARE]}
    lens["by_layer"] = {"before": [0.9, 1.0], "after": [0.7, 0.2], "control": [0.3, 0.2]}
    taught = {"taught": 18, "lr": 5e-4, "steps": 30, "curves": CURVES}
    attacks = {
        "paraphrase": entry("Paraphrase", 0.0, "suppressed"),
        "dial": entry("Forgetting dial", 1.0, "suppressed", {"adapter": True, "curve": DIAL}),
        "relearn": entry("Relearning", 0.6, "both", taught),
        "lens": entry("Layer-wise residue", 0.16, "both", lens),
    }
    plain = {"before": [1.0] * 50, "after": [0.0] * 50, "control": [0.0] * 50}
    record = {"control": "retrained", "seed": 0, "plain": plain, "attacks": attacks}
    left_out = {"title": "Linear probe", "reason": "needs a retain role", "tells": "both"}
    record["attacks"]["probe"] = left_out
    return record | {"verdict": overall(attacks, plain)}


def test_the_worst_stands_first_and_the_card_counts():
    record = planted()
    names = [e["name"] for e in worst_first(record)]
    assert names == ["dial", "relearn", "lens", "paraphrase"]
    said = evidence_sentences(record)
    assert said[0] == "Asked plainly it answers 0 % of 50 forget questions; the original 100 %."
    assert said[1].startswith("Forgetting dial finds 100 %")
    assert "Finds it still there (2 of 4): forgetting dial, relearning." in said
    assert "Undecided (1 of 4): layer-wise residue." in said


def test_of_those_that_cannot_be_judged_the_one_that_answers_most_stands_first():
    blank = {"residue": None, "says": "undecided"}
    attacks = {"quantise": entry("8- and 4-bit weights", 0.6, "suppressed") | blank}
    attacks["dial"] = entry("Forgetting dial", 0.9, "suppressed") | blank
    record = {"attacks": attacks}
    assert [e["name"] for e in worst_first(record)] == ["dial", "quantise"]
    assert (
        "Cannot be judged, since original and control lie less than 10 % apart (2 of 2): forgetting dial"
        in " ".join(evidence_sentences(record))
    )


def test_empty(store):
    assert "No finished run has weights to attack yet" in words(opened())


def test_a_run_that_was_not_attacked_yet(store):
    run = with_weights(store)
    app = opened(run=run.id)
    assert "not attacked yet" in words(app)
    assert not app.button(key="stress.go").disabled
    assert "Membership inference was not computed yet" in words(app)


def test_a_run_that_was_attacked(store):
    with_weights(store)
    run = with_weights(store)
    write_json(run.path / stress.FILE, planted())
    app = opened(run=run.id)
    said = words(app)
    assert "Suppressed or erased?" in said
    # The worst attack is the sentence: how much is left, of how many texts, beside original and retrained.
    assert "Of 4 settings tried the worst, forgetting dial, leaves 100 %" in said
    assert residue_figures.left(planted()).layout.title.text in said
    assert "Left out: Linear probe: needs a retain role" in said
    table = app.dataframe[0].value
    assert next(iter(table["attack"])) == "Forgetting dial"
    assert (table["left"][0], table["after"][0], table["control"][0]) == (1.0, 1.0, 0.0)
    # Each share has its interval: Wilson's of 50 of 50, and what it makes of the residue.
    first = rows_of(planted())[0]
    assert table["after_ends"][0] == "0.929 to 1"
    assert table["left_ends"][0] == f"{100 * first['around'][0]:.0f} to 100 %"
    # Without settings of a sweep their column stays away, and what comes after it is in sight.
    assert "setting" not in app.dataframe[0].proto.column_order
    assert {"left_ends", "control", "finding"} <= {*app.dataframe[0].proto.column_order}
    assert "n = 50, seed 0" in said


@pytest.mark.parametrize(
    ("kept", "width"), [(("relearn", "dial"), 0.5), (("dial",), 1.0), (("relearn",), 1.0)]
)
def test_a_curve_without_another_beside_it_has_the_whole_width(store, kept, width):
    run, record = with_weights(store), planted()
    record["attacks"] = {name: record["attacks"][name] for name in (*kept, "lens")}
    write_json(run.path / stress.FILE, record)
    titles = ("The forgetting dial", "Does practice on a part bring back the rest?")
    holding = [
        column for column in opened(run=run.id).columns if {s.value for s in column.subheader} & {*titles}
    ]
    assert [column.weight for column in holding] == [width] * len(kept)


def test_a_setting_of_a_sweep_stands_in_its_own_column_alone(store):
    run = with_weights(store)
    write_json(run.path / stress.FILE, planted_sweep())
    shown = opened(run=run.id).dataframe[0]
    first = shown.value.iloc[0]
    assert (first["attack"], first["setting"]) == ("Relearning", "LoRA")
    assert "setting" in shown.proto.column_order


def test_on_the_card_a_number_stays_beside_its_sign():
    def draw():
        from tests.pages.test_stress import planted
        from ui.stress import findings

        findings.card(planted())

    app = AppTest.from_function(draw, default_timeout=60).run()
    assert not app.exception
    assert any("\u00a0%" in one.value for one in app.markdown)
    assert not any(" %" in one.value for one in app.markdown)


def test_another_seed_offers_every_attack_again(store):
    run = with_weights(store)
    write_json(run.path / stress.FILE, planted())
    app = opened(run=run.id)
    offered = app.button_group(key=f"stress.names.{run.id}.{len(planted()['attacks'])}").value
    app.number_input(key=f"stress.seed.{run.id}").set_value(1).run()
    assert len(app.button_group(key=f"stress.names.{run.id}.0").value) == 7 > len(offered)


def test_what_was_left_out_is_said_where_nothing_was_found(store):
    run, record = with_weights(store), planted()
    record["attacks"] = {"probe": record["attacks"]["probe"]}
    write_json(run.path / stress.FILE, record)
    assert "Left out: Linear probe: needs a retain role" in words(opened(run=run.id))


def test_links_from_other_pages_choose_the_run(store):
    first, _ = with_weights(store), with_weights(store)
    assert opened(runs=first.id).selectbox[0].value == first.id


def test_one_at_work_and_one_that_failed(store):
    run = with_weights(store)
    job = stress.create(run, ["prefix"])
    job.append("state", state="running")
    with job.lock():
        app = opened(run=run.id)
        assert app.button(key="stress.go").disabled
        assert app.button(key="stress.depth").disabled
        # It is under way, and nobody is told to begin it.
        assert "It is being attacked: in another process" in [one.proto.text for one in app.get("progress")]
        assert "was not attacked yet" not in "\n".join(one.value for one in app.info)
    job.append("state", state="failed", reason="out of memory; choose a smaller model.")
    app = opened(run=run.id)
    assert "The last attempt failed. Out of memory" in words(app)
    assert not app.button(key="stress.go").disabled


def test_the_button_queues_the_chosen_attacks(store, monkeypatch):
    monkeypatch.setattr("ui.shell.guard", lambda: None)  # under AppTest it starts again and so eats the click
    run, asked = with_weights(store), []
    monkeypatch.setattr(
        "unlearn.engines.thread.Runner.submit", lambda self, record, **_: asked.append(record)
    )
    app = opened(run=run.id)
    app.number_input(key=f"stress.seed.{run.id}").set_value(3).run()
    assert any("--seed 3" in code.value for code in app.code)
    app.button(key="stress.go").click().run()
    (job,) = asked
    assert job.asked["seed"] == 3
    assert job.run == run
    assert job.asked["attacks"][0] == "paraphrase" and len(job.asked["attacks"]) == 7  # noqa: PT018


def test_the_other_button_queues_everything_for_so_many_minutes(store, monkeypatch):
    monkeypatch.setattr("ui.shell.guard", lambda: None)
    run, asked = with_weights(store), []
    monkeypatch.setattr(
        "unlearn.engines.thread.Runner.submit", lambda self, record, **_: asked.append(record)
    )
    app = opened(run=run.id)
    app.number_input(key=f"stress.minutes.{run.id}").set_value(3).run()
    button = app.button(key="stress.everything")
    assert button.label == "Attack everything, 3 minutes"
    assert any(f"attack {run.id} --sweep --minutes 3" in code.value for code in app.code)
    button.click().run()
    (job,) = asked
    assert (job.run, job.asked["minutes"]) == (run, 3.0)


def test_membership_from_metrics(store):
    run = with_weights(store)
    curve = {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 0.9, 1.0]}
    score = {"when": "after", "role": "forget", "value": 0.7, "n": 20, "per_example": []}
    score["details"] = {"roc": curve, "roc_log": {"fpr": [0.5, 1.0], "tpr": [0.9, 1.0]}}
    one = {"title": "MIA loss", "help": "", "ideal": 0.5, "paper": "", "reason": "", "scores": [score]}
    write_json(run.path / "metrics.json", {"identity": {}, "metrics": {"mia_loss": one}, "cost": []})
    said = words(opened(run=run.id))
    assert "MIA loss is furthest from chance" in said
    figure = stress_figures.roc({"MIA loss": score}, "after", log=True)
    assert list(figure.data[0].x) == [0.5, 1.0]
    assert figure.data[0].name == "MIA loss, AUC 0.7"
    score["details"]["interval"] = [0.6, 0.81]
    figure = stress_figures.roc({"MIA loss": score}, "after")
    assert figure.data[0].name == "MIA loss, AUC 0.7 (0.6 to 0.81)"


@pytest.mark.parametrize("dark", [False, True])
def test_figures_say_what_is_in_them(dark):
    record = planted()
    found = {e["name"]: e for e in worst_first(record)}
    figure = stress_figures.relearning(found["relearn"], "retrained", dark)
    assert figure.layout.title.text == "The rest comes back at best: 0 % → 60 %; retrained 0 %"
    assert [t.name for t in figure.data] == ["unlearned", "retrained"]
    dial = stress_figures.dial(found["dial"], dark)
    assert "Turned back to 0 it answers 100 % of the forget questions, as trained " in dial.layout.title.text
    squares = stress_figures.layers(SQUARE, "after", "retrained", dark)
    assert list(squares.data[0].text) == ["1", "5", "1", "5"]
    assert "layer 1: 0.7" in stress_figures.by_layer(found["lens"], "retrained", dark).layout.title.text


def test_a_redacted_run_shows_its_attacks_without_single_answers(store):
    from unlearn.store import upkeep

    run = with_weights(store)
    write_json(run.path / "attacks.json", planted())
    assert "bon" in (run.path / "attacks.json").read_text()
    upkeep.redact(run, store)
    assert "bon" not in (run.path / "attacks.json").read_text()
    shown = words(opened())
    assert "The single answers were left out with the rows of this run" in shown
    assert "leaves 100" in shown
