"""This module loads causal and encoder-decoder language models safely, and adds LoRA to them.

torch and transformers are imported inside the functions that need them. What the catalogue knows, and what is checked
before anything is loaded, stands in unlearn/models/catalogue.py.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from unlearn.compute.lazy import Model, Tokenizer
from unlearn.compute.states import last_states
from unlearn.models.catalogue import (
    ASSETS,
    CATALOGUE,
    SMALL,
    as_folder,
    available,
    check_hub,
    hub_answers,
    looks_like_path,
    size_of,
    source_of,
)
from unlearn.models.placement import adapters_in_place, anatomy, free_head, is_placed, plan, room
from unlearn.models.precision import bfloat16_pays, differentiable, is_rounded, numbers, rounding
from unlearn.models.precision import check as check_precision
from unlearn.store import environment
from unlearn.store.config import ROUNDED
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel

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
    device. hash: of its weight files; base: where they came from; where: what is not on the device.
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
        return chosen
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def load(name: str, *, tuning: str = "full", precision: str = "auto", device: str | None = None) -> Loaded:
    """Load and return any causal or encoder-decoder LM of transformers, in eval mode (dropout off), with a
    fast tokenizer.

    precision: see unlearn.models.precision. What the device has no room for lies elsewhere: see
    unlearn.models.placement. ValueError for anything that cannot be loaded, with the remedy.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    import unlearn.models.ensemble  # noqa: F401  so that transformers knows it
    from unlearn.compute import products
    from unlearn.models.machine import choose_once

    choose_once()
    source, device = source_of(name), device or pick_device()
    check_precision(precision, device)
    here = {"trust_remote_code": False, "local_files_only": isinstance(source, Path) or not check_hub(source)}
    with _told(name):
        config = AutoConfig.from_pretrained(source, **here)
        tokenizer = _tokenizer(source, **here)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    how, where = _how(config, kind, tuning, precision, device)
    with _told(name):
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
    _prepare_tokenizer(tokenizer, model)
    model = free_head(model) if where else model if "device_map" in how else model.to(device)
    model = products.adopt(differentiable(model.eval()))
    check_head(model)
    entry = CATALOGUE.get(name)
    parameters = model.num_parameters()
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype=precision if precision in ROUNDED else str(how["dtype"]).removeprefix("torch."),
        parameters=parameters,
        hash=weights_hash(source, model),
        title=entry.title if entry else Path(str(source)).name,
        size=size_of(parameters),
        base=str(name),
        where=where,
    )


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
    return _kept_tokenizer(source, _stats(source, "*"))


@lru_cache(maxsize=8)
def _kept_tokenizer(source: Path, stats: tuple[tuple[str, int, int], ...]) -> Tokenizer:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=True)


def _stats(folder: Path, pattern: str) -> tuple[tuple[str, int, int], ...]:
    """What differs where a file of the folder was changed."""
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob(pattern)))


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


def weights_hash(source: str | Path, model: Model | None) -> str:
    """Return twelve hex digits of the weight files. For a hub id they are of the weights in memory, where a
    model is given.
    """
    if not isinstance(source, Path) and (model is None or is_placed(model) or is_rounded(model)):
        from huggingface_hub import try_to_load_from_cache

        source = Path(str(try_to_load_from_cache(source, "config.json"))).parent
    if isinstance(source, Path):
        return _files_hash(_stats(source, "*.safetensors"))
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


def adapted(model: Model, config: "PeftConfig") -> Model:
    """Return a peft model with a fresh adapter of this peft config, wherever the base's weights are."""
    from peft import get_peft_model

    from unlearn.compute.lora import lean

    with adapters_in_place(model):
        return lean(get_peft_model(cast("PreTrainedModel", model), config).eval())
