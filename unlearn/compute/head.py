"""The output head turns hidden states into logits, and its losses hold few of them in memory.

Vocabulary-wide tensors are what costs memory and, on a CPU, time: autograd would keep the logits, their log-softmax
and both gradients. All losses here are a cross-entropy -Σ q log p against some target q, whose gradient in the logits
is p - q, so one buffer is enough and it is overwritten in place. Under an adapter the head does not move: the gradient
of the states is then taken in the forward pass already and no logits outlive their chunk. With a head that moves,
p - q is kept where there is memory for it and computed again in the backward pass where there is not
(unlearn/compute/chunks.py).

Obsolete for hard labels where torch's F.linear_cross_entropy is as fast (bench/upstream measures both).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unlearn.compute import kernels, private, products
from unlearn.compute.chunks import chunk, keeps
from unlearn.compute.lazy import Model
from unlearn.compute.protocols import Context

# A CPU works on this many logits together, so that they stay in its cache.
BLOCK = 2**18
# Different configs have different names for the cap.
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
# A function of labels [n] and others [n, …] that returns target logits [n, V].
Target = Callable[..., Tensor]


@dataclass(frozen=True)
class Head:
    """A function from hidden states [n, d] to float32 logits [n, V], with the scaling and capping of the
    config.

    One is made for each forward pass: what it gathers is that pass's gradient of the matrix.
    """

    linear: Callable[[Tensor], Tensor]
    scale: float = 1.0
    cap: float | None = None

    @cached_property
    def gathered(self) -> "Gathered":
        """Return the head's matrix in the form that several losses of one pass share."""
        return Gathered(cast(nn.Linear, self.linear).weight)

    def __call__(self, hidden: Tensor) -> Tensor:
        return self._finished(self.linear(hidden))

    def in_blocks(self, hidden: Tensor) -> Iterator[Tensor]:
        """Yield the same logits a few tokens at a time: those of all are never made wide at once."""
        product = self.linear(hidden)
        for few in product.split(block(product)):
            yield self._finished(few)

    def _finished(self, product: Tensor) -> Tensor:
        logits = wide(product)
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


class Gathered:
    """The head's matrix for several losses of one pass, which share one buffer for their gradients.

    Autograd would make a [V, d] tensor for each loss and add them up. The node `matrix` comes between the
    losses and the weight, so that its gradient is complete before anything else adds to it: the first loss
    hands over the buffer, and the others add to it in place.
    """

    def __init__(self, weight: Tensor) -> None:
        self.matrix = (
            _Through.apply(weight, self) if weight.requires_grad and torch.is_grad_enabled() else weight
        )
        self.task: int | None = None
        self.buffer: Tensor | None = None
        # The hook is tried now, because a trial is not possible within a backward pass.
        private.backward_pass()

    def add(self, left: Tensor, right: Tensor) -> Tensor | None:
        """Add leftᵀ right, for left [n, V] and right [n, d], to the buffer.

        The first call of a backward pass returns the buffer as the gradient, and later calls return None.
        Where torch does not tell one backward pass from the next, each call returns its own gradient, and
        autograd adds them.
        """
        task = private.backward_pass()
        if task is None:
            return products.outer(left, right)
        if task == self.task and self.buffer is not None:
            self.buffer.addmm_(left.T, right)
            return None
        self.task, self.buffer = task, products.outer(left, right)
        return self.buffer


class _Through(torch.autograd.Function):
    """Its argument, with a node of its own in the graph; what was gathered goes on, and nobody else holds it."""

    @staticmethod
    def forward(ctx: Context, weight: Tensor, gathered: Gathered) -> Tensor:
        ctx.gathered = gathered
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, None]:
        ctx.gathered.buffer = None
        return grad, None


def wide(logits: Tensor) -> Tensor:
    """Return the logits in float32, or in float64 where they already are."""
    return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


def head_of(model: Model) -> Head:
    """Return the model's own head. models.load compares it with its logits once: an unknown kind is an error
    there.
    """
    return head_with(model.get_output_embeddings(), model.config)


