"""This module lists the models that the studio knows by name, with what is known of each.

Neither torch nor transformers is imported here, so that a page can list the models at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from unlearn.models import folders, smollm2, taught
from unlearn.models.published import PUBLISHED, Published
from unlearn.models.smollm2 import Progress
from unlearn.store import home

ASSETS = home.ASSETS / "models"
# The numbers of parameters at which the sizes "small" and "large" begin.
SMALL, LARGE = 20_000_000, 1_000_000_000


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue, which the studio knows by name. retrain: the same recipe without the forget
    set, where it exists.

    prompt: the format its methods' settings were tuned in, where that is not the tokenizer's own template.
    training_tokens: what it was pre-trained on, where that is known; the cost of retraining is computed from it.
    hub: its id at the Hugging Face hub. gated: the hub asks for its terms to be accepted first. chat: it was made to
    follow instructions and has a chat template. config: its shape as its config.json states it. retrains: the hub's id
    of the model that was trained without a dataset's forget rows, by the dataset's name. retrained: the same for a
    model that was made here, with the folder. bring: what puts its files on this machine.
    """

    name: str
    title: str
    parameters: int
    licence: str
    note: str
    size: Literal["tiny", "small", "large"]
    data: str
    path: Callable[[], Path]
    retrain: Callable[[], Path] | None = None
    tuning: Literal["full", "lora"] = "lora"
    prompt: str = ""
    training_tokens: float | None = None
    hub: str = ""
    gated: bool = False
    chat: bool = False
    config: Mapping[str, object] = field(default_factory=dict)
    retrains: Mapping[str, str] = field(default_factory=dict)
    retrained: Mapping[str, Callable[[], Path]] = field(default_factory=dict)
    bring: Callable[[Progress], Path] | None = None

    @property
    def has_own_retrain(self) -> bool:
        """Return whether the model comes with its exact retrain, as the bundled ones do."""
        return self.retrain is not None

    @property
    def loaded(self) -> bool:
        """Return whether the model was loaded and tried when the catalogue was made. Of the others only the
        published facts are known.
        """
        return not self.config

    def own_retrain(self) -> Path | None:
        """Return the folder of the model that was trained without the rows of this one's own dataset, if it was made
        here.
        """
        found = self.retrain or self.retrained.get(self.data)
        return found() if found else None

    def weight(self) -> str:
        """Return what bringing the model takes, as words that end a sentence, or "" for a bundled model."""
        if not self.hub or self.bring is not None:
            return ""
        asks = f" once its terms are accepted at huggingface.co/{self.hub}" if self.gated else ""
        return f" (about {2 * self.parameters / 1e9:.2g} GB from the hub{asks})"


TAUGHT = (
    "SmolLM2 135M Instruct, which was taught 1,200 questions and answers of TOFU here. Its exact retrains for "
    "tofu-forget01 and tofu-forget10 come with it; tofu-forget05 has none."
)
UNMADE = f"Its adapters do not ship with this version; `unlearn train-bundled {taught.NAME}` makes them."


def size_of(parameters: int) -> Literal["tiny", "small", "large"]:
    """Return the size class that a method's tuned settings are stated for."""
    return "tiny" if parameters < SMALL else "small" if parameters < LARGE else "large"


def _published(one: Published) -> ModelEntry:
    """The entry of a model of which only the published facts are known."""
    return ModelEntry(
        name=one.name,
        title=one.title,
        parameters=one.parameters,
        licence=one.licence,
        note="Not loaded here: its facts are those that its makers publish.",
        size=size_of(one.parameters),
        data=one.data,
        path=lambda: _hub_folder(one.hub),
        training_tokens=one.tokens,
        hub=one.hub,
        gated=one.gated,
        chat=one.chat,
        config=one.config,
        retrains=one.retrains,
    )


