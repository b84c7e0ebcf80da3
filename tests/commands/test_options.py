"""Flags, files and printed commands: three ways to say one run, which must mean the same."""

import argparse
import random
import shlex

import pytest

from unlearn.__main__ import main, parser
from unlearn.commands.judging import attack_names
from unlearn.commands.options import config_of, data_keys
from unlearn.commands.sweep import sweep_of
from unlearn.data.catalogue import KEYS
from unlearn.methods import METHODS
from unlearn.results.sweep_record import SweepConfig
from unlearn.store.config import ASKED, RunConfig
from unlearn.store.disk import write_json
from unlearn.work.preflight import tuned_lr
from unlearn.work.sequence import MODES, SequenceConfig

RUN = ("run", "--model", "tiny-authors", "--method", "npo")
WORDS = [
    "plain",
    "two words",
    "-odd",
    "--flag",
    "it's",
    'a "b"',
    "ü €",
    "$HOME",
    "a=b",
    "a,b",
    "*",
    "\\",
    "#x",
    "0",
]


def asked(*words):
    return config_of(parser().parse_args([str(word) for word in words]))


def any_value(k, rng):
    """A value that the setting allows, often one of its ends."""
    if k.kind == "choice":
        # The bundled models have no chat template, and are refused one.
        return rng.choice([choice for choice in k.choices if "chat" not in choice])
    if k.kind == "bool":
        return rng.random() < 0.5
    if k.kind == "int":
        return rng.choice([int(k.low), int(k.high), rng.randint(int(k.low), int(k.high))])
    if k.kind == "float":
        return rng.choice(
            [float(k.low), float(k.high), rng.uniform(k.low, k.high), k.low + (k.high - k.low) / 3]
        )
    if k.name == "stop_at":
        return rng.choice(["", "target", "0.25"])
    if k.name == "budget":
        return tuple(rng.sample(["general-ppl=1.03", "kl=0.01", "retain=0.95"], rng.randint(0, 3)))
    if k.kind == "names":
        return tuple(rng.sample(["mia_loss", "el_3", "kl_retrain"], rng.randint(0, 3)))
    return rng.choice(["", *WORDS])


def any_data(rng):
    form = rng.choice(list(KEYS))
    if form == "name":
        data = {"name": rng.choice(["authors", "capitals"])}
    else:
        keys = [key for key in KEYS[form] if key not in (form, "requests", "limit")]
        data = {form: rng.choice(WORDS)} | {key: rng.choice(WORDS) for key in rng.sample(keys, 4)}
        data |= {"limit": rng.randint(2, 99)} if form == "hub" and rng.random() < 0.5 else {}
    return data | ({"requests": sorted(rng.sample(range(1, 99), 3))} if rng.random() < 0.5 else {})