def head_with(linear: Callable[[Tensor], Tensor], config: object) -> Head:
    """Return the head with a given linear map. A reference uses it for a frozen copy of the map under full
    fine-tuning.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    scale = (getattr(text, "logit_scale", None) or 1.0) / (getattr(text, "logits_scaling", None) or 1.0)
    caps = (getattr(text, name, None) for name in CAPS)
    return Head(linear, scale, next((cap for cap in caps if cap), None))


def fusible(head: Callable[[Tensor], Tensor]) -> TypeGuard[Head]:
    """Return whether cross_entropy() can work on the head's matrix directly. This needs a plain matrix on its
    device and logits that nothing changes.
    """
    if not isinstance(head, Head):
        return False
    linear = head.linear
    return (
        isinstance(linear, nn.Module)
        and products.is_plain(linear)
        and head.scale == 1.0
        and head.cap is None
        # The weights must not be moved to the device at each call, and no hook may change them.
        and not private.watched(linear)
    )


def cross_entropy(
    head: Head,
    hidden: Tensor,
    labels: Tensor,
    target: Target | None = None,
    others: Sequence[Tensor] = (),
    *,
    divergence: bool = False,
) -> Tensor:
    """Return the cross-entropy of each token [T] against its label or against a target.

    Without a target it is -log p(label). With target logits it is -Σ q log p over the vocabulary, q being
    their softmax. With divergence it is KL(q ‖ p), which is 0 where the two agree.
    """
    # fusible() has checked this before the call.
    plain = cast(nn.Linear, head.linear)
    bias = plain.bias
    if target is None and kernels.covers(hidden, plain.weight, bias):
        return kernels.frozen_cross_entropy(hidden, plain.weight, bias, labels)
    gathered = head.gathered
    weight = gathered.matrix
    graph = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (hidden, weight, bias))
    return _CrossEntropy.apply(
        hidden, weight, bias, labels, target, divergence, gathered if graph else None, *others
    )


def soft_cross_entropy(logits: Tensor, target_logits: Tensor, *, divergence: bool = False) -> Tensor:
    """Return the cross-entropy [n] of whole logits [n, V] against target logits, in a form that autograd can
    differentiate. It computes the same as cross_entropy().
    """
    log_q, log_p = target_logits.log_softmax(-1), logits.log_softmax(-1)
    return (log_q.exp() * (log_q - log_p if divergence else -log_p)).sum(-1)


class _CrossEntropy(torch.autograd.Function):
    """forward() leaves behind what backward() needs least work for; see the module's first lines."""

    @staticmethod
    def forward(
        ctx: Context,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        target: Target | None,
        divergence: bool,
        gathered: Gathered | None,
        *others: Tensor,
    ) -> Tensor:
        moves = gathered is not None and any(ctx.needs_input_grad[1:3])
        size, count = chunk(len(weight), hidden.device), len(labels)
        values = torch.empty(count, dtype=wide(hidden[:0]).dtype, device=hidden.device)
        slope = torch.empty_like(hidden) if gathered is not None and not moves else None
        keeping, kept = moves and keeps(count, len(weight), hidden.device), []
        ctx.target, ctx.divergence, ctx.gathered = target, divergence, gathered
        for at in range(0, count, size):
            here = slice(at, min(at + size, count))
            apart = products.linear(products.padded(hidden[here]), weight, bias)
            taught = None if target is None else target(labels[here], *(x[here] for x in others))
            learns = gathered is not None
            values[here] = _compare(apart[: here.stop - at], labels[here], taught, divergence, learns)
            if slope is not None:
                slope[here] = products.matmul(apart, weight)[: here.stop - at]
            elif keeping:
                kept.append(apart)
        ctx.kept, ctx.others, ctx.size = len(kept), len(others), size
        ctx.save_for_backward(hidden, weight, bias, labels, slope, *kept, *others)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels, slope, *rest = ctx.saved_tensors
        kept, others = rest[: ctx.kept], rest[ctx.kept :]
        none = (None,) * (4 + len(others))
        if slope is not None:
            return (slope * upstream[:, None].to(slope.dtype), None, None, *none)
        # Scaling the states [n, d] costs less than scaling p - q [n, V].
        scaled = hidden * upstream[:, None].to(hidden.dtype)
        down = torch.empty_like(hidden)
        of_weight = None
        of_bias = None if bias is None else torch.zeros_like(bias)
        for number, at in enumerate(range(0, len(labels), ctx.size)):
            here = slice(at, min(at + ctx.size, len(labels)))
            count = here.stop - at
            if kept:
                apart = kept[number]
            else:
                apart = products.linear(products.padded(hidden[here]), weight, bias)
                taught = None if ctx.target is None else ctx.target(labels[here], *(x[here] for x in others))
                _compare(apart[:count], labels[here], taught, ctx.divergence)
            down[here] = products.matmul(apart, weight)[:count]
            if ctx.needs_input_grad[1]:
                fresh = ctx.gathered.add(apart, products.padded(scaled[here]))
                of_weight = (
                    fresh if of_weight is None else of_weight if fresh is None else of_weight.add_(fresh)
                )
            if of_bias is not None:
                of_bias += apart[:count].T @ upstream[here].to(apart.dtype)
        return (down * upstream[:, None].to(down.dtype), of_weight, of_bias, *none)


def block(logits: Tensor) -> int:
    """Return how many rows of logits [n, V] are worked on together, so that a processor keeps them in its cache."""
    return max(1, len(logits) if logits.device.type != "cpu" else BLOCK // logits.shape[1])


def _compare(
    logits: Tensor, labels: Tensor, taught: Tensor | None, divergence: bool, learns: bool = True
) -> Tensor:
    """[n] the loss of each row in float32. Where somebody learns from it, logits [n, V] are overwritten with p - q, its
    gradient in them, which is computed in float32 and is then of their type.
    """
    size = block(logits)
    values = torch.empty(len(logits), dtype=wide(logits[:0]).dtype, device=logits.device)
    for at in range(0, len(logits), size):
        here = slice(at, at + size)
        # A few rows at a time are made wide, so that no other tensor of this size goes through the memory.
        own = wide(logits[here])
        lp = own.log_softmax(-1)
        if taught is None:
            label = labels[here, None]
            values[here] = -lp.gather(1, label)[:, 0]
            if learns:
                torch.exp(lp, out=own).scatter_add_(1, label, lp.new_full((1, 1), -1.0).expand(len(label), 1))
        else:
            lq = taught[here].log_softmax(-1)
            # What was read is written over: each new tensor of this size is another pass over the memory.
            q = lq.exp() if divergence else lq.exp_()
            if learns:
                torch.exp(lp, out=own).sub_(q)
            apart = lq.sub_(lp) if divergence else lp.neg_()
            values[here] = apart.mul_(q).sum(-1)
        if learns and own.dtype != logits.dtype:
            logits[here] = own
    return values
