"""Settings in a file: three formats that say the same, and a sentence for each file that says something else."""

import json

import pytest

from unlearn.store.config_file import MOST_BYTES, read_settings
from unlearn.store.records import config_file
from unlearn.store.runs import RunConfig

SAID = {
    "model": "m",
    "data": {"hub": "a/b", "hub_config": "c"},
    "lr": 1e-4,
    "epochs": 3,
    "metrics": ("el_3",),
}
YAML = "model: m\ndata: {hub: a/b, config: c}\nlr: 1e-4\nepochs: 3\nmetrics: [el_3]\n"
TOML = 'model = "m"\nlr = 1e-4\nepochs = 3\nmetrics = ["el_3"]\n[data]\nhub = "a/b"\nhub_config = "c"\n'
JSON = json.dumps({"model": "m", "data": {"hub": "a/b", "config": "c"}, "lr": 1e-4, "epochs": 3,
                   "metrics": ["el_3"]})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"), [("a.yaml", YAML), ("a.yml", YAML), ("a.TOML", TOML), ("a.json", JSON)]
)
def test_three_formats_say_the_same(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_settings(tmp_path / name) == SAID


def test_a_runs_own_config_is_such_a_file(tmp_path):
    config = RunConfig(model="m", data={"name": "authors"}, method="npo", knobs={"beta": 0.2}, title="Mine")
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    assert RunConfig(**read_settings(tmp_path / "config.json")) == config
    (tmp_path / "config.json").write_text(json.dumps(config_file(config)))
    assert RunConfig(**read_settings(tmp_path / "config.json")) == config
    (tmp_path / "config.json").write_text(json.dumps(config_file(config) | {"schema": 99}))
    with pytest.raises(ValueError, match=r"config\.json was written by a newer version"):
        read_settings(tmp_path / "config.json")


def test_a_dataset_may_be_named_alone_and_a_sweep_has_names_of_its_own(tmp_path):
    (tmp_path / "a.yaml").write_text("data: authors\nlrs: [1, 2]\n")
    assert read_settings(tmp_path / "a.yaml", ("lrs",)) == {"data": {"name": "authors"}, "lrs": [1, 2]}
    with pytest.raises(
        ValueError, match=r"a.yaml: unknown field lrs; did you mean lr\?; known: accumulation"
    ):
        read_settings(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "epoch: 3", "unknown field epoch; did you mean epochs?"),
        ("a.yaml", "epochs: 0", "a.yaml: epochs must lie in [1, 1000], got 0"),
        ("a.yaml", "- a", "must be an object of names and values, got list"),
        ("a.yaml", "", "must be an object of names and values, got NoneType"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("a.yaml", "title: 5", "title must be text, got 5"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 10**5, "is not JSON"),
        ("a.toml", "a", "is not TOML"),
        ("a.txt", "lr: 1", "the ending must be one of .json, .yaml, .yml, .toml, got .txt"),
        ("a", "lr: 1", "got none"),
        ("a.json", " " * (MOST_BYTES + 1), "must be at most 1,048,576 bytes"),
    ],
)
def test_bad_files_are_answered_with_a_sentence(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        read_settings(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert said in str(caught.value)


def test_a_file_that_names_itself_many_times_is_refused_quickly(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    (tmp_path / "a.yaml").write_text("\n".join(lines) + "\ntitle: *a8\n")
    with pytest.raises(ValueError, match="unknown field a0"):
        read_settings(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("metrics:\n- " + "[" * 50 + "]" * 50)
    with pytest.raises(ValueError, match="metrics must be a list of names"):
        read_settings(tmp_path / "a.yaml")
