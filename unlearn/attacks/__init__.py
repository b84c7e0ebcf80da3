"""Lists the attacks on a finished run in the order in which they are run: outside first, then the weights.

ATTACKS maps a name to its Attack. Adding one is one file and one entry here. Worst first is how results are shown.
"""

from unlearn.attacks import dial, lens, paraphrase, prefix, probe, quantise, relearn
from unlearn.attacks.base import Attack, Found, Subject

ATTACKS: dict[str, Attack] = {
    module.ATTACK.name: module.ATTACK for module in (paraphrase, prefix, quantise, dial, relearn, probe, lens)
}

__all__ = ["ATTACKS", "Attack", "Found", "Subject"]