def any_config(rng):
    method = rng.choice(list(METHODS.values()))
    knobs = {k.name: any_value(k, rng) for k in method.knobs() if k.kind != "bool"}
    said = {k.name: any_value(k, rng) for k in RunConfig.settings() if k.name not in ASKED}
    said["tuning"] = rng.choice(method.tunings)
    # A system prompt stands above a chat alone, and none of these models is asked in one.
    said["system"] = ""
    # An adapter is trained further as an adapter alone.
    if said["adapter"] == "keep" and said["tuning"] != "lora":
        said["adapter"] = "merge"
    # Weights of few bits are trained through an adapter alone; a method that takes none has others.
    if said["precision"] in ("int8", "nf4"):
        said |= {"tuning": "lora"} if "lora" in method.tunings else {"precision": "float32"}
    # A stop rule needs a result after every step, and SAM a forget term.
    said |= {} if method.early else {"stop_at": "", "budget": (), "keep": "last"}
    said |= {} if method.forget_terms else {"sam": 0.0}
    # Gradients that are never held can neither be added up nor cut.
    if said["memory"] == "lean":
        said |= {"accumulation": 1, "max_grad_norm": 0.0, "sam": 0.0} if method.leans else {"memory": "usual"}
    return RunConfig(
        model=rng.choice(["tiny-authors", "smollm2", "some/model"]),
        data=any_data(rng), method=method.name, knobs=method.from_knobs(knobs).to_json(), **said,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_the_printed_command_repeats_the_run(seed, tmp_path):
    config = any_config(random.Random(seed))
    words = shlex.split(config.command())
    assert words[:4] == ["python", "-m", "unlearn", "run"]
    assert asked(*words[3:]) == config
    write_json(tmp_path / "config.json", config.to_json())
    assert asked("run", "--config", tmp_path / "config.json") == config


@pytest.mark.parametrize("seed", range(10))
def test_the_printed_command_repeats_a_sweep_and_a_sequence(seed):
    from dataclasses import replace

    rng = random.Random(seed)
    run = replace(any_config(rng), data={"name": "authors"}, probes=0, title="", seed=0, max_length=512)
    made = SequenceConfig(
        run=run, mode=rng.choice([m for m in MODES if m in ("chain", "joint")]), order=(3, 1)
    )
    words = shlex.split(made.command())
    assert words[:4] == ["python", "-m", "unlearn", "sequence"]
    args = parser().parse_args(words[3:])
    assert (config_of(args), args.mode, args.order) == (run, made.mode, "3,1")
    run = replace(run, model="tiny-authors", start="", adapter="auto", retrained="")
    sweep = SweepConfig(
        runs=(run,), lrs=(1e-5, 1e-3), epochs=(1, 2), batch_sizes=(4,), seeds=(0, 3), guide=True
    )
    again = sweep_of(parser().parse_args(shlex.split(sweep.command())[3:]))
    assert again.cells() == sweep.cells()
    assert again.guide


# -- --config FILE ---------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "model: tiny-authors\nmethod: npo\nknobs: {beta: 0.2}\ndata: {name: authors, requests: 1..2}\n"
        "lr: 3e-5\ncheckpointing: true\ntuning: lora\nmetrics: [el_3]\n"
    )
    return path


def test_a_flag_wins_over_the_file_and_the_file_over_what_is_tuned(file):
    tuned = asked(*RUN)
    stated = asked("run", "--config", file)
    assert (stated.lr, stated.tuning, stated.checkpointing, stated.metrics) == (3e-5, "lora", True, ("el_3",))
    assert stated.data == {"name": "authors", "requests": [1, 2]}
    assert stated.knobs == {**tuned.knobs, "beta": 0.2}
    assert stated.batch_size == METHODS["npo"].settings("tiny", "lora", "tiny-authors")["batch_size"]
    flags = ["--lr", "1e-3", "--set", "beta=0.3", "--no-checkpointing", "--requests", "3", "--metrics", ""]
    won = asked("run", "--config", file, *flags)
    assert (won.lr, won.knobs["beta"], won.checkpointing, won.metrics) == (1e-3, 0.3, False, ())
    assert won.data == {"name": "authors", "requests": [3]}


def test_settings_for_several_formats_are_taken_wherever_the_formats_are_said(file, monkeypatch):
    npo = METHODS["npo"]
    whose = npo.settings_of("tiny", "tiny-authors")
    monkeypatch.setattr(npo, "several", {(whose, "full"): {"lr": 7e-4}, (whose, "lora"): {"batch_size": 3}})
    one = asked(*RUN, "--prompt", "plain")
    several = asked(*RUN, "--prompt", "plain+completion")
    assert (several.lr, one.lr) == (7e-4, npo.settings("tiny", "full", "tiny-authors")["lr"])
    assert (tuned_lr(several), tuned_lr(one)) == (several.lr, one.lr)
    file.write_text(f"{file.read_text()}prompt: plain+completion\n")
    assert asked("run", "--config", file).batch_size == 3
    assert asked("run", "--config", file, "--prompt", "plain").batch_size != 3
    # The formats are a set: in another order they are the same setting.
    other = asked(*RUN, "--prompt", "completion+plain")
    assert (other.prompt, other.lr) == ("plain+completion", 7e-4)
    file.write_text(file.read_text().replace("plain+completion", "completion+plain"))
    assert asked("run", "--config", file).batch_size == 3
    with pytest.raises(ValueError, match="--prompt"):
        asked(*RUN, "--prompt", "plain+plain")


def test_rows_and_method_of_a_flag_put_the_files_aside(file):
    other = asked("run", "--config", file, "--method", "gd", "--data", "capitals")
    assert (other.method, other.data) == ("gd", {"name": "capitals"})
    assert other.knobs == METHODS["gd"].settings("tiny", "lora", "tiny-authors")["knobs"]


