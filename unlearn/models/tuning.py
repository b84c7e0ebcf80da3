"""A tuning is what may change in a model: all weights, a LoRA adapter, or unlearning layers.

A method names the tunings that it can train (Method.tunings). Everything else asks here, so that execute(), the
pages and the command line never ask which method it is. Unlearning layers are a tuning and not a method because
they are a place for the change, like LoRA's matrices: what is trained into them is the method's affair, and
fusing them needs no method at all.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.compute.lazy import Model, torch
from unlearn.compute.states import depth
from unlearn.models import layers
from unlearn.models.load import add_lora, load, weights_hash
from unlearn.models.placement import is_placed, lora_alone
from unlearn.store.away import keeps_weights, weights_of
from unlearn.store.runs import Run, RunConfig

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


def install(model: Model, config: RunConfig, method: Any) -> Model:
    """Make the model ready to be trained and return it. Parameters that may change require a gradient, and
    its logits are unchanged.

    A run that starts from another has that one's adapter or layers on already (starting_model), and so has one that
    trains a given adapter further.
    """
    if is_placed(model):
        lora_alone(config.tuning)
    model = method.build(model)
    if config.tuning == "lora" and not config.start and config.adapter != "keep":
        model = add_lora(model, rank=config.lora_rank, alpha=config.lora_alpha, seed=config.seed)
    if config.tuning == "layers" and not config.start:
        model = layers.add_layers(model, share=method.layer_share, seed=config.seed)
    blocks = depth(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and method.trainable(name, blocks))
    return model


def base(
    config: RunConfig, *, device: str | None = None, trained: Path | None = None, trainable: bool = False
) -> "Loaded":
    """Return models.Loaded as the run finds it: the model that it names, in its number format, with what is done with
    an adapter. device, trained and trainable: as in load().
    """
    return load(
        config.model,
        tuning=config.tuning,
        precision=config.precision,
        adapter=config.adapter,
        device=device,
        trained=trained,
        trainable=trainable,
    )


def starting_model(config: RunConfig, start: Run | None) -> "Loaded":
    """Return models.Loaded to begin with: the base, or, in a chain, the result of the run `start`, ready to
    be trained on.

    A run of all weights may go on from one with an adapter, which is merged first. ValueError when that run is of
    another model or tuning, or keeps no weights.
    """
    if start is None:
        return base(config)
    check_start(config, start)
    if config.tuning == "full" and start.config.tuning == "lora":
        loaded = base(config, trained=weights_of(start) / "adapter")
        loaded.model = loaded.model.merge_and_unload()
        loaded.model.requires_grad_(True)
        return loaded
    return load_trained(start, trainable=True)


def check_start(config: RunConfig, start: Run) -> None:
    """Raise ValueError when a run of this config cannot continue that one: another model or tuning, or no
    weights.
    """
    theirs = start.config
    tuning = "full" if theirs.tuning == "lora" and config.tuning == "full" else theirs.tuning
    if (theirs.model, tuning, theirs.precision) != (config.model, config.tuning, config.precision):
        raise ValueError(
            f"run: start must be a run of {config.model} with {config.tuning} tuning in precision "
            f"{config.precision}, but {start.id} is of {theirs.model} with {theirs.tuning} in {theirs.precision}."
        )
    if theirs.adapter != config.adapter:
        raise ValueError(
            f"run: start must be a run that takes the model's adapter alike, but {start.id} has --adapter "
            f"{theirs.adapter} and this one {config.adapter}."
        )
    if not keeps_weights(start):
        raise ValueError(
            f"run: start {start.id} keeps no weights to go on from; run it again, or choose another."
        )


@contextmanager
def untouched(loaded: "Loaded", config: RunConfig) -> Iterator[Model]:
    """Give the block the model as it was before any run of the chain. The adapter is off, or a fully tuned
    model is loaded again.
    """
    if config.tuning == "full" or config.adapter == "keep":
        # Under a kept adapter lies its base, and the model to begin with was both together.
        yield base(config, device=loaded.device).model
        return
    with original(loaded.model):
        yield loaded.model


def save(loaded: "Loaded", config: RunConfig, folder: Path) -> str:
    """Write what the run trained: folder/adapter for LoRA and unlearning layers, folder/model for the whole
    model. Returns a sentence where the weights are rounded for it, else "".
    """
    if config.tuning == "layers":
        layers.save_layers(loaded.model, folder / "adapter")
        return ""
    if config.tuning == "lora":
        loaded.model.save_pretrained(folder / "adapter", safe_serialization=True)
        return ""
    told = _round_as_it_came(loaded)
    loaded.model.save_pretrained(folder / "model", safe_serialization=True)
    loaded.tokenizer.save_pretrained(folder / "model")
    # Weights that are exact in a narrow format are the same in a wide one, which computes as before.
    loaded.model.to(getattr(torch, loaded.dtype))
    return told


def _round_as_it_came(loaded: "Loaded") -> str:
    """Put the trained weights into the number format that the model came in, where that is a narrower one.

    Who gives a model in 16 bits gets one back in 16 bits. The scores after are taken of these weights, not of what was
    trained in 32, because a small change can be lost in rounding.
    """
    start, now = (getattr(torch, name, None) for name in (loaded.start_dtype, loaded.dtype))
    if start is None or now is None or start.itemsize >= now.itemsize:
        return ""
    loaded.model.to(start)
    return (
        f"The weights are saved in {loaded.start_dtype}, as the model came, and the scores after are of these; they "
        f"were trained in {loaded.dtype}."
    )


def load_trained(run: Run, *, trainable: bool = False, precision: str = "") -> "Loaded":
    """Return models.Loaded with what the run trained, known by the files in its folder. ValueError when it
    keeps none.

    trainable: an adapter may be trained on; unlearning layers and whole models may be anyway. precision: the number
    format of an adapter's base, where it is not to be that of the run.
    """
    kept, config = weights_of(run), run.config
    if (kept / "model" / "config.json").is_file():
        # Weights that are trained whole are never rounded to 8 or 4 bits.
        return load(str(kept / "model"), precision=precision or config.precision)
    adapter = kept / "adapter"
    config = replace(config, precision=precision) if precision else config
    if (adapter / layers.CONFIG).is_file():
        loaded = base(config)
        loaded.model = layers.load_layers(loaded.model, adapter)
        return loaded
    if (adapter / "adapter_config.json").is_file():
        return base(config, trained=adapter, trainable=trainable)
    raise ValueError(f"run: {run.title} keeps no weights; run it again to ask it your own questions.")


def trained_hash(run: Run, base: str) -> str:
    """Return the hash of the run's model: the base's hash joined with that of the trained weights. ValueError
    when it keeps no weights.
    """
    kept = weights_of(run)
    for folder in (kept / "model", kept / "adapter"):
        if any(folder.glob("*.safetensors")):
            return f"{base}+{weights_hash(folder, None)}"
    raise ValueError(f"run: {run.title} keeps no weights; run it again to evaluate it.")


def original(model: Model) -> AbstractContextManager[object]:
    """Make an adapted model the original one within the `with` block. A fully tuned model stays as it is."""
    if hasattr(model, "disable_adapter"):
        return model.disable_adapter()
    return layers.switched_off(model) if layers.layers_of(model) else nullcontext()
