"""Entity loss is the mean NLL of the entity tokens of the forget texts (after EUL, arXiv 2310.20150, §4.1).

EUL masks entities and reads a T5's loss on them; a causal model reads its NLL on the same tokens given what stands
before them. Higher after unlearning means that the entities can no longer be filled in.
"""

from unlearn.metrics.base import Comparison, Evidence, Scores, mean, per_text


def measure(evidence: Evidence) -> Scores:
    """Return the entity loss of each model on the forget texts."""

    def values(when: str, role: str) -> list[float | None]:
        found: list[float | None] = []
        for o, flags in zip(evidence.seen(when, role), evidence.entities(role), strict=True):
            losses = [-token["lp"] for token, hit in zip(o.tokens, flags, strict=True) if hit]
            found.append(mean(losses) if losses else None)
        return found

    return per_text(evidence, ("forget",), values)


ENTITY_LOSS = Comparison(
    name="entity_loss",
    title="Entity loss",
    help="Mean over forget texts of the mean NLL, in nats, of the tokens that lie in an entity of the answer.",
    ideal="lower",
    measure=measure,
    needs="forget rows with marked entities",
    paper="Chen and Yang 2023, arXiv 2310.20150",
)
