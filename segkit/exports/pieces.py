"""The pieces of an export: shards, or the files of some triples; each is recorded once it is in place."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import TypeVar

from msgspec.structs import asdict

from segkit import storage, threads
from segkit.dataset import Dataset, lines
from segkit.dataset.formats import writing
from segkit.dataset.formats.writing import Item
from segkit.dataset.triple import Triple
from segkit.exports import record
from segkit.exports.inventory import Inventory
from segkit.exports.layouts import Layout, Place, WriteShard
from segkit.exports.selection import Selection
from segkit.exports.target import Stamp, Target, stamp
from segkit.progress import Progress
from segkit.settings import DatasetExportSettings

Result = TypeVar("Result")

_BATCH = 8
"""Triples of a task; smaller tasks cost more than they do for small pictures."""

_AHEAD = 8
"""Tasks that are under way ahead of the triple that is written."""


@dataclass(frozen=True)
class Export:
    """What is exported, how and where to."""

    dataset: Dataset
    settings: DatasetExportSettings
    layout: Layout
    selection: Selection
    target: Target
    inventory: Inventory
    progress: Progress


@dataclass(frozen=True)
class Written:
    """What became of a piece.

    Attributes:
        triples: number of its triples, if it had not been finished; 0 if it had.
        restored: names of its files that were missing, or no longer what they were.
    """

    triples: int
    restored: list[str]


@dataclass(frozen=True)
class _Piece:
    """Some triples that follow each other.

    Attributes:
        number: over all groups, from 0.
        place: within its group, from 0.
        of: number of pieces of the group.
        group: a split, or "" for all.
        first: place of its first triple in the export.
        triples: its triples.
        only: those of its files that are to be written; None for all.
    """

    number: int
    place: int
    of: int
    group: str
    first: int
    triples: list[Triple]
    only: frozenset[str] | None = None

    def is_written(self, name: str) -> bool:
        """Return whether a file is to be written."""
        return self.only is None or name in self.only


def write_pieces(export: Export) -> Iterator[Written]:
    """Write the pieces that are not finished, or whose files are not as they were, and yield what became of each.

    Raises:
        DatasetError: a file of the dataset is missing or was changed, or a record since they were selected.
        StorageError: the disk is full.
    """
    with threads.pool(min(8, (os.cpu_count() or 1) + 4)) as pool:
        for piece in _pieces(export):
            lost = export.inventory.lost_of_piece(piece.number)
            if lost is None:
                _write(export, piece, pool)
            elif lost:
                _write(export, replace(piece, only=frozenset(lost)), pool)
            export.progress("triples", piece.first + len(piece.triples), export.selection.total)
            yield Written(len(piece.triples) if lost is None else 0, lost or [])


def _pieces(export: Export) -> Iterator[_Piece]:
    number = first = 0
    for group, units in export.selection.units.items():
        for place, triples in enumerate(export.selection.of_group(export.dataset, group)):
            yield _Piece(number, place, len(units), group, first, triples)
            number, first = number + 1, first + len(triples)


def _write(export: Export, piece: _Piece, pool: Executor) -> None:
    """Write the files of a piece, then what they are, and its record last."""
    if write := export.layout.shard:
        part, stamps = _write_shard(write, export, piece, pool)
    else:
        part, stamps = _write_files(export, piece, pool)
    name = record.part(piece.number)
    stamps.append(stamp(name, part))
    export.target.write(record.files(piece.number), b"".join(storage.to_line(asdict(file)) for file in stamps))
    export.target.write(name, part)


def _write_shard(write: WriteShard, export: Export, piece: _Piece, pool: Executor) -> tuple[bytes, list[Stamp]]:
    """Write a shard; return its record and its files."""
    place = Place(export.target, piece.group, piece.place, piece.of)
    exact: list[Stamp] = []

    def items() -> Iterator[Item]:
        for item in _counted(export, piece, _ahead(_load, export, piece, pool)):
            exact.extend(_put(export, piece, _exact_map(item)))
            yield item

    entry, stamps = write(place, items())
    return storage.to_line(entry), [*exact, *stamps]


def _write_files(export: Export, piece: _Piece, pool: Executor) -> tuple[bytes, list[Stamp]]:
    """Write the files of some triples, then their annotations; return their records and the files."""
    written = list(_counted(export, piece, _ahead(_write_item, export, piece, pool)))
    stamps = [file for _, files in written for file in files]
    if export.layout.annotation:
        annotations = b"".join(annotation for annotation, _ in written)
        stamps.append(export.target.write(record.annotations(piece.number), annotations))
    return b"".join(map(lines.encode, piece.triples)), stamps


def _load(export: Export, piece: _Piece, triple: Triple, place: int) -> Item:
    return writing.load(triple, place, export.dataset.info.palette, export.settings.maps == "rgb")


def _write_item(export: Export, piece: _Piece, triple: Triple, place: int) -> tuple[bytes, list[Stamp]]:
    """Write the files of a triple; return its annotation and the files."""
    item = _load(export, piece, triple, place)
    stamps = _put(export, piece, {**export.layout.files(item, export.settings.split), **_exact_map(item)})
    return storage.to_line(export.layout.annotation(item)) if export.layout.annotation else b"", stamps


def _put(export: Export, piece: _Piece, files: dict[str, bytes]) -> list[Stamp]:
    """Write those files that are to be written; return what all are."""
    return [
        export.target.write(name, data) if piece.is_written(name) else stamp(name, data) for name, data in files.items()
    ]


def _exact_map(item: Item) -> dict[str, bytes]:
    """Return the stored map of a triple whose map in RGB no longer tells its classes apart; see record."""
    return {record.exact_map(item.key): item.stored_map} if item.rgb and item.shares_color else {}


def _ahead(
    work: Callable[[Export, _Piece, Triple, int], Result], export: Export, piece: _Piece, pool: Executor
) -> Iterator[Result]:
    """Yield the result for each triple, in order, while threads work on the next ones."""

    def batch(first: int) -> list[Result]:
        triples = piece.triples[first : first + _BATCH]
        return [work(export, piece, triple, piece.first + place) for place, triple in enumerate(triples, first)]

    running: deque[Future[list[Result]]] = deque()
    for first in range(0, len(piece.triples), _BATCH):
        running.append(pool.submit(batch, first))
        if len(running) >= _AHEAD:
            yield from running.popleft().result()
    while running:
        yield from running.popleft().result()


def _counted(export: Export, piece: _Piece, results: Iterator[Result]) -> Iterator[Result]:
    """Report each result as progress."""
    for done, result in enumerate(results, piece.first + 1):
        export.progress("triples", done, export.selection.total)
        yield result
