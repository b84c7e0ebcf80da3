"""Any causal LM of the folder kind, and an answer to every bad one."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import make_model

from unlearn.engines.thread import Runner
from unlearn.methods import METHODS
from unlearn.models.load import check_hub, load, source_of
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work.checks import check
from unlearn.work.execute import execute

FAMILIES = ("gpt2", "gpt_neox", "qwen2", "gemma", "opt", "llama")
BASIC = ("ga", "gd", "npo", "undial", "finetune")
FORGET = "question,answer\nWhere was one born?,in red\nWhat is two?,green\nWho writes blue?,three\n"
RETAIN = "question,answer\nWhere was two born?,in blue\nWhat is three?,red\nWho writes red?,one\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "forget.csv").write_text(FORGET)
    (folder / "retain.csv").write_text(RETAIN)
    return {role: str(folder / f"{role}.csv") for role in ("forget", "retain")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(family):
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            make_model(made[family], family)
        return made[family]

    return folder


def carry_out(store, folder, files, **changes):
    values = {
        "model": str(folder), "data": files, "method": "npo", "epochs": 1, "batch_size": 2, "lr": 1e-3, "probes": 2,
    }  # fmt: skip
    run = store.create(RunConfig(**(values | changes)))
    lock = run.hold()
    finished = execute(run, roots=[store.root.parent, folder.parent.parent])
    lock.release()
    assert run.reason == ""
    assert run.state == "done"
    return run, finished


QUICK = (("gpt2", "lora"), ("gemma", "full"), ("qwen2", "full"))  # the odd ones; the rest takes its time
EVERY = [(f, t) for f in FAMILIES for t in ("full", "lora")]


@pytest.mark.parametrize(
    ("family", "tuning"), [pytest.param(*e, marks=[] if e in QUICK else pytest.mark.slow) for e in EVERY]
)
def test_any_causal_lm_unlearns_and_comes_back_from_its_folder(tmp_path, folders, files, family, tuning):
    from unlearn.measure.ask import answer_prompt, load_source

    folder = folders(family)
    run, finished = carry_out(RunStore(tmp_path / "runs"), folder, files, tuning=tuning)
    assert [e["step"] for e in run.events("step")] == [1, 2]
    assert set(run.scores()) == {"before", "after"}
    for role in ("forget", "retain"):
        assert run.scores()["before"][role]["n"] == 3
        assert run.scores()["after"][role]["nll"] != run.scores()["before"][role]["nll"]
    assert run.results()["parameters"] == load(str(folder)).parameters
    assert not (run.path / "checkpoint").exists()
    assert all(p.grad is None for p in finished.loaded.model.parameters())
    prompt, answer = "Question: What is two?\nAnswer:", "green"
    kept = answer_prompt(finished.loaded, prompt, answer, 5)
    back = answer_prompt(load_source("after", run, [folder.parent.parent]), prompt, answer, 5)
    assert kept["text"] == back["text"]
    assert [t["lp"] for t in kept["tokens"]] == pytest.approx([t["lp"] for t in back["tokens"]], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_basic_method_trains_every_family(tmp_path, folders, files, family):
    store = RunStore(tmp_path / "runs")
    for name in BASIC:
        for tuning in {"full", "lora"} & set(getattr(METHODS[name], "tunings", ("full", "lora"))):
            run, _ = carry_out(store, folders(family), files, method=name, tuning=tuning, probes=0)
            steps = run.events("step")
            assert [e["step"] for e in steps] == [1, 2]
            assert all(e["grad_norm"] > 0 for e in steps)


@pytest.mark.slow
def test_texts_longer_than_the_model_are_cut_to_its_positions(tmp_path, folders):
    """GPT-2 has a table of 128 positions: a longer text must not be an index error deep in torch."""
    folder = folders("gpt2")
    for role in ("forget", "retain"):
        (tmp_path / f"{role}.txt").write_text("\n".join(f"{i} red capital {'xyz ' * 90}" for i in range(3)))
    files = {role: str(tmp_path / f"{role}.txt") for role in ("forget", "retain")}
    run, finished = carry_out(RunStore(tmp_path / "runs"), folder, files)
    # It is cut into windows between words.
    assert 100 < len(run.samples()[0]["tokens"]) <= 127
    assert finished.loaded.fit_length(512) == 128


def test_a_prompt_longer_than_the_model_keeps_its_end(folders):
    from unlearn.measure.generating import generate

    loaded = load(str(folders("gpt2")))
    end = " What is the capital of red?"
    texts = [
        generate(loaded.model, loaded.tokenizer, [f"{'xyz ' * n}{end}"], 4, "cpu")[0] for n in (200, 300)
    ]
    assert texts[0] == texts[1]


def test_what_a_folder_says_about_generation_is_left_aside(tmp_path, folders):
    from unlearn.measure.generating import generate

    shutil.copytree(folders("llama"), tmp_path / "m")
    plain = load(str(tmp_path / "m"))
    settings = {
        "repetition_penalty": 50.0,
        "do_sample": True,
        "temperature": 9.0,
        "min_length": 90,
        "top_k": 3,
    }
    (tmp_path / "m" / "generation_config.json").write_text(json.dumps(settings))
    other = load(str(tmp_path / "m"))
    texts = [generate(m.model, m.tokenizer, ["one two", "What is"], 20, "cpu") for m in (plain, other)]
    assert texts[0] == texts[1]


# -- bad models ------------------------------------------------------------------------------------------------


def bad_folder(tmp_path, good, kind):
    folder = tmp_path / kind
    if kind == "missing":
        return folder
    shutil.copytree(good, folder)
    weights = folder / "model.safetensors"
    if kind == "no config":
        (folder / "config.json").unlink()
    elif kind == "pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif kind == "no weights":
        weights.unlink()
    elif kind == "damaged":
        weights.write_bytes(b"\xff" * 64)
    elif kind == "cut":
        weights.write_bytes(weights.read_bytes()[:200])
    elif kind == "not json":
        (folder / "config.json").write_text("{")
    elif kind == "no tokenizer":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
    elif kind == "unknown kind":
        (folder / "config.json").write_text('{"model_type": "bert", "vocab_size": 20, "hidden_size": 8}')
    elif kind == "lacks weights":
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        save_file({k: v for k, v in tensors.items() if ".1." not in k}, weights, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "there is no folder .*; give a folder with config.json"),
        ("no config", "has no config.json; give the folder that save_pretrained wrote"),
        ("pickle", r"only pickled weights \(pytorch_model.bin\), which can run code"),
        ("no weights", "has no weights"),
        ("damaged", "is not a safetensors file"),
        ("cut", "is not a safetensors file"),
        ("not json", "could not be loaded"),
        ("no tokenizer", "could not be loaded|no fast tokenizer"),
        ("unknown kind", "could not be loaded|lacks weights"),
        ("lacks weights", r"lacks weights of a LlamaForCausalLM \(model.layers.1"),
    ],
)
def test_a_bad_folder_is_a_value_error_with_a_remedy(tmp_path, tiny_folder, kind, message):
    with pytest.raises(ValueError, match=message):
        load(str(bad_folder(tmp_path, tiny_folder, kind)))


@pytest.mark.parametrize("name", ["", "no model!", "a/b/c", "x" * 5000, "../..", "~nobody/x", "a\\b"])
def test_a_bad_name_is_a_value_error(name):
    with pytest.raises(ValueError, match="model:"):
        source_of(name)


def test_a_hub_that_does_not_answer_is_asked_once():
    """transformers alone asks again and again for half a minute; a page cannot wait for that."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as hub:

        def hang_up():
            with contextlib.suppress(OSError):
                while True:
                    line, _ = hub.accept()
                    asked.append(line)
                    line.close()

        threading.Thread(target=hang_up, daemon=True).start()
        code = (
            f"import os; os.environ.update(HF_ENDPOINT='http://127.0.0.1:{hub.getsockname()[1]}', "
            "HF_HUB_OFFLINE='0', NO_PROXY='127.0.0.1')\n"
            "from unlearn.models.load import check_hub\n"
            "try: check_hub('nobody/nothing')\nexcept ValueError as error: print(error)"
        )
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'nobody/nothing' is neither a model of this machine" in said
    assert len(asked) == 1
    with pytest.raises(
        ValueError, match="check the name and the network"
    ):  # offline by setting, in this process
        check_hub("nobody/nothing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "answers"), [(200, True), (404, None), (401, None), (403, True), (500, True)]
)
def test_what_the_hub_says_of_a_model(monkeypatch, status, answers):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from huggingface_hub import constants

    from unlearn.models.load import hub_answers

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        if answers is None:
            with pytest.raises(ValueError, match="the hub has no model 'a/b'"):
                hub_answers("a/b")
        else:
            assert hub_answers("a/b") is answers


