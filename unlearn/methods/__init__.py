"""This room holds the methods, in teaching order. A new one needs its file, its entry here and its golden
test.
"""

from unlearn.methods.answer.adversarial import AdversarialLabels
from unlearn.methods.answer.altpo import AltPO
from unlearn.methods.answer.ceu import CEU
from unlearn.methods.answer.idkap import IdkAP
from unlearn.methods.answer.idkdpo import IdkDPO
from unlearn.methods.answer.me import MaximumEntropy
from unlearn.methods.answer.pdu import PDU
from unlearn.methods.answer.random_labels import RandomLabels
from unlearn.methods.answer.undial import UnDIAL
from unlearn.methods.answer.whp import WhosHarryPotter
from unlearn.methods.base import Knob, Method, RetainMethod, check, knob
from unlearn.methods.decode.contrastive import ContrastiveDecoding
from unlearn.methods.decode.dp import DPDecoding
from unlearn.methods.edit.eul import EUL
from unlearn.methods.edit.mend import MEND
from unlearn.methods.edit.repselect import RepSelect
from unlearn.methods.edit.rmu import RMU
from unlearn.methods.edit.taskvector import TaskVector
from unlearn.methods.edit.undo import UNDO
from unlearn.methods.push.ga import GradientAscent
from unlearn.methods.push.gd import GradientDifference
from unlearn.methods.push.kl import AscentKL
from unlearn.methods.push.npo import NPO
from unlearn.methods.push.satimp import SatImp
from unlearn.methods.push.simnpo import SimNPO
from unlearn.methods.push.wga import WeightedAscent
from unlearn.methods.references.finetune import FineTune
from unlearn.methods.references.retrain import Retrain
from unlearn.methods.references.sisa import SISA

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        GradientAscent,
        RandomLabels,
        AdversarialLabels,
        GradientDifference,
        AscentKL,
        UnDIAL,
        NPO,
        SimNPO,
        IdkDPO,
        IdkAP,
        AltPO,
        MaximumEntropy,
        WeightedAscent,
        SatImp,
        CEU,
        PDU,
        RMU,
        RepSelect,
        TaskVector,
        WhosHarryPotter,
        EUL,
        MEND,
        FineTune,
        Retrain,
        SISA,
    )
}

# Methods that change how the next token is chosen, and no weight.
DECODING: dict[str, type[Method]] = {
    DPDecoding.name: DPDecoding,
    ContrastiveDecoding.name: ContrastiveDecoding,
}
# What a person can choose.
OFFERED = METHODS | DECODING

# Steps after a finished run, which are no choice of their own.
AFTER: dict[str, type[Method]] = {UNDO.name: UNDO}

# The folders of the methods, in teaching order, with what the methods of each do to what is to be forgotten.
FAMILIES = {
    "push": "push away",
    "answer": "give another answer",
    "edit": "edit weights or states",
    "decode": "change the decoding alone",
    "references": "references",
}


def family_of(method: type[Method]) -> str:
    """Return the key in FAMILIES of the folder that the method's file lies in."""
    return method.__module__.split(".")[-2]


def method_named(name: str) -> type[Method]:
    """Return the method class of this name. ValueError, with the known names, for an unknown one."""
    if name in AFTER:
        return AFTER[name]
    if name not in OFFERED:
        raise ValueError(f"method: must be among {', '.join(OFFERED)}, got {name!r}.")
    return OFFERED[name]


__all__ = [
    "AFTER",
    "DECODING",
    "FAMILIES",
    "METHODS",
    "OFFERED",
    "Knob",
    "Method",
    "RetainMethod",
    "check",
    "family_of",
    "knob",
    "method_named",
]
