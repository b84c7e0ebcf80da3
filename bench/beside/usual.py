"""Takes an unlearning step in the usual way, for the benchmark alone.

It follows what public code does, at its best: the field's framework, OpenUnlearning (github.com/locuslab/
open-unlearning, src/trainer). There a Hugging Face Trainer holds a frozen deep copy of the model as reference
(unlearn/grad_diff.py, _prepare_ref_model) which reads the same texts again at every step; forget and retain go through
the model in a pass each, padded to the longest text; labels are handed to the model, which computes its own
cross-entropy (compute_loss of GradDiff takes it; NPO, UNDIAL and KL take the logits instead and leave it unused);
logits of prompts and padding are made, shifted copies of them taken with .contiguous() (utils.py, compute_batch_nll,
compute_undial_loss), and for UnDIAL a mask as wide as the vocabulary. Three things are better here than there, so that
both ways compute the same loss and nothing is slow by accident: KL and UnDIAL are averaged over answer tokens and not
over padding, KL takes the reference's log-softmax once and not twice, and the retain text's padding is its own.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments

IGNORE = -100


def shifted(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits [B, L-1, V] and the labels [B, L-1] that they predict, as copies."""
    return logits[:, :-1].contiguous().float(), labels[:, 1:].contiguous()


def row_sums(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Return [B], the summed NLL of each sequence."""
    z, y = shifted(model(**inputs).logits, inputs["labels"])
    return F.cross_entropy(z.transpose(-1, -2), y, ignore_index=IGNORE, reduction="none").sum(-1)


def gd(model: Any, ref: Any, forget: dict[str, Tensor], retain: dict[str, Tensor]) -> Tensor:
    """Return the loss of GA+GD: the retain NLL minus the forget NLL."""
    return -model(**forget).loss + model(**retain).loss


def kl(model: Any, ref: Any, forget: dict[str, Tensor], retain: dict[str, Tensor]) -> Tensor:
    """Return the loss of GA+KL: the divergence to the reference on retain minus the forget NLL."""
    with torch.no_grad():
        taught = ref(**retain).logits.float().log_softmax(-1)
    own = model(**retain).logits.float().log_softmax(-1)
    apart = F.kl_div(own, taught, log_target=True, reduction="none").sum(-1)[:, :-1]
    mask = retain["labels"][:, 1:] != IGNORE
    return -model(**forget).loss + (apart * mask).sum() / mask.sum()


def npo(
    model: Any, ref: Any, forget: dict[str, Tensor], retain: dict[str, Tensor], beta: float = 0.1
) -> Tensor:
    """Return the loss of NPO with a retain NLL."""
    now = row_sums(model, forget)
    with torch.no_grad():
        before = row_sums(ref, forget)
    return -F.logsigmoid(beta * (now - before)).mean() * 2 / beta + model(**retain).loss


def undial(
    model: Any, ref: Any, forget: dict[str, Tensor], retain: dict[str, Tensor], gamma: float = 10.0
) -> Tensor:
    """Return the loss of UnDIAL with a retain NLL."""
    z, y = shifted(model(**forget).logits, forget["labels"])
    mask = y != IGNORE
    with torch.no_grad():
        taught, _ = shifted(ref(**forget).logits, forget["labels"])
    own = torch.zeros_like(taught).scatter_(-1, y.clamp(min=0)[..., None], 1.0)
    target = (taught - gamma * own).softmax(-1)
    size = z.shape[-1]
    apart = F.cross_entropy(z.view(-1, size), target.view(-1, size), reduction="none").view_as(y)
    return (apart * mask).sum() / mask.sum() + model(**retain).loss


LOSSES: dict[str, Callable[..., Tensor]] = {"gd": gd, "kl": kl, "npo": npo, "undial": undial}


class UsualTrainer(Trainer):
    """A Trainer with an unlearning loss and a frozen deep copy of the model as reference."""

    def __init__(self, name: str, model: Any, folder: str, lr: float) -> None:
        args = TrainingArguments(
            output_dir=folder,
            learning_rate=lr,
            report_to=[],
            use_cpu=next(model.parameters()).device.type == "cpu",
            max_grad_norm=1.0,
            weight_decay=0.0,
            disable_tqdm=True,
        )
        super().__init__(model=model, args=args)
        self.name = name
        self.ref = None if name == "gd" else copy.deepcopy(model).eval().requires_grad_(False)
        self.create_optimizer_and_scheduler(num_training_steps=1000)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Tensor:
        """Return the method's loss of a forget and a retain batch."""
        return LOSSES[self.name](model, self.ref, inputs["forget"], inputs["retain"])

    def take_step(self, inputs: Any) -> float:
        """Take one whole step (forward, backward, clip, update) and return its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        loss = self.compute_loss(self.model, self._prepare_inputs(inputs))
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
        self.optimizer.step()
        return float(loss.detach())