# -- which folders the app may load ------------------------------------------------------------------------------


def test_the_app_loads_no_folder_outside_its_roots(tmp_path, tiny_folder, files):
    """A config may come from a browser or an imported run: checking, executing and asking all refuse."""
    from unlearn.measure.ask import load_source
    from unlearn.work.preflight import preflight

    config = RunConfig(model=str(tiny_folder), data={"name": "authors"}, method="npo")
    refused = pytest.raises(ValueError, match=r"^model: .* must lie inside")
    with refused:
        check(config, roots=[tmp_path])
    with refused:
        preflight(config, roots=[tmp_path])
    runner = Runner(RunStore(tmp_path / "runs"))  # default roots: working directory and cache
    with refused:
        runner.launch(config)
    assert runner.store.list() == []
    runner.close()
    run = RunStore(tmp_path / "runs").create(config)  # as an import would make it
    with refused:
        load_source("before", run, [tmp_path])
    execute(run, roots=[tmp_path])
    assert run.state == "failed"
    assert "must lie inside" in run.reason
    check(config, roots=[tiny_folder.parent])


def test_a_link_does_not_lead_out_of_the_roots(tmp_path, tiny_folder):
    (tmp_path / "link").symlink_to(tiny_folder)
    config = RunConfig(model=str(tmp_path / "link"), data={"name": "authors"}, method="npo")
    with pytest.raises(ValueError, match="must lie inside"):
        check(config, roots=[tmp_path])


