"""Where each record lies: a derived file that makes one triple of a million readable without reading the others.

It may be deleted at any time. It counts only while the two lists that it describes, the manifest and the records left
out, have the size and time that it notes: lines that somebody edits by hand are read, and validated, again.
"""

import hashlib
import time
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Lists = tuple[Path, Path]
"""The manifest, and the list of the records left out."""

State = tuple[int, int, int]
"""A file's size in bytes, time of the last change in nanoseconds, and checksum if that is needed; 0 for no file."""

_MAGIC = 0x3158444947455331  # of another value on a machine with the other byte order, where the index does not count
_HEADER = 10  # numbers of 8 bytes: _MAGIC, tidy, and of each list size, time, checksum and number of records
_COLUMNS = 5

_LARGE = 8_000_000
"""Bytes of a list from which on waiting for _TICK once is cheaper than hashing it."""

_TICK = 50_000_000
"""Nanoseconds. Two changes within a shorter time may have the same time stamp, so the file is hashed instead."""


class Builder:
    """Collects the places of the records of one list, in the order of its lines.

    Attributes:
        is_sorted: whether the records came in the order of source and key.
    """

    def __init__(self) -> None:
        self.offsets, self.keys, self.sources = array("Q"), array("Q"), array("Q")
        self.is_sorted = True
        self._last = ("", "")

    def add(self, source: str, key: str, offset: int) -> None:
        """Add the record whose line begins at an offset of the file."""
        self.offsets.append(offset)
        self.keys.append(int(key, 16))
        self.sources.append(_hash(source))
        self.is_sorted &= self._last <= (source, key)
        self._last = (source, key)


class Index:
    """The places of all records: those of the manifest, counted from 0, and then those left out.

    Attributes:
        is_tidy: whether both lists are in order, hold no key twice, and only what belongs into them.
        counts: numbers of records of the two lists.
    """

    def __init__(self, numbers: Sequence[int], lists: Lists) -> None:
        self._lists, self.is_tidy = lists, bool(numbers[1])
        self._states = [(numbers[start], numbers[start + 1], numbers[start + 2]) for start in (2, 6)]
        self.counts = numbers[5], numbers[9]
        columns = [numbers[_HEADER + number * len(self) :][: len(self)] for number in range(_COLUMNS)]
        self._offsets, self._keys, self._places, self._sources, self._keys_by_source = columns

    def __len__(self) -> int:
        return sum(self.counts)

    def is_current(self) -> bool:
        """Return whether the lists are as they were when the index was built."""
        now = time.time_ns()
        if not are_current(self._states, self._lists):
            return False
        # any later change has another time stamp, so that the files need not be hashed again
        self._states = [state if now - state[1] < _TICK else (*state[:2], 0) for state in self._states]
        return True

    def of_key(self, key: str) -> list[int]:
        """Return the places of the records with a key."""
        rows = self._between(self._keys, int(key, 16), int(key, 16))
        return [self._places[row] for row in rows]

    def keys_of_prefix(self, digits: str) -> set[str]:
        """Return the keys that begin with these 1 to 16 hex digits."""
        low, high = (int(digits.ljust(16, filler), 16) for filler in "0f")
        return {f"{self._keys[row]:016x}" for row in self._between(self._keys, low, high)}

    def keys_of_source(self, source: str) -> set[str]:
        """Return the keys of the records with a source, and of others whose source has the same 64-bit hash."""
        wanted = _hash(source)
        return {f"{self._keys_by_source[row]:016x}" for row in self._between(self._sources, wanted, wanted)}

    def _between(self, column: Sequence[int], low: int, high: int) -> range:
        """Return the rows of a sorted column with values from low to high."""
        return range(bisect_left(column, low), bisect_right(column, high))

    def in_order(self) -> "NDArray[np.uint64]":
        """Return the keys as numbers in the order of their places, each once."""
        import numpy as np

        keys, places = np.asarray(self._keys, np.uint64), np.asarray(self._places, np.intp)
        is_first = np.ones(len(keys), bool)
        is_first[1:] = keys[1:] != keys[:-1]
        return keys[is_first][np.argsort(places[is_first])]

    def repeated(self) -> set[str]:
        """Return the keys that several records have."""
        pairs = zip(self._keys, self._keys[1:], strict=False)
        return {f"{key:016x}" for key, following in pairs if key == following}

    def left_out(self) -> set[str]:
        """Return the keys of the records left out."""
        rows = range(len(self)) if self.counts[1] else ()
        return {f"{self._keys[row]:016x}" for row in rows if self.is_left_out(self._places[row])}

    def is_left_out(self, place: int) -> bool:
        """Return whether a place is one of the records left out."""
        return place >= self.counts[0]

    def read(self, places: Sequence[int]) -> list[bytes] | None:
        """Return the lines at these places; None if the lists were replaced meanwhile."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) if path.exists() else None for path in self._lists]
            if not self.is_current():
                return None
            lines = []
            for place in places:
                file = files[self.is_left_out(place)]
                assert file is not None  # the list has records
                file.seek(self._offsets[place])
                lines.append(file.readline())
            return lines


def load(path: Path, lists: Lists) -> Index | None:
    """Read the index of two lists; None if there is none, or the lists have changed since."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < 8 * _HEADER or len(data) % 8:
        return None
    numbers = memoryview(data).cast("Q")
    if numbers[0] != _MAGIC or len(numbers) != _HEADER + _COLUMNS * (numbers[5] + numbers[9]):
        return None
    index = Index(numbers, lists)
    return index if index.is_current() else None