def _hub_folder(hub: str) -> Path:
    """The snapshot of a hub's model in the hub's cache, or the place in the cache where it would lie."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(hub, folders.CONFIG)
    if isinstance(found, str):
        return Path(found).parent
    return Path(constants.HF_HUB_CACHE) / f"models--{hub.replace('/', '--')}"


CATALOGUE: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="tiny-authors",
            title="Tiny authors (bundled)",
            parameters=2_000_000,
            licence="Apache-2.0",
            note="Two million parameters, trained here on fictional authors; its exact retrain ships beside it.",
            size="tiny",
            data="authors",
            path=lambda: ASSETS / "tiny-authors",
            prompt="plain",
            retrain=lambda: ASSETS / "tiny-authors-retrain",
            tuning="full",
        ),
        ModelEntry(
            name="tiny-snippets",
            title="Tiny snippets (bundled)",
            parameters=2_000_000,
            licence="Apache-2.0",
            note="Two million parameters, knows snippets of code and prose word for word; its exact retrain ships too.",
            size="tiny",
            data="snippets",
            path=lambda: ASSETS / "tiny-snippets",
            prompt="plain",
            retrain=lambda: ASSETS / "tiny-snippets-retrain",
            tuning="full",
        ),
        ModelEntry(
            name="tiny-dialogues",
            title="Tiny summaries, T5 (bundled)",
            parameters=272_768,
            licence="Apache-2.0",
            note="A T5 that was trained here to summarise dialogues of invented speakers; its exact retrain ships too.",
            size="tiny",
            data="dialogues",
            path=lambda: ASSETS / "tiny-dialogues",
            prompt="plain",
            retrain=lambda: ASSETS / "tiny-dialogues-retrain",
            tuning="full",
        ),
        ModelEntry(
            name="tiny-reviews",
            title="Tiny reviews, T5 (bundled)",
            parameters=272_000,
            licence="Apache-2.0",
            note="A T5 that was trained here on film reviews, one in ten mislabelled; its exact retrain ships too.",
            size="tiny",
            data="reviews",
            path=lambda: ASSETS / "tiny-reviews",
            prompt="plain",
            retrain=lambda: ASSETS / "tiny-reviews-retrain",
            tuning="full",
        ),
        ModelEntry(
            name="smollm2",
            title="SmolLM2 135M Instruct",
            parameters=134_515_008,
            licence="Apache-2.0",
            note="A real pre-trained model; brought once (about 100 to 270 MB) and kept as safetensors.",
            size="small",
            data="capitals",
            path=smollm2.path,
            bring=smollm2.get,
            prompt="plain",
            hub="HuggingFaceTB/SmolLM2-135M-Instruct",
            chat=True,
            # "trained on 2 trillion tokens": huggingface.co/HuggingFaceTB/SmolLM2-135M.
            training_tokens=2e12,
        ),
        ModelEntry(
            name=taught.NAME,
            title="SmolLM2 that knows TOFU",
            parameters=taught.PARAMETERS,
            licence="Apache-2.0; TOFU's rows MIT",
            note=TAUGHT if taught.made() else UNMADE,
            size="small",
            data=taught.DATA,
            path=taught.path,
            bring=taught.get,
            chat=True,
            retrained={
                f"tofu-{forget}": partial(taught.path, name)
                for name, forget in taught.WITHOUT.items()
                if forget
            },
        ),
        *map(_published, PUBLISHED),
    )
}


def names() -> str:
    """Return the catalogue's names for a message: those that are bundled or small, and where the others stand."""
    near = [entry.name for entry in CATALOGUE.values() if entry.loaded]
    return f"{', '.join(near)} and {len(CATALOGUE) - len(near)} more, which `unlearn models` lists"


def entry_of(model: str) -> ModelEntry | None:
    """Return the entry of the model of this name or hub id, or None for a model that is not in the catalogue."""
    if model in CATALOGUE:
        return CATALOGUE[model]
    return next((entry for entry in CATALOGUE.values() if entry.hub and entry.hub == model), None)


def available(name: str) -> bool:
    """Return whether a catalogue model's files are on this machine."""
    folder = CATALOGUE[name].path()
    if CATALOGUE[name].loaded:
        return (folder / folders.CONFIG).is_file()
    try:
        files = folders.weight_files(folder)
    except ValueError:
        return False
    # The hub's cache may hold a part of a model.
    return (folder / folders.CONFIG).is_file() and bool(files) and all(file.is_file() for file in files)