def test_refusal_does_not_tell_what_exists(tmp_path):
    said = []
    for name in ("/etc", "/not/there"):
        with pytest.raises(ValueError, match="must lie inside") as caught:
            check(RunConfig(model=name, data={"name": "authors"}, method="npo"), roots=[tmp_path])
        said.append(str(caught.value).replace(name, "X"))
    assert said[0] == said[1]


def test_a_padding_token_without_a_row_is_replaced_and_a_foreign_tokenizer_refused(tmp_path, tiny_folder):
    from transformers import AutoTokenizer

    shutil.copytree(tiny_folder, tmp_path / "m")
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.add_special_tokens({"pad_token": "<late>"})
    tokenizer.save_pretrained(tmp_path / "m")
    loaded = load(str(tmp_path / "m"))
    assert loaded.pad_id == loaded.tokenizer.eos_token_id
    tokenizer.add_special_tokens({"eos_token": "<late end>"})
    tokenizer.save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="the folder mixes two models"):
        load(str(tmp_path / "m"))


def test_a_folders_tokenizer_is_made_once_until_a_file_of_it_changes(tmp_path, tiny_folder):
    """The tokenizer library keeps memory of each one that ever was: loading a model per run must not make more."""
    folder = tmp_path / "copy"
    shutil.copytree(tiny_folder, folder)
    first = load(str(folder)).tokenizer
    assert load(str(folder)).tokenizer is first
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 77}))
    changed = load(str(folder)).tokenizer
    assert changed is not first
    assert changed.model_max_length == 77


