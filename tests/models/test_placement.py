"""A model partly on disk: what lies where, and a run on it that is the run in memory, number by number."""

import pytest
import torch
from conftest import make_model

from unlearn.compute.checkpointing import checkpointed
from unlearn.compute.head import fusible, head_of
from unlearn.compute.lm import forward
from unlearn.compute.tokens import IGNORE, Example, collate
from unlearn.models import placement
from unlearn.models.load import add_lora, load
from unlearn.models.placement import LIMIT, Anatomy, anatomy_of, is_placed, plan
from unlearn.models.tuning import load_trained
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work.execute import execute
from unlearn.work.preflight import preflight


def slopes(model):
    """The loss of one text and the adapter's gradients, by name."""
    text = Example(tuple(range(3, 11)), (IGNORE,) * 3 + tuple(range(6, 11)), 0)
    with checkpointed(model):  # brings each block again in the backward pass instead of keeping it
        (answers,) = forward(model, collate([text], 0))
        loss = answers.mean_nll()
        loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def test_an_adapter_on_blocks_that_lie_on_disk_learns_the_same(tmp_path):
    from transformers import AutoModelForCausalLM

    make_model(tmp_path, "llama")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    places = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    places |= {f"model.layers.{i}": "disk" for i in range(len(plain.model.layers))}
    placed = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, device_map=places, offload_folder=str(tmp_path / "away")
    ).eval()
    models = [add_lora(model, rank=4, alpha=8.0, seed=0) for model in (plain, placed)]
    assert placed.model.layers[0].mlp.up_proj.base_layer.weight.device.type == "meta"
    with torch.no_grad():
        for model in models:
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(0.01)  # else the gradient of A is 0
    (loss, want), (found, got) = (slopes(model) for model in models)
    assert torch.allclose(found, loss, atol=1e-6)
    assert got.keys() == want.keys()
    for name in want:
        assert torch.allclose(got[name], want[name], atol=1e-6), name
    assert sum(float(slope.norm()) for slope in want.values()) > 0


# -- what lies where -------------------------------------------------------------------------------------------

PARTS = Anatomy(
    "model.layers", ("lm_head", "model.embed_tokens"), 100, ((8, 2),) * 4
)  # 4 blocks of 10 numbers


def where(limit, device="cuda", dtype="float32", precision="auto"):
    return plan(PARTS, dtype=dtype, precision=precision, device=device, limit=limit)


def test_what_fits_lies_on_the_device_alone():
    assert where(None).map == {}
    assert where(560).map == {}  # 4 bytes × (100 + 4 × 10)
    assert where(280, dtype="bfloat16").map == {}
    assert where(559).describe() != "" == where(560).describe()


def test_the_last_blocks_go_to_main_memory_and_then_to_disk(monkeypatch):
    monkeypatch.setattr(placement, "_main_memory", lambda: 50)
    found = where(400 + 40 + 79)  # room for the one that is brought, and for one that stays
    assert found.map == {
        "lm_head": "cuda",
        "model.embed_tokens": "cuda",
        "model.layers.0": "cuda",
        "model.layers.1": "cpu",
        "model.layers.2": "disk",
        "model.layers.3": "disk",
    }
    assert found.blocks == {"cuda": 1, "cpu": 1, "disk": 2}
    assert found.held == {"cuda": 440, "cpu": 40, "disk": 80}
    assert "1 of its 4 blocks stay there" in found.describe()
    assert "1 (0.0391 KiB) from main memory and 2 (0.0781 KiB) from its files on disk" in found.describe()
    assert "0.234 KiB moved" in found.describe()  # 2 × 120 bytes
    assert set(where(480, device="cpu").map.values()) == {"cpu", "disk"}


def test_rounded_weights_are_counted_as_such_and_must_fit():
    size = (100 * 2) + 4 * round(8 * 1.0 + 2 * 2)
    assert where(size, dtype="bfloat16", precision="int8").map == {}
    with pytest.raises(
        ValueError, match=r"run: precision int8 takes .* rounded weights must lie there; take bfloat16"
    ):
        where(size - 1, dtype="bfloat16", precision="int8")


def test_too_little_room_for_one_block_is_said():
    with pytest.raises(
        ValueError, match=r"model: embeddings, output head and one block take .* raise UNLEARN_DEVICE_MEM"
    ):
        where(439)


