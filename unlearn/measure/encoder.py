"""An encoder turns texts into vectors, for metrics that compare meanings and not words. It is a folder of the user's.

No encoder ships: any folder of transformers with a config.json and safetensors serves, such as one of
sentence-transformers. A text's vector is the mean of the last hidden states over its tokens, which is what the usual
ones are made for (Reimers and Gurevych 2019, arXiv 1908.10084); a pooling of its own that a folder states is not read.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.compute.lazy import no_grad, torch
from unlearn.models.load import weights_hash

if TYPE_CHECKING:
    import numpy as np

BATCH, MAX_LENGTH = 32, 512


class TextEncoder:
    """The encoder in a folder, loaded when a text is first asked for. ValueError for a folder that has none."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
            raise ValueError(
                f"encoder: {folder} must be a folder with config.json and *.safetensors, as save_pretrained writes it; "
                "give the folder of an encoder, such as a copy of sentence-transformers/all-MiniLM-L6-v2."
            )
        self.folder, self.hash = folder, weights_hash(folder, None)

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        model = AutoModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True).eval()
        # Of an encoder-decoder the first half.
        model = model.get_encoder() if model.config.is_encoder_decoder else model
        return model, AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    @no_grad
    def vectors(self, texts: Sequence[str]) -> "np.ndarray":
        """Return one vector a text as a float array [texts, d]. A text without tokens gets zeros."""
        model, tokenizer = self._parts
        found = []
        for start in range(0, len(texts), BATCH):
            coded = [
                tokenizer(text, truncation=True, max_length=MAX_LENGTH)["input_ids"]
                for text in texts[start : start + BATCH]
            ]
            longest = max(1, *map(len, coded))
            ids = torch.tensor([[*one, *[0] * (longest - len(one))] for one in coded], device="cpu")
            mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in coded], device="cpu")
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state.double()
            # Where a text has no token, nothing is read of what stands there.
            there = mask[:, :, None].bool()
            sums = torch.where(there, states, 0.0).sum(1)
            found.append(sums / mask.sum(1, keepdim=True).clamp(min=1))
        return torch.cat(found).numpy()
