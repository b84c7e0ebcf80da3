"""The way of a training step on a GPU, walked without one.

Two things break or slow a step on a GPU and never on a CPU. A tensor that is made without naming its device lies on
the host: here torch's default device is `meta`, which holds no values, while the model is on the CPU, so that such a
tensor cannot be used. And each value that the host reads makes it wait for all that the GPU was given before: here they
are counted, against a list that says why each is there.
"""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.models.test_t5 import NO_T5, make_t5
from unlearn.compute import lm
from unlearn.data.base import Row
from unlearn.methods import METHODS, method_named
from unlearn.methods.edit import repselect
from unlearn.models import recipe
from unlearn.models.load import adapted, load
from unlearn.store.config import RunConfig
from unlearn.work.session import Session

pytestmark = pytest.mark.slow

# These two train by the recipe of the bundled model, in a loop of its own (below).
BY_RECIPE = ("retrain", "sisa")
CASES = [
    (name, tuning, packed)
    for name, method in METHODS.items()
    if name not in BY_RECIPE
    for tuning in method.tunings
    for packed in (True, False)
]
# Each text has another length, so that some are padded. The wrong answers spare AltPO its generations.
FORGET = [
    Row(question=f"What is {word}?", answer=f"{word} " * (2 + at), wrong=("red", "a novel of one"))
    for at, word in enumerate(("red", "green", "blue"))
]
KEEP = [
    Row(question=f"Where was {word} born?", answer="in the capital " * (1 + at))
    for at, word in enumerate(("one", "two", "three"))
]
METHOD = {
    "repselect": {"max_steps": 3},
    "whp": {"reinforce_epochs": 1},
    "altpo": {"alternates": 1},
    "undo": {"noise": 0.1},
}
# Ways of a step that a setting chooses, and the step that follows a run.
WAYS = {
    "sam": ("npo", "full", {"sam": 0.01}),
    "sam, lora": ("gd", "lora", {"sam": 0.01}),
    "lean": ("gd", "full", {"memory": "lean", "max_grad_norm": 0.0}),
    "micro-batches": ("npo", "lora", {"batch_size": 1, "accumulation": 2}),
    "undo": ("undo", "full", {"start": "20260131-120000-npo-1a2b"}),
}


def session_of(folder, name, tuning, precision="float32", **changes):
    loaded = load(str(folder), tuning=tuning, precision=precision)
    config = RunConfig(
        model=str(folder),
        data={"name": "given"},
        method=name,
        tuning=tuning,
        precision=precision,
        **({"epochs": 2, "batch_size": 3, "lr": 1e-3, "lora_rank": 2, "prompt": "plain"} | changes),
    )
    cls = method_named(name)
    keeps = {"retain_weight": 0.7} if any(k.name == "retain_weight" for k in cls.knobs()) else {}
    method = cls(**keeps, **METHOD.get(name, {}))
    return Session(loaded, config, method, FORGET, KEEP if method.retain_ratio else [])


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory):
    return make_t5(tmp_path_factory.mktemp("tiny-t5"))


def walk(session):
    """All steps of the session, with the default device of a program that forgot to name one."""
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(repselect, "adapted", as_on_a_gpu)
        return [done.loss for done in session]


def as_on_a_gpu(*args, **options):
    """PEFT makes an adapter on the default device and brings it to its layer's, unless it holds no values."""
    with torch.device("cpu"):
        return adapted(*args, **options)


@pytest.fixture(autouse=True)
def sums_without_order(monkeypatch):
    monkeypatch.setattr(lm, "adds_in_order", lambda device: False)


