"""This module says what a folder of a model holds: whole weights, an adapter, or a snapshot of the hub's cache.

Only headers and small JSON files are read. Neither torch nor transformers is imported, so that what is wrong with a
folder is said before anything is loaded and before a run has a folder.
"""

import contextlib
import json
import math
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from unlearn.store.disk import read_json
from unlearn.store.shapes import MAX_HEADER, JsonObject

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# The kinds of PEFT adapters that can be added into the weights that they change.
MERGED = ("LORA", "LOHA", "LOKR", "IA3")
# The one kind that a run can train further.
TRAINED = "LORA"
# How the token embeddings are called in the families of transformers.
EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "embed_in.weight",
    "word_embeddings.weight",
    "shared.weight",
    "tok_embeddings.weight",
    "embeddings.weight",
)
# Bytes of one number in a safetensors file, by the name of its type.
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}


def snapshot(folder: Path) -> Path:
    """Return the snapshot of a folder of the hub's cache such as models--OWNER--NAME, or else the folder itself.

    It is the snapshot that refs/main names, or the only one. ValueError where several are there and none is named.
    """
    inner = folder / "snapshots"
    if (folder / CONFIG).exists() or (folder / ADAPTER).exists() or not inner.is_dir():
        return folder
    with contextlib.suppress(OSError, ValueError):
        named = inner / (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        if named.parent == inner and named.is_dir():
            return named
    found = sorted(path for path in inner.iterdir() if path.is_dir())
    if len(found) == 1:
        return found[0]
    raise ValueError(
        f"model: {folder} is a folder of the hub's cache with {len(found)} snapshots and no refs/main that names one; "
        "give the path of the snapshot itself, snapshots/COMMIT."
    )


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the whole model's weights, as transformers chooses them.

    They are those that the index lists, else model.safetensors. Others beside them, such as consolidated.safetensors,
    hold the same weights again. The list is empty where there are none. ValueError for an index that cannot be read.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        return []
    try:
        listed = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        names = sorted(set(map(str, listed)))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"model: {folder / INDEX} is no index of weight files (damaged, or not wholly copied); copy it again."
        ) from error
    if any(Path(name).name != name for name in names):
        raise ValueError(f"model: {folder / INDEX} names files outside its folder; save the model again.")
    return [folder / name for name in names]


def is_adapter(folder: Path) -> bool:
    """Return whether the folder holds a PEFT adapter and no whole model."""
    return (folder / ADAPTER).is_file() and not _is_whole(folder)


def has_adapter(folder: Path) -> bool:
    """Return whether an adapter lies in the folder, alone or beside a whole model."""
    return (folder / ADAPTER).is_file()


def _is_whole(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in (WEIGHTS, INDEX))


def adapter_base(folder: Path) -> str:
    """Return the model that the adapter's config names as its base, or "an unknown base" where it names none."""
    said = read_json(folder / ADAPTER).get("base_model_name_or_path")
    return said if isinstance(said, str) and said.strip() else "an unknown base"


