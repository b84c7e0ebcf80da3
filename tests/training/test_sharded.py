"""Two processes over gloo on the CPU train one model as one process does: losses, gradients, scores and weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_processes import AFTER, CASES, RUNS

from unlearn.compute import lora
from unlearn.compute.lora import AT_REST
from unlearn.compute.tokens import Batch, Example, collate
from unlearn.models.joined.ensemble import ensemble_of
from unlearn.models.load import add_lora
from unlearn.training import pieces, processes, sharded

TESTS = Path(__file__).parent.parent
NEAR = {"rel": 1e-5, "abs": 1e-5}


@pytest.fixture(scope="module")
def found(tmp_path_factory, tiny_folder):
    out = tmp_path_factory.mktemp("two")
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        [sys.executable, *command, str(TESTS / "two_processes.py"), str(tiny_folder), str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS)))},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((out / "found.json").read_text())


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("case", [" ".join(case) for case in CASES] + [f"{' '.join(c)} after" for c in AFTER])
def test_two_processes_train_as_one(found, case):
    told = found["cases"][case]
    one, two = told["one"], told["two"]
    assert len(one["steps"]) == len(two["steps"])
    # Decoding alone takes no step.
    assert len(one["steps"]) > 2 or case == "dp full"
    for (terms, norm, tokens), (terms2, norm2, tokens2) in zip(one["steps"], two["steps"], strict=True):
        assert terms2 == pytest.approx(terms, **NEAR)
        assert norm2 == pytest.approx(norm, **NEAR)
        assert tokens2 == tokens
    for ours, theirs in zip(one["scores"], two["scores"], strict=True):
        assert theirs == pytest.approx(ours, **NEAR)
    assert two["said"] == one["said"]
    assert two["weights"] == pytest.approx(one["weights"], **NEAR)
    assert told["gap"] < 1e-5


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize("after", [1, 2])
def test_a_checkpoint_is_gone_on_from_by_another_number(found, tuning, before, after):
    assert found["gone on"][f"{tuning} {before} {after}"] < 1e-5


@pytest.mark.slow
@pytest.mark.heavy
def test_what_one_process_has_trained_before_goes_to_the_others(found):
    """Slices of SISA lie where the first process keeps them; the others read none of theirs and write none."""
    told = found["again"]
    assert told["steps"] == [15, 0]
    assert told["gap"] == 0.0
    assert told["folders"] == ["two"]


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("case", [" ".join(case) for case in RUNS])
def test_a_whole_run_by_two_processes_comes_to_its_end(found, case):
    told = found["runs"][case]
    assert told["step"] > 2
    # Before the first step and behind the last.
    assert told["probe"] >= 2


# -- what one process can show ---------------------------------------------------------------------------------------


def batch_of(texts):
    examples = [Example((1, *range(2, 3 + n)), (-100, *range(2, 3 + n)), n) for n in range(texts)]
    return Batch(forget=collate(examples, 0), retain=None)


@pytest.mark.parametrize("texts", [1, 2, 5])
def test_shares_are_the_whole_step(texts):
    """Each text is read by one process; who has none reads one that counts for nothing."""
    batch, keys = batch_of(texts), []
    for rank in range(3):
        token = processes._group.set(processes.Group(rank, 3))
        try:
            share = processes.own_share(batch).forget
        finally:
            processes._group.reset(token)
        if rank < texts:
            assert (share.total_tokens, share.total_rows) == (batch.forget.total_tokens, texts)
            keys += share.keys
        else:
            assert share.keys == (0,)
            weight = torch.ones(1) / share.total_rows
            assert torch.ones(1) + weight == 1.0
            # A mean without the first token of each text is defined too.
            assert share.total_tokens - share.total_rows > 1e29
    assert sorted(keys) == list(range(texts))


def test_alone_nothing_is_shared_or_added():
    batch = batch_of(2)
    assert processes.own_share(batch) is batch
    assert processes.size() == 1
    assert processes.total(0.1) == 0.1
    assert processes.told("x") == "x"
    assert processes.summed({"a": torch.tensor(0.1), "b": torch.tensor(2.0, requires_grad=True)}) == {
        "a": float(torch.tensor(0.1)),
        "b": 2.0,
    }
    assert processes.whole(torch.tensor(3.0)) == 3.0


def test_an_emptied_model_keeps_its_ties_and_holds_nothing(tiny):
    model, _ = tiny
    model.tie_weights()
    model.lm_head.weight = model.model.embed_tokens.weight
    want = {name: p.detach().clone() for name, p in model.named_parameters()}
    plain = sharded._emptied(model)
    assert all(p.is_meta for p in plain.parameters())
    sharded.fill(plain, want)
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(plain(ids).logits, model(ids).logits)


def test_a_member_of_a_joined_model_is_read_through_the_whole(tiny):
    """So that whoever trains one member alone need not know that weights are brought together for whole passes."""
    whole = ensemble_of(tiny[0], 2)
    member, ids, seen = whole.member_1, torch.tensor([[5, 6, 7]]), []
    with torch.no_grad():
        next(member.parameters()).mul_(2.0)
        want = [member(input_ids=ids).logits, whole(input_ids=ids).logits]
        sharded._lead_through(whole, member)
        whole.register_forward_pre_hook(lambda *_: seen.append("whole"))
        found = [member(input_ids=ids).logits, whole(input_ids=ids).logits]
    assert seen == ["whole", "whole"]
    assert all(map(torch.equal, found, want))
    assert not torch.equal(*found)


@pytest.mark.slow
def test_weights_in_parts_are_never_taken_as_at_rest(tiny):
    """Whoever looks at one of them waits for the other processes, which do not look."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        model = add_lora(tiny[0], rank=2, alpha=4, seed=1)
        with lora.resting(model):
            assert any(AT_REST in module.__dict__ for module in model.modules())
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        with lora.resting(model):
            assert not any(AT_REST in module.__dict__ for module in model.modules())
    finally:
        torch.distributed.destroy_process_group()


def test_who_has_no_text_reads_one_that_does_not_count():
    texts, read = ["a", "b", "c"], []
    for rank in range(4):
        token = processes._group.set(processes.Group(rank, 4))
        try:
            own, counts = processes.own_texts(texts)
        finally:
            processes._group.reset(token)
        assert own
        read += own if counts else []
    assert read == texts
    assert processes.own_texts(texts) == (texts, True)


def test_alone_a_loop_of_steps_is_itself_and_weights_are_whole(tiny):
    model, _ = tiny
    assert list(processes.in_turn(model, iter(range(3)))) == [0, 1, 2]
    kept = pieces.weights_of(model)
    with torch.no_grad():
        next(model.parameters()).zero_()
    pieces.put(model, kept)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert pieces.whole_of(kept["lm_head.weight"]) is kept["lm_head.weight"]
