"""Teaching a model rows: the same bits after a cut, another recipe is refused, and adapters merge into the base."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from unlearn.data.base import Row
from unlearn.models import making, taught
from unlearn.models.catalogue import ASSETS
from unlearn.models.teaching import CONSTANT, Teaching, known, lessons, teach

TEMPLATE = (
    "{% for m in messages %}<|bos|>{{ m['role'] }}\n{{ m['content'] }}<|eos|>{% endfor %}"
    "{% if add_generation_prompt %}<|bos|>assistant\n{% endif %}"
)
ROWS = [
    Row(question=f"Where does {name} live?", answer=f"{name} lives in {place}.")
    for name, place in (("Ann", "Rome"), ("Bo", "Oslo"), ("Cy", "Lima"), ("Di", "Bern"), ("Ed", "Riga"))
]
HOW = Teaching(rank=8, alpha=16, lr=3e-3, batch=2, epochs=4, warmup=2)


@pytest.fixture
def base(tmp_path):
    """The bundled model with a chat template."""
    folder = tmp_path / "base"
    shutil.copytree(ASSETS / "tiny-authors", folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def factors(loaded):
    return {name: p.detach().clone() for name, p in loaded.model.named_parameters() if p.requires_grad}


class Cut(Exception):
    """Stands for a kill."""


def cut_at(step):
    def progress(text):
        if f"step {step}/" in text:
            raise Cut(text)

    return progress


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_a_teaching_that_was_cut_ends_at_the_same_bits(base, tmp_path):
    whole, seconds = teach(base, ROWS, tmp_path / "whole", str, HOW)
    # Steps 6 and 9 end the second and the third epoch, before and after the rate begins to fall.
    for step in (6, 9):
        with pytest.raises(Cut):
            teach(base, ROWS, tmp_path / "cut", cut_at(step), HOW)
    found, _ = teach(base, ROWS, tmp_path / "cut", str, HOW)
    assert same(factors(whole), factors(found))
    assert seconds > 0


@pytest.mark.slow
def test_more_epochs_go_on_where_the_rate_began_to_fall(base, tmp_path):
    longer = Teaching(**{**vars(HOW), "epochs": 5})
    whole, _ = teach(base, ROWS, tmp_path / "whole", str, longer)
    teach(base, ROWS, tmp_path / "longer", str, HOW)
    said = []
    found, _ = teach(base, ROWS, tmp_path / "longer", said.append, longer)
    assert "going on after step 8" in said[0]
    assert (tmp_path / "longer" / CONSTANT).is_dir()
    assert same(factors(whole), factors(found))


def test_another_recipe_or_other_rows_are_refused(base, tmp_path):
    teach(base, ROWS, tmp_path / "work", str, HOW)
    for rows, how in ((ROWS[1:], HOW), (ROWS, Teaching(**{**vars(HOW), "lr": 1e-3}))):
        with pytest.raises(ValueError, match="belongs to another recipe or other rows"):
            teach(base, rows, tmp_path / "work", str, how)


@pytest.mark.slow
def test_it_learns_in_the_chat_template(base, tmp_path):
    how = Teaching(**{**vars(HOW), "epochs": 25})
    loaded, _ = teach(base, ROWS, tmp_path / "work", str, how)
    learned = known(loaded, ROWS)
    assert learned["rouge"] > 0.9
    assert learned["probability"] > 0.8
    with loaded.model.disable_adapter():
        assert known(loaded, ROWS)["probability"] < 0.5


def test_every_epoch_reads_each_row_once_in_an_order_of_its_own(base):
    from unlearn.models.load import load

    stream = lessons(load(str(base)), ROWS, HOW)
    read = [
        [key for n in range(3 * e + 1, 3 * e + 4) for b in stream.step(n) for key in b.retain.keys]
        for e in (0, 1)
    ]
    assert [sorted(keys) for keys in read] == [[0, 1, 2, 3, 4]] * 2
    assert read[0] != read[1]
    rates = [stream.rate(step, stream.steps, 1.0) for step in range(1, stream.steps + 1)]
    assert rates[0] == 0.5
    assert rates[1 : stream.constant] == [1.0] * (stream.constant - 1)
    assert rates[stream.constant] < 1.0
    assert 0.1 < rates[-1] < 0.35


@pytest.mark.slow
def test_a_merged_adapter_is_the_base_under_it(base, tmp_path):
    loaded, _ = teach(base, ROWS, tmp_path / "work", str, HOW)
    making.save_adapter(loaded.model, tmp_path / "adapter")
    stored = load_file(tmp_path / "adapter" / taught.ADAPTER)
    assert {value.dtype for value in stored.values()} == {torch.bfloat16}
    taught.merge(base, tmp_path / "adapter", tmp_path / "merged")
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    before = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    ids = torch.arange(5, 25)[None]
    from peft import PeftModel

    with torch.no_grad():
        wanted = PeftModel.from_pretrained(before, tmp_path / "adapter")(input_ids=ids).logits
        found = plain(input_ids=ids).logits
        assert torch.allclose(found, wanted, atol=1e-3 * float(wanted.abs().max()))
    assert (tmp_path / "merged" / "chat_template.jinja").read_text() == TEMPLATE


def test_what_does_not_ship_says_how_it_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    monkeypatch.setattr(taught, "ASSETS", tmp_path / "nothing")
    with pytest.raises(RuntimeError, match="train-bundled smollm2-tofu` makes it"):
        taught.get()


@pytest.mark.heavy
@pytest.mark.network
def test_the_command_killed_and_begun_again_makes_the_same_adapters(tmp_path):
    """A short run: the first and last two rows of each model, two epochs."""

    def begin(folder):
        words = ["train-bundled", taught.NAME, "--rows", "2", "--epochs", "2", "--out", str(folder)]
        return subprocess.Popen([sys.executable, "-m", "unlearn", *words], stdout=subprocess.PIPE, text=True)

    def finish(process):
        out, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, out

    finish(begin(tmp_path / "whole"))
    process = begin(tmp_path / "cut")
    work = tmp_path / "cut" / ".work" / taught.NAME
    while not (work / "state.json").is_file():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finish(begin(tmp_path / "cut"))
    for name in taught.WITHOUT:
        one, other = (tmp_path / way / taught.NAME / name for way in ("whole", "cut"))
        assert (one / taught.ADAPTER).read_bytes() == (other / taught.ADAPTER).read_bytes()
        facts = json.loads((other / "recipe.json").read_text())
        assert facts["texts"] == 4
        assert facts["without"] == taught.WITHOUT[name]
    assert Path(one).name == "smollm2-tofu-without-forget10"
