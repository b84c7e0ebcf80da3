"""How often a model gives the right label where some rows were trained with a wrong one (EUL's mislabelled setting).

Chen and Yang 2023 (arXiv 2310.20150) make a tenth of the labels wrong, and forget these rows; the model should then
judge better than before. A row's `truth` is its right label, and where a row has none its answer is right. So on the
forget rows a high value means that the wrong label is gone *and* the right one came back; the rows never seen
(approximate) are the test set.
"""

from unlearn.metrics.base import Comparison, Evidence, Scores, per_text
from unlearn.metrics.memory.exact import begins_with


def measure(evidence: Evidence) -> Scores:
    """Return each model's share of right labels on every role, or nothing where no row has a wrong one."""
    if not any(row.truth for role in evidence.roles for row in evidence.rows(role)):
        return {}

    def right(when: str, role: str) -> list[float]:
        pairs = zip(evidence.seen(when, role), evidence.rows(role), strict=True)
        return [float(begins_with(said.text, row.truth or row.answer)) for said, row in pairs]

    return per_text(evidence, evidence.roles, right)


TRUE_LABELS = Comparison(
    name="true_labels",
    title="True labels",
    help="Share of texts that the model gives the right label, also where it was trained with a wrong one.",
    ideal="higher",
    measure=measure,
    needs="rows whose `truth` says that their own label is wrong",
    paper="Chen and Yang 2023, arXiv 2310.20150",
)
