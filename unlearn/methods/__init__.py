"""The methods, in teaching order. Adding one takes its file, its entry here and its golden test."""

from unlearn.methods.adversarial import AdversarialLabels
from unlearn.methods.base import Knob, Method, RetainMethod, check, knob
from unlearn.methods.ceu import CEU
from unlearn.methods.eul import EUL
from unlearn.methods.finetune import FineTune
from unlearn.methods.ga import GradientAscent
from unlearn.methods.gd import GradientDifference
from unlearn.methods.idkdpo import IdkDPO
from unlearn.methods.kl import AscentKL
from unlearn.methods.npo import NPO
from unlearn.methods.pdu import PDU
from unlearn.methods.random_labels import RandomLabels
from unlearn.methods.retrain import Retrain
from unlearn.methods.rmu import RMU
from unlearn.methods.satimp import SatImp
from unlearn.methods.simnpo import SimNPO
from unlearn.methods.sisa import SISA
from unlearn.methods.taskvector import TaskVector
from unlearn.methods.undial import UnDIAL
from unlearn.methods.wga import WeightedAscent
from unlearn.methods.whp import WhosHarryPotter

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
        WeightedAscent,
        SatImp,
        CEU,
        PDU,
        RMU,
        TaskVector,
        WhosHarryPotter,
        EUL,
        FineTune,
        Retrain,
        SISA,
    )
}


def method_named(name: str) -> type[Method]:
    """ValueError for an unknown name, with the known ones."""
    if name not in METHODS:
        raise ValueError(f"method: must be among {', '.join(METHODS)}, got {name!r}.")
    return METHODS[name]


__all__ = ["METHODS", "Knob", "Method", "RetainMethod", "check", "knob", "method_named"]