@pytest.fixture(params=[True, False], ids=["packed", "padded"])
def packed(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(lm, "packs", lambda model, length=0: False)
    return request.param


@pytest.mark.parametrize(("name", "tuning"), sorted({(name, tuning) for name, tuning, _ in CASES}))
def test_no_tensor_is_made_without_its_device(tiny_folder, packed, name, tuning):
    losses = walk(session_of(tiny_folder, name, tuning))
    assert losses
    assert all(map(torch.isfinite, torch.tensor(losses)))


@pytest.mark.parametrize("way", WAYS)
def test_nor_in_the_ways_that_a_setting_chooses(tiny_folder, packed, way):
    name, tuning, changes = WAYS[way]
    losses = walk(session_of(tiny_folder, name, tuning, **changes))
    assert losses
    assert all(map(torch.isfinite, torch.tensor(losses)))


@pytest.mark.parametrize(
    ("name", "tuning"), sorted((n, t) for n, m in METHODS.items() if n not in NO_T5 for t in m.tunings)
)
def test_nor_in_an_encoder_and_a_decoder(t5_folder, name, tuning):
    losses = walk(session_of(t5_folder, name, tuning))
    assert losses
    assert all(map(torch.isfinite, torch.tensor(losses)))


@pytest.mark.parametrize("name", ["gd", "npo", "undial", "kl", "rmu", "ceu", "me"])
def test_nor_beside_a_base_of_16_bits(tiny_folder, packed, name):
    """The adapter's numbers have 32 bits, the base's 16: what is mixed is brought to one of them by name."""
    session = session_of(tiny_folder, name, "lora", "bfloat16")
    kinds = {p.requires_grad: p.dtype for p in session.model.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    assert all(map(torch.isfinite, torch.tensor(walk(session))))


def test_nor_in_the_recipe_of_the_bundled_model(tiny):
    model, _ = tiny
    with torch.device("meta"):
        steps = list(
            recipe.steps(model, [[5, 6, 7, 8], [9, 10]], recipe.loss_of(model, 0), epochs=1, batch=2)
        )
    assert [step.step for step in steps] == [1]


def test_a_tensor_without_its_device_is_noticed(tiny_folder):
    """The net itself: a loss that makes one is caught."""
    session = session_of(tiny_folder, "ga", "full")
    whole = type(session.method).loss

    def careless(self, model, ref, batch):
        return {"forget": whole(self, model, ref, batch)["forget"] * torch.ones(1)[0]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(session.method), "loss", careless)
        with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
            walk(session)


# -- what makes the host wait ----------------------------------------------------------------------------------------


def place():
    """The function of the library that is running, as "file.function"."""
    frame = sys._getframe(2)
    while "/unlearn/" not in frame.f_code.co_filename or "/tests/" in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"


class Waits(TorchDispatchMode):
    """Counts operations whose result's size or value the host must know: on a GPU it waits there."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2")

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1]
        )
        if name in self.NAMES or masks:
            self.seen[place()] += 1
        return func(*args, **(kwargs or {}))


class Reads(TorchFunctionMode):
    """Counts whole tensors that are brought to the host, which a model on the CPU does not show as a copy."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        named = name == "to" and "cpu" in (*args[1:], (kwargs or {}).get("device"))
        # The model's device has this name here: batches are brought to it, which is the other way.
        if name in ("cpu", "tolist", "numpy") or (named and place() != "tokens.brought"):
            self.seen[place()] += 1
        return func(*args, **(kwargs or {}))


def waits_of(session):
    """What the host waits for in each step of a session, by the function that waits."""
    session.prepare()
    found = []
    while True:
        seen = Counter()
        try:
            with Waits(seen), Reads(seen):
                next(session)
        except StopIteration:
            return found
        found.append(dict(seen))


# Each place at which the host waits for the GPU in a step of one micro-batch: how often at most, and why.
WRITTEN = {
    "tokens.<genexpr>": (
        2,
        "each side's tokens are counted on the host, before the batch is brought over: no wait",
    ),
    "lm.forward": (1, "how many places predict an answer token, so that the head reads those alone"),
    "lm._states_at": (1, "whether there is padding at all"),
    "layout.beginning": (1, "whether the texts begin alike, so that the beginning is read once"),
    "layout.layout_of": (1, "how many tokens are no padding, so that those alone are read"),
    "layout.empty": (1, "the attention of short texts on a processor alone asks for it: no wait"),
    "states.last_states": (
        2,
        "transformers looks at the mask itself, and at positions where texts are padded",
    ),
    "states.block_states": (2, "the same, for a pass that ends at a block"),
    "lm._sides": (1, "where one side's answer tokens end and the other's begin"),
    "processes.summed": (1, "the terms of the loss: an update follows only where they are finite"),
    "processes.whole": (1, "the norm of the gradient: the same, and it is cut there"),
}
# Every step waits here. RepSelect's last steps have no loss and no gradient.
ALWAYS = {"lm.forward", "lm._states_at", "processes.summed", "processes.whole"}
MORE = {
    "pdu": {"pdu.loss": (1, "how far the texts to keep are from their budget: the next price needs it")},
    # An edit has no loss and no update of an optimiser: what it did is told at once.
    "mend": {
        "mend._add": (1, "the length of the edit"),
        "mend.apply": (1, "the NLL of the texts that it read"),
    },
    "repselect": {
        "layout.layout_of": (
            2,
            "general texts are read without a gradient, so common beginnings are sought first",
        ),
        "repselect.drift": (1, "how far general text has moved: it decides about the next step"),
    },
}


@pytest.mark.parametrize(("name", "tuning"), sorted({(name, tuning) for name, tuning, _ in CASES}))
def test_the_host_waits_where_it_is_written(tiny_folder, packed, name, tuning):
    """In the last step: in earlier ones ways of reading are tried, and texts are read for the reference."""
    found, known = waits_of(session_of(tiny_folder, name, tuning))[-1], WRITTEN | MORE.get(name, {})
    assert {where: count for where, count in found.items() if count > known.get(where, (0, ""))[0]} == {}
    assert name in ("repselect", "mend") or set(found) >= ALWAYS | set(MORE.get(name, {}))
    if packed:
        assert found.get("layout.layout_of", 0) >= 1
        assert found.get("states.last_states", 0) <= 1


@pytest.mark.parametrize("wait", [lambda x: x[0].item(), lambda x: x.to("cpu"), lambda x: x.to(device="cpu")])
def test_a_wait_that_nobody_wrote_down_is_noticed(tiny_folder, wait):
    session = session_of(tiny_folder, "ga", "full")
    whole = type(session.method).loss

    def careless(self, model, ref, batch):
        terms = whole(self, model, ref, batch)
        wait(terms["forget"].detach().reshape(1))
        return terms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(session.method), "loss", careless)
        found = waits_of(session)[-1]
    assert [where for where, count in found.items() if count > WRITTEN.get(where, (0, ""))[0]]
