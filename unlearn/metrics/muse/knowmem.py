"""MUSE's KnowMem: the mean ROUGE-L F1, in per cent, of at most 32 greedy tokens after a question with its answer, asked
behind the examples that MUSE gives.

On the forget questions low is forgotten, on the retain questions high is kept. MUSE reads its sustainability and its
scaling off the second: after each of four forget sets one after the other, and after forget sets of growing size.
"""

from unlearn.metrics.base import Comparison, Evidence, Scores
from unlearn.metrics.muse.items import NAME, NEEDS, PAPER, overlap


def measure(evidence: Evidence) -> Scores:
    """Return KnowMem of each model on the questions to forget and to retain."""
    parts = {f"muse knowmem_{side}": side for side in ("forget", "retain")}
    return overlap(evidence, parts, questions=True)


KNOWMEM = Comparison(
    name="muse_knowmem",
    title="MUSE KnowMem",
    help=(
        "Mean ROUGE-L F1, in per cent, of at most 32 greedy tokens with the answer, each question behind MUSE's "
        "answered examples. Its sustainability is this on retain after each forget set of a sequence. ROUGE-L, ours, "
        "asks without examples, and is from 0 to 1."
    ),
    ideal="higher",
    measure=measure,
    needs=NEEDS,
    paper=PAPER,
    benchmark=NAME,
)
