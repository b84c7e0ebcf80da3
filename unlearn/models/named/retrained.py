"""Finds the model that was trained like another one, without exactly the rows that a run is to forget."""

from pathlib import Path

from unlearn.models import hub
from unlearn.models.entries import entry_of
from unlearn.store.config import RunConfig


def exact_retrain(config: RunConfig) -> str | Path | None:
    """Return the model that was trained like the config's, without exactly the rows to forget: a name or a folder.
    The result is None where there is none.

    It is the one that the person gives. Else a bundled model has one for all rows of its own dataset, and a published
    one may have it at the hub, which counts where it is on this machine. The dataset must be asked for by its name: a
    file that is called like it holds other rows, and a part of the requests leaves rows in that the retrained model
    never saw.
    """
    if config.retrained:
        return config.retrained
    entry = entry_of(config.model)
    asked = {key: value for key, value in config.data.items() if value not in (None, "", [], ())}
    asked.pop("hub_folder", None)
    if entry is None or set(asked) != {"name"}:
        return None
    if entry.retrain is not None:
        return entry.retrain() if asked["name"] == entry.data and entry.name == config.model else None
    # A copy in a folder may hold other rows than those that were left out here.
    if asked["name"] in entry.retrained and not config.data.get("hub_folder"):
        here = entry.retrained[str(asked["name"])]()
        return here if (here / "config.json").is_file() else None
    published = entry.retrains.get(str(asked["name"]))
    return hub.snapshot_here(published) if published else None
