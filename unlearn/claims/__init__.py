"""Tests the papers' claims, one module for each claim. Adding one takes its file and its entry here."""

from unlearn.claims.a1 import A1
from unlearn.claims.a2 import A2
from unlearn.claims.a3 import A3
from unlearn.claims.a4 import A4
from unlearn.claims.a5 import A5
from unlearn.claims.b1 import B1
from unlearn.claims.b2 import B2
from unlearn.claims.b3 import B3
from unlearn.claims.b4 import B4
from unlearn.claims.b5 import B5
from unlearn.claims.base import Claim
from unlearn.claims.c1 import C1
from unlearn.claims.c2 import C2
from unlearn.claims.c3 import C3
from unlearn.claims.d1 import D1
from unlearn.claims.e1 import E1
from unlearn.claims.f1 import F1
from unlearn.claims.g1 import G1

CLAIMS: dict[str, Claim] = {
    claim.key: claim
    for claim in (
        *(A1(), A2(), A3(), A4(), A5()),
        *(B1(), B2(), B3(), B4(), B5()),
        *(C1(), C2(), C3()),
        *(D1(), E1(), F1(), G1()),
    )
}


def chosen(names: list[str]) -> list[Claim]:
    """Return the claims of these keys, in the order of the list.

    Without a key it returns all. ValueError names an unknown one.
    """
    wanted = {name.upper() for name in names}
    if unknown := sorted(wanted - set(CLAIMS)):
        raise ValueError(f"claims: must be among {', '.join(CLAIMS)}, got {', '.join(unknown)}.")
    return [claim for key, claim in CLAIMS.items() if not wanted or key in wanted]


__all__ = ["CLAIMS", "Claim", "chosen"]