@pytest.mark.parametrize("text", ["x", "6 apples", "1.2.3G", "-4G", "."])
def test_a_limit_is_a_number_of_bytes(monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(ValueError, match="UNLEARN_DEVICE_MEMORY: must be a number of bytes such as 6GiB"):
        placement.room("cpu")


@pytest.mark.parametrize(("text", "count"), [("6GiB", 6 * 2**30), ("800MB", 8e8), ("1.5k", 1500), ("77", 77)])
def test_limits_read_as_people_write_them(monkeypatch, text, count):
    monkeypatch.setenv(LIMIT, text)
    assert placement.room("cpu") == count
    monkeypatch.delenv(LIMIT)
    assert placement.room("cpu") is None


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_the_map_names_every_weight_once(tmp_path, family):
    model, _ = make_model(tmp_path, family)
    parts = anatomy_of(tmp_path)
    assert parts.parameters == model.num_parameters()
    entries = [*parts.names, *(f"{parts.stem}.{i}" for i in range(len(parts.blocks)))]
    names = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in names:
        assert sum(name == entry or name.startswith(f"{entry}.") for entry in entries) == 1, name


# -- a run -----------------------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """run(limit, **changes) → (Run, finished or None): a small Llama of four blocks, in memory or partly on disk."""
    folder = tmp_path / "model"
    folder.mkdir()
    make_model(folder, "llama", num_hidden_layers=4)
    for role, words in (("forget", "red green blue"), ("retain", "one two three")):
        lines = "".join(f"What is {w}?,{w} {w[0]}\n" for w in words.split())
        (tmp_path / f"{role}.csv").write_text("question,answer\n" + lines)
    data = {role: str(tmp_path / f"{role}.csv") for role in ("forget", "retain")}
    rest, each = anatomy_of(folder).sizes("float32", "auto")
    two = rest + 3 * each[0]  # room for two blocks and the one that is brought
    store = RunStore(tmp_path / "runs")

    def run(limited, resume=None, stop=lambda run: False, **changes):
        values = {
            "model": str(folder),
            "data": data,
            "method": "undial",
            "tuning": "lora",
            "precision": "float32",
        }
        values |= {"lr": 5e-3, "epochs": 3, "batch_size": 2, "probes": 1, "max_length": 32} | changes
        made = resume or store.create(RunConfig(**values))
        with monkeypatch.context() as patch:
            if limited:
                patch.setenv(LIMIT, str(two))
            return made, execute(made, roots=[tmp_path], should_stop=lambda: stop(made))

    run.limit, run.folder, run.data = two, folder, data
    return run


def losses(run):
    assert run.reason == ""
    return [event["loss"] for event in run.events("step")]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gd", "undial"])  # without and with states of the reference
def test_a_run_on_blocks_that_lie_on_disk_is_the_run_in_memory(scene, monkeypatch, method):
    plain, _ = scene(False, method=method)
    placed, finished = scene(True, method=method)
    model = finished.loaded.model
    assert is_placed(model)
    assert {p.device.type for n, p in model.named_parameters() if "lora_" in n} == {"cpu"}
    assert fusible(head_of(model))  # the head stays, so the losses at it are the usual ones
    assert losses(placed) == pytest.approx(losses(plain), abs=1e-5)
    assert len(set(losses(plain))) == 6
    for when in ("before", "after"):
        assert placed.scores()[when]["forget"]["nll"] == pytest.approx(
            plain.scores()[when]["forget"]["nll"], abs=1e-4
        )
    said = [e["text"] for e in placed.events("note") if "text" in e]
    assert any("2 of its 4 blocks stay there" in text for text in said)
    monkeypatch.setenv(LIMIT, str(scene.limit))
    again = load_trained(placed)
    assert is_placed(again.model)
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        want, got = model(input_ids=ids).logits, again.model(input_ids=ids).logits
        with again.model.disable_adapter():
            before = again.model(input_ids=ids).logits
    assert torch.equal(got, want)
    assert not torch.allclose(before, got, atol=1e-3)
    assert torch.allclose(before, load_plain(scene, monkeypatch)(input_ids=ids).logits, atol=1e-5)


def load_plain(scene, monkeypatch):
    monkeypatch.delenv(LIMIT)
    return load(str(scene.folder)).model


@pytest.mark.slow
def test_its_blocks_are_brought_again_in_the_backward_pass(scene, monkeypatch):
    """Else each step would keep every weight that it brought, and the model would lie on the device after all."""
    from unlearn.work import session

    asked, own = [], session.checkpointed
    monkeypatch.setattr(session, "checkpointed", lambda model, on=True: asked.append(on) or own(model, on))
    for limited in (True, False):
        scene(limited, method="gd", epochs=1, probes=0)
    assert asked == [True, False]


@pytest.mark.slow
def test_nothing_of_it_stays_when_the_run_is_over(scene):
    from bench.memory import kept_bytes

    before = kept_bytes()
    for limited in (True, True):
        run, finished = scene(limited, method="gd", epochs=1, probes=0)
        assert run.reason == ""
        del finished
        after = kept_bytes()
        assert after["models"] == before["models"]
        assert after["tensors"] <= before["tensors"]


@pytest.mark.slow
def test_a_stopped_run_on_disk_goes_on_where_it_was(scene):
    whole, _ = scene(True)
    cut, finished = scene(True, stop=lambda run: len(run.events("step")) >= 2)
    assert (cut.state, finished) == ("stopped", None)
    scene(True, resume=cut)
    assert cut.state == "done"
    assert losses(cut) == pytest.approx(losses(whole), abs=1e-6)


def test_every_weight_of_such_a_model_cannot_move(scene, monkeypatch):
    run, _ = scene(True, tuning="full")
    assert run.state == "failed"
    assert (
        "run: tuning must be lora for a model that lies partly outside the device, got full; choose"
        in run.reason
    )
    monkeypatch.setenv(LIMIT, str(scene.limit))
    with pytest.raises(ValueError, match="tuning must be lora for a model that lies partly outside"):
        preflight(run.config, roots=[scene.folder.parent])


def test_the_estimate_says_what_lies_where(scene, monkeypatch):
    config = RunConfig(
        model=str(scene.folder), data=scene.data, method="npo", tuning="lora", precision="float32", epochs=1
    )
    whole = preflight(config, roots=[scene.folder.parent])
    assert whole.notes == ()
    monkeypatch.setenv(LIMIT, str(scene.limit))
    part = preflight(config, roots=[scene.folder.parent])
    assert any("2 of its 4 blocks stay there" in text for text in part.notes)
    assert part.memory_bytes < whole.memory_bytes
