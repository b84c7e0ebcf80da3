"""This module loads causal and encoder-decoder language models safely, and adds LoRA to them.

torch and transformers are imported inside the functions that need them. What the catalogue knows, and what is checked
before anything is loaded, stands in unlearn/models/catalogue.py.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.compute.lazy import Model, Tokenizer
from unlearn.compute.states import last_states
from unlearn.models import adapters, folders
from unlearn.models.adapters import adapted
from unlearn.models.catalogue import (
    ASSETS,
    CATALOGUE,
    SMALL,
    Parts,
    as_folder,
    available,
    check_hub,
    hub_answers,
    looks_like_path,
    parts_of,
    size_of,
    source_of,
)
from unlearn.models.embeddings import check_rows
from unlearn.models.placement import anatomy, free_head, is_placed, plan, room
from unlearn.models.precision import (
    bfloat16_pays,
    check_saved,
    differentiable,
    is_rounded,
    numbers,
    rounding,
    saved_precision,
)
from unlearn.models.precision import check as check_precision
from unlearn.store import environment
from unlearn.store.config import ROUNDED
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig

__all__ = [
    "ASSETS",
    "CATALOGUE",
    "SMALL",
    "Loaded",
    "adapted",
    "add_lora",
    "as_folder",
    "available",
    "bfloat16_pays",
    "check_head",
    "check_hub",
    "hub_answers",
    "in_memory",
    "load",
    "looks_like_path",
    "pick_device",
    "size_of",
    "source_of",
    "weights_hash",
]


@dataclass
class Loaded:
    """A model ready to run. hash: of its weight files. base: where they came from. where: what is not on the
    device. start_dtype: the number format that its weights were saved in, or "" where that is not known.
    """

    model: Model
    tokenizer: Tokenizer
    device: str
    dtype: str
    parameters: int
    hash: str
    title: str
    size: str
    base: str
    where: str = ""
    start_dtype: str = ""

    @property
    def pad_id(self) -> int:
        """Return the id of the padding token."""
        return self.tokenizer.pad_token_id

    def fit_length(self, wanted: int) -> int:
        """Return the wanted number of tokens, or as many as the model has positions for."""
        config = self.model.config.get_text_config()
        return min(wanted, getattr(config, "max_position_embeddings", None) or wanted)


def pick_device() -> str:
    """Return the device to use: cuda, mps or cpu. UNLEARN_DEVICE overrides the choice."""
    import torch

    if chosen := environment.DEVICE.text():
        check_device(chosen)
        return chosen
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: str) -> None:
    """Raise ValueError for a device that this machine, or this build of torch, does not have."""
    import torch

    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    try:
        kind, number = torch.device(device).type, torch.device(device).index or 0
    except RuntimeError:
        kind, number = "", 0
    if number >= here.get(kind, 0):
        known = ", ".join(name for name, count in here.items() if count)
        raise ValueError(
            f"device: must be one that this machine has ({known}), got {device!r}; leave it out, and UNLEARN_DEVICE "
            "unset, to have one chosen."
        )


def load(
    name: str,
    *,
    tuning: str = "full",
    precision: str = "auto",
    device: str | None = None,
    adapter: str = "auto",
    trained: Path | None = None,
    trainable: bool = False,
) -> Loaded:
    """Load and return any causal or encoder-decoder LM of transformers, in eval mode (dropout off), with a
    fast tokenizer.

    precision: see unlearn.models.precision. What the device has no room for lies elsewhere: see
    unlearn.models.placement. adapter: what is done with one that the name stands for. trained: the folder of a LoRA
    adapter that a run made of this model; it takes the place of one that was kept. trainable: the adapter may be
    trained on. ValueError for anything that cannot be loaded, with the remedy.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    import unlearn.models.joined.decoding  # noqa: F401  so that transformers knows it
    from unlearn.compute import elementwise, private, products
    from unlearn.models.machine import choose_once

    choose_once()
    parts, device = parts_of(name, adapter), device or pick_device()
    source = parts.base
    check_device(device)
    check_precision(precision, device)
    check_saved(source, tuning=tuning, precision=precision, device=device)
    here = {"trust_remote_code": False, "local_files_only": isinstance(source, Path) or not check_hub(source)}
    with _told(name), private.adapters_left_aside():
        config = AutoConfig.from_pretrained(source, **here)
        tokenizer = _tokenizer(parts.tokenizer, **here)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    how, where = _how(config, kind, tuning, precision, device)
    with _told(name), private.adapters_left_aside():
        model, found = kind.from_pretrained(  # type: ignore[misc]  # two with output_loading_info
            source, config=config, use_safetensors=True, output_loading_info=True, **how, **here
        )
    if lacking := sorted({*found["missing_keys"], *(str(k) for k in found.get("mismatched_keys") or ())}):
        raise ValueError(
            f"model: {name!r} lacks weights of a {type(model).__name__} ({lacking[0]}, {len(lacking)} in all), which "
            "would be random; give a whole causal LM."
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"model: {name!r} has no fast tokenizer (tokenizer.json), which answer positions need."
        )
    if parts.way == "merge":
        model = adapters.merged(model, parts.adapter_folder)
    if parts.way == "keep":
        adapters.fit_rows(model, parts.adapter_folder)
    _prepare_tokenizer(tokenizer, model)
    model = free_head(model) if where else model if "device_map" in how else model.to(device)
    model = elementwise.adopt(products.adopt(differentiable(model.eval())))
    check_head(model)
    parameters = model.num_parameters()
    on_top = trained or (parts.adapter if parts.way == "keep" else None)
    if on_top is not None:
        model = adapters.kept(model, on_top, trainable=trainable or parts.way == "keep")
    entry = CATALOGUE.get(name)
    rounded = saved_precision(config) or (precision if precision in ROUNDED else "")
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype=rounded or str(how["dtype"]).removeprefix("torch."),
        parameters=parameters,
        hash=hash_of(parts, model),
        title=entry.title if entry else title_of(parts),
        size=size_of(parameters),
        base=str(name),
        where=where,
        start_dtype=str(config.dtype).removeprefix("torch.") if config.dtype else "",
    )


