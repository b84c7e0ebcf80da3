"""The header of a weights file: names and shapes, and every damage said in a sentence."""

import pytest
import torch
from safetensors.torch import save_file

from unlearn.models import folders


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, path, metadata={"format": "pt"})
    return path


def test_names_and_shapes_are_read_without_weights(file):
    assert folders.tensor_shapes(file) == {"a": (3, 4), "b": (5,)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-4],  # not wholly copied: its header is whole, and was believed before
        lambda whole: whole + b"more",
        lambda whole: whole[:20],
        lambda whole: b"",
        lambda whole: b"PK\x03\x04" + whole,
        lambda whole: whole.replace(b'"F32"', b'"X32"'),
    ],
)
def test_a_damaged_file_is_no_weights_file(file, damage):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"model\.safetensors is not a safetensors file \(damaged"):
        folders.tensor_shapes(file)


def test_a_header_of_many_megabytes_is_not_read(file, monkeypatch):
    monkeypatch.setattr(folders, "MAX_HEADER", 8)
    folders._facts.cache_clear()
    with pytest.raises(ValueError, match="is not a safetensors file"):
        folders.tensor_shapes(file)
