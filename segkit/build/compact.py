"""Lists that hold a million short things in little memory."""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, overload

import numpy as np

Item = TypeVar("Item")


class Names(Sequence[str]):
    """Texts that may hold file names: their bytes and an offset each, where a list of str takes 60 bytes more."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("q")
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        """Add a name."""
        self._bytes += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> "list[str]": ...
    def __getitem__(self, position: int | slice) -> "str | list[str]":
        if isinstance(position, slice):
            return [self[place] for place in range(*position.indices(len(self)))]
        place = range(len(self))[position]
        start = self._ends[place - 1] if place else 0
        return self._bytes[start : self._ends[place]].decode("utf-8", "surrogateescape")


class Paths(Sequence[Path]):
    """Paths below a folder, created when they are asked for; a list of Path takes 400 bytes and more for each.

    Args:
        folder: the folder.
        paths: paths below it.
    """

    def __init__(self, folder: Path, paths: Iterable[Path]) -> None:
        self._folder = folder
        self._names = Names(os.fspath(path.relative_to(folder)) for path in paths)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, position: int) -> Path: ...
    @overload
    def __getitem__(self, position: slice) -> list[Path]: ...
    def __getitem__(self, position: int | slice) -> Path | list[Path]:
        if isinstance(position, slice):
            return [self._folder / name for name in self._names[position]]
        return self._folder / self._names[position]

    def __iter__(self) -> Iterator[Path]:
        return (self[position] for position in range(len(self)))


class Picked(Sequence[Item], Generic[Item]):
    """Some items of a sequence, by their positions in it.

    Args:
        items: the sequence.
        positions: of the items, in order.
    """

    def __init__(self, items: Sequence[Item], positions: Iterable[int]) -> None:
        self._items, self.positions = items, array("q", positions)

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, position: int) -> Item: ...
    @overload
    def __getitem__(self, position: slice) -> list[Item]: ...
    def __getitem__(self, position: int | slice) -> Item | list[Item]:
        if isinstance(position, slice):
            return [self._items[place] for place in self.positions[position]]
        return self._items[self.positions[position]]


class NameSet:
    """A fixed set of texts that only tells what it contains: 8 bytes each, and wrong once in 10^13 questions.

    Args:
        names: the texts.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._hashes = np.sort(np.fromiter(map(hash, names), np.int64))

    def __contains__(self, name: str) -> bool:
        value = hash(name)
        place = int(np.searchsorted(self._hashes, value))
        return place < len(self._hashes) and int(self._hashes[place]) == value
