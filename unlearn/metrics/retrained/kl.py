"""Distance to retrain is the mean KL(p_retrain ‖ p_model) per answer token (Golatkar et al. 2020, arXiv
1911.04933).
"""

from unlearn.metrics.base import Comparison, Evidence, Scores, per_text

ROLES = ("forget", "paraphrase", "retain")


def measure(evidence: Evidence) -> Scores:
    """Return each model's distance to the retrained one. The retrained model has 0 by definition, and before
    shows how far there was to go.
    """
    if "retrained" not in evidence.models:
        return {}
    return per_text(evidence, ROLES, lambda when, role: list(evidence.divergence("retrained", when, role)))


KL = Comparison(
    name="kl_retrain",
    title="KL to retrain",
    help="Mean over texts of the mean over answer tokens of KL(p_retrain ‖ p_model), in nats.",
    ideal=0.0,
    measure=measure,
    needs="a retrained model",
    paper="Golatkar et al. 2020, arXiv 1911.04933",
    states=ROLES,
)
