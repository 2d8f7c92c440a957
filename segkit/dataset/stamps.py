"""Stamps: size, time and hash of files that were read before, so that unchanged ones need not be read again.

A file of stamps is derived: it may be deleted at any time, and is ignored if it is damaged. As in git's index, a file
whose stamp agrees counts as unchanged. What such a comparison cannot see is a change that keeps size and time, such as
a flipped bit on the disk.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segkit import storage
from segkit.errors import StorageError

T = TypeVar("T")

Status = os.stat_result | None
"""What the operating system says about a file; None for one that is missing or unreadable."""

ENTRY = np.dtype(
    [
        ("name", "<u8"),  # BLAKE2b of the file's name, 64 bits
        ("size", "<i8"),  # bytes
        ("modified", "<i8"),  # mtime in nanoseconds
        ("inode", "<u8"),
        ("device", "<u8"),
        ("facts", "<u8"),  # see Stamps.remember
        ("sha256", "V32"),
    ]
)
"""One stamp, 80 bytes. Two names with the same hash would at worst share a stamp, whose size and time must agree too:
with 2,000,000 files the chance of such a pair is 1e-7."""

CHUNK = 1024
"""Files that are looked up together."""

RACY = 3_000_000_000
"""Nanoseconds that a file must have been unchanged before it was read. A file that is changed twice within one tick of
the file system's clock keeps its time; FAT ticks every two seconds."""

_MAGIC = b"segkit stamps 1\n"
_SAVED_EARLY = 16_384  # fewer new stamps than this are saved only at the end
_THREADS = 8


