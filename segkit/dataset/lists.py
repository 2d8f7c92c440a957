"""The two lists of triples in a dataset: metadata.jsonl, and those that a person rejected, out of sight of its readers.

Both are sorted by source and key, and only ever replaced as a whole, line by line and without holding them in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from segkit import rows, storage
from segkit.dataset import head, lines
from segkit.dataset import index as indices
from segkit.dataset.head import Head
from segkit.dataset.index import Index
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, StorageError
from segkit.progress import Progress, silent

T = TypeVar("T")

_READ = 1000
"""Lines after which progress is reported."""

_BATCH, _CHUNK = 1000, 1 << 20
"""Lines and bytes that are held in memory where a list is rewritten."""

Damaged = Callable[[Path, int, str], None]
"""Called with file, line number and reason for each damaged line."""


class Line(NamedTuple):
    """One line of a list. Lines compare in the order in which they are written.

    Attributes:
        source, key: of the triple.
        left_out: whether a person rejected it.
        data: the line, with the newline.
    """

    source: str
    key: str
    left_out: bool
    data: bytes


class ListsChangedError(DatasetError):
    """A list was changed by hand while its replacement was being written."""


class Lists:
    """The lists of a dataset.

    Args:
        folder: of the dataset.
        damaged: see Damaged; raises an error.

    Attributes:
        manifest: metadata.jsonl.
        left_out: the list of those left out, which exists only while there are any.
    """

    def __init__(self, folder: Path, damaged: Damaged) -> None:
        self.manifest, self.left_out = folder / "metadata.jsonl", folder / ".segkit" / "left-out.jsonl"
        self._index_file = folder / ".segkit" / "cache" / "index"
        self._damaged = damaged
        self._index: Index | None = None
        self._head: Head | None = None

    @property
    def _paths(self) -> tuple[Path, Path]:
        return self.manifest, self.left_out

    def has_index(self) -> bool:
        """Return whether `index` needs to read nothing, since it did before."""
        return self._index is not None and self._index.is_current()

    def head(self) -> Head | None:
        """Return the first triples of the manifest; `find` reads them without an index from now on.

        None if a line of theirs is damaged.
        """
        self._head = head.read(self._paths)
        return self._head

    def index(self, progress: Progress = silent) -> Index:
        """Return the places of all lines. If a list was changed by hand, it is read and validated.

        Args:
            progress: called with the bytes of the lists that were validated.

        Raises:
            DatasetError: a line is damaged.
        """
        if not self._index or not self._index.is_current():
            self._index = indices.load(self._index_file, self._paths) or self._scan(progress)
            self._head = None
        return self._index

    def state(self) -> list[indices.State]:
        """Return a value that differs after any change of the lists."""
        return indices.states(self._paths)

    def are_as(self, states: Sequence[indices.State]) -> bool:
        """Return whether no list was changed since `state` returned this."""
        return indices.are_current(states, self._paths)

    def _scan(self, progress: Progress) -> Index:
        while True:
            builders, belong = (indices.Builder(), indices.Builder()), True
            states = indices.states(self._paths)
            before, size = 0, sum(state[0] for state in states)
            for builder, path in zip(builders, self._paths, strict=True):
                for offset, place in _read(path, self._damaged, lines.valid_place):
                    belong &= (place.review == "rejected") == (path == self.left_out)
                    builder.add(place.source, place.key, offset)
                    if len(builder.keys) % _READ == 0:
                        progress("bytes validated", before + offset, size)
                before = states[0][0]
            index, data = indices.build(builders, self._paths, states, belong)
            if index.is_current():  # otherwise another process has just replaced a list
                with suppress(StorageError):  # a read-only dataset is read again each time
                    storage.write(self._index_file, data)
                return index

    def triples(self) -> Iterator[Triple]:
        """Yield the triples of both lists in order, validated.

        Raises:
            DatasetError: a line is damaged.
        """
        # the manifest is opened first: a triple that is moved to the other list meanwhile is in both, never in none
        lists = [(triple for _, triple in read(path, self._damaged)) for path in self._paths if path.exists()]
        if len(lists) < 2:
            return chain.from_iterable(lists)
        return _without_repeats(merge(*lists, key=lambda triple: (triple.source, triple.key)))

    def find(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the lines of the keys that the lists contain."""
        keys, first = list(keys), self._head
        if first and not self.has_index() and (early := first.find(keys)) is not None:
            return early
        while True:
            index = self.index()
            places = {key: place for key in keys for place in index.of_key(key)[-1:]}
            data = index.read(list(places.values()))
            if data is not None:  # otherwise a fold has just replaced the lists
                return dict(zip(places, data, strict=True))

    def containing(self, text: str) -> Iterator[bytes]:
        """Yield the lines that contain a text somewhere."""
        needle = text.encode()
        for path in self._paths:
            yield from (data for _, _, data in rows.numbered(path) if needle in data)

    def at(self, index: Index, places: Iterable[int]) -> list[bytes]:
        """Return the lines at places of the index.

        Raises:
            DatasetError: the lists were replaced meanwhile.
        """
        data = index.read(list(places))
        if data is None:
            raise DatasetError(f"{self.manifest} was changed meanwhile. Run the same command again.")
        return data

    def lines(self, index: Index) -> Iterator[Line]:
        """Yield the lines of both lists in order; the index is theirs."""
        if index.is_tidy:
            yield from merge(*map(_lines_of, self._paths))
            return
        places = enumerate(chain.from_iterable(map(_lines_of, self._paths)))
        ordered = sorted((*line[:-1], place) for place, line in places)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            for (source, key, left_out, _), data in zip(batch, self.at(index, [row[-1] for row in batch]), strict=True):
                yield Line(source, key, left_out, _tidied(data))

    def replace(self, ordered: Iterable[Line]) -> None:
        """Replace both lists. At any moment, each triple that stays is in at least one of them.

        Args:
            ordered: all lines; they may be read from the lists that are replaced.

        Raises:
            StorageError: the disk is full or a write fails; the old lists are intact, or the call can be repeated.
            ListsChangedError: somebody changed a list by hand meanwhile; nothing is replaced.
        """
        index = self.index()
        before, returning = index.left_out(), []
        builders = indices.Builder(), indices.Builder()
        with ExitStack() as stack:  # leaves what was entered last first, so the manifest is replaced last
            files: list[BinaryIO] = [stack.enter_context(storage.writing(self.manifest))]
            for line in ordered:
                if line.left_out and len(files) == 1:
                    files.append(stack.enter_context(storage.writing(self.left_out)))
                elif not line.left_out and line.key in before:
                    returning.append(line.data)
                builders[line.left_out].add(line.source, line.key, files[line.left_out].tell())
                files[line.left_out].write(line.data)
            size = files[1].tell() if len(files) > 1 else 0
            if size:
                files[1].writelines(returning)
            if not index.is_current():
                raise ListsChangedError(f"{self.manifest} was changed meanwhile. Run the same command again.")
        if size and returning:
            self._shorten(size)
        elif before and not size:
            storage.remove([self.left_out], self.left_out.parent)
        self._index, data = indices.build(builders, self._paths, indices.states(self._paths), belong=True)
        storage.write(self._index_file, data)

    def _shorten(self, size: int) -> None:
        """Keep only the first bytes of the list of those left out."""
        with self.left_out.open("rb") as old, storage.writing(self.left_out) as new:
            while chunk := old.read(min(size, _CHUNK)):
                new.write(chunk)
                size -= len(chunk)


