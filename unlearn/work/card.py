"""Keeps the model card in a run's folder up to date: it is written when the run ends, and after each attack."""

from unlearn.report import card
from unlearn.store.runs import Run
from unlearn.work.phases import reason


def write_card(run: Run) -> None:
    """Write the run's model card into its folder. A run does not fail because of its card."""
    try:
        card.write(run, run.path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        run.append("note", text=f"The model card could not be written: {reason(error)}")
