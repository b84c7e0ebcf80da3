"""A checkpoint holds what training changes. It is written tensor by tensor, so that keeping it needs no
second copy of it.

The safetensors library wants every tensor in memory before it writes the first: of a model that is trained whole these
are its weights and both moments once more. Here the header, which needs shapes alone, is written first and then one
tensor after the other. Nothing else moves while a method trains: all that is drawn at random is drawn by the seed and
the step's number.

Between two updates nothing moves at all: while the next step runs forward and backward, a thread hands the tensors to
the system, and only an update waits until the last of them is handed over. That needs no copy either; bringing the file
to the disk and giving it its name goes on beside the steps after it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from unlearn.compute.lazy import Model, Tensor, torch
from unlearn.store.disk import write_json
from unlearn.store.scratch import beside

# The number of bytes in one write to the system.
PIECE = 2**24
# What stands before the name of a tensor that is kept beside the trained ones.
ASIDE = "aside."
# {torch's name of a type: the name in the safetensors format}.
TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def save_checkpoint(
    folder: Path,
    model: Model,
    optimizer: torch.optim.Optimizer,
    step: int,
    copied: Callable[[], None] = lambda: None,
    aside: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the trained weights and the optimiser's moments as safetensors. state.json is written last and
    makes them valid.

    copied: called when the tensors may change again. aside: further tensors by name, see load_aside().
    """
    folder.mkdir(exist_ok=True)
    fresh = f"step-{step}.safetensors"
    with beside(folder / fresh) as scratch:
        more = {f"{ASIDE}{name}": tensor for name, tensor in (aside or {}).items()}
        write_tensors(scratch, dict(named_tensors(model, optimizer)) | more, copied)
    write_json(folder / "state.json", {"step": step, "file": fresh})
    for old in folder.glob("step-*.safetensors"):
        if old.name != fresh:
            old.unlink()


class Writer:
    """A writer of checkpoints beside the training, one at a time.

    begin() returns at once. Whoever is about to change a weight or a moment calls wait() first; finish() waits for the
    disk. Both raise what the writing met, once. took(): what it cost the training.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._copied = threading.Event()
        self._error: Exception | None = None
        self._waited = self._worked = 0.0
        self._counted = True

    def begin(
        self,
        folder: Path,
        model: Model,
        optimizer: torch.optim.Optimizer,
        step: int,
        aside: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Begin to write a checkpoint of this step, once the one before is on the disk. aside: further tensors."""
        self.finish()
        self._copied.clear()
        self._waited = self._worked = 0.0
        self._counted = False
        self._thread = threading.Thread(
            target=self._write, args=(folder, model, optimizer, step, dict(aside or {})), name="checkpoint"
        )
        self._thread.start()

    def _write(
        self,
        folder: Path,
        model: Model,
        optimizer: torch.optim.Optimizer,
        step: int,
        aside: Mapping[str, Tensor],
    ) -> None:
        try:
            save_checkpoint(folder, model, optimizer, step, self._copied.set, aside)
        # It is raised in the thread that trains, like the errors of a step.
        except Exception as error:
            self._error = error
        finally:
            self._worked = time.thread_time()
            self._copied.set()

    def wait(self) -> None:
        """Wait until the tensors may change."""
        if self._thread is not None and not self._copied.is_set():
            start = time.perf_counter()
            self._copied.wait()
            self._waited += time.perf_counter() - start
        self._raise()

    def finish(self) -> None:
        """Wait until the checkpoint is on the disk."""
        if self._thread is not None:
            start = time.perf_counter()
            self._thread.join()
            self._thread = None
            self._waited += time.perf_counter() - start
        self._raise()

    @property
    def busy(self) -> bool:
        """Return whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def took(self) -> float | None:
        """Return the seconds that the last checkpoint took from the training, waiting and working, or None
        while it is written and after they were told.
        """
        if self.busy or self._counted:
            return None
        self._counted = True
        return self._waited + self._worked

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def checkpoint_step(folder: Path) -> int:
    """Return the step that the checkpoint in this folder belongs to. ValueError when it cannot be read."""
    try:
        return int(json.loads((folder / "state.json").read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"run: the checkpoint cannot be read ({error}); delete {folder} and resume."
        ) from error


def load_checkpoint(folder: Path, model: Model, optimizer: torch.optim.Optimizer) -> int:
    """Load the weights and the moments of a checkpoint and return the step that they belong to. ValueError
    when they do not fit.
    """
    from safetensors import SafetensorError, safe_open

    weights = moving(model)
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        with safe_open(folder / Path(state["file"]).name, framework="pt") as found:
            names = list(found.keys())
            if {n.removeprefix("weight.") for n in names if n.startswith("weight.")} != set(weights):
                raise _Foreign
            own = [name for name in names if not name.startswith(ASIDE)]
            _put_back(weights, optimizer, own, found.get_tensor)
        return int(state["step"])
    except _Foreign:
        raise ValueError(
            "run: the checkpoint belongs to another model or tuning; delete it and start again."
        ) from None
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(
            f"run: the checkpoint cannot be read ({error}); delete {folder} and resume."
        ) from error


def load_aside(folder: Path) -> dict[str, Tensor]:
    """Return the tensors that the checkpoint keeps beside the trained ones. A missing or unreadable one has none."""
    from safetensors import SafetensorError, safe_open

    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        with safe_open(folder / Path(state["file"]).name, framework="pt") as found:
            names = [name for name in found.keys() if name.startswith(ASIDE)]  # noqa: SIM118, no mapping
            # A copy, because the mapped file may go.
            return {name.removeprefix(ASIDE): found.get_tensor(name).clone() for name in names}
    except (OSError, ValueError, KeyError, SafetensorError):
        return {}


class _Foreign(Exception):
    """The checkpoint's weights are not those that are trained."""


def _put_back(
    weights: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    names: list[str],
    get: Callable[[str], Tensor],
) -> None:
    state: dict[str, dict[str, Tensor]] = {name: {} for name in weights}
    with torch.no_grad():
        for full in names:
            kind, name = full.split(".", 1)
            if name in weights and kind == "weight":
                weights[name].copy_(get(full))
            elif name in weights:
                # The fused kernel wants even its step counter on the device. It gets a copy, because the
                # mapped file may go.
                state[name][kind] = get(full).clone().to(weights[name].device)
    for name, parameter in weights.items():
        optimizer.state[parameter] = state[name]


def write_tensors(path: Path, tensors: dict[str, Tensor], copied: Callable[[], None] = lambda: None) -> None:
    """Write these tensors as a safetensors file, which is on the disk when this returns. At most one of them
    is copied at a time.

    copied: called when the system has all of them, before they are on the disk.
    """
    header, at = {}, 0
    for name, tensor in tensors.items():
        kind = TYPES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {
            "dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]
        }  # fmt: skip
        at += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            whole = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            for start in range(0, len(whole), PIECE):
                file.write(whole[start : start + PIECE].data)
        file.flush()
        copied()
        os.fsync(file.fileno())


def named_tensors(model: Model, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Yield all that a checkpoint holds with its name: each trained weight, then the optimiser's values of it."""
    for name, parameter in moving(model).items():
        yield f"weight.{name}", parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():
            yield f"{key}.{name}", torch.as_tensor(value)


def moving(model: Model) -> dict[str, Tensor]:
    """Return the parameters that may be trained by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
