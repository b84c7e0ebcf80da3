"""Writes a run's weights so that other programs load them: an adapter for peft, or a whole model for transformers.

Merged weights have the number format in which the start's weights lie on the disk. The tokenizer, with its chat
template, and the generation settings are the start's own. lines() says how to load it.
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.models import layers, tuning
from unlearn.models.catalogue import parts_of
from unlearn.store.away import weights_of
from unlearn.store.config import RunConfig
from unlearn.store.disk import read_json, write_json
from unlearn.store.runs import Run

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

ADAPTER, MERGED = "adapter", "merged"
# The numbers of a safetensors file that a model's weights may have, and torch's name of each.
NUMBERS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
CAUSAL, ENCODER = "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"


def kind_of(run: Run) -> str:
    """Return how the run keeps what it trained: "adapter" or "merged". ValueError where others cannot load it."""
    kept = weights_of(run)
    if (kept / "adapter" / layers.CONFIG).is_file():
        raise ValueError(
            f"export: {run.id} trained layers of its own, which neither peft nor plain transformers knows; export it "
            "as a zip file."
        )
    if (kept / "adapter" / "adapter_config.json").is_file():
        return ADAPTER
    about = read_json(kept / "model" / "config.json")
    if not about:
        raise ValueError(f"export: {run.id} keeps no weights; run it again, or export it as a zip file.")
    if not _is_plain(str(about.get("model_type", ""))):
        raise ValueError(
            f"export: {run.id} is made of several models ({about.get('model_type')}), which plain transformers cannot "
            "load as one; export it as a zip file."
        )
    return MERGED


def _is_plain(model_type: str) -> bool:
    """Whether transformers itself has this kind of model, and not this program."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return model_type in CONFIG_MAPPING_NAMES


def save_adapter(run: Run, folder: Path) -> str:
    """Write the run's adapter into the folder. Returns the class of transformers that loads its base. ValueError
    where the run has no adapter.
    """
    if kind_of(run) != ADAPTER:
        raise ValueError(f"export: {run.id} changed every weight, so there is no adapter; give --merged DIR.")
    if parts_of(run.config.model, run.config.adapter).way == "merge":
        raise ValueError(
            f"export: {run.id} trained its adapter on a base with another adapter in its weights, which no name stands "
            "for; give --merged DIR."
        )
    base = base_name(run.config)
    for path in sorted((weights_of(run) / "adapter").iterdir()):
        # PEFT's own model card is a form that nobody has filled in.
        if path.is_file() and path.name != "README.md":
            shutil.copyfile(path, folder / path.name)
    about = read_json(folder / "adapter_config.json") | {"base_model_name_or_path": base}
    write_json(folder / "adapter_config.json", about)
    return ENCODER if about.get("task_type") == "SEQ_2_SEQ_LM" else CAUSAL


def save_merged(run: Run, folder: Path) -> str:
    """Write the run's whole model into the folder. Returns the class of transformers that loads it. ValueError where
    the run keeps no weights.
    """
    from transformers import AutoTokenizer

    kind = kind_of(run)
    parts = parts_of(run.config.model, run.config.adapter)
    dtype = start_dtype(parts.base)
    loaded = _merged(run) if kind == ADAPTER else tuning.load_trained(run)
    model: Any = loaded.model
    model = model.to(dtype=_torch_dtype(dtype)) if dtype else model
    model.save_pretrained(folder, safe_serialization=True)
    # What load() prepares for training, such as a padding token, is not the start's.
    tokenizer = AutoTokenizer.from_pretrained(parts.tokenizer, trust_remote_code=False, local_files_only=True)
    tokenizer.save_pretrained(folder)
    return ENCODER if model.config.is_encoder_decoder else CAUSAL


def _merged(run: Run) -> "Loaded":
    """The base with the run's adapter in its weights, computed in float32."""
    model = run.config.model
    base = parts_of(model, run.config.adapter).base
    if read_json(_config_file(base)).get("quantization_config"):
        raise ValueError(
            f"export: {model} is a rounded checkpoint, into which an adapter cannot be merged without loss; give "
            "--adapter DIR."
        )
    loaded = tuning.load_trained(run, precision="float32")
    with_adapter: Any = loaded.model
    loaded.model = with_adapter.merge_and_unload()
    return loaded


def _torch_dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)


def start_dtype(source: str | Path) -> str:
    """Return the number format of most weights of a model on the disk, or "" where it cannot be known.

    source: its folder, or its hub id where it lies in the hub's cache.
    """
    from safetensors import safe_open

    counted: Counter[str] = Counter()
    for path in _config_file(source).parent.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                piece = tensors.get_slice(name)
                size = 1
                for length in piece.get_shape():
                    size *= length
                counted[piece.get_dtype()] += size
    found = [NUMBERS[kind] for kind, _ in counted.most_common(1) if kind in NUMBERS]
    return found[0] if found else ""


def _config_file(source: str | Path) -> Path:
    """A model's config.json: in its folder, or in the hub's cache."""
    if isinstance(source, Path):
        return source / "config.json"
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source, "config.json")
    if not isinstance(found, str):
        raise ValueError(f"model: {source} is not on this machine any more; load it once, then export.")
    return Path(found)


def base_name(config: RunConfig) -> str:
    """Return the name under which plain transformers finds the run's base on this machine: a hub id or a folder."""
    source = parts_of(config.model, config.adapter).base
    return str(source.absolute()) if isinstance(source, Path) else source


def lines(folder: str, kind: str, base: str = "") -> list[str]:
    """Return the Python lines that load what was exported, and its tokenizer. base: of an adapter, else "".

    kind: the class of transformers that loads the model or the base.
    """
    model = [f"model = {kind}.from_pretrained({folder!r})"]
    if base:
        model = [
            f"base = {kind}.from_pretrained({base!r})",
            f"model = PeftModel.from_pretrained(base, {folder!r})",
        ]
    return [
        *(["from peft import PeftModel"] if base else []),
        f"from transformers import {kind}, AutoTokenizer",
        "",
        *model,
        f"tokenizer = AutoTokenizer.from_pretrained({(base or folder)!r})",
    ]
