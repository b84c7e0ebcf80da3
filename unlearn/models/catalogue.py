"""This module finds a model in the catalogue, a folder or the hub, and checks it before loading.

Neither torch nor transformers is imported here, so that a page can list the catalogue at once. Weights come from
safetensors only, and a repository's own code is never run.
"""

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from unlearn.store import home
from unlearn.store.allowed import allowed_path
from unlearn.store.config import RunConfig, formats_of
from unlearn.store.disk import cache_dir
from unlearn.store.shapes import MAX_HEADER

ASSETS = home.ASSETS / "models"
HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
HUB_SECONDS = 5.0
# The numbers of parameters at which the sizes "small" and "large" begin.
SMALL, LARGE = 20_000_000, 1_000_000_000


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue, which the studio knows by name. retrain: the same recipe without the forget
    set, where it exists.

    prompt: the format its methods' settings were tuned in, where that is not the tokenizer's own template.
    training_tokens: what it was pre-trained on, where that is known; the cost of retraining is computed from it.
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


def _smollm2_path() -> Path:
    return cache_dir() / "smollm2-135m-instruct"


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
            retrain=lambda: ASSETS / "tiny-snippets-retrain",
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
            path=_smollm2_path,
            prompt="plain",
            # "trained on 2 trillion tokens": huggingface.co/HuggingFaceTB/SmolLM2-135M.
            training_tokens=2e12,
        ),
    )
}


def exact_retrain(config: RunConfig) -> Path | None:
    """Return the folder of the model that was trained like the config's, without exactly the rows to forget.
    The result is None where there is none.

    A bundled model has one for all rows of its own dataset. The dataset must be asked for by its name: a file that is
    called like it holds other rows, and a part of the requests leaves rows in that the retrained model never saw.
    """
    entry = CATALOGUE.get(config.model)
    if entry is None or entry.retrain is None:
        return None
    asked = {key: value for key, value in config.data.items() if value not in (None, "", [], ())}
    return entry.retrain() if asked == {"name": entry.data} else None


def default_prompt(model: str) -> str:
    """Return the prompt format of a run that names none: chat where the tokenizer's files hold a template,
    else plain.

    A model of the hub that is not on this machine yet counts as one without.
    """
    entry = CATALOGUE.get(model)
    if entry is not None and entry.prompt:
        return entry.prompt
    where = entry.path() if entry is not None else as_folder(model)
    return "chat" if any(map(_holds_template, _tokenizer_files(model, where))) else "plain"


def check_prompt(config: RunConfig) -> None:
    """Raise ValueError for a chat without a template in the model's files, or a system prompt without a chat."""
    if config.system and "chat" not in formats_of(config.prompt):
        raise ValueError(
            f"system: a system prompt stands above a chat, and the format is {config.prompt}; choose --prompt chat, or "
            "leave it out."
        )
    entry = CATALOGUE.get(config.model)
    files = _tokenizer_files(config.model, entry.path() if entry is not None else as_folder(config.model))
    if "chat" in formats_of(config.prompt) and files and not any(map(_holds_template, files)):
        raise ValueError(
            f"prompt: the tokenizer of {config.model} has no chat template; choose --prompt plain or completion, "
            "or give the instruct version of the model."
        )


def _tokenizer_files(model: str, folder: Path | None) -> list[Path]:
    """The files that may hold a chat template: in the folder, else in the hub's cache."""
    names = ("chat_template.jinja", "tokenizer_config.json")
    if folder is not None:
        return [path for name in names if (path := folder / name).is_file()]
    if not HUB_ID.fullmatch(model):
        return []
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(model, name) for name in names]
    return [Path(path) for path in found if isinstance(path, str)]


def _holds_template(path: Path) -> bool:
    if path.suffix == ".jinja":
        return True
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def available(name: str) -> bool:
    """Return whether a catalogue model's files are on this machine."""
    return (CATALOGUE[name].path() / "config.json").is_file()


