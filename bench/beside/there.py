"""Takes what bench/peer.py compares with out of a checkout of OpenUnlearning: its trainers and its evaluation.

Their modules are imported as they are, without the packages' own beginnings, which register everything through Hydra.
Two things stand between them and today's libraries: compute_loss() gets an argument more than in transformers 4.45,
which is dropped, and omegaconf, where it is not installed, is a function that returns the dictionary it was given.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = ("trainer", "trainer.unlearn", "data", "evals", "evals.metrics")
# The file of each trainer in src/trainer/unlearn.
FILES = {"GradDiff": "grad_diff", "NPO": "npo", "UNDIAL": "undial"}
# Their batch size in an evaluation, and how they generate there, but for the length of an answer.
EVALUATED = 32
GENERATION = {"do_sample": False, "top_p": None, "temperature": None, "use_cache": True}


def import_from(folder: Path) -> dict[str, Any]:
    """Import their modules from a checkout, without the registries that need Hydra, and return what is used of them."""
    for name in PACKAGES:
        package = ModuleType(name)
        package.__path__ = [str(folder / "src" / name.replace(".", "/"))]
        sys.modules[name] = package
    if find_spec("omegaconf") is None:
        # It only turns its settings into a plain dictionary, and is given one.
        stand_in = ModuleType("omegaconf")
        stand_in.OmegaConf = type(
            "OmegaConf", (), {"to_container": staticmethod(lambda given, **_: dict(given))}
        )
        sys.modules["omegaconf"] = stand_in
    return {
        "trainer": lambda name: getattr(import_module(f"trainer.unlearn.{FILES[name]}"), name),
        "pairs": import_module("data.unlearn").ForgetRetainDataset,
        "collator": import_module("data.collators").DataCollatorForSupervisedDataset,
        "metrics": lambda: import_module("evals.metrics.utils"),
    }


def tensors(texts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the token ids and labels of texts as their data sets give them."""
    import torch

    return [{name: torch.tensor(text[name]) for name in ("input_ids", "labels")} for text in texts]


def model_there(given: Mapping[str, Any]) -> tuple[Any, Any]:
    """Load model and tokenizer as they do: from the folder, in float32, padded with the end of text where there is
    no padding token.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(given["model"], dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def train_theirs(
    given: Mapping[str, Any], title: str, options: Mapping[str, float], folder: Path
) -> dict[str, float]:
    """Train with their trainer of this name. See bench.peer.train_ours()."""
    from transformers import TrainingArguments

    there = import_from(folder)
    trainer_class = there["trainer"](title)

    class Trainer(trainer_class):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            return super().compute_loss(model, inputs, return_outputs)

    model, tokenizer = model_there(given)
    forget, retain = tensors(given["forget"]), tensors(given["retain"])
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out,
            max_steps=given["steps"],
            per_device_train_batch_size=given["batch"],
            learning_rate=given["lr"],
            weight_decay=0.0,
            optim="adamw_torch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
            seed=0,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=there["pairs"](forget, retain),
            data_collator=there["collator"](tokenizer),
            **options,
        )
        begun = time.process_time()
        pairs = [{"forget": a, "retain": b} for a, b in zip(forget, retain, strict=True)]
        first = there["collator"](tokenizer)(pairs[: given["batch"]])
        loss = float(trainer.compute_loss(model, first).detach())
        start = time.process_time()
        trainer.train()
        return {"begin": begun, "steps": time.process_time() - start, "loss": loss}


def evaluate_theirs(given: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Compute probability and ROUGE of all rows with their functions."""
    import torch

    there = import_from(folder)
    metrics = there["metrics"]()
    model, tokenizer = model_there(given)
    model.eval()
    texts = [*given["forget"], *given["retain"]]
    start = time.process_time()
    read, asked = (there["collator"](tokenizer, padding_side=side) for side in ("right", "left"))
    likely: list[float] = []
    for at in range(0, len(texts), EVALUATED):
        batch = read(tensors(texts[at : at + EVALUATED]))
        likely += [one["prob"] for one in metrics.evaluate_probability(model, batch)]
    settings = GENERATION | {"max_new_tokens": given["room"]}
    for at in range(0, len(texts), EVALUATED):
        part = texts[at : at + EVALUATED]
        batch = asked(
            [{"input_ids": torch.tensor(t["prompt"]), "labels": torch.tensor(t["labels"])} for t in part]
        )
        metrics.eval_text_similarity(model, tokenizer, batch, settings)
    return {"evaluation": time.process_time() - start, "probability": statistics.fmean(likely)}
