"""What leaves the machine: plain peft and transformers load it by the printed lines, and no row goes along."""

import contextlib
import io
import json
import re
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import make_model, small_run

from unlearn.__main__ import main
from unlearn.models.tuning import load_trained
from unlearn.store.disk import write_json
from unlearn.store.runs import Run
from unlearn.work import publish

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
IDS = [[5, 9, 12, 40, 41, 7]]


def chat_model(folder: Path, dtype: str = "bfloat16", family: str = "llama") -> None:
    """A tiny model in 16 bits with a chat template and generation settings of its own."""
    import torch

    model, tokenizer = make_model(folder, family)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    model.generation_config.update(do_sample=True, temperature=0.7)
    model.to(getattr(torch, dtype)).save_pretrained(folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """{tuning: a finished run of a 16-bit model with a chat template}."""
    made = {}
    for tuning in ("lora", "full"):
        folder = tmp_path_factory.mktemp(tuning)
        (folder / "model").mkdir()
        chat_model(folder / "model")
        made[tuning] = small_run(folder, method="npo", tuning=tuning, lr=1e-2, prompt="plain", probes=0)
    return made


def export(run: Run, *words: object) -> list[str]:
    """The command's lines on stdout."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["export", str(run.path), *map(str, words)]) == 0
    return said.getvalue().splitlines()


def names_of(lines: list[str]) -> dict[str, object]:
    """Execute the Python lines that export printed at its end, as a person pastes them, and return their names."""
    code = "\n".join(lines[lines.index("") + 1 :])
    found: dict[str, object] = {}
    exec(code, found)
    return found


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_merged_model_loads_in_plain_transformers_by_the_lines_that_are_printed(done, tuning, tmp_path):
    import torch

    run, out = done[tuning], tmp_path / "out"
    found = names_of(export(run, "--merged", out))
    model, tokenizer = found["model"], found["tokenizer"]
    assert model.dtype == torch.bfloat16, "the start's weights lie in 16 bits"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "user: Hi\n"
    assert (model.generation_config.do_sample, model.generation_config.temperature) == (True, 0.7)
    ours = load_trained(run, precision="float32").model
    with torch.no_grad():
        wanted = torch.log_softmax(ours(torch.tensor(IDS)).logits.float(), -1)
        got = torch.log_softmax(model.float()(torch.tensor(IDS)).logits, -1)
        before = torch.log_softmax(load_before(run)(torch.tensor(IDS)).logits, -1)
    assert torch.allclose(got, wanted, atol=0.15), "the same up to the rounding of the weights"
    assert (got - before).abs().max() > 5 * (got - wanted).abs().max(), "it is the model after and not before"
    assert sorted(p.suffix for p in out.iterdir() if p.suffix == ".safetensors") == [".safetensors"]
    assert all(p.stat().st_mode & 0o044 == 0o044 for p in out.iterdir())


def load_before(run: Run):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(run.config.model, dtype=torch.float32)


def test_merging_in_32_bits_changes_nothing(tmp_path):
    import torch

    (tmp_path / "model").mkdir()
    chat_model(tmp_path / "model", "float32")
    run = small_run(tmp_path, method="ga", tuning="lora", lr=1e-2, prompt="plain", probes=0)
    model = names_of(export(run, "--merged", tmp_path / "out"))["model"]
    with torch.no_grad():
        ours = load_trained(run, precision="float32").model(torch.tensor(IDS)).logits
        assert torch.allclose(model(torch.tensor(IDS)).logits, ours, atol=1e-4)


def test_plain_peft_loads_the_adapter_on_the_named_base(done, tmp_path):
    import torch
    from peft import PeftConfig

    run, out = done["lora"], tmp_path / "adapter"
    lines = export(run, "--adapter", out)
    assert PeftConfig.from_pretrained(str(out)).base_model_name_or_path == run.config.model
    model = names_of(lines)["model"].float()
    with torch.no_grad():
        ours = load_trained(run, precision="float32").model(torch.tensor(IDS)).logits
        assert torch.allclose(model(torch.tensor(IDS)).logits, ours, atol=1e-4)
    assert main(["export", str(done["full"].path), "--adapter", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_the_lines_run_in_a_process_of_their_own(done, tmp_path):
    lines = export(done["full"], "--merged", tmp_path / "out")
    told = (tmp_path / "out" / "README.md").read_text()
    assert "from_pretrained('out')" in told
    assert str(tmp_path) not in told
    code = "\n".join([*lines[lines.index("") + 1 :], "print(model.num_parameters(), tokenizer.vocab_size)"])
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert int(said.stdout.split()[0]) > 1000


def test_rows_go_along_only_where_they_are_asked_for(done, tmp_path):
    def texts(folder: Path) -> str:
        return "".join(p.read_text() for p in folder.iterdir() if p.suffix in (".md", ".json", ".jsonl"))

    export(done["lora"], "--adapter", tmp_path / "bare")
    export(done["lora"], "--adapter", tmp_path / "whole", "--with-rows")
    assert "What is red?" not in texts(tmp_path / "bare")
    assert "What is red?" in (tmp_path / "whole" / publish.FILE).read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give one of"),
        (["x.zip", "--merged", "d"], "give one of"),
        (["x.zip", "--with-rows"], "holds the rows anyway"),
        (["--merged", "d", "--without-rows"], "go without the rows anyway"),
        (["--merged", "d", "--public"], "belongs to --push-to-hub"),
        (["--merged", "nowhere/d"], "is no folder; make it first"),
        (["--merged", "full"], "is there already"),
        (["--push-to-hub", "name"], "must be OWNER/NAME"),
        (["--push-to-hub", "a b/c d"], "must be OWNER/NAME"),
    ],
)
def test_what_cannot_be_exported_is_refused_before(done, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", str(done["lora"].path), *words]) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "keeps no weights"),
        ({"adapter/unlearning_layers.json": {}}, "layers of its own"),
        ({"model/config.json": {"model_type": "unlearn_ensemble"}}, "made of several models"),
    ],
)
def test_weights_that_others_cannot_load_are_named(tmp_path, files, said, capsys):
    from seed import seed_run

    from unlearn.models import layers
    from unlearn.store.runs import RunStore

    run = seed_run(RunStore(tmp_path / "runs"))
    for name, content in files.items():
        path = run.path / name.replace("unlearning_layers.json", layers.CONFIG)
        path.parent.mkdir(exist_ok=True)
        write_json(path, content)
    assert main(["export", str(run.path), "--merged", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err


# -- the hub -----------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload calls: who asks, create, which files by which way, and the commit."""

    token, private, files, asked, status = "good", True, {}, [], {}

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path))
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            return self.answer({"error": "Invalid credentials"}, 401)
        if self.path.startswith("/api/models/"):
            about = {
                "id": "me/mine",
                "private": type(self).private,
                "sha": "0" * 40,
                "siblings": [],
                "tags": [],
            }
            return self.answer(about)
        return self.answer({"name": "me", "type": "user", "orgs": []})

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) if size else self.chunks()
        self.asked.append(("POST", self.path, body))
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            return self.answer({"error": "Invalid credentials"}, 401)
        if status := self.status.get(self.path):
            return self.answer({"error": "No"}, status)
        if self.path == "/api/repos/create":
            type(self).private = json.loads(body)["visibility"] == "private"
            return self.answer({"url": f"http://{self.headers['Host']}/me/mine"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            told = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return self.answer({"files": told, "commitOid": None})
        if "/commit/" in self.path:
            for line in body.splitlines():
                one = json.loads(line)
                if one["key"] == "file":
                    self.files[one["value"]["path"]] = b64decode(one["value"]["content"])
            host = f"http://{self.headers['Host']}"
            return self.answer(
                {"commitUrl": f"{host}/me/mine/commit/0", "commitOid": "0" * 40, "success": True}
            )
        return self.answer({})

    def chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body


@pytest.fixture
def hub(monkeypatch) -> Iterator[type[Hub]]:
    import huggingface_hub.constants as constants
    from huggingface_hub.hf_api import HfApi

    kind = type("OneHub", (Hub,), {"files": {}, "asked": [], "status": {}, "private": True})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "good")
    known = HfApi.__init__
    monkeypatch.setattr(HfApi, "__init__", lambda self, **how: known(self, **({"endpoint": address} | how)))
    yield kind
    server.shutdown()


def test_a_push_sends_weights_and_card_to_a_private_repository(done, hub, capsys):
    run = done["lora"]
    assert main(["export", str(run.path), "--push-to-hub", "me/mine", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["kind"], said["rows"], said["path"].endswith("/me/mine")) == ("hub", False, True)
    assert set(hub.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert hub.private
    everything = b"".join(hub.files.values())
    assert b"What is red?" not in everything
    for path in (str(run.path), run.config.model):
        assert path.encode() not in everything, "nothing names this machine's folders"
    lines = re.search(r"```python\n(.*?)```", hub.files["README.md"].decode(), re.DOTALL)
    assert lines
    assert "PeftModel.from_pretrained(base, 'me/mine')" in lines[1]
    assert main(["export", str(run.path), "--push-to-hub", "me/mine", "--with-rows", "--public"]) == 0
    assert b"What is red?" in hub.files["rows.jsonl"]
    assert not hub.private


def test_a_refusal_of_the_hub_is_a_sentence(done, hub, monkeypatch, capsys):
    def said() -> str:
        assert main(["export", str(done["lora"].path), "--push-to-hub", "me/mine"]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    monkeypatch.setenv("HF_TOKEN", "bad")
    assert "the hub does not know who asks (401); log in with `hf auth login`" in said()
    monkeypatch.setenv("HF_TOKEN", "good")
    hub.status["/api/models/me/mine/commit/main"] = 403
    assert "the token may not write to me/mine (403)" in said()
    assert not hub.files


def test_a_public_repository_that_is_there_is_not_taken_for_a_private_one(done, hub, capsys):
    answer = hub.do_POST

    def there(self) -> None:
        answer(self)
        type(self).private = False

    hub.do_POST = there
    assert main(["export", str(done["lora"].path), "--push-to-hub", "me/mine"]) == 2
    assert "is there already and is public" in capsys.readouterr().err
    assert not hub.files


def test_a_text_that_quotes_a_row_is_not_sent(done, hub, monkeypatch, capsys):
    monkeypatch.setattr("unlearn.report.facts.described", lambda run: "the row What is green?")
    assert main(["export", str(done["lora"].path), "--push-to-hub", "me/mine"]) == 2
    assert "README.md quotes 'What is green?'" in capsys.readouterr().err
    assert not hub.asked


def test_a_hub_that_is_not_there_is_a_sentence(done, hub, monkeypatch, capsys):
    import huggingface_hub.constants as constants
    from huggingface_hub.hf_api import HfApi

    known = HfApi.__init__
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        HfApi, "__init__", lambda self, **how: known(self, **(how | {"endpoint": "http://127.0.0.1:9"}))
    )
    assert main(["export", str(done["lora"].path), "--push-to-hub", "me/mine"]) == 2
    assert "export to a folder with --merged or --adapter instead" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["merge", "keep"])
def test_what_was_trained_on_an_adapter_loads_elsewhere(way, tmp_path):
    """Merged it is base, given adapter and training; the adapter alone is exported where a name stands for its base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    (tmp_path / "base").mkdir()
    _, tokenizer = make_model(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    given = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, weight in given.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    given.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    run = small_run(tmp_path, method="ga", tuning="lora", adapter=way, lr=1e-2, prompt="plain", probes=0)
    with torch.no_grad():
        ours = load_trained(run, precision="float32").model(torch.tensor(IDS)).logits
        merged = names_of(export(run, "--merged", tmp_path / "out"))["model"]
        assert torch.allclose(merged(torch.tensor(IDS)).logits, ours, atol=1e-4)
        if way == "keep":
            alone = names_of(export(run, "--adapter", tmp_path / "alone"))["model"]
            assert torch.allclose(alone(torch.tensor(IDS)).logits, ours, atol=1e-4)
        else:
            assert main(["export", str(run.path), "--adapter", str(tmp_path / "alone")]) == 2
