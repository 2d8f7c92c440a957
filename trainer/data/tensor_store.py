"""Tensors kept on the disk under keys: worked out once, memory-mapped, and whole after any kill.

Every process that adds to a cache writes a segment of its own: NAME.bin with the numbers, and NAME.jsonl with a line
for each tensor, which is written when its numbers are on the disk. What a kill leaves without a line is not there.
"""

import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segkit import rows, storage
from segkit.errors import StorageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FLUSHED = 5.0
"""Seconds of work that a kill may cost."""


@dataclass(frozen=True)
class _Place:
    """Where a tensor is: the segment's bytes, the first of them, their number, shape and checksum."""

    data: NDArray[np.uint8]
    at: int
    size: int
    shape: tuple[int, ...]
    crc: int
    path: Path


class TensorStore:
    """Tensors by key.

    Args:
        folder: of the segments; need not exist.
        dtype: of all tensors.
    """

    def __init__(self, folder: Path, dtype: "torch.dtype") -> None:
        self._folder, self._dtype = folder, dtype
        self._places: dict[str, _Place] = {}
        self._read: dict[Path, int] = {}
        self._sound: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Look for what was written since: by other processes, which may still be writing."""
        for index in sorted(self._folder.glob("*.jsonl")):
            size = index.stat().st_size
            if self._read.get(index) != size:
                self._places |= dict(_places(index))
                self._read[index] = size

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys that are not there, each once, in the order given."""
        return [key for key in dict.fromkeys(keys) if key not in self._places]

    def fill(self, keys: Sequence[str], make: "Callable[[str], Tensor]", told: Callable[[int], None]) -> None:
        """Work tensors out and keep them.

        Args:
            keys: what is missing.
            make: returns the tensor of a key, of the cache's dtype.
            told: hears how many there are so far.

        Raises:
            StorageError: the disk refuses; what was kept stays.
        """
        if keys:
            with _Segment(self._folder) as segment:
                for done, key in enumerate(keys, 1):
                    segment.add(key, make(key))
                    told(done)
        self.refresh()

    def __getitem__(self, key: str) -> "Tensor":
        """Return a tensor on the CPU, bit by bit as it was kept. See stack."""
        return self.stack([key])[0]

    def stack(self, keys: Sequence[str]) -> "Tensor":
        """Return tensors of one shape on the CPU, (N, ...), bit by bit as they were kept.

        Each is compared with its checksum when it is read for the first time.

        Raises:
            KeyError: one is not there.
            StorageError: the disk changed it.
        """
        import torch

        places = [self._places[key] for key in keys]
        found = torch.empty((len(keys), *places[0].shape), dtype=self._dtype)
        content = (
            found.view(torch.uint8).numpy().reshape(len(keys), -1) if found.numel() else np.empty((0, 0), np.uint8)
        )
        for key, place, row in zip(keys, places, content, strict=False):
            row[:] = place.data[place.at : place.at + place.size]
            if key not in self._sound:
                if zlib.crc32(row.data) != place.crc:
                    raise StorageError(f"{place.path} is damaged. Delete it, and type the same again: it is made anew.")
                self._sound.add(key)
        return found


def _places(index: Path) -> Iterable[tuple[str, _Place]]:
    """Yield what a segment holds whole."""
    path = index.with_suffix(".bin")
    if not path.is_file() or not path.stat().st_size:
        return
    data = np.memmap(path, np.uint8, "r")
    for _, line in rows.json_lines(index, lambda number, reason: None):
        with suppress(KeyError, TypeError, ValueError):  # the disk changed the line
            at, size, shape = int(line["at"]), int(line["size"]), tuple(map(int, line["shape"]))
            if 0 <= at <= at + size <= len(data):
                yield str(line["key"]), _Place(data, at, size, shape, int(line["crc"]), path)


class _Segment:
    """New tensors of one process. Use it as a context."""

    def __init__(self, folder: Path) -> None:
        storage.make_folder(folder)
        self._path = folder / secrets.token_hex(8)
        self._at, self._lines, self._flushed = 0, list[bytes](), time.monotonic()

    def __enter__(self) -> "_Segment":
        with storage.disk_errors(self._path):
            self._data = self._path.with_suffix(".bin").open("xb")
            self._index = self._path.with_suffix(".jsonl").open("xb")
            storage.sync_folder(self._path.parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not isinstance(error, StorageError):
                self.flush()
        finally:
            for file in (self._data, self._index):
                with suppress(OSError):  # what was buffered does not fit; it was told
                    file.close()

    def add(self, key: str, tensor: "Tensor") -> None:
        import torch

        content = tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        line = {"key": key, "at": self._at, "size": len(content), "shape": list(tensor.shape)}
        self._lines.append(json.dumps(line | {"crc": zlib.crc32(content)}).encode() + b"\n")
        self._at += len(content)
        with storage.disk_errors(self._path):
            self._data.write(content)
        if time.monotonic() - self._flushed > FLUSHED:
            self.flush()

    def flush(self) -> None:
        """Put the numbers on the disk, and then the lines that name them."""
        with storage.disk_errors(self._path):
            self._data.flush()
            os.fsync(self._data.fileno())
            self._index.write(b"".join(self._lines))
            self._index.flush()
            os.fsync(self._index.fileno())
        self._lines.clear()
        self._flushed = time.monotonic()