def test_a_soft_cap_under_an_unknown_name_is_noticed(monkeypatch):
    """Recurrent Gemma's once was: it changes a small logit by less than a hundredth, and scores by 5e-3."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from unlearn.compute import head
    from unlearn.models.load import check_head

    config = AutoConfig.for_model(
        "recurrent_gemma", vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=1, lru_width=32,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    check_head(model)
    monkeypatch.setattr(head, "CAPS", ())
    with pytest.raises(ValueError, match="changes its logits after the output head"):
        check_head(model)


def test_weights_come_out_in_the_numbers_that_they_came_in(tmp_path, folders, files):
    """bfloat16 in, bfloat16 out: the file is as large as the start's, and what was scored is what lies in it."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from unlearn.models.tuning import load_trained

    start = tmp_path / "start"
    shutil.copytree(folders("llama"), start)
    AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16).save_pretrained(start)
    store = RunStore(tmp_path / "runs")
    run = store.create(RunConfig(model=str(start), data=files, method="npo", epochs=1, lr=1e-2, probes=0))
    done = execute(
        run,
        roots=[
            tmp_path,
            folders("llama").parent.parent,
            *map(Path, {Path(f).parent for f in files.values()}),
        ],
    )
    assert (run.state, run.reason) == ("done", "")
    saved = load_file(run.path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    assert run.results()["start_dtype"] == "bfloat16"
    assert any("saved in bfloat16" in note.get("text", "") for note in run.events("note"))
    back = load_trained(run).model.state_dict()
    assert all(torch.equal(back[name], value) for name, value in done.loaded.model.state_dict().items())
    assert done.loaded.model.dtype == torch.float32


# -- what lies in a folder ---------------------------------------------------------------------------------------


@pytest.fixture
def sharded(tmp_path, folders):
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "sharded"
    shutil.copytree(folders("llama"), folder)
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(folders("llama")).save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


def test_a_sharded_model_is_the_same_and_a_missing_part_is_said_before(sharded, folders):
    import torch

    from unlearn.work.preflight import parameters_of

    whole, parts = load(str(folders("llama"))), load(str(sharded))
    assert all(
        torch.equal(a, b) for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True)
    )
    assert parameters_of(str(sharded)) == whole.parameters
    # Meta's own names hold the same weights again.
    shutil.copy(folders("llama") / "model.safetensors", sharded / "consolidated.safetensors")
    parameters_of.cache_clear()
    assert parameters_of(str(sharded)) == whole.parameters
    assert load(str(sharded)).hash == parts.hash
    gone = sorted(sharded.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(ValueError, match=rf"lacks {gone.name} \(1 of \d+ parts"):
        source_of(str(sharded))


def test_a_folder_of_the_hubs_cache_is_its_snapshot(tmp_path, folders):
    root = tmp_path / "models--me--mine"
    shutil.copytree(folders("llama"), root / "snapshots" / ("b" * 40))
    assert source_of(str(root)) == root / "snapshots" / ("b" * 40)
    shutil.copytree(folders("gpt2"), root / "snapshots" / ("c" * 40))
    with pytest.raises(ValueError, match="2 snapshots and no refs/main"):
        source_of(str(root))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("c" * 40)
    assert source_of(str(root)) == root / "snapshots" / ("c" * 40)
    (root / "refs" / "main").write_text("../../../elsewhere")
    with pytest.raises(ValueError, match="2 snapshots"):
        source_of(str(root))
    (root / "refs" / "main").write_text("c" * 40)
    assert load(str(root)).title == "me/mine"[3:]


def test_tied_weights_are_counted_once(tmp_path, folders):
    """Some published files hold the tied head too."""
    from safetensors.torch import load_file, save_file

    from unlearn.work.preflight import parameters_of

    folder = tmp_path / "tied"
    make_model(folder, tie_word_embeddings=True)
    count = load(str(folder)).parameters
    assert parameters_of(str(folder)) == count
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    parameters_of.cache_clear()
    assert parameters_of(str(folder)) == count
    assert parameters_of(str(folders("llama"))) == load(str(folders("llama"))).parameters


def test_added_tokens_without_rows_are_said_before_a_run(tmp_path, folders, files):
    from transformers import AutoTokenizer

    from unlearn.models.checks import check_model

    folder = tmp_path / "added"
    shutil.copytree(folders("llama"), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<|im_start|>"]})
    tokenizer.save_pretrained(folder)
    ask = RunConfig(model=str(folder), data=files, method="npo")
    check_model(ask)  # marks that no text can hold
    assert load(str(folder)).parameters
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}"
    )
    for refused in (lambda: check_model(ask), lambda: load(str(folder))):
        with pytest.raises(
            ValueError, match=r"1 added tokens without a row.*<\|im_start\|>.*resize_token_embeddings"
        ):
            refused()
    (folder / "chat_template.jinja").unlink()
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"without a row in the embeddings \(zebra"):
        check_model(ask)