def test_what_neither_flag_nor_file_says_is_asked_for(tmp_path):
    (tmp_path / "a.toml").write_text("lr = 1e-4\n")
    with pytest.raises(ValueError, match="--model: give it, or a --config FILE that states it"):
        asked("run", "--method", "npo")
    with pytest.raises(ValueError, match="--method: give it, or a --config FILE that states it"):
        asked("run", "--model", "tiny-authors", "--config", tmp_path / "a.toml")


def test_everything_that_is_missing_is_named_at_once(capsys):
    both = "--model and --method: give them, or a --config FILE that states them"
    with pytest.raises(ValueError, match=both):
        asked("run")
    for words, named in (
        (["sweep"], "--model and --methods and --lrs: give them"),
        (["sweep", "--model", "tiny-authors", "--methods", "ga"], "--lrs: give it"),
        (["tune"], "--model and --methods: give them"),
    ):
        assert main(words) == 2
        assert named in capsys.readouterr().err


def test_all_attacks_stand_alone():
    assert attack_names("all") is None
    assert attack_names(" paraphrase, prefix") == ["paraphrase", "prefix"]
    with pytest.raises(
        ValueError, match=r"so it stands alone, got all,paraphrase; write all, or paraphrase alone"
    ):
        attack_names("all,paraphrase")
    with pytest.raises(ValueError, match="no name is given"):
        attack_names(" , ")


def test_a_file_describes_a_sweep(file, tmp_path):
    args = parser().parse_args(["sweep", "--config", str(file), "--lrs", "1e-4,1e-3"])
    made = sweep_of(args)
    assert (made.methods, made.lrs, made.seeds, made.guide) == (("npo",), (1e-4, 1e-3), (0,), False)
    assert (made.runs[0].knobs["beta"], made.runs[0].tuning) == (0.2, "lora")
    (tmp_path / "s.yaml").write_text(
        "model: tiny-authors\nmethods: [gd, npo]\nlrs: [1e-4]\nepochs: [1, 2]\nseeds: [0, 1]\nguide: true\n"
        "knobs: {beta: 0.2}\n"
    )
    made = sweep_of(parser().parse_args(["sweep", "--config", str(tmp_path / "s.yaml"), "--seeds", "7"]))
    assert (made.methods, made.epochs, made.seeds, made.guide) == (("gd", "npo"), (1, 2), (7,), True)
    assert made.runs[1].knobs["beta"] == 0.2


def test_hub_names_of_today_and_of_before(tmp_path):
    hub = [*RUN, "--hub", "a/b"]
    today = asked(*hub, "--hub-config", "c", "--hub-split", "d", "--retain-hub-split", "e")
    assert today.data == {"hub": "a/b", "hub_config": "c", "hub_split": "d", "retain_hub_split": "e"}
    assert asked(*hub, "--hub-config", "c", "--split", "d", "--retain-split", "e") == today
    with pytest.raises(ValueError, match=r"--config: forget10 is no file; .* write --hub-config forget10"):
        asked(*hub, "--config", "forget10")
    with pytest.raises(ValueError, match=r"--config: gone.yaml is no file\.$"):
        asked(*RUN, "--config", "gone.yaml")
    older = today.to_json() | {"data": {"hub": "a/b", "config": "c", "split": "d", "retain_split": "e"}}
    assert RunConfig.from_json(older) == today


# -- help ------------------------------------------------------------------------------------------------------


def commands():
    (sub,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return sub.choices


@pytest.mark.parametrize("name", commands())
def test_every_flag_has_a_sentence(name, capsys):
    for action in commands()[name]._actions:
        assert action.help, f"{name} {action.option_strings or action.dest}"
        assert action.help is not argparse.SUPPRESS, action.option_strings
        assert len(action.help.split()) > 1, action.option_strings
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([name, "--help"])
    assert ended.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_every_setting_and_every_key_has_a_flag():
    flags = commands()["run"]._option_string_actions
    names = [k.name for k in RunConfig.settings() if k.name not in ("data", "knobs")] + data_keys()
    assert not [name for name in names if "--" + name.replace("_", "-") not in flags]
