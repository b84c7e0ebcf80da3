"""This module shows what a method's loss does to the logits of one token. It runs the method's own loss() on
a real text, through autograd.

A stand-in takes the model's place: its hidden states are the logits and its output head is the identity, so
∂L/∂z stands in .grad after one backward pass. Nothing is derived a second time here, so that what the explorer
draws cannot differ from what a run does. The reference is the model as it was; "now" is the same text with the
label's logit lowered by a shift s, as if that much were forgotten already.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.compute.lm import forward
from unlearn.compute.tokens import IGNORE, Example, collate
from unlearn.data.base import Dataset, Row
from unlearn.methods.base import Method
from unlearn.models.load import Loaded
from unlearn.training.batches import Batches
from unlearn.training.encoding import encode_rows
from unlearn.training.reference import Reference

# Probabilities of the label at which a method is asked for its target.
ANCHORS = (0.9, 0.5, 0.1)
TOLERANCE = 2e-3


class Unfit(ValueError):
    """Signals a method whose gradient cannot be shown on one text's logits. The message is the reason, in a
    sentence.
    """


@dataclass(frozen=True)
class Scene:
    """One text with the model's logits [T, V] at its T answer tokens. row is None for a made-up text."""

    example: Example
    logits: Tensor
    row: Row | None = None

    @property
    def labels(self) -> tuple[int, ...]:
        """Return the T answer tokens of the text."""
        return tuple(label for label in self.example.labels if label != IGNORE)

    def shifted(self, shift: float, place: int | None = None) -> Tensor:
        """Return the logits [T, V] with the label's logit lowered by shift, at one answer token or (None) at
        all of them.
        """
        logits, labels = self.logits.clone(), torch.tensor(self.labels)
        places = torch.arange(len(labels)) if place is None else torch.tensor([place])
        logits[places, labels[places]] -= shift
        return logits


@dataclass(frozen=True)
class Stage:
    """The texts to look at, one text to keep (for methods that need one), and the model that reads other
    texts.

    read: token ids [L] → logits [L, V], for methods that bring texts of their own (another answer, say).
    """

    texts: tuple[Scene, ...]
    keep: Scene | None
    vocabulary: tuple[str, ...]
    tokenizer: Any = None
    read: Callable[[Tensor], Tensor] | None = None


@torch.no_grad()
def stage(loaded: Loaded, data: Dataset, limit: int = 40) -> Stage:
    """Return the model's logits at the answers of the first `limit` forget texts and of one text to keep."""
    forget = data.fit_rows("forget")[:limit]
    rows = [*forget, *data.fit_rows("retain")[:1]]
    scenes = []
    for row, example in zip(rows, encode_rows(loaded.tokenizer, rows, max_length=256), strict=True):
        (answers,) = forward(loaded.model, collate([example], loaded.pad_id).to(loaded.device))
        scenes.append(Scene(example, answers.head(answers.hidden).cpu(), row))
    size = scenes[0].logits.shape[1]
    names = loaded.tokenizer.batch_decode([[i] for i in range(min(size, len(loaded.tokenizer)))])
    names += ["(unused)"] * (size - len(names))
    keep = scenes[-1] if len(rows) > len(forget) else None

    @torch.no_grad()
    def read(ids: Tensor) -> Tensor:
        return loaded.model(input_ids=ids[None].to(loaded.device)).logits[0].float().cpu()

    return Stage(tuple(scenes[: len(forget)]), keep, tuple(names), loaded.tokenizer, read)


class _Config:
    """What lm.py asks of a model's config: nothing changes the logits, and there are no blocks to reach into."""

    @property
    def num_hidden_layers(self) -> int:
        raise Unfit("It works on hidden states inside the model and never looks at logits.")


