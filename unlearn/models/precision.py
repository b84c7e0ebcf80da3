"""This module chooses the number format of a model's weights. It is float32, bfloat16, or rounded to 8 or 4
bits by bitsandbytes.

    int8  a scale a row, inputs rounded too but for their outliers   Dettmers et al. 2022, arXiv 2208.07339
    nf4   16 quantiles of a normal distribution, a scale for 64      Dettmers et al. 2023, arXiv 2305.14314

Rounded are the linear maps; embeddings, norms and the output head stay, so the losses at the head know nothing of it.
The base is frozen and the adapter on top is float32. bitsandbytes is an optional extra for CUDA and the CPU:

    pip install "bitsandbytes==0.50.2"
"""

import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from unlearn.compute.lazy import Model
from unlearn.models import folders, hub
from unlearn.models.entries import size_of
from unlearn.store.config import PRECISIONS, ROUNDED
from unlearn.store.shapes import JsonObject, JsonView

# Bytes of one weight, with its share of the scales.
BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "nf4": 0.52}
# The devices on which bitsandbytes is used here.
DEVICES = ("cuda", "cpu")
INSTALL = 'pip install "bitsandbytes==0.50.2"'


def check(precision: str, device: str = "cpu") -> None:
    """Raise ValueError for an unknown precision, or one that this machine cannot use."""
    if precision not in PRECISIONS:
        raise ValueError(f"run: precision must be among {', '.join(PRECISIONS)}, got {precision!r}.")
    if precision not in ROUNDED:
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            f"run: precision {precision} needs bitsandbytes, which is not installed; `{INSTALL}`, or take bfloat16."
        )
    if device.partition(":")[0] not in DEVICES:
        raise ValueError(
            f"run: precision {precision} runs on {' or '.join(DEVICES)}, got the device {device}; take bfloat16, or "
            "set UNLEARN_DEVICE."
        )


def saved_precision(config: object) -> str:
    """Return how the weights of a checkpoint were rounded when it was saved, or "" for whole numbers.

    config: the model's config, or its config.json as an object.
    """
    said = config.get("quantization_config") if isinstance(config, dict) else _attribute(config)
    if not said:
        return ""
    kind = str(said.get("quant_method") or "")
    if said.get("load_in_4bit"):
        return str(said.get("bnb_4bit_quant_type") or "fp4")
    if said.get("load_in_8bit"):
        return "int8"
    return kind or "a kind that it does not name"


def _attribute(config: object) -> JsonView:
    said = getattr(config, "quantization_config", None) or {}
    return said if isinstance(said, dict) else said.to_dict()


def saved_as(source: str | Path) -> str:
    """Return how the weights of this source were rounded when it was saved, or "" for whole numbers and for a hub's
    model that is not here. source: a folder or a hub id.
    """
    folder = source if isinstance(source, Path) else hub.snapshot_here(source)
    said = folders.quantised(folder) if folder is not None else {}
    return saved_precision({"quantization_config": said}) if said else ""


def check_saved(source: str | Path, *, tuning: str, precision: str, device: str) -> None:
    """Raise ValueError for a checkpoint of rounded weights that cannot be loaded here, or not be trained so.

    source: a folder, or a hub id, of which nothing is known before it is brought.
    """
    folder = source if isinstance(source, Path) else hub.snapshot_here(source)
    said = folders.quantised(folder) if folder is not None else {}
    if not said:
        return
    kind, name = saved_precision({"quantization_config": said}), folder.name if folder else source
    if said.get("quant_method", "bitsandbytes") != "bitsandbytes":
        raise ValueError(
            f"model: the weights of {name} were rounded by {kind}, and only bitsandbytes is loaded here; give the "
            "model before it was rounded, with --precision nf4 where the memory is what counts."
        )
    check(kind if kind in ROUNDED else "nf4", device)
    if tuning != "lora":
        raise ValueError(
            f"model: the weights of {name} are rounded ({kind}) and stay as they are, so tuning must be lora, got "
            f"{tuning}; choose LoRA, or give the model before it was rounded."
        )
    if precision not in ("auto", kind):
        raise ValueError(
            f"model: the weights of {name} are rounded already ({kind}), so precision must be auto, got {precision}; "
            "leave it out, or give the model before it was rounded."
        )


def numbers(precision: str, *, tuning: str, parameters: int, device: str) -> str:
    """Return "float32" or "bfloat16", the format of everything that is not rounded. auto takes bfloat16 for a
    frozen base where it is faster.
    """
    if precision in ("float32", "bfloat16"):
        return precision
    small = precision == "auto" and (tuning == "full" or size_of(parameters) == "tiny")
    return "float32" if small or not bfloat16_pays(device) else "bfloat16"


@lru_cache(maxsize=4)
def bfloat16_pays(device: str) -> bool:
    """Return whether a bfloat16 matrix product is faster than float32 here. It is timed once, because CPUs
    differ by more than a factor of 2.
    """
    import time

    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    if device != "cpu":
        return False
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(256, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
        laps = []
        for _ in range(6):
            start = time.perf_counter()
            a @ b
            laps.append(time.perf_counter() - start)
        best[dtype] = min(laps)
    return best[torch.bfloat16] < 0.8 * best[torch.float32]


def rounding(precision: str, dtype: object, device: str) -> JsonObject:
    """Return the further arguments of from_pretrained beside dtype. They are empty where nothing is rounded."""
    if precision not in ROUNDED:
        return {}
    import logging

    from transformers import BitsAndBytesConfig

    # Without this bitsandbytes prints a line at every product.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    how: JsonObject = {"load_in_8bit": True}
    if precision == "nf4":
        how = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": dtype,
        }
    return {"quantization_config": BitsAndBytesConfig(**how), "device_map": {"": device}}


def differentiable(model: Model) -> Model:
    """Return the same model after fixing the layout of its 4-bit layers. On a CPU only this layout has
    products with a gradient.

    Outside training mode, which nothing here uses (dropout stays off), bitsandbytes packs them for a faster product
    at their first pass without a gradient; after that every gradient behind them is 0, without a word.
    """
    modules: Iterator[Any] = model.modules()
    for module in modules:
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def is_rounded(model: Model) -> bool:
    """Return whether bitsandbytes holds some of the model's weights."""
    return any(not p.is_floating_point() for p in model.parameters())


def every_weight(model: Model, what: str) -> None:
    """Raise ValueError unless each weight is complete on the device: neither rounded nor elsewhere.

    what: who needs them, such as "relearning".
    """
    if any(p.is_meta or not p.is_floating_point() for p in model.parameters()):
        raise ValueError(
            f"model: {what} needs every weight in full and on the device, but this one's are rounded (precision) or "
            "partly elsewhere; run it again with precision bfloat16 on a device that holds it."
        )
