"""Lists the attacks on a finished run in the order in which they are run: outside first, then the weights.

ATTACKS maps a name to its Attack. Adding one is one file and one entry here. Worst first is how results are shown.
CELLS are the settings that a sweep tries, the cheap and telling ones first, so that a short time is well spent.
"""

from unlearn.attacks import dial, lens, paraphrase, prefix, probe, quantise, relearn
from unlearn.attacks.base import Attack, Cell, Found, Subject
from unlearn.attacks.swept import ablate, affirm, draws, fewshot, formats, gptq, leak, mixed, nf4, practice

ATTACKS: dict[str, Attack] = {
    module.ATTACK.name: module.ATTACK for module in (paraphrase, prefix, quantise, dial, relearn, probe, lens)
}


def _one(attack: Attack, cost: float) -> Cell:
    """An attack that has one setting, as a cell of the sweep."""
    return Cell(attack, attack.title, "", cost)


# The attack "relearn" is left out: its setting is one of those in practice.py.
CELLS: tuple[Cell, ...] = (
    _one(prefix.ATTACK, 3),
    _one(paraphrase.ATTACK, 5),
    _one(dial.ATTACK, 10),
    *affirm.CELLS,
    *fewshot.CELLS,
    *leak.CELLS,
    *formats.CELLS,
    *mixed.CELLS,
    *practice.FIRST,
    _one(quantise.ATTACK, 6),
    *nf4.CELLS,
    _one(lens.ATTACK, 6),
    _one(probe.ATTACK, 6),
    *gptq.CELLS,
    *ablate.CELLS,
    *practice.REST,
    *draws.CELLS,
)

__all__ = ["ATTACKS", "CELLS", "Attack", "Cell", "Found", "Subject"]
