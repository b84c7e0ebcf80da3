"""The way of a training step on a GPU, walked without one.

Two things break or slow a step on a GPU and never on a CPU. A tensor that is made without naming its device lies on
the host: here torch's default device is `meta`, which holds no values, while the model is on the CPU, so that such a
tensor cannot be used. And each value that the host reads makes it wait for all that the GPU was given before: here they
are counted, against a list that says why each is there.
"""

from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from unlearn.compute import lm
from unlearn.data.base import Row
from unlearn.methods import METHODS
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
METHOD = {"repselect": {"max_steps": 3}, "whp": {"reinforce_epochs": 1}, "altpo": {"alternates": 1}}


def session_of(folder, name, tuning, precision="float32"):
    loaded = load(str(folder), tuning=tuning, precision=precision)
    config = RunConfig(
        model=str(folder),
        data={"name": "given"},
        method=name,
        tuning=tuning,
        precision=precision,
        epochs=2,
        batch_size=3,
        lr=1e-3,
        lora_rank=2,
        prompt="plain",
    )
    cls = METHODS[name]
    keeps = {"retain_weight": 0.7} if any(k.name == "retain_weight" for k in cls.knobs()) else {}
    method = cls(**keeps, **METHOD.get(name, {}))
    return Session(loaded, config, method, FORGET, KEEP if method.retain_ratio else [])


def walk(session):
    """All steps of the session, with the default device of a program that forgot to name one."""
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(repselect, "adapted", as_on_a_gpu)
        return [done.loss for done in session]


def as_on_a_gpu(*args, **options):
    """PEFT makes an adapter on the default device and brings it to its layer's, unless it holds no values."""
    with torch.device("cpu"):
        return adapted(*args, **options)


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


class Waits(TorchDispatchMode):
    """Counts operations whose result's size or value the host must know: on a GPU it waits there."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "bincount", "unique_dim", "_unique2")

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1]
        )
        if name in self.NAMES or masks:
            self.seen["mask" if masks else name] += 1
        return func(*args, **(kwargs or {}))


class Reads(TorchFunctionMode):
    """Counts whole tensors that are brought to the host, which a model on the CPU does not show as a copy."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in ("cpu", "tolist", "numpy"):
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def waits_of(session):
    """What each step of a session waited for."""
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