def states(lists: Lists) -> list[State]:
    """Return what tells the present state of each list from any other."""
    result = []
    for path in lists:
        state = _state(path, hashed=False)
        if state[0] > _LARGE and time.time_ns() - state[1] < _TICK:
            time.sleep(_TICK / 1e9)  # once, rather than hashing it whenever it is opened
            state = _state(path, hashed=False)
        result.append(_state(path, hashed=True) if time.time_ns() - state[1] < _TICK else state)
    return result


def are_current(before: Sequence[State], lists: Lists) -> bool:
    """Return whether the lists are as they were when `states` returned this."""
    return all(_state(path, hashed=bool(state[2])) == state for path, state in zip(lists, before, strict=True))


def build(builders: tuple[Builder, Builder], lists: Lists, at: list[State], belong: bool) -> tuple[Index, bytes]:
    """Build the index of two lists.

    Args:
        builders: the records of each.
        lists: the files.
        at: their `states` when the records were read or written.
        belong: whether each record is in the list that its review demands.

    Returns:
        The index, and what to store for `load`.
    """
    import numpy as np

    keys, sources = (np.concatenate([getattr(part, name) for part in builders]) for name in ("keys", "sources"))
    by_key, by_source = np.argsort(keys, kind="stable"), np.argsort(sources, kind="stable")
    ordered = keys[by_key]
    is_tidy = belong and bool((ordered[1:] != ordered[:-1]).all()) and all(builder.is_sorted for builder in builders)
    header = [_MAGIC, int(is_tidy)]
    for builder, state in zip(builders, at, strict=True):
        header += [*state, len(builder.keys)]
    offsets = np.concatenate([part.offsets for part in builders])
    columns = [np.asarray(header), offsets, ordered, by_key, sources[by_source], keys[by_source]]
    data = b"".join(column.astype(np.uint64).tobytes() for column in columns)
    return Index(memoryview(data).cast("Q"), lists), data


def _state(path: Path, hashed: bool) -> State:
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns, (zlib.crc32(path.read_bytes()) or 1) if hashed else 0
    except FileNotFoundError:
        return 0, 0, 0


def _hash(source: str) -> int:
    return int.from_bytes(hashlib.blake2b(source.encode(), digest_size=8).digest())
