"""Shared by all tests: threads that sleep while they wait, tiny models made on the spot, no network."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # every model here is small: see unlearn.compute.threads
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that needs the network says so and lifts this itself

import sys
import time
from pathlib import Path

import pytest

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]  # what must hold on both
WORDS = "Question Answer What is the capital of where was born in writes a novel red blue green one two three : ? ."


def make_tokenizer(folder: Path):
    """A byte-level BPE tokenizer trained on a few words; eos, bos and pad are distinct."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<pad>", "<bos>", "<eos>"], initial_alphabet=alphabet
    )
    core.train_from_iterator([WORDS] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_model(folder: Path, family: str = "llama", seed: int = 0, **changes):
    """A randomly initialised tiny model of a family, saved as a Hugging Face folder with a tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = make_tokenizer(folder)
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    own = {
        "llama": {"num_key_value_heads": 2},
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
        "gpt_neox": {},
        "qwen2": {"num_key_value_heads": 2},
        "gemma": {"num_key_value_heads": 1, "head_dim": 8},
        "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    }[family]
    if family == "gpt2":
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
            shared.pop(name)
        shared.pop("max_position_embeddings")
    config = AutoConfig.for_model(family, **(shared | own | changes))
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with (
        torch.no_grad()
    ):  # a fresh model is almost uniform; spread its logits so that tests can tell tokens apart
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0 if "emb" in name or "wte" in name or "wpe" in name else 2.0)
    model.save_pretrained(folder)
    return model, tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny-llama")
    make_model(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder):
    """(model, tokenizer): float32, eval mode, fresh for every test."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    return model, AutoTokenizer.from_pretrained(tiny_folder)


@pytest.fixture(scope="session")
def taught(tmp_path_factory):
    """A folder with model/, forget.csv and retain.csv: a tiny chat model that knows the rows through its template."""
    from taught import teach

    return teach(tmp_path_factory.mktemp("taught"))


def small_run(folder: Path, **settings):
    """A finished run of a tiny model on three questions a role; settings as in RunConfig, method among them."""
    from unlearn.store.runs import RunConfig, RunStore
    from unlearn.work.execute import execute

    if not (folder / "model").is_dir():
        make_model(folder / "model")
    data = {}
    for role, words in (("forget", "red green blue"), ("retain", "one two three")):
        lines = "".join(f"What is {w}?,{w} {w}\n" for w in words.split())
        (folder / f"{role}.csv").write_text("question,answer\n" + lines)
        data[role] = str(folder / f"{role}.csv")
    values = {
        "model": str(folder / "model"),
        "data": data,
        "epochs": 2,
        "batch_size": 2,
        "lr": 1e-3,
    } | settings
    run = RunStore(folder / "runs").create(RunConfig(**values))
    execute(run, roots=[folder])
    assert (run.state, run.reason) == ("done", "")
    return run


def pytest_collection_modifyitems(items):
    """What needs a GPU is skipped where there is none."""
    asked = [item for item in items if item.get_closest_marker("gpu")]
    if not asked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in asked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


# -- what a test costs -----------------------------------------------------------------------------------------------

BEGAN = pytest.StashKey[float]()


def cpu() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    return time.process_time() + sum(os.times()[2:4])


def pytest_addoption(parser):
    text = "CPU seconds that a test may take: where one takes more the session fails and names it"
    parser.addoption("--longest", type=float, metavar="SECONDS", help=text)


def pytest_configure(config):
    most = config.getoption("longest")
    if most is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Costs(most))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    item.stash[BEGAN] = cpu()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "teardown":
        report.user_properties.append(("cpu", cpu() - item.stash[BEGAN]))
    return report


class Costs:
    """Collects what each test cost, in whichever process it ran; the session fails where one cost too much."""

    def __init__(self, most: float) -> None:
        self.most, self.over = most, {}

    def pytest_runtest_logreport(self, report):
        took = dict(report.user_properties).get("cpu", 0.0)
        if report.when == "teardown" and took > self.most:
            self.over[report.nodeid] = took

    def pytest_sessionfinish(self, session, exitstatus):
        if self.over and exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        if self.over:
            terminalreporter.section(
                f"more than {self.most:g} CPU seconds: make them cheaper or mark them slow"
            )
        for name, took in sorted(self.over.items(), key=lambda one: -one[1]):
            terminalreporter.line(f"{took:6.1f} s  {name}")


@pytest.fixture(autouse=True)
def errors_are_shown():
    """The demo hides errors from its visitors, in the whole process; the next test's page shows them again."""
    yield
    config = getattr(sys.modules.get("streamlit"), "config", None)
    if config is not None and config.get_option("client.showErrorDetails") != "full":
        config.set_option("client.showErrorDetails", "full")