def source_of(name: str) -> str | Path:
    """Return what transformers loads for a catalogue name, a local folder or a hub id.

    ValueError names the rule and remedy: unknown model, not brought yet, no config, pickle-only weights.
    """
    if name in CATALOGUE:
        if not available(name):
            raise ValueError(
                f"model: {name} is not on this machine yet; `python -m unlearn get {name}` brings it."
            )
        return CATALOGUE[name].path()
    if folder := as_folder(name):
        return _checked_folder(folder)
    if looks_like_path(name):
        raise ValueError(
            f"model: there is no folder {name}; give a folder with config.json and *.safetensors."
        )
    if not HUB_ID.fullmatch(name):
        raise ValueError(
            f"model: {name[:100]!r} is neither a known model ({', '.join(CATALOGUE)}), a folder nor a hub id "
            "(owner/name)."
        )
    return name


def as_folder(name: str) -> Path | None:
    """Return the folder that the name means, if it exists and no catalogue model has that name."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        folder = Path(name).expanduser()
        if name not in CATALOGUE and folder.is_dir():
            return folder
    return None


def looks_like_path(name: str) -> bool:
    """Return whether the name can only mean a folder, because no catalogue name or hub id looks like it."""
    return name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1


def _checked_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"model: folder {folder} has no config.json; give the folder that save_pretrained wrote."
        )
    if not any(folder.glob("*.safetensors")):
        pickles = [p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern)]
        found = (
            f"only pickled weights ({pickles[0]}), which can run code when loaded"
            if pickles
            else "no weights"
        )
        raise ValueError(
            f"model: folder {folder} has {found}; save it again with save_pretrained (safetensors)."
        )
    for file in sorted(folder.glob("*.safetensors")):
        tensor_shapes(file)
    return folder


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a safetensors file's tensors without reading weights. ValueError for another
    kind of file. ValueError when it is none.
    """
    try:
        with open(file, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
        # The library reads a header of any length up to its own limit, which is far above what a model needs.
        if length > MAX_HEADER:
            raise ValueError("no header")
        with safe_open(file, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"model: {file} is not a safetensors file (damaged, or not wholly copied); copy it again."
        ) from error


def hub_answers(name: str) -> bool:
    """Return whether the hub can be asked for this model now. It is asked once with a short timeout.

    transformers itself tries for half a minute before it says that nobody is there. ValueError when the hub does
    answer and has no such model. huggingface_hub's get_hf_file_metadata is the same question, with a second one to the
    hub besides (who is asking); this is obsolete once it asks once.
    """
    import urllib.error
    import urllib.request

    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(f"{constants.ENDPOINT}/{name}/resolve/main/config.json", method="HEAD")
    if token := get_token():
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=HUB_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        if error.code in (401, 404):
            raise ValueError(
                f"model: the hub has no model {name!r} that this machine may read; check its id, or log in with "
                "HF_TOKEN."
            ) from error
        return True
    except (OSError, ValueError):
        return False


def check_hub(name: str) -> bool:
    """Return hub_answers(name) for a model that may be here already. ValueError when it does not and the
    model was never brought here.
    """
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        # The model is here already, so the hub's answer does not matter.
        with contextlib.suppress(ValueError):
            return hub_answers(name)
        return False
    if not hub_answers(name):
        raise ValueError(
            f"model: {name!r} is neither a model of this machine ({', '.join(CATALOGUE)}, a folder) nor can the hub "
            "be reached to ask for it; check the name and the network."
        )
    return True


def size_of(parameters: int) -> Literal["tiny", "small", "large"]:
    """Return the size class that a method's tuned settings are stated for."""
    return "tiny" if parameters < SMALL else "small" if parameters < LARGE else "large"


def allow_model(name: str, roots: Sequence[Path] | None) -> None:
    """Raise ValueError when name is a folder outside the roots, because an imported config or a browser may
    name any folder.
    """
    if name not in CATALOGUE and (looks_like_path(name) or as_folder(name)):
        allowed_path(name, roots, place="model")