class StandIn(nn.Module):
    """A model that replays the logits of a few texts. Its hidden states are these logits, and its output head
    does nothing.

    Any other text is read by the real model, frozen.
    """

    def __init__(self, scenes: Sequence[Scene], read: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.head, self.config, self.read = nn.Identity(), _Config(), read
        self.logits = nn.ParameterList([scene.logits.clone() for scene in scenes])
        self.known = {scene.example.input_ids: i for i, scene in enumerate(scenes)}
        self.places = [
            [t - 1 for t, label in enumerate(scene.example.labels) if label != IGNORE] for scene in scenes
        ]

    def get_output_embeddings(self) -> nn.Module:
        """Return the output head, which is the identity."""
        return self.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: object) -> Tensor:
        """Return the logits of each text as its hidden states."""
        states = torch.zeros(*input_ids.shape, self.logits[0].shape[1])
        for row, (ids, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
            ids = ids[mask.bool()]
            i = self.known.get(tuple(ids.tolist()))
            if i is not None:
                states[row, self.places[i]] = self.logits[i]
            elif self.read is not None:
                states[row, : len(ids)] = self.read(ids)
            else:
                raise Unfit("Its loss also reads another text than this one, in the same step.")
        return self.head(states)


class Explorer:
    """One method applied to one text of a stage. Unfit, with the reason, where its loss needs more than
    logits.

    The retain term is left out where its weight may be 0; else the stage's text to keep goes in beside, and
    only the forget side is looked at.
    """

    def __init__(self, method: Method, stage: Stage, text: int = 0) -> None:
        cls = type(method)
        if not method.uses_forget:
            raise Unfit("It never reads the text to forget, so nothing of it acts on this token.")
        if cls.loss is Method.loss:
            raise Unfit("It has no loss to differentiate: it changes the weights directly.")
        explorable = cls.unlearn is Method.unlearn if cls.explorable is None else cls.explorable
        if cls.explorable is False:
            raise Unfit(
                "Its loss also reads other answers to the same question, so this text alone does not tell it."
            )
        if not explorable:
            raise Unfit("It trains in phases of its own, so that no single gradient tells what it does.")
        self.method, self.scene, self.stage = alone(method), stage.texts[text], stage
        self.keep = stage.keep if self.method.retain_ratio > 0 else None
        keep = (self.keep.example,) if self.keep else ()
        stream = Batches((self.scene.example,), keep, 1, 1, 1.0, epochs=1, seed=0, pad_id=0, clock=1)
        (self.batch,) = stream.step(1)
        model = self._stand_in(self.scene)
        self.ref = Reference(model, head_moves=False)
        _tried(lambda: self.method.prepare(model, self.ref, stream, stage.tokenizer))
        self.push()

    def _stand_in(self, scene: Scene) -> StandIn:
        return StandIn([scene] if self.keep is None else [scene, self.keep], self.stage.read)

    def push(self, shift: float = 0.0, place: int | None = None) -> Tensor:
        """Return −∂L/∂z [T, V] at the answer tokens. It is positive where a step makes the token more likely.

        shift: taken off the label's logit at one answer token (place), or (None) at all of them.
        """
        now = dataclasses.replace(self.scene, logits=self.scene.shifted(shift, place))
        model = self._stand_in(now)
        _tried(
            lambda: torch.stack([*self.method.loss(model, self.ref, self.batch).values()]).sum().backward()
        )
        grad = model.logits[0].grad
        if grad is None:
            raise Unfit("Its loss does not depend on the logits of the text to forget.")
        if not torch.isfinite(grad).all():
            raise Unfit("Its gradient is not finite on this text.")
        return -grad

    def target(self, place: int) -> Tensor | None:
        """Return the distribution [V] towards which the loss pulls this token, or None where there is no
        fixed one.

        Cross-entropy against q has ∂L/∂z = c (p - q) with c > 0 and q at rest: so ask for the gradient at
        three probabilities of the label, solve for c and q, and accept them if all three agree.
        """
        label = self.scene.labels[place]
        shifts = [float(_log_odds(self.scene.logits[place], label) - _logit(a)) for a in ANCHORS]
        ps = [self.scene.shifted(s, place)[place].softmax(-1) for s in shifts]
        grads = [-self.push(s, place)[place] for s in shifts]
        apart = ps[0] - ps[-1]
        c = (grads[0] - grads[-1]) @ apart / (apart @ apart)
        if c <= TOLERANCE * max(float(g.abs().max()) for g in grads):
            return None
        found = torch.stack([p - g / c for p, g in zip(ps, grads, strict=True)])
        same = (found - found[0]).abs().max() < TOLERANCE
        return found.mean(0).clamp(min=0.0) if same and found.min() > -TOLERANCE else None

    def curve(self, place: int, shifts: Sequence[float], whole: bool = True) -> dict[str, list[float]]:
        """Return {"shift", "p", "push"}: the push on this token's label logit while the answer is forgotten."""
        label, where = self.scene.labels[place], None if whole else place
        ps = [float(self.scene.shifted(s, place)[place].softmax(-1)[label]) for s in shifts]
        pushes = [float(self.push(s, where)[place, label]) for s in shifts]
        return {"shift": list(shifts), "p": ps, "push": pushes}


def alone(method: Method) -> Method:
    """Return the method without its retain term, where that term may be switched off."""
    weight = next((k for k in method.knobs() if k.name == "retain_weight"), None)
    if weight is None or weight.low is None or weight.low > 0:
        return method
    return type(method).from_knobs(method.to_json() | {"retain_weight": 0.0})


def rest(scene: Scene, place: int, target: Tensor | None) -> tuple[float, float] | None:
    """Return (shift, probability) at which the label has reached its target, or None where the target is not
    inside (0, 1).
    """
    if target is None:
        return None
    label = scene.labels[place]
    goal = float(target[label])
    if not 1e-12 < goal < 1 - 1e-7:
        return None
    return float(_log_odds(scene.logits[place], label)) - _logit(goal), goal


def _log_odds(logits: Tensor, label: int) -> Tensor:
    """log p/(1-p) of the label, exact also where p is almost 1."""
    others = torch.cat([logits[:label], logits[label + 1 :]])
    return logits[label] - others.logsumexp(0)


def _logit(p: float) -> float:
    return float(torch.logit(torch.tensor(p, dtype=torch.float64)))


def _tried(work: Callable[[], object]) -> None:
    """Do it. Whatever a method asks of a real model and does not find here becomes the reason."""
    try:
        work()
    except Unfit:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:120]
        reason = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise Unfit(f"Its loss needs more of a model than logits ({reason}).") from error
