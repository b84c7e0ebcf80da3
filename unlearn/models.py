"""Models: the catalogue, loading any causal LM safely, LoRA, and the frozen reference.

torch and transformers are imported inside the functions that need them, so that a page can list the
catalogue at once. Weights come from safetensors only, and a repository's own code is never run.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "models"
HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
MAX_HEADER = 100 * 2**20
HUB_SECONDS = 5.0
SMALL, LARGE = 20_000_000, 1_000_000_000  # parameters at which "small" and "large" begin


@dataclass(frozen=True)
class ModelEntry:
    """A model that the studio knows by name. retrain: the same recipe without the forget set, where it exists.

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
    training_tokens: float | None = None


def _smollm2_path() -> Path:
    from unlearn.smollm2 import cache_dir

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
            training_tokens=2e12,  # "trained on 2 trillion tokens": huggingface.co/HuggingFaceTB/SmolLM2-135M
        ),
    )
}


@dataclass
class Loaded:
    """A model ready to run. hash: of its weight files; base: where they came from."""

    model: Any
    tokenizer: Any
    device: str
    dtype: str
    parameters: int
    hash: str
    title: str
    size: str
    base: str

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_token_id

    def fit_length(self, wanted: int) -> int:
        """wanted tokens, or as many as the model has positions for."""
        config = self.model.config.get_text_config()
        return min(wanted, getattr(config, "max_position_embeddings", None) or wanted)


def available(name: str) -> bool:
    """Whether a catalogue model's files are on this machine."""
    return (CATALOGUE[name].path() / "config.json").is_file()


def source_of(name: str) -> str | Path:
    """Catalogue name, local folder or hub id → what transformers loads.

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
    """The folder that name means, if there is one (and no catalogue model of that name)."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        folder = Path(name).expanduser()
        if name not in CATALOGUE and folder.is_dir():
            return folder
    return None


def looks_like_path(name: str) -> bool:
    """Whether name can only mean a folder: no catalogue name or hub id looks like it."""
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
    """Names and shapes out of a safetensors header, without reading weights. ValueError when it is none."""
    try:
        with open(file, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, file.stat().st_size - 8):
                raise ValueError("no header")
            header = json.loads(handle.read(length))
        return {name: tuple(t["shape"]) for name, t in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"model: {file} is not a safetensors file (damaged, or not wholly copied); copy it again."
        ) from error


def hub_answers(name: str) -> bool:
    """Whether the hub can be asked for this model now; asked once with a short timeout.

    transformers itself tries for half a minute before it says that nobody is there. ValueError when the hub does
    answer and has no such model.
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
    """hub_answers(name). ValueError when it does not and the model was never brought here."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        with contextlib.suppress(ValueError):  # here already, whatever the hub says of it now
            return hub_answers(name)
        return False
    if not hub_answers(name):
        raise ValueError(
            f"model: {name!r} is neither a model of this machine ({', '.join(CATALOGUE)}, a folder) nor can the hub "
            "be reached to ask for it; check the name and the network."
        )
    return True


def size_of(parameters: int) -> Literal["tiny", "small", "large"]:
    """The size class that a method's tuned settings are stated for."""
    return "tiny" if parameters < SMALL else "small" if parameters < LARGE else "large"


def pick_device() -> str:
    """cuda, mps or cpu; UNLEARN_DEVICE overrides."""
    import torch

    if chosen := os.environ.get("UNLEARN_DEVICE"):
        return chosen
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@lru_cache(maxsize=4)
def bfloat16_pays(device: str) -> bool:
    """Whether a bfloat16 matrix product beats float32 here: timed once, since CPUs differ by more than 2 ×."""
    import time

    import torch

    if device == "cuda":
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


