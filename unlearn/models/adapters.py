"""This module puts a PEFT adapter on its base model: added into the weights for good, or kept beside them.

The way is a run's choice (`--adapter`), recorded with the run. An adapter is read from safetensors only.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unlearn.compute.lazy import Model
from unlearn.models import folders
from unlearn.models.placement import adapters_in_place, is_placed
from unlearn.models.precision import is_rounded

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


def merged(model: Model, folder: Path) -> Model:
    """Return the base model after adding the adapter of that folder into its weights.

    ValueError for another model's adapter, and where the weights are rounded or lie partly elsewhere.
    """
    from peft import PeftModel

    if is_rounded(model) or is_placed(model):
        raise ValueError(
            f"model: the adapter {folder.name} cannot be added into weights that are rounded or lie partly elsewhere; "
            "take --adapter keep, or precision bfloat16 on a device that holds the model."
        )
    fit_rows(model, folder)
    try:
        whole: Any = PeftModel.from_pretrained(cast("PreTrainedModel", model), str(folder))
        # PEFT has frozen the base under its adapter; of a model as it is loaded every weight may be trained.
        return whole.merge_and_unload(safe_merge=True).requires_grad_(True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(_misfit(folder, str(error))) from error


def kept(model: Model, folder: Path, *, trainable: bool) -> Model:
    """Return a peft model: the base under the adapter of that folder. PEFT's own way takes a model that lies in
    several places apart.

    trainable: the adapter may be trained on. ValueError for another model's adapter.
    """
    from peft import PeftConfig, set_peft_model_state_dict
    from safetensors.torch import load_file

    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    fit_rows(model, folder)
    state = load_file(folder / folders.ADAPTER_WEIGHTS)
    try:
        model = adapted(model, config)
        # Its declared type is a name that peft does not define.
        found: Any = set_peft_model_state_dict(model, state)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(_misfit(folder, str(error))) from error
    if lacking := [key for key in (*found.missing_keys, *found.unexpected_keys) if "lora_" in key]:
        raise ValueError(_misfit(folder, lacking[0]))
    return model


def _misfit(folder: Path, what: str) -> str:
    first = (what.strip().splitlines() or [what])[0][:200]
    return f"model: the adapter in {folder} was made on a model of another build ({first}); load that model."


def fit_rows(model: Model, folder: Path) -> None:
    """Give the model as many rows of embeddings as the adapter brings along for tokens that were added to it.

    The adapter's own rows replace all of them, so nothing has to be guessed for the new ones.
    """
    rows = folders.embedding_rows(folder, folders.ADAPTER_WEIGHTS)
    if rows and rows != model.get_input_embeddings().weight.shape[0]:
        cast("PreTrainedModel", model).resize_token_embeddings(rows, mean_resizing=False)


def adapted(model: Model, config: "PeftConfig") -> Model:
    """Return a peft model with a fresh adapter of this peft config, wherever the base's weights are."""
    from peft import get_peft_model

    from unlearn.compute.lora import lean

    with adapters_in_place(model):
        return lean(get_peft_model(cast("PreTrainedModel", model), config).eval())