class Stamps:
    """The stamps of a set of files. As a context manager, it saves new stamps at the end, also after an error.

    Args:
        path: the file of stamps; it need not exist.
        identity: compare inode and device too. They differ after a copy to another disk, and reveal a file that was
            replaced by one of the same size and time.
        reread: believe no stamp, so that all files are read, and remembered again.

    Attributes:
        unsaved: why new stamps could not be saved, as a message; "" if they were.
    """

    def __init__(self, path: Path, identity: bool = False, reread: bool = False) -> None:
        self._path, self._identity, self._reread = path, identity, reread
        self._new: list[tuple[int, int, int, int, int, int, bytes]] = []
        self._packed: list[NDArray[np.void]] = []
        self._packed_size = 0
        self.unsaved = ""
        self._load()

    def __enter__(self) -> "Stamps":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._save()

    def digests(
        self, names: Sequence[bytes], statuses: Sequence[Status], facts: Sequence[int] | None = None
    ) -> list[str]:
        """Return the SHA-256 of each file, "" for one whose content is not known: new, changed or missing.

        Args:
            names: names of the files, as they are remembered.
            statuses: their status now; None for a missing file.
            facts: what the contents must have been checked against; None accepts any stamp.
        """
        if self._reread or not len(self._names):
            return [""] * len(names)
        keys = np.array([hash64(name) for name in names], np.uint64)
        entries = self._entries[np.minimum(np.searchsorted(self._names, keys), len(self._names) - 1)]
        valid = entries["name"] == keys
        for column, values in self._columns(statuses).items():
            valid &= entries[column] == values
        if facts is not None:
            valid &= entries["facts"] == np.array(facts, np.uint64)
        digests = entries["sha256"].tobytes().hex()
        return [digests[64 * row : 64 * row + 64] if good else "" for row, good in enumerate(valid.tolist())]

    def _columns(self, statuses: Sequence[Status]) -> dict[str, NDArray[np.generic]]:
        """Return the columns to compare; a missing file has the size -1, which no stamp has."""
        rows = [_numbers(status) if status else (-1, 0, 0, 0) for status in statuses]
        columns: dict[str, NDArray[np.generic]] = {}
        for position, column in enumerate(("size", "modified", "inode", "device")[: 4 if self._identity else 2]):
            columns[column] = np.array([row[position] for row in rows], ENTRY[column])
        return columns

    def remember(self, name: bytes, status: os.stat_result, sha256: str, began: int, facts: int = 0) -> None:
        """Remember a file that was read, unless it was changed so recently that its time proves nothing.

        Args:
            name: its name within the set.
            status: its status before it was read.
            sha256: of its bytes, in hex.
            began: time.time_ns() before it was read.
            facts: 64-bit hash of what its content was checked against; 0 if it was only hashed.
        """
        if status.st_mtime_ns >= began - RACY:
            return
        self._new.append((hash64(name), *_numbers(status), facts, bytes.fromhex(sha256)))
        if len(self._new) >= CHUNK:
            self._pack()
        # In growing steps, so that hours of reading survive a kill, and saving costs little in all
        if self._packed_size >= max(_SAVED_EARLY, len(self._names) // 2):
            self._save()

    def _pack(self) -> None:
        """Convert new stamps, which take several times as much memory as tuples."""
        if self._new:
            self._packed.append(np.array(self._new, ENTRY))
            self._packed_size += len(self._new)
            self._new = []

    def _load(self) -> None:
        entries = np.empty(0, ENTRY)
        with suppress(OSError, ValueError):
            size = self._path.stat().st_size - len(_MAGIC)
            with self._path.open("rb") as file:
                intact = file.read(len(_MAGIC)) == _MAGIC
            if intact and size > 0 and size % ENTRY.itemsize == 0:
                entries = np.memmap(self._path, ENTRY, "r", len(_MAGIC))
        self._entries = entries
        self._names = np.ascontiguousarray(entries["name"])

    def _save(self) -> None:
        """Add the new stamps to the file; stamps that another process has added meanwhile stay."""
        self._pack()
        if not self._packed or self.unsaved:
            return
        self._load()
        entries = np.concatenate([self._entries, *self._packed])
        entries = entries[np.argsort(entries["name"], kind="stable")]
        latest = np.append(entries["name"][1:] != entries["name"][:-1], [True])  # of one file's stamps the last
        self._packed, self._packed_size = [], 0
        self._entries = np.empty(0, ENTRY)  # Windows does not replace a file that is mapped into memory
        try:
            storage.write(self._path, _MAGIC + entries[latest].tobytes())
        except StorageError as error:  # stamps only save time: no reason to stop
            self.unsaved = str(error)
        self._load()


def of_sources(hidden: Path, reread: bool = False) -> Stamps:
    """Return the stamps of the photos that a dataset was built from; `hidden` is its hidden folder."""
    return Stamps(hidden / "cache" / "sources.stamps", identity=True, reread=reread)


def of_pictures(hidden: Path, reread: bool = False) -> Stamps:
    """Return the stamps of a dataset's photos and control maps; `hidden` is its hidden folder."""
    return Stamps(hidden / "cache" / "pictures.stamps", reread=reread)


def statuses(paths: Sequence[str], pool: ThreadPoolExecutor) -> list[Status]:
    """Return the status of each file, None for one that is missing or unreadable.

    Threads ask for parts of the list, since one answer of a network drive takes milliseconds.
    """
    parts = [paths[start : start + CHUNK // _THREADS] for start in range(0, len(paths), CHUNK // _THREADS)]
    return [status for part in pool.map(_statuses, parts) for status in part]


def _statuses(paths: Sequence[str]) -> list[Status]:
    return [status(path) for path in paths]


def status(path: str) -> Status:
    """Return the status of one file."""
    try:
        return os.stat(path)  # noqa: PTH116 - Path objects cost three times as much, for millions of files
    except OSError:
        return None


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Divide a stream into lists of CHUNK items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def hash64(content: bytes) -> int:
    """Return the first 64 bits of BLAKE2b, as a number."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _numbers(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return size, time, inode and device, which ENTRY stores in 64 bits each."""
    bits = (1 << 64) - 1
    return status.st_size, status.st_mtime_ns, status.st_ino & bits, status.st_dev & bits
