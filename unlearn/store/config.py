"""What a person asks of a run: names and plain values with their rules. Nothing here imports torch."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

TUNINGS = ("full", "lora", "layers")
PRECISIONS = ("auto", "float32", "bfloat16", "int8", "nf4")
ROUNDED = ("int8", "nf4")
LIMITS = (
    ("lr", 1e-8, 1.0),
    ("epochs", 1, 1000),
    ("batch_size", 1, 1024),
    ("accumulation", 1, 1024),
    ("seed", 0, 2**31 - 1),
    ("lora_rank", 1, 256),
    ("lora_alpha", 0.1, 1024),
    ("max_length", 8, 8192),
    ("probes", 0, 200),
)
FRACTIONS = ("lr", "lora_alpha")
ALWAYS_SAID = (
    "lr",
    "epochs",
    "batch_size",
    "accumulation",
    "seed",
)  # a method may have tuned values for these
LORA_ONLY = ("lora_rank", "lora_alpha")
METHOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a person asked for: names and plain values, so that it round-trips through JSON.

    model: a catalogue name, hub id or local folder. data: see unlearn.data.catalogue.from_config.
    knobs: the method's own; the rest belongs to every run. start: id of an earlier run of the same store, model and
    tuning, whose weights this one goes on from (chained deletion requests). metrics: names of unlearn.metrics that
    are computed at the run's end too; the cheap ones always are. checkpointing: see unlearn.compute.checkpointing.
    precision: what the weights are held in, see unlearn.models.precision. Errors: ValueError naming the field.
    """

    model: str
    data: Mapping[str, Any]
    method: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    tuning: str = "full"
    lr: float = 1e-4
    epochs: int = 5
    batch_size: int = 16
    accumulation: int = 1
    seed: int = 0
    lora_rank: int = 8
    lora_alpha: float = 16.0
    max_length: int = 512
    probes: int = 8
    start: str = ""
    title: str = ""
    metrics: tuple[str, ...] = ()
    checkpointing: bool = False
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, low, high in LIMITS:
            value = getattr(self, name)
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not good or not low <= value <= high:  # nan lies nowhere
                raise ValueError(f"run: {name} must lie in [{low:g}, {high:g}], got {value!r}.")
            if name not in FRACTIONS and value != int(value):
                raise ValueError(f"run: {name} must be a whole number, got {value!r}.")
            object.__setattr__(self, name, float(value) if name in FRACTIONS else int(value))
        if self.tuning not in TUNINGS:
            raise ValueError(f"run: tuning must be among {', '.join(TUNINGS)}, got {self.tuning!r}.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"run: precision must be among {', '.join(PRECISIONS)}, got {self.precision!r}.")
        if self.precision in ROUNDED and self.tuning != "lora":
            raise ValueError(
                f"run: precision {self.precision} keeps the base as it is, so tuning must be lora, got {self.tuning}; "
                "choose LoRA, or another precision."
            )
        for name, kind in (
            ("model", str),
            ("method", str),
            ("start", str),
            ("title", str),
            ("data", Mapping),
            ("knobs", Mapping),
        ):
            if not isinstance(value := getattr(self, name), kind):
                rule = "text" if kind is str else "an object of names and values"
                raise ValueError(f"run: {name} must be {rule}, got {value!r}.")
        if not self.model.strip():
            raise ValueError("run: model is empty; give a catalogue name, a folder or a hub id.")
        if not isinstance(self.checkpointing, bool):
            raise ValueError(f"run: checkpointing must be true or false, got {self.checkpointing!r}.")
        listed = isinstance(self.metrics, (list, tuple))
        if not listed or not all(isinstance(name, str) for name in self.metrics):
            raise ValueError(f"run: metrics must be a list of names, got {self.metrics!r}.")
        object.__setattr__(self, "metrics", tuple(self.metrics))
        if not METHOD_NAME.fullmatch(self.method):  # it becomes part of a folder's name
            raise ValueError(f"run: method must be a plain name such as npo, got {self.method!r}.")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RunConfig":
        """The config that to_json wrote. ValueError for an unknown or missing field."""
        if not isinstance(value, Mapping):
            raise ValueError(f"config: must be an object of names and values, got {str(value)[:80]}.")
        known = {f.name for f in fields(cls)}
        if unknown := set(value) - known:
            raise ValueError(
                f"config: unknown field {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}."
            )
        if missing := {"model", "data", "method"} - set(value):
            raise ValueError(f"config: field {', '.join(sorted(missing))} is missing.")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)

    def command(self) -> str:
        """The command line that repeats this run."""
        given: list[tuple[str, Any]] = [("model", self.model), ("method", self.method)]
        for key, value in self.data.items():
            if value in ("", None, [], ()):
                continue
            text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            given.append(("data" if key == "name" else key, text))
        given += [("set", f"{key}={value}") for key, value in self.knobs.items()]
        given.append(("tuning", self.tuning))
        for name, *_ in LIMITS:
            standard = getattr(self, name) == type(self).__dataclass_fields__[name].default
            if name in ALWAYS_SAID or not standard or (name in LORA_ONLY and self.tuning == "lora"):
                given.append((name, getattr(self, name)))
        given += [(name, text) for name in ("start", "title") if (text := getattr(self, name))]
        given += [("metrics", ",".join(self.metrics))] if self.metrics else []
        given += [("precision", self.precision)] if self.precision != "auto" else []
        words = ["python", "-m", "unlearn", "run", *(["--checkpointing"] if self.checkpointing else [])]
        for name, value in given:
            flag, text = "--" + name.replace("_", "-"), str(value)
            words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
        return shlex.join(words)
