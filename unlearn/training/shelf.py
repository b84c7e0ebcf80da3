"""A shelf keeps a run's numbers for its texts beside the model, or elsewhere when they are many.

A reference of hidden states is d numbers an answer token: of a million tokens and a model of 7 B, 8 GB. Beyond a limit
(UNLEARN_REFERENCE_MEMORY, such as 2GiB) those of a model on CUDA lie in pinned host memory, which the device can read
without waiting, and those of any other in a file that is mapped into memory, so that the system may put away what is
not being read. The file loses its name as soon as it is open: nothing is left of it, however the process ends.
"""

import os
import tempfile
from pathlib import Path

from unlearn.compute.lazy import Tensor, torch
from unlearn.store import environment

LIMIT = environment.REFERENCE_MEMORY.name
# The most bytes beside the model, unless the variable sets another limit.
USUAL = 2**30
# The bytes that are reserved together.
SEGMENT = 2**26
# Each tensor begins at a multiple of this many bytes.
ALIGNED = 64


class Shelf:
    """A store of tensors: put() copies a tensor to its place and returns the copy. folder: the folder for its
    file, else the system's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        limit = environment.REFERENCE_MEMORY.bytes()
        self.limit = USUAL if limit is None else limit
        self.folder, self.beside, self.away = folder, 0, 0
        self.pinned = False
        self._segment, self._end = torch.empty(0, dtype=torch.uint8, device="cpu"), 0

    def put(self, values: Tensor) -> Tensor:
        """Return a copy of the values at the place where they are kept. OSError where the disk is full,
        before anything is written.
        """
        if self.beside + values.nbytes <= self.limit:
            self.beside += values.nbytes
            return values.clone()
        self.pinned = values.is_cuda
        place = self._room(values.nbytes).view(values.dtype).view(values.shape)
        self.away += values.nbytes
        return place.copy_(values)

    def describe(self) -> str:
        """Return a sentence for the run's page, or "" where everything is beside the model."""
        if not self.away:
            return ""
        where = "pinned host memory" if self.pinned else "a file"
        return f"{self.away / 1e6:,.1f} MB of the reference lie in {where}, {LIMIT} says when."

    def _room(self, size: int) -> Tensor:
        """[size] bytes of the segment in use, or of a new one."""
        start = -(-self._end // ALIGNED) * ALIGNED
        if start + size > len(self._segment):
            most, start = max(SEGMENT, size), 0
            self._segment = (
                torch.empty(most, dtype=torch.uint8, device="cpu", pin_memory=True)
                if self.pinned
                else self._file(most)
            )
        self._end = start + size
        return self._segment[start : self._end]

    def _file(self, size: int) -> Tensor:
        descriptor, name = tempfile.mkstemp(prefix="reference-", dir=self.folder)
        try:
            fill(descriptor, size)
            return torch.from_file(name, shared=True, size=size, dtype=torch.uint8)
        finally:
            os.close(descriptor)
            os.unlink(name)


def fill(descriptor: int, size: int) -> None:
    """Reserve this many bytes of the disk for the file. A full disk is then an error now, and not a fault at
    a later write.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    piece = bytes(2**20)
    while size > 0:
        size -= os.write(descriptor, piece[:size])
