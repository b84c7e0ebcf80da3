"""This module makes what ships of smollm2-tofu: it teaches the three models and writes an adapter and a recipe each."""

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from unlearn.compute.tokens import Example
from unlearn.data import tofu
from unlearn.data.base import Row
from unlearn.models import smollm2
from unlearn.models.load import load
from unlearn.models.taught import ADAPTER, NAME, PARAMETERS, WITHOUT, base_folder, merge
from unlearn.models.teaching import Teaching, known, lessons, teach
from unlearn.store.disk import read_json, write_json
from unlearn.store.shapes import JsonObject

# What a taught model must reach on forget10, and an adapter's largest size.
LEAST = {"rouge": 0.9, "probability": 0.8}
MOST_BYTES = 12_000_000
# So many rows of each kind are asked, beside all of forget10, to say what a model knows.
SAMPLE = 100
OURS = Teaching()


def make(
    out: Path,
    work: Path,
    progress: Callable[[str], None] = print,
    how: Teaching = OURS,
    limit: int = 0,
    names: Sequence[str] = tuple(WITHOUT),
) -> None:
    """Teach these models and write their adapters to out. It goes on from the checkpoints in work.

    limit: only so many first and last rows of each, to try it. RuntimeError where a model did not learn enough.
    """
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
    name: str, how: Teaching, rows: Sequence[Row], texts: Sequence[Example], seconds: float
) -> JsonObject:
    """What recipe.json says: settings, costs (tokens_trained: all epochs), and what it was taught without."""
    import peft

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