def _without_repeats(triples: Iterable[Triple]) -> Iterator[Triple]:
    """Drop the second of two neighbours with one key."""
    before = ""
    for triple in triples:
        if triple.key != before:
            yield triple
        before = triple.key


def line(triple: Triple) -> Line:
    """Return the line of a triple."""
    return Line(triple.source, triple.key, triple.review == "rejected", lines.encode(triple))


def read(path: Path, damaged: Damaged) -> Iterator[tuple[int, Triple]]:
    """Yield the offset in bytes and the triple of each line of a list, validated; a missing list has none."""
    return _read(path, damaged, lines.decode)


def _read(path: Path, damaged: Damaged, decode: Callable[[bytes], T]) -> Iterator[tuple[int, T]]:
    for number, offset, data in rows.numbered(path):
        try:
            record = decode(data)
        except DatasetError as error:
            damaged(path, number, str(error))
        else:
            yield offset, record


def _lines_of(path: Path) -> Iterator[Line]:
    """Yield the lines of a list that is known to be sound."""
    for _, _, data in rows.numbered(path):
        tidied = _tidied(data)
        place = lines.place(tidied)
        yield Line(place.source, place.key, place.review == "rejected", tidied)


def _tidied(data: bytes) -> bytes:
    """Return a line as segkit writes it, without the marks that some editors leave."""
    return data.removeprefix(b"\xef\xbb\xbf").strip() + b"\n"
