"""Takes one step on the same texts in three ways: ours, the usual one (bench/beside/usual.py) and the floor.

The floor is a plain fine-tuning step on the same answer tokens, in our own code and so as cheap as we know to make it:
one forward pass over the same texts, one cross-entropy, one update. Ours and the floor multiply as
unlearn/compute/products.py does, the usual way as torch does by itself.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bench.beside.usual import IGNORE, UsualTrainer
from unlearn.compute.lm import forward
from unlearn.compute.products import adopt
from unlearn.compute.tokens import Batch, Example
from unlearn.methods import METHODS
from unlearn.models.load import add_lora
from unlearn.training.loop import MAX_GRAD_NORM, make_optimizer
from unlearn.training.reference import Reference

# Each shape: hidden size, layers, heads, key-value heads, feed-forward size.
SHAPES = {
    "toy": (64, 2, 4, 2, 128),
    "cpu": (256, 4, 4, 4, 688),
    "mid": (512, 8, 8, 8, 1376),
    "smollm2": (576, 30, 9, 3, 1536),
    "1b": (2048, 16, 32, 8, 8192),
    "8b": (4096, 32, 32, 8, 14336),
}
KNOBS = {
    "gd": {},
    "kl": {},
    "npo": {"beta": 0.1},
    "undial": {"gamma": 10.0, "retain_weight": 1.0},
}
LR = 1e-5
RANK = 8


@dataclass
class Way:
    """One way to take a step.

    step() takes one step and returns its loss. held() gives the tensors beside the model and its moments.
    """

    model: Any
    step: Callable[[], float]
    held: Callable[[], list[Any]] = lambda: []

    def beside(self) -> int:
        """Return the bytes that are held between steps and that plain fine-tuning does not need."""
        return sum(t.numel() * t.element_size() for t in self.held())


def make_model(size: str, vocabulary: int, device: str, tuning: str = "full") -> Any:
    """Return a randomly initialised Llama of this size, float32 on CPU and bfloat16 on cuda, with LoRA where
    asked.
    """
    hidden, layers, heads, kv, feed = SHAPES[size]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        intermediate_size=feed,
        max_position_embeddings=2048,
        tie_word_embeddings=size != "8b",
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device.startswith("cuda") else torch.float32)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    return model if tuning == "full" else add_lora(model, rank=RANK, alpha=2.0 * RANK, seed=0)


def make_texts(
    count: int, lengths: tuple[int, int], vocabulary: int, seed: int, answer: float = 1 / 3
) -> list[Example]:
    """Return random texts whose last third, or another share of it, is the answer."""
    rng = random.Random(seed)
    texts = []
    for key in range(count):
        length = rng.randint(*lengths)
        ids = [rng.randrange(3, vocabulary) for _ in range(length)]
        prompt = length - int(length * answer)
        texts.append(Example(tuple(ids), tuple([IGNORE] * prompt + ids[prompt:]), seed * 1000 + key))
    return texts


def ours(name: str, model: Any, batch: Batch) -> Way:
    """Return our step, with the reference read before."""
    method = METHODS[name](**KNOBS[name])
    ref = Reference(
        model, head_moves=any(p.requires_grad for p in model.get_output_embeddings().parameters())
    )
    for side, kind in method.needs_ref.items():
        ref.prepare(model, kind, [getattr(batch, side)])
    step = stepper(adopt(model), lambda: torch.stack(list(method.loss(model, ref, batch).values())).sum())
    return Way(model, step, ref.tensors)


def floor(name: str, model: Any, batch: Batch) -> Way:
    """Return plain fine-tuning on the same texts and the same answer tokens."""

    def loss() -> Any:
        forget, retain = forward(model, batch.forget, batch.retain)
        return forget.mean_nll() + retain.mean_nll()

    return Way(model, stepper(adopt(model), loss))


def stepper(model: Any, loss: Callable[[], Any]) -> Callable[[], float]:
    """Return a function that takes one step as train.fit does: forward, backward, clip, update."""
    optimizer = make_optimizer(model, LR)
    moving = [p for p in model.parameters() if p.requires_grad]

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(moving, MAX_GRAD_NORM)
        optimizer.step()
        return float(value.detach())

    return step


def usual(name: str, model: Any, batch: Batch, folder: str) -> Way:
    """Return the step of bench.usual on the same texts."""
    trainer = UsualTrainer(name, model, folder, LR)

    def inputs(tokens: Any) -> dict[str, Any]:
        return {
            "input_ids": tokens.input_ids,
            "attention_mask": tokens.attention_mask,
            "labels": tokens.labels,
        }

    sides = {"forget": inputs(batch.forget), "retain": inputs(batch.retain)}
    return Way(
        model,
        lambda: trainer.take_step(sides),
        lambda: [] if trainer.ref is None else [*trainer.ref.parameters()],
    )
