"""An append-only store of tensors by key: memory-mapped, and consistent after a kill at any moment.

Every process that adds tensors writes a segment of its own: NAME.bin with the values, and NAME.jsonl with one line for
each tensor. A line is written only after the values are flushed to the disk, so values that a kill left without a line
are ignored.
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
"""Seconds between flushes: the work that a kill may cost."""


@dataclass(frozen=True)
class _Entry:
    """The location of a tensor.

    Attributes:
        data: the bytes of its segment, memory-mapped.
        offset: its first byte in the segment.
        size: its number of bytes.
        shape: its shape.
        crc: CRC-32 of its bytes.
        path: the segment's file.
    """

    data: NDArray[np.uint8]
    offset: int
    size: int
    shape: tuple[int, ...]
    crc: int
    path: Path


class TensorStore:
    """Tensors of one dtype by key, in a folder.

    Args:
        folder: the folder of the segments; it need not exist.
        dtype: dtype of all tensors.
    """

    def __init__(self, folder: Path, dtype: "torch.dtype") -> None:
        self._folder, self._dtype = folder, dtype
        self._entries: dict[str, _Entry] = {}
        self._index_sizes: dict[Path, int] = {}
        self._verified: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Load what other processes have added; they may still be writing."""
        for index in sorted(self._folder.glob("*.jsonl")):
            size = index.stat().st_size
            if self._index_sizes.get(index) != size:
                self._entries |= dict(_entries(index))
                self._index_sizes[index] = size

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys that are not in the store, without repetitions, in their order."""
        return [key for key in dict.fromkeys(keys) if key not in self._entries]

    def fill(self, keys: Sequence[str], compute: "Callable[[str], Tensor]", progress: Callable[[int], None]) -> None:
        """Compute tensors and add them.

        Args:
            keys: keys that are missing.
            compute: returns the tensor of a key, of the store's dtype.
            progress: called with the number of tensors done.

        Raises:
            StorageError: the disk is full or fails; tensors that were flushed stay.
        """
        if keys:
            with _Segment(self._folder) as segment:
                for done, key in enumerate(keys, 1):
                    segment.add(key, compute(key))
                    progress(done)
        self.refresh()

    def __getitem__(self, key: str) -> "Tensor":
        """Return one tensor on the CPU. See stack."""
        return self.stack([key])[0]

    def stack(self, keys: Sequence[str]) -> "Tensor":
        """Return tensors of one shape, stacked on the CPU: (N, ...), bit for bit as they were added.

        The checksum of each is verified when it is read for the first time.

        Raises:
            KeyError: a key is not in the store.
            StorageError: a checksum is wrong.
        """
        import torch

        entries = [self._entries[key] for key in keys]
        tensors = torch.empty((len(keys), *entries[0].shape), dtype=self._dtype)
        # rows of bytes that share the tensors' memory; torch cannot view an empty tensor as another dtype
        rows_of_bytes = (
            tensors.view(torch.uint8).numpy().reshape(len(keys), -1) if tensors.numel() else np.empty((0, 0), np.uint8)
        )
        for key, entry, row in zip(keys, entries, rows_of_bytes, strict=False):
            row[:] = entry.data[entry.offset : entry.offset + entry.size]
            if key not in self._verified:
                if zlib.crc32(row.data) != entry.crc:
                    raise StorageError(
                        f"{entry.path} is damaged. Delete it and run the same command again; it will be recreated."
                    )
                self._verified.add(key)
        return tensors


def _entries(index: Path) -> Iterable[tuple[str, _Entry]]:
    """Yield the tensors of a segment whose values are complete."""
    path = index.with_suffix(".bin")
    if not path.is_file() or not path.stat().st_size:
        return
    data = np.memmap(path, np.uint8, "r")
    for _, line in rows.json_lines(index, lambda number, reason: None):
        with suppress(KeyError, TypeError, ValueError):  # a line that the disk damaged counts as missing
            offset, size, shape = int(line["at"]), int(line["size"]), tuple(map(int, line["shape"]))
            if 0 <= offset <= offset + size <= len(data):
                yield str(line["key"]), _Entry(data, offset, size, shape, int(line["crc"]), path)


class _Segment:
    """The tensors that one process adds; a context manager."""

    def __init__(self, folder: Path) -> None:
        storage.make_folder(folder)
        self._path = folder / secrets.token_hex(8)
        self._offset, self._lines, self._flushed = 0, list[bytes](), time.monotonic()

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
                with suppress(OSError):  # closing flushes what did not fit; that error was raised already
                    file.close()

    def add(self, key: str, tensor: "Tensor") -> None:
        import torch

        content = tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        line = {"key": key, "at": self._offset, "size": len(content), "shape": list(tensor.shape)}
        self._lines.append(json.dumps(line | {"crc": zlib.crc32(content)}).encode() + b"\n")
        self._offset += len(content)
        with storage.disk_errors(self._path):
            self._data.write(content)
        if time.monotonic() - self._flushed > FLUSHED:
            self.flush()

    def flush(self) -> None:
        """Write the values to the disk, then the lines that name them."""
        with storage.disk_errors(self._path):
            self._data.flush()
            os.fsync(self._data.fileno())
            self._index.write(b"".join(self._lines))
            self._index.flush()
            os.fsync(self._index.fileno())
        self._lines.clear()
        self._flushed = time.monotonic()