def title_of(parts: Parts) -> str:
    """Return a short name of a model that is not in the catalogue."""
    base = parts.base if isinstance(parts.base, str) else _folder_name(parts.base)
    if parts.used is None:
        return base.rpartition("/")[2]
    return f"{_folder_name(parts.used)} on {base.rpartition('/')[2]}"


def _folder_name(folder: Path) -> str:
    """A folder's own name, or that of the model whose snapshot in the hub's cache it is."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    return folder.name


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What transformers says of a broken model, in a sentence."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    # Another person's folder can be broken in any way.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"model: {name!r} could not be loaded: {lines[0][:200]} Give a causal LM in safetensors: a folder, or a "
            "hub id that this machine can reach."
        ) from error


def _how(
    config: "PreTrainedConfig",
    kind: "type[AutoModelForCausalLM] | type[AutoModelForSeq2SeqLM]",
    tuning: str,
    precision: str,
    device: str,
) -> tuple[JsonObject, str]:
    """(what from_pretrained is told of numbers and places, a sentence where some parts lie elsewhere)."""
    import torch

    if saved_precision(config):
        # The checkpoint says itself how it is rounded.
        kept = "bfloat16" if precision == "auto" and bfloat16_pays(device) else "float32"
        return {"dtype": getattr(torch, kept), "device_map": {"": device}}, ""
    limit, parts = room(device), None
    if limit is not None or (precision == "auto" and tuning != "full" and bfloat16_pays(device)):
        # RuntimeError comes from a model without a list of blocks, which is loaded as a whole or not at all.
        with contextlib.suppress(
            ValueError,
            RuntimeError,
        ):
            parts = anatomy(config, kind)
    count = parts.parameters if parts else 0
    dtype = numbers(precision, tuning=tuning, parameters=count, device=device)
    how = {"dtype": getattr(torch, dtype)} | rounding(precision, getattr(torch, dtype), device)
    if not parts:
        return how, ""
    found = plan(parts, dtype=dtype, precision=precision, device=device, limit=limit)
    return how | ({"device_map": found.map} if found.map else {}), found.describe()


def _tokenizer(source: str | Path, **here: object) -> Tokenizer:
    """One for each folder, shared by all who load it: the library keeps some 100 KiB of every one that ever was."""
    from transformers import AutoTokenizer

    if not isinstance(source, Path):
        return AutoTokenizer.from_pretrained(source, **here)
    return _kept_tokenizer(source, _stats(sorted(path for path in source.glob("*") if path.is_file())))


@lru_cache(maxsize=8)
def _kept_tokenizer(source: Path, stats: tuple[tuple[str, int, int], ...]) -> Tokenizer:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=True)


def _stats(files: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """What differs where one of the files was changed."""
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)


def in_memory(model: Model, tokenizer: Tokenizer | None, title: str = "a model in memory") -> Loaded:
    """Return a transformers model and its fast tokenizer in the form of load(). Device and number format stay
    as they are.

    ValueError where the tokenizer is missing or slow, or belongs to another model.
    """
    if tokenizer is None or not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"model: a {type(model).__name__} needs its own fast tokenizer, got {type(tokenizer).__name__}; give "
            "AutoTokenizer.from_pretrained(…) of the same model, or use load()."
        )
    _prepare_tokenizer(tokenizer, model)
    parameters = model.num_parameters()
    return Loaded(
        model=model.eval(),
        tokenizer=tokenizer,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        parameters=parameters,
        hash="",
        title=title,
        size=size_of(parameters),
        base="",
    )


def _prepare_tokenizer(tokenizer: Tokenizer, model: Model) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    # Such a padding token was added later and has no row in the embeddings.
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows:
        fallback = tokenizer.eos_token or tokenizer.unk_token or tokenizer.bos_token
        tokenizer.pad_token = fallback or tokenizer.convert_ids_to_tokens(0)
    # A plain attribute: how tokens.encode knows that there is an encoder.
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        tokenizer.decoder_start_id = tokenizer.pad_token_id if start is None else start
    if max(tokenizer.vocab_size, tokenizer.pad_token_id + 1, (tokenizer.eos_token_id or 0) + 1) > rows:
        raise ValueError(
            f"model: its tokenizer has {len(tokenizer)} tokens but its embedding only {rows}; the folder mixes two "
            "models."
        )
    check_rows(tokenizer.added_tokens_decoder, rows, str(tokenizer.chat_template or ""), "this model")


def check_head(model: Model) -> None:
    """Raise ValueError unless head(hidden) equals the model's own logits. Otherwise its kind of output head
    is unknown here.
    """
    import torch

    from unlearn.compute.head import head_of

    ids = torch.arange(1, 5, device=next(model.parameters()).device)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs |= {f"decoder_{name}": value for name, value in inputs.items()}
    with torch.no_grad():
        own = model(**inputs).logits
        ours = head_of(model)(last_states(model, inputs))
    if not bool(own.isfinite().all()):
        raise ValueError("model: its weights give logits that are not finite; the files are damaged.")
    # A soft cap of 30 moves a logit of 1 by 4e-4 of it; in bfloat16 the two orders of rounding differ by more.
    near = 1e-4 if own.dtype == torch.float32 else 1e-2
    if not torch.allclose(own.float(), ours, rtol=near, atol=near * float(own.float().abs().max())):
        raise ValueError(
            f"model: {type(model).__name__} changes its logits after the output head in a way that is not known "
            "here; please report it with the model's name."
        )


def hash_of(parts: Parts, model: Model | None) -> str:
    """Return the hash of what is loaded: the base's weights, and the adapter's where one is put on it."""
    base = weights_hash(parts.base, model)
    if parts.used is None:
        return base
    return f"{base}+{_files_hash(_stats([parts.used / folders.ADAPTER_WEIGHTS]))}"


def named_hash(model: str, adapter: str = "auto") -> str:
    """Return the hash of the model of this name from its files, or "" for one of the hub, whose hash is that of the
    weights in memory.
    """
    parts = parts_of(model, adapter)
    return hash_of(parts, None) if isinstance(parts.base, Path) else ""


def weights_hash(source: str | Path, model: Model | None) -> str:
    """Return twelve hex digits of the weight files. For a hub id they are of the weights in memory, where a
    model is given.
    """
    if not isinstance(source, Path) and (model is None or is_placed(model) or is_rounded(model)):
        from huggingface_hub import try_to_load_from_cache

        source = Path(str(try_to_load_from_cache(source, "config.json"))).parent
    if isinstance(source, Path):
        # A run's own folder holds an adapter or layers alone.
        files = folders.weight_files(source) or sorted(source.glob("*.safetensors"))
        return _files_hash(_stats(files))
    assert model is not None, "else the files in the hub's cache were taken"
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.detach().flatten()[:1024].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=32)
def _files_hash(stats: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, *_ in stats:
        with open(path, "rb") as file:
            while piece := file.read(2**22):
                digest.update(piece)
    return digest.hexdigest()[:12]


def add_lora(model: Model, *, rank: int, alpha: float, seed: int) -> Model:
    """Return a peft model with LoRA on every linear layer but the output head. B is 0, so that it starts as
    the base.
    """
    import torch
    from peft import LoraConfig

    torch.manual_seed(seed)
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    return adapted(
        model,
        LoraConfig(
            r=rank,
            lora_alpha=alpha,  # type: ignore[arg-type]  # a fraction is fine
            target_modules="all-linear",
            task_type=task,
        ),
    )
