"""RunConfig holds the settings of a run as names and plain values, each with its rule. Nothing here imports
torch.

A field of RunConfig is the one place of a setting: the form, the flag with its help, the keys of a --config file,
validation and docs/settings.md are made from it.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from unlearn.store.knobs import Knob, check, knob, knobs_of, nearest
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.store.stop_rule import KEEPS, StopRule

TUNINGS = {"full": "All weights", "lora": "LoRA adapter", "layers": "Layers of the method's own"}
PRECISIONS = {
    "auto": "Automatic",
    "float32": "32 bits",
    "bfloat16": "16 bits (bfloat16)",
    "int8": "8 bits (bitsandbytes)",
    "nf4": "4 bits (bitsandbytes, nf4)",
}
MEMORIES = {"usual": "As usual", "lean": "Lean: half of what moves the weights"}
# What a lean training cannot do, since it never holds all gradients of a step: {setting: (its only value, why)}.
LEAN_NEEDS = {
    "accumulation": (1, "a step's gradients are never held, so they cannot be added up over batches"),
    "max_grad_norm": (0.0, "the norm of all gradients is known only when most of them have been used"),
    "sam": (0.0, "the forget term's whole gradient is needed before a weight may move"),
}
ROUNDED = ("int8", "nf4")
# What is done with a PEFT adapter that the model's folder holds.
ADAPTERS = {
    "auto": "Merged where it stands alone, left aside beside a whole model",
    "merge": "Added into the weights first",
    "keep": "Kept on its base and trained further",
    "ignore": "Left aside",
}
# The ways to ask a model a question. unlearn.data.prompts shows what each looks like.
FORMATS = {"chat": "Chat template", "plain": "Question: … Answer:", "completion": "Sentence to complete"}
# One format, or several: then each row is trained in all of them, and questions are asked in the first.
PROMPTS = {
    "+".join(names): " and ".join(FORMATS[name] for name in names)
    for count in range(1, len(FORMATS) + 1)
    for names in combinations(FORMATS, count)
}
# The experiment trackers that a run can report to (unlearn.work.trackers).
REPORTS = {"none": "Nowhere", "trackio": "Trackio", "tensorboard": "TensorBoard", "wandb": "Weights & Biases"}
# A command without these takes the value of the method or the model. So a repeated command always states
# them.
TUNED = ("lr", "epochs", "batch_size", "accumulation", "seed", "prompt")
LORA_ONLY = ("lora_rank", "lora_alpha")
# A command states these in a form of its own and not as a flag of the same name.
ASKED = ("model", "data", "method", "knobs")
METHOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")
# Older versions wrote the hub's configuration and split under shorter names: "config", "retain_config".
OLD_HUB_KEY = re.compile(r"(?P<role>.*_|)(?P<what>config|split)")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The settings of one run as names and plain values, so that JSON can store them without loss.

    data: see unlearn.data.catalogue.from_config. knobs: the method's own; the rest belongs to every run.
    start: a run of the same store, model and tuning (chained deletion requests). metrics: names of unlearn.metrics.
    checkpointing: see unlearn.compute.checkpointing. precision: see unlearn.models.precision.
    Errors: ValueError naming the field.
    """

    model: str = knob(kind="text", help="The model: a name of the catalogue, a hub id or a local folder.")
    data: Mapping[str, Any] = knob(kind="table", help="The rows to forget and to keep; its keys are below.")
    method: str = knob(kind="text", help="The unlearning method, by its short name such as npo.")
    knobs: Mapping[str, Any] = knob({}, help="The method's own settings.", kind="table")
    tuning: str = knob(
        "full",
        help="What may change. An adapter is small, quick to save, and can be dialled between before and after.",
        choices=TUNINGS,
        label="What may change",
    )
    lr: float = knob(
        1e-4,
        1e-8,
        1.0,
        "Size of a step. Too high destroys the model, too low changes nothing.",
        label="Learning rate",
    )
    epochs: int = knob(5, 1, 1000, "Passes over the forget set.")
    batch_size: int = knob(16, 1, 1024, "Forget texts in one step.")
    accumulation: int = knob(
        1, 1, 1024, "Batches added up before a step: the same result in less memory.", advanced=True
    )
    seed: int = knob(
        0, 0, 2**31 - 1, "Order of the texts. Same seed, same machine, same numbers.", advanced=True
    )
    lora_rank: int = knob(8, 1, 256, "Size of the added layers.", advanced=True, label="LoRA rank")
    lora_alpha: float = knob(
        16.0,
        0.1,
        1024.0,
        "Weight of the added layers, divided by the rank.",
        advanced=True,
        label="LoRA alpha",
    )
    prompt: str = knob(
        "plain",
        help="How questions are put to the model. A chat model knows more through its template than without; trained "
        "in several formats, each row stands once in each.",
        choices=PROMPTS,
        label="Prompt format",
    )
    system: str = knob(
        "",
        help="System prompt above each chat; nothing: what the chat template itself puts there.",
        advanced=True,
        label="System prompt",
    )
    max_length: int = knob(
        512, 8, 8192, "Tokens of a text; longer ones are cut.", advanced=True, label="Longest text (tokens)"
    )
    probes: int = knob(8, 0, 200, "How often a few fixed questions are asked while it trains.", advanced=True)
    start: str = knob("", help="A run whose weights this one goes on from.", advanced=True)
    title: str = knob("", help="A name for the run, shown in lists.")
    metrics: tuple[str, ...] = knob(
        (),
        help="Metrics computed at the run's end beside the cheap ones.",
        advanced=True,
        label="Further metrics",
    )
    checkpointing: bool = knob(
        False,
        help="Each block is computed again when its gradient is due: less memory for a third more work.",
        advanced=True,
        label="Gradient checkpointing",
    )
    max_grad_norm: float = knob(
        1.0,
        0.0,
        1e6,
        "A step's gradient is cut to this norm, so that no single batch throws the model; 0 leaves it as it is.",
        advanced=True,
        label="Largest gradient norm",
    )
    memory: str = knob(
        "usual",
        help="Lean: each gradient is used and let go inside the backward pass, and the optimiser's moments have 16 "
        "bits. It needs accumulation 1 and max_grad_norm 0, and its curve differs a little from the usual one.",
        choices=MEMORIES,
        advanced=True,
        label="Memory of the training",
    )
    stop_at: str = knob(
        "",
        0.0,
        1.0,
        help="Ends the run where it has forgotten enough: the mean probability of the answers to forget is at or below "
        "this number, or at or below target, the retrained model's or else the start's on rows that it never saw.",
        kind="text",
        advanced=True,
        label="Stop when forgotten to",
    )
    budget: tuple[str, ...] = knob(
        (),
        help="Ends the run where something else has suffered too much: general-ppl=1.03 (general perplexity, times the "
        "start's), kl=0.01 (change of general text, nats a token), retain=0.95 (probability of the answers to keep, "
        "times the start's).",
        advanced=True,
        label="Budgets",
    )
    keep: str = knob(
        "last",
        help="Which weights are the run's: those of its last step, or of the step nearest to the target inside the "
        "budget.",
        choices=KEEPS,
        advanced=True,
        label="Weights to keep",
    )
    sam: float = knob(
        0.0,
        0.0,
        10.0,
        "Sharpness-aware forgetting (SAM): the forget term's gradient is taken this far uphill of the weights, so that "
        "a small change brings less back. 0 is off, 0.01 the paper's; a second forget pass and a copy of the weights.",
        advanced=True,
        label="SAM radius",
        on=0.01,
    )
    precision: str = knob(
        "auto",
        help="Automatic: 16 bits for a frozen base where this machine computes faster so, else 32. 8 and 4 bits take "
        "a quarter and an eighth of the memory, and answer a little differently from the model as it came.",
        choices=PRECISIONS,
        advanced=True,
        label="Precision of the weights",
    )

    adapter: str = knob(
        "auto",
        help="What is done with a PEFT adapter as the model to start from. Merged: added into the weights, and "
        "unlearned from these. Kept: the adapter itself is trained further on its base.",
        choices=ADAPTERS,
        advanced=True,
        label="An adapter to start from",
    )
    retrained: str = knob(
        "",
        help="Your own exact retrain: a model that was trained like this one without exactly the rows to forget. It "
        "serves wherever a bundled retrain does.",
        kind="text",
        advanced=True,
        label="Your exact retrain",
    )

    report_to: str = knob(
        "none",
        help="Experiment tracker that losses, probes, scores and tables go to while it runs; rows never go there.",
        choices=REPORTS,
        advanced=True,
        label="Report to",
    )

    def __post_init__(self) -> None:
        for k in self.settings():
            object.__setattr__(self, k.name, check("run", k, getattr(self, k.name)))
        object.__setattr__(self, "data", data_of_today(self.data))
        if self.precision in ROUNDED and self.tuning != "lora":
            raise ValueError(
                f"run: precision {self.precision} keeps the base as it is, so tuning must be lora, got {self.tuning}; "
                "choose LoRA, or another precision."
            )
        for name, (only, why) in LEAN_NEEDS.items() if self.memory == "lean" else ():
            if (value := getattr(self, name)) != only:
                raise ValueError(
                    f"run: memory lean needs {name} {only:g}, got {value:g}: {why}. Set {name} to {only:g}, or memory "
                    "to usual."
                )
        entries = (part.strip() for entry in self.budget for part in entry.split(","))
        object.__setattr__(self, "budget", tuple(filter(None, entries)))
        self.stop_rule()
        if self.adapter == "keep" and self.tuning != "lora":
            raise ValueError(
                f"run: adapter keep trains the adapter itself, so tuning must be lora, got {self.tuning}; choose LoRA, "
                "or --adapter merge."
            )
        if not self.model.strip():
            raise ValueError("run: model is empty; give a catalogue name, a folder or a hub id.")
        # The method's name becomes part of a folder's name.
        if not METHOD_NAME.fullmatch(self.method):
            raise ValueError(f"run: method must be a plain name such as npo, got {self.method!r}.")

    @classmethod
    def settings(cls) -> tuple[Knob, ...]:
        """Return every field with its default, its range and its help sentence."""
        return knobs_of(cls)

    @classmethod
    def setting(cls, name: str) -> Knob:
        """Return one field with its default, its range and its help sentence."""
        return {k.name: k for k in cls.settings()}[name]

    @classmethod
    def from_json(cls, value: object) -> "RunConfig":
        """Return the config that to_json() wrote. ValueError for an unknown or missing field."""
        given = known_fields("config", value)
        if missing := {"model", "data", "method"} - set(given):
            raise ValueError(f"config: field {', '.join(sorted(missing))} is missing.")
        return cls(**given)

    def stop_rule(self) -> StopRule:
        """Return what ends the run early and which step it keeps. ValueError names the setting."""
        return StopRule.of(self.stop_at, self.budget, self.keep)

    def to_json(self) -> JsonObject:
        """Return all fields as plain values that JSON can hold."""
        return asdict(self)

    def command(self, name: str = "run", leave_out: Sequence[str] = ()) -> str:
        """Return the command line that repeats this run.  name: the command to call instead of `run`.
        leave_out: settings that the line does not name.
        """
        given: list[tuple[str, object]] = [("model", self.model), ("method", self.method)]
        given = [pair for pair in given if pair[0] not in leave_out]
        given += [
            ("data" if key == "name" else key, value)
            for key, value in self.data.items()
            if value not in ("", None, [], ())
        ]
        if "knobs" not in leave_out:
            given += [("set", f"{key}={value}") for key, value in self.knobs.items()]
        for k in self.settings():
            said = k.name in ("tuning", *TUNED) or (k.name in LORA_ONLY and self.tuning == "lora")
            if k.name not in (*ASKED, *leave_out) and (said or getattr(self, k.name) != k.default):
                given.append((k.name, getattr(self, k.name)))
        words = ["python", "-m", "unlearn", name]
        for flag, value in given:
            words += flag_words("--" + flag.replace("_", "-"), value)
        return shlex.join(words)


