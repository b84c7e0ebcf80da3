"""Fine-tuning on retain: the baseline of EUL (Chen & Yang 2023, §4.1) and of Yao et al. 2024.

    L = NLL(R)

Keep practising what should stay and hope that the rest fades: the control that every method must beat.
"""

from dataclasses import dataclass

from unlearn.compute.lazy import Model, Tensor, lm
from unlearn.compute.tokens import Batch
from unlearn.methods.base import CHAT_MODELS, SIZES, RetainMethod, knob
from unlearn.training.reference import Reference

# The bundled model at whose rate tiny models relearn.
GENTLE = "tiny-authors"


@dataclass(frozen=True, kw_only=True)
class FineTune(RetainMethod):
    """The method that trains on the retain texts alone."""

    name = "finetune"

    retain_weight: float = knob(1.0, 0.01, 100.0, "α: scale of the loss.", advanced=True)

    @classmethod
    def practice_lr(cls, size: str, tuning: str) -> float:
        """Return the rate that teaches texts and leaves others alone, for who relearns: no rate that forgets."""
        return float(cls.settings(size, tuning, GENTLE if size == SIZES[0] else "")["lr"])

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        (retain,) = lm.forward(model, batch.retain)
        return {"retain": self.retain_weight * retain.mean_nll()}

    @property
    def uses_forget(self) -> bool:
        """Return whether a batch needs forget texts."""
        return False

    title = "Fine-tune on retain"
    paper = "baseline of Chen & Yang 2023, arXiv 2310.20150"
    sentence = "Practises only what should stay, and hopes that the rest fades."
    formula = r"L = \mathrm{NLL}(R)"
    when = "As the control: what practice on the rest forgets by itself."
    cost = "A plain fine-tuning step over the texts to keep."
    risk = (
        "At a gentle rate it forgets next to nothing: SmolLM2 gave 91 % of the capitals in each of three formats. "
        "At six times the rate a tiny chat model unlearns whatever it does not practise: five of other facts gave no "
        "answer to forget and 96 to 100 % of the others, and nothing held what else they knew. A control, not a remedy."
    )
    forget_terms = ()
    origins = {
        "tiny": CHAT_MODELS,
        "large": (
            "Chen & Yang 2023, §4.4 (T5-3B); batch by analogy; LoRA's rate from the code of Maini et al. 2024; "
            "not measured here"
        ),
    }
    tuned = {
        "tiny": {"epochs": 8, "batch_size": 16},
        ("tiny", "full"): {"lr": 3e-3, "epochs": 16},
        ("bundled", "full"): {"lr": 5e-4, "epochs": 8},
        ("tiny", "lora"): {"lr": 5e-3},
        "small": {"lr": 2e-4, "epochs": 5, "batch_size": 8},
        "large": {"lr": 5e-5, "epochs": 5, "batch_size": 16},
        ("large", "lora"): {"lr": 1e-4},
    }
