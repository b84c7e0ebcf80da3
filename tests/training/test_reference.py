"""The reference under an adapter: read when a text is first asked for, once, and with the bits of a reading before."""

import pytest
import torch

from unlearn.data.base import Row
from unlearn.methods import METHODS
from unlearn.models.load import in_memory
from unlearn.work.session import forget

WORDS = ("red", "green", "blue", "one", "two", "three")
FORGET = [Row(question=f"What is {w}?", answer=f"{w} {w}") for w in WORDS[:5]]
RETAIN = [Row(question=f"Where was {w} born?", answer=f"in {w} : {w}") for w in WORDS]
ASKS = ("npo", "undial", "kl", "idkdpo", "rmu", "whp")


@pytest.fixture
def loaded(tiny):
    return in_memory(*tiny)


def begun(loaded, method="npo", **more):
    settings = {"retain": RETAIN, "tuning": "lora", "epochs": 3, "batch_size": 2, "lr": 1e-2, "seed": 1}
    return forget(loaded, forget=FORGET, method=method, **(settings | more))


def read_before(session):
    """The same session with its whole reference read before the first step."""
    ref = session.prepare()
    ref.later = None
    ref._promised.clear()
    session.method.prepare(session.model, ref, session.batches, session.loaded.tokenizer)
    return session


@pytest.mark.parametrize("method", ASKS)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_losses_are_those_of_a_reference_read_before(tiny_folder, method, accumulation):
    from unlearn.models.load import load

    settings = {"accumulation": accumulation, "batch_size": 2 // accumulation}
    later = [s.loss for s in begun(load(str(tiny_folder)), METHODS[method](), **settings)]
    before = [s.loss for s in read_before(begun(load(str(tiny_folder)), METHODS[method](), **settings))]
    assert max(later) != min(later)
    assert later == pytest.approx(before, rel=1e-6, abs=1e-6)


def test_a_text_is_read_once_and_at_the_first_step_not_at_all(loaded):
    session = begun(loaded)
    read = [session.ref.passes for _ in session]
    # Five texts in batches of two: the first step reads its own, the others come in two and one.
    assert read == [0, 2, 3, 3, 3, 3, 3, 3, 3]


def test_texts_that_are_never_trained_on_are_not_read(tiny_folder):
    from unlearn.models.load import load

    session = begun(load(str(tiny_folder)), METHODS["kl"](retain_per_forget=0.5), epochs=1)
    assert [session.ref.passes for _ in session] == [0, 1, 2]
    whole = read_before(begun(load(str(tiny_folder)), METHODS["kl"](retain_per_forget=0.5), epochs=1))
    assert whole.ref.passes == len(RETAIN)


def test_with_full_weights_all_is_read_before_the_first_step(loaded):
    session = begun(loaded, tuning="full")
    assert session.prepare().passes == len(FORGET)
    assert not session.ref.promises


def test_what_is_read_late_is_the_model_without_its_adapter(loaded):
    session = begun(loaded)
    for _ in session:
        pass
    late = torch.stack([session.ref._kept["sums"][key] for key in range(len(FORGET))])
    with session.model.disable_adapter():
        wanted = dict(read_before(session).ref._kept["sums"])
    assert torch.allclose(late, torch.stack([wanted[key] for key in range(len(FORGET))]), atol=1e-5)


@pytest.mark.parametrize("method", ["npo", "undial", "kl", "idkdpo", "altpo", "rmu"])
@pytest.mark.parametrize(
    "at", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)]
)
def test_a_resumed_run_reads_the_same_bits(tiny_folder, tmp_path, method, at):
    from unlearn.models.load import load

    whole = begun(load(str(tiny_folder)), method)
    losses = []
    for done in whole:
        losses.append(done.loss)
        if done.step == at:
            whole.save_checkpoint(tmp_path, at)
    again = begun(load(str(tiny_folder)), method)
    assert again.resume(tmp_path) == at
    assert [done.loss for done in again] == losses[at:]
    kinds = [kind for kind in whole.ref._kept if kind != "labels"]
    for kind in kinds:
        assert whole.ref._kept[kind].keys() == again.ref._kept[kind].keys()
        for key, value in whole.ref._kept[kind].items():
            assert torch.equal(value, again.ref._kept[kind][key]), (kind, key)