def adapter_facts(folder: Path) -> JsonObject:
    """Return what the adapter's config says. ValueError for one that is damaged or cannot be put on a model here."""
    said = read_json(folder / ADAPTER)
    base, kind = said.get("base_model_name_or_path"), str(said.get("peft_type"))
    if not isinstance(base, str) or not base.strip():
        raise ValueError(
            f"model: the adapter in {folder} does not name the model it was made on; write its name or folder as "
            f'"base_model_name_or_path" into {ADAPTER}.'
        )
    if kind not in MERGED:
        raise ValueError(
            f"model: the adapter in {folder} is of the kind {kind}, and kinds that can be taken are "
            f"{', '.join(MERGED)}; give the whole model."
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ValueError(
            f"model: the adapter in {folder} has no {ADAPTER_WEIGHTS}; save it again with save_pretrained (a pickled "
            "file can run code when loaded)."
        )
    tensor_shapes(folder / ADAPTER_WEIGHTS)
    return said


def check_whole(folder: Path) -> Path:
    """Return the folder, which holds a whole model. ValueError for what is missing or damaged, with the remedy."""
    if not (folder / CONFIG).is_file():
        raise ValueError(
            f"model: folder {folder} has no config.json; give the folder that save_pretrained wrote."
        )
    files = weight_files(folder)
    if not files:
        pickles = [p.name for pattern in PICKLES for p in folder.glob(pattern)]
        others = [p.name for p in folder.glob("*.safetensors") if p.name != ADAPTER_WEIGHTS]
        found = f"no {WEIGHTS} (only {others[0]})" if others else "no weights"
        if pickles and not others:
            found = f"only pickled weights ({pickles[0]}), which can run code when loaded"
        raise ValueError(
            f"model: folder {folder} has {found}; save it again with save_pretrained (safetensors)."
        )
    if missing := [path.name for path in files if not path.is_file()]:
        raise ValueError(
            f"model: folder {folder} lacks {missing[0]} ({len(missing)} of {len(files)} parts of its weights); copy "
            "the whole folder again."
        )
    for file in files:
        tensor_shapes(file)
    return folder


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a safetensors file's tensors without reading weights. ValueError for another
    kind of file.
    """
    return {name: shape for name, (shape, _) in tensor_facts(file).items()}


def tensor_facts(file: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return names of a safetensors file's tensors, each with its shape and the file's name of its type."""
    try:
        stat = file.stat()
    except OSError:
        stat = None
    return dict(_facts(file, (stat.st_size, stat.st_mtime_ns, stat.st_ino) if stat else None))


@lru_cache(maxsize=64)
def _facts(file: Path, stamp: tuple[int, ...] | None) -> dict[str, tuple[tuple[int, ...], str]]:
    """The same, read once as long as the file stays as it is."""
    try:
        with open(file, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
        # The library reads a header of any length up to its own limit, which is far above what a model needs.
        if length > MAX_HEADER:
            raise ValueError("no header")
        with safe_open(file, framework="numpy") as tensors:
            parts = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            return {name: (tuple(part.get_shape()), str(part.get_dtype())) for name, part in parts.items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"model: {file} is not a safetensors file (damaged, or not wholly copied); copy it again."
        ) from error


def config_of(folder: Path) -> JsonObject:
    """Return config.json, or of a model of several kinds of input the part about text with the whole's own words."""
    whole = read_json(folder / CONFIG)
    inner = whole.get("text_config")
    return {**whole, **inner} if isinstance(inner, dict) else whole


def quantised(folder: Path) -> JsonObject:
    """Return how a checkpoint's weights were rounded when it was saved. It is empty for whole numbers."""
    said = read_json(folder / CONFIG).get("quantization_config")
    return said if isinstance(said, dict) else {}


def parameters_in(folder: Path) -> int:
    """Return the number of parameters in the weight files, each counted once. It is 0 where that cannot be seen.

    An output head that is tied to the embeddings is one with them, also where the file holds both. Rounded weights are
    packed, so their shapes say nothing.
    """
    if quantised(folder):
        return 0
    shapes = {name: shape for file in weight_files(folder) for name, shape in tensor_shapes(file).items()}
    tied = config_of(folder).get("tie_word_embeddings") is True
    heads = [name for name in shapes if name.split(".")[-2:] == ["lm_head", "weight"]]
    embeddings = [shape for name, shape in shapes.items() if name.endswith(EMBEDDINGS)]
    twice = [name for name in heads if tied and shapes[name] in embeddings]
    return sum(math.prod(shape) for name, shape in shapes.items() if name not in twice)


def embedding_rows(folder: Path, name: str = "") -> int:
    """Return how many tokens have a row in the embeddings of a folder's weights, or 0 where that cannot be seen.

    name: another file of the folder to look into, such as an adapter's.
    """
    files = [folder / name] if name else weight_files(folder)
    for file in files:
        for key, shape in tensor_shapes(file).items():
            if key.endswith(EMBEDDINGS) and len(shape) == 2:
                return shape[0]
    return 0


def bytes_in(folder: Path) -> int:
    """Return the bytes of the weights as they are saved."""
    facts = [fact for file in weight_files(folder) for fact in tensor_facts(file).values()]
    return sum(math.prod(shape) * BYTES.get(kind, 1) for shape, kind in facts)
