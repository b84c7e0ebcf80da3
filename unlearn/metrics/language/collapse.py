"""The collapse flag is set when a model repeats itself or finds general text unlikely. The limits are REP_3 >
0.5 and general PPL > 2 × the original's, and a number that is not finite sets it too.

Read on the general role (retain where there is none): a model that babbles about what it forgot has not
collapsed, one that babbles about everything else has. General texts that the original itself finds all but impossible
tell nothing of that, and retain is read in their place: TOFU's bare answers ("Canberra") have a perplexity of 10^5 to a
model that was taught to answer in sentences.
"""

import math
from collections.abc import Mapping

from unlearn.metrics.base import Comparison, Evidence, Score, Scores, mean
from unlearn.metrics.language.repetition import repetition
from unlearn.metrics.memory.nll import text_nll
from unlearn.metrics.memory.perplexity import exp_mean

MAX_REP_3, MAX_PPL_RATIO = 0.5, 2.0
# The roles that tell of ruin, the first one before the second.
ROLES = ("general", "retain")
# What the original finds more perplexing it does not say in this form; its changes are no losses of language.
LEGIBLE = 1000.0


def legible(original: Mapping[str, float]) -> list[str]:
    """Return the roles without those whose texts the original does not say. These are all where it says none.

    original: {role: PPL of the original model}; a PPL that is nan takes no role out.
    """
    return [role for role, ppl in original.items() if not ppl > LEGIBLE] or list(original)


def telling(original: Mapping[str, float]) -> str:
    """Return the role whose texts tell whether a model is ruined: general, else retain.

    original: {role: PPL of the original model}. A role that it finds above LEGIBLE counts only where the other one is
    missing or no better. The result is empty where there is neither.
    """
    known = [role for role in ROLES if role in original]
    return next((role for role in known if original[role] <= LEGIBLE), next(iter(known), ""))


def reasons(rep_3: float | None, ppl: float, original: float, role: str = "general") -> tuple[str, ...]:
    """Return the reasons why a model counts as collapsed, in sentences. The result is empty when it does not.

    role: whose texts these are.
    """
    found = []
    if rep_3 is not None and rep_3 > MAX_REP_3:
        found.append(f"continuations repeat themselves: REP 3 is {rep_3:.2f}, above {MAX_REP_3}")
    if not math.isfinite(ppl):
        found.append("the perplexity is not finite")
    elif ppl > MAX_PPL_RATIO * original:
        found.append(f"{role} perplexity is {ppl:.3g}, more than {MAX_PPL_RATIO:g} × {original:.3g}")
    return tuple(found)


def measure(evidence: Evidence) -> Scores:
    """Return 1 for a model that has collapsed and 0 for another, with the reasons in details."""
    if "before" not in evidence.models:
        return {}
    found = [role for role in ROLES if role in evidence.roles]
    role = telling({role: exp_mean([text_nll(o) for o in evidence.seen("before", role)]) for role in found})
    if not role:
        return {}
    nlls = {when: tuple(text_nll(o) for o in evidence.seen(when, role)) for when in evidence.models}
    original = exp_mean(nlls["before"])
    scores: Scores = {}
    for when, values in nlls.items():
        repeats = [r for t in evidence.generated(when, role) if (r := repetition(t, 3)) is not None]
        rep_3, ppl = mean(repeats) if repeats else None, exp_mean(values)
        why = reasons(rep_3, ppl, original, role)
        details = {"reasons": why, "rep_3": rep_3, "ppl": ppl, "original_ppl": original}
        scores[when, role] = Score(float(bool(why)), values, len(values), details)
    return scores


COLLAPSE = Comparison(
    name="collapse",
    title="Collapsed",
    help=(
        "1 where REP 3 > 0.5, general perplexity > 2 × the original's, or a value is not finite; else 0. Read on "
        f"retain where there is no general text or the original's perplexity on it is above {LEGIBLE:,.0f}."
    ),
    ideal=0.0,
    measure=measure,
    needs="a general or retain role",
    # The first read general texts that the original never says, too.
    revision=2,
)
