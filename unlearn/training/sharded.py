"""A model whose weights, gradients and moments lie in parts in several processes: torch's fully_shard (FSDP2).

Each block is brought together for its turn of a pass and let go of behind it; embeddings, last norm and output head
stay together from the beginning of a pass to the end of its backward pass, which is what the fused head reads.
Gradients are summed, not averaged (unlearn.training.processes). Afterwards process 0 gets the model in one piece.
"""

from __future__ import annotations

import copy
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from unlearn.compute import continuing, memory, together
from unlearn.compute.lazy import Model
from unlearn.compute.states import blocks
from unlearn.store.disk import read_json, write_json
from unlearn.training import processes
from unlearn.training.checkpoints import ASIDE, moving, named_tensors
from unlearn.training.processes import Group, Word

# What AdamW keeps of each weight: two moments, and how often it was moved.
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Sharded:
    """A model in parts. plain: its modules again, whose weights hold nothing until gather() fills them."""

    model: Model
    plain: Model
    group: Group

    def save(self, folder: Path, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write a checkpoint of this step, each process its own part."""
        if self.group.rank == 0:
            self.group.say(Word.SAVE, step)
        processes.let_go(self.model)
        save(folder, self.model, optimizer, step, first=self.group.rank == 0)

    @torch.no_grad()
    def gather(self, ended: bool = False) -> Model:
        """Return the model in one piece in process 0, and one without weights in the others.

        ended: the others know already.
        """
        if self.group.rank == 0 and not ended:
            self.group.say(Word.END)
        processes.let_go(self.model)
        found: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            # All processes take part, one of them keeps it.
            piece = cast(Any, parameter).full_tensor()
            if self.group.rank == 0:
                found[name] = piece
            if self.group.size > 1:
                # Its part is needed no more, so that the whole and all parts never lie here together.
                cast(Any, parameter).to_local().untyped_storage().resize_(0)
        if self.group.rank == 0:
            fill(self.plain, found)
        return self.plain


def split(model: Model, longest: int) -> Sharded | None:
    """Return the model with its weights in parts, one in each process, or None where this process trains alone.

    longest: the most tokens that a text may have. ValueError for a model that reads each text in a pass of its own,
    or what an encoder reads: the processes would not make the same passes.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    found = processes.group()
    if found is None:
        return None
    # All is tried now: a trial is made of passes too. Where an adapter lies, generate() would go past the outermost
    # module, which brings the weights together.
    members = list(model.members()) if hasattr(model, "members") else []
    reads = all(together.packs(m, longest) or together.pads(m, longest) for m in (model, *members))
    apart = getattr(model.config, "is_encoder_decoder", False)
    if apart or not reads or (hasattr(model, "disable_adapter") and not continuing.continues(model, longest)):
        raise ValueError(
            f"--processes: {type(model).__name__} does not read several texts in one pass as it reads each alone, so "
            "its passes cannot be shared; leave --processes out."
        )
    plain = _emptied(model)
    mesh = init_device_mesh(next(model.parameters()).device.type, (found.size,))
    listed = [block for one in members or [model] for block in blocks(one)]
    for part in (*listed, model):
        fully_shard(cast(nn.Module, part), mesh=mesh)
        # The room of its whole weights is given back at once, or else all of them would lie here beside the parts.
        memory.trim()
    for member in members:
        _lead_through(model, member)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # gloo cannot scale while it adds.
            module.set_force_sum_reduction_for_comms(True)
    model.register_forward_pre_hook(
        lambda *_: processes.announce(found) if processes.group() is found else None, prepend=True
    )
    # The whole weights are gone now, and their room is given back.
    memory.give_back()
    return Sharded(model, plain, found)


def _lead_through(whole: Model, member: Model) -> None:
    """Let a pass of one member of a joined model go through the whole one, which brings the weights together."""
    alone = member.forward

    def forward(*given: Any, **named: Any) -> Any:
        cast(Any, whole).forward = alone
        try:
            return whole(*given, **named)
        finally:
            del cast(Any, whole).forward

    cast(Any, member).forward = forward


def _emptied(model: Model) -> Model:
    """The same modules again, each weight a promise of its shape. Tied weights stay tied."""
    empty = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
        for p in model.parameters()
    }
    return copy.deepcopy(model, dict(empty))


def fill(plain: Model, found: dict[str, Tensor]) -> None:
    """Put these weights by name into a model whose weights hold nothing."""
    places = {
        id(p): nn.Parameter(found[name], requires_grad=p.requires_grad)
        for name, p in plain.named_parameters()
    }
    for module in plain.modules():
        for name, p in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            setattr(module, name, places[id(p)])


# -- checkpoints -----------------------------------------------------------------------------------------------------


def save(folder: Path, model: Model, optimizer: torch.optim.Optimizer, step: int, *, first: bool) -> None:
    """Write the trained weights and the moments that lie in this process as safetensors, beside those of the others.

    first: this process writes state.json, which makes the checkpoint valid, when all have written.
    """
    import torch.distributed.checkpoint as dcp

    fresh = folder / f"step-{step}"
    if first:
        folder.mkdir(exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)
    processes.meet()
    writer = dcp.HuggingFaceStorageWriter(str(fresh), save_distributed=True)
    dcp.save(dict(named_tensors(model, optimizer)), storage_writer=writer)
    if first:
        write_json(folder / "state.json", {"step": step, "folder": fresh.name})
        for old in folder.glob("step-*"):
            if old.is_dir() and old != fresh:
                shutil.rmtree(old)
            elif old.is_file():
                old.unlink()


def load(folder: Path, model: Model, optimizer: torch.optim.Optimizer) -> int:
    """Load the weights and moments of a checkpoint, each process its own part, and return the checkpoint's step.

    It may have been written by another number of processes, or by one alone. ValueError where it does not fit.
    """
    import torch.distributed.checkpoint as dcp

    state = read_json(folder / "state.json")
    reader = dcp.HuggingFaceStorageReader(str(folder / Path(state.get("folder", ".")).name))
    for parameter in moving(model).values():
        fresh: dict[str, Tensor] = {name: torch.zeros_like(parameter) for name in MOMENTS}
        fresh["step"] = torch.zeros((), device=parameter.device)
        optimizer.state[parameter] = fresh
    wanted = dict(named_tensors(model, optimizer))
    kept = reader.read_metadata().state_dict_metadata.keys()
    if {name for name in kept if not name.startswith(ASIDE)} != set(wanted):
        raise ValueError("run: the checkpoint belongs to another model or tuning; delete it and start again.")
    with warnings.catch_warnings():
        # That one process reads it alone is meant so.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.load(wanted, storage_reader=reader, no_dist=processes.group() is None)
    return int(state["step"])


def is_in_parts(folder: Path) -> bool:
    """Return whether the checkpoint in this folder was written by several processes."""
    return "folder" in read_json(folder / "state.json")