def formats_of(prompt: str) -> tuple[str, ...]:
    """Return the prompt formats that a setting such as "chat+plain" names, in that order. The setting must be
    valid already, as the prompt of a RunConfig is.
    """
    return tuple(prompt.split("+"))


def flag_words(flag: str, value: object) -> list[str]:
    """Return a flag and its value as words of a command line. A list is joined with commas, and true is the
    flag alone.
    """
    if value is True:
        return [flag]
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def known_fields(place: str, value: object, more: Sequence[str] = ()) -> JsonObject:
    """Return the value as an object of settings of a run. ValueError for what is no object, and for a name
    that is no setting.

    more: names that the message offers too.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{place}: must be an object of names and values, got {str(value)[:80]}.")
    names = [k.name for k in RunConfig.settings()]
    known = [*names, *(name for name in more if name not in names)]
    if unknown := sorted(str(name) for name in set(value) - set(names)):
        raise ValueError(
            f"{place}: unknown field {', '.join(unknown)}{nearest(unknown[0], known)}; "
            f"known: {', '.join(sorted(known))}."
        )
    return dict(value)


def data_of_today(data: JsonView) -> JsonObject:
    """Return the data field with today's keys. Older runs wrote "config" and "split" for "hub_config" and
    "hub_split".
    """
    return {key_of_today(str(key)): value for key, value in data.items()}


def key_of_today(key: str) -> str:
    """Return today's name for a key of the data field."""
    old = OLD_HUB_KEY.fullmatch(key)
    if old is None or old["role"].endswith("hub_"):
        return key
    return f"{old['role']}hub_{old['what']}"


def flags_of_before(keys: Iterable[str]) -> dict[str, str]:
    """Return {today's key: its older name} for the keys that had another name before."""
    older = {key: key.replace("hub_", "") for key in keys if key.endswith(("hub_config", "hub_split"))}
    return {key: old for key, old in older.items() if key_of_today(old) == key}
