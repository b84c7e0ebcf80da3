"""The usual way to take an unlearning step, written for the benchmark alone, to be compared with ours.

What public unlearning code does: a Hugging Face Trainer, a frozen deep copy of the model as reference that reads the
same texts again at every step, one forward pass for forget and another for retain, texts padded to the longest of the
batch, and full-vocabulary logits for prompts and padding too. Unlike much public code it masks correctly, so that
both ways compute the same loss.
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
    """Logits [B, L-1, V] and the labels [B, L-1] that they predict."""
    return logits[:, :-1].float(), labels[:, 1:]


def mean_nll(logits: Tensor, labels: Tensor) -> Tensor:
    z, y = shifted(logits, labels)
    return F.cross_entropy(z.reshape(-1, z.shape[-1]), y.reshape(-1), ignore_index=IGNORE)


def row_sums(logits: Tensor, labels: Tensor) -> Tensor:
    z, y = shifted(logits, labels)
    return F.cross_entropy(z.transpose(1, 2), y, ignore_index=IGNORE, reduction="none").sum(1)


def gd(model: Any, ref: Any, forget: dict[str, Tensor], retain: dict[str, Tensor]) -> Tensor:
    return -mean_nll(model(**forget).logits, forget["labels"]) + mean_nll(
        model(**retain).logits, retain["labels"]
    )


def kl(model: Any, ref: Any, forget: dict[str, Tensor], retain: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        taught, y = shifted(ref(**retain).logits, retain["labels"])
    z, _ = shifted(model(**retain).logits, retain["labels"])
    apart = F.kl_div(z.log_softmax(-1), taught.log_softmax(-1), log_target=True, reduction="none").sum(-1)
    mask = y != IGNORE
    return -mean_nll(model(**forget).logits, forget["labels"]) + (apart * mask).sum() / mask.sum()


def npo(
    model: Any, ref: Any, forget: dict[str, Tensor], retain: dict[str, Tensor], beta: float = 0.1
) -> Tensor:
    with torch.no_grad():
        before = row_sums(ref(**forget).logits, forget["labels"])
    now = row_sums(model(**forget).logits, forget["labels"])
    push = -F.logsigmoid(beta * (now - before)).mean() * 2 / beta
    return push + mean_nll(model(**retain).logits, retain["labels"])


def undial(
    model: Any, ref: Any, forget: dict[str, Tensor], retain: dict[str, Tensor], gamma: float = 10.0
) -> Tensor:
    with torch.no_grad():
        taught, y = shifted(ref(**forget).logits, forget["labels"])
        mask = y != IGNORE
        own = F.one_hot(y.clamp(min=0), taught.shape[-1]).float()
        target = (taught - gamma * own).softmax(-1)
    z, _ = shifted(model(**forget).logits, forget["labels"])
    apart = -(target * z.log_softmax(-1)).sum(-1)
    return (apart * mask).sum() / mask.sum() + mean_nll(model(**retain).logits, retain["labels"])


LOSSES: dict[str, Callable[..., Tensor]] = {"gd": gd, "kl": kl, "npo": npo, "undial": undial}


class UsualTrainer(Trainer):
    """Trainer with an unlearning loss and a frozen deep copy as reference."""

    def __init__(self, name: str, model: Any, folder: str, lr: float) -> None:
        args = TrainingArguments(
            output_dir=folder,
            learning_rate=lr,
            report_to=[],
            use_cpu=not torch.cuda.is_available(),
            max_grad_norm=1.0,
            weight_decay=0.0,
            disable_tqdm=True,
        )
        super().__init__(model=model, args=args)
        self.name = name
        self.ref = copy.deepcopy(model).eval().requires_grad_(False)
        self.create_optimizer_and_scheduler(num_training_steps=1000)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Tensor:
        return LOSSES[self.name](model, self.ref, inputs["forget"], inputs["retain"])

    def take_step(self, inputs: Any) -> float:
        """One whole step: forward, backward, clip, update."""
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        loss = self.compute_loss(self.model, self._prepare_inputs(inputs))
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
        self.optimizer.step()
        return float(loss.detach())
