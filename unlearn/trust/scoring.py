"""Reads every metric of the product on one model of a world, beside the world's own original and exact retrain."""

from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.attacks import ATTACKS, Subject
from unlearn.attacks.base import mean_or_zero
from unlearn.compute.lazy import lm
from unlearn.measure.evaluate import rows_to_score
from unlearn.measure.evidence import ModelEvidence
from unlearn.measure.reader import Reader
from unlearn.metrics import METRICS
from unlearn.metrics.base import Scores
from unlearn.trust.world import World

if TYPE_CHECKING:
    from unlearn.data.base import Row
    from unlearn.models.load import Loaded

# A metric says something of the forget texts in one of these roles, the first that it has.
ROLES = ("forget", "paraphrase")
# Attacks that only read a model: what Stress shows of them is a number as well.
READING = ("paraphrase", "prefix", "probe", "lens")
# What calls itself a picture is not tested as a metric.
PICTURES = ("drift",)
MAX_LENGTH = 256


def scores(world: World, name: str, loaded: "Loaded", folder: Path) -> dict[str, float]:
    """Return {metric or attack: its value on the forget texts}. One that does not apply is absent.

    name: says which model of the world it is. folder: keeps what was read of the original and of the retrain.
    """
    sides = {"before": world.full, "after": loaded, "retrained": world.retrained}
    names = {when: f"world {world.seed}, {when}" for when in sides} | {"after": f"{world.seed}, {name}"}
    evidence = ModelEvidence(
        rows_to_score(world.data),
        sides.__getitem__,
        names,
        data_hash=world.data.hash(),
        max_length=MAX_LENGTH,
        store=folder,
    )
    evidence.keeps = {role for metric in METRICS.values() for role in metric.states}
    read = {name: metric.measure(evidence) for name, metric in METRICS.items() if name not in PICTURES}
    found = {name: value(scores) for name, scores in read.items()}
    joined = read["aggregate"]
    for part in ("memory", "privacy"):
        found[f"aggregate {part}"] = joined["after", part].value if ("after", part) in joined else None
    subject = Subject(world.data, sides.__getitem__, tuple(sides), max_length=MAX_LENGTH)
    for attack in READING:
        try:
            got = ATTACKS[attack].run(subject)
        except ValueError:
            # These texts do not allow it, as they would not in a run.
            got = None
        found[f"attack {attack}"] = mean_or_zero(got.values["after"]) if got else None
    return {name: number for name, number in found.items() if number is not None}


def value(found: Scores) -> float | None:
    """Return what a metric says of the model's forget texts. It is None where it says nothing of them."""
    return next((found["after", role].value for role in ROLES if ("after", role) in found), None)


def known(loaded: "Loaded", rows: "tuple[Row, ...]") -> float:
    """Return the share of the answer tokens of these rows that are the model's first choice, the mean over rows."""

    def hits(answers: lm.Answers) -> list[float]:
        right = (lm.nll_and_best(answers)[1] == answers.labels).float()
        return (answers.row_sum(right) / answers.row_count).tolist()

    reader = Reader({"it": loaded}.__getitem__, MAX_LENGTH, _quiet)
    return mean_or_zero(reader.read("it", reader.encode("it", rows), hits))


def _quiet(phrase: str, fraction: float) -> None:
    """Tell nobody how far a reading is."""