def load(name: str, *, tuning: str = "full", device: str | None = None) -> Loaded:
    """Any causal or encoder-decoder LM that transformers loads, in eval mode (dropout off), with a fast tokenizer.

    bfloat16 for the frozen base of an adapter where it pays, float32 where every weight moves or the model is tiny.
    ValueError for anything that cannot be loaded, with the remedy.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    import unlearn.ensemble  # noqa: F401  so that transformers knows it

    source, device = source_of(name), device or pick_device()
    here = {"trust_remote_code": False, "local_files_only": isinstance(source, Path) or not check_hub(source)}
    try:
        config = AutoConfig.from_pretrained(source, **here)
        tokenizer = AutoTokenizer.from_pretrained(source, **here)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, found = kind.from_pretrained(
            source, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **here
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a folder of somebody else's can be broken in any way
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"model: {name!r} could not be loaded: {lines[0][:200]} Give a causal LM in safetensors: a folder, or a "
            "hub id that this machine can reach."
        ) from error
    if lacking := sorted({*found["missing_keys"], *(str(k) for k in found.get("mismatched_keys") or ())}):
        raise ValueError(
            f"model: {name!r} lacks weights of a {type(model).__name__} ({lacking[0]}, {len(lacking)} in all), which "
            "would be random; give a whole causal LM."
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"model: {name!r} has no fast tokenizer (tokenizer.json), which answer positions need."
        )
    parameters = model.num_parameters()
    if tuning != "full" and size_of(parameters) != "tiny" and bfloat16_pays(device):
        model = model.to(torch.bfloat16)
    _prepare_tokenizer(tokenizer, model)
    model = model.to(device).eval()
    check_head(model)
    entry = CATALOGUE.get(name)
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        parameters=parameters,
        hash=weights_hash(source, model),
        title=entry.title if entry else Path(str(source)).name,
        size=size_of(parameters),
        base=str(name),
    )


def _prepare_tokenizer(tokenizer: Any, model: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows:  # added later, never given a row
        fallback = tokenizer.eos_token or tokenizer.unk_token or tokenizer.bos_token
        tokenizer.pad_token = fallback or tokenizer.convert_ids_to_tokens(0)
    if model.config.is_encoder_decoder:  # a plain attribute: how lm.encode knows that there is an encoder
        start = model.config.decoder_start_token_id
        tokenizer.decoder_start_id = tokenizer.pad_token_id if start is None else start
    if max(tokenizer.vocab_size, tokenizer.pad_token_id + 1, (tokenizer.eos_token_id or 0) + 1) > rows:
        raise ValueError(
            f"model: its tokenizer has {len(tokenizer)} tokens but its embedding only {rows}; the folder mixes two "
            "models."
        )


def check_head(model: Any) -> None:
    """ValueError unless head(hidden) equals the model's own logits: a kind of output head we do not know."""
    import torch

    from unlearn.head import head_of
    from unlearn.lm import last_states

    ids = torch.arange(1, 5, device=next(model.parameters()).device)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs |= {f"decoder_{name}": value for name, value in inputs.items()}
    with torch.no_grad():
        own = model(**inputs).logits.float()
        ours = head_of(model)(last_states(model, inputs))
    if not bool(own.isfinite().all()):
        raise ValueError("model: its weights give logits that are not finite; the files are damaged.")
    if not torch.allclose(own, ours, rtol=1e-2, atol=1e-2 * float(own.abs().max())):
        raise ValueError(
            f"model: {type(model).__name__} changes its logits after the output head in a way that is not known "
            "here; please report it with the model's name."
        )


def weights_hash(source: str | Path, model: Any) -> str:
    """Twelve hex digits of the weight files (of the weights in memory for a hub id)."""
    if isinstance(source, Path):
        stats = tuple(
            (str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(source.glob("*.safetensors"))
        )
        return _files_hash(stats)
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


def add_lora(model: Any, *, rank: int, alpha: float, seed: int) -> Any:
    """peft model with LoRA on every linear layer but the output head; B = 0, so it starts as the base."""
    import torch
    from peft import LoraConfig, get_peft_model

    from unlearn.placement import adapters_in_place

    torch.manual_seed(seed)
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type=task)
    with adapters_in_place(model):
        return get_peft_model(model, config).eval()
