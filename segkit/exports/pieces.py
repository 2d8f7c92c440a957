"""The pieces of an export: shards, or the files of some triples; each is recorded once it is in place."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TypeVar

from segkit import storage, threads
from segkit.dataset import Dataset, lines
from segkit.dataset.formats import writing
from segkit.dataset.formats.writing import Item
from segkit.dataset.triple import Triple
from segkit.exports import record
from segkit.exports.layouts import Layout, Place, WriteShard
from segkit.exports.selection import Selection
from segkit.exports.target import Target
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
    progress: Progress


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
    """

    number: int
    place: int
    of: int
    group: str
    first: int
    triples: list[Triple]


def write_pieces(export: Export) -> Iterator[int]:
    """Write the pieces that are not recorded yet, and yield the number of triples of each.

    Raises:
        DatasetError: a file of the dataset is missing or was changed, or a record since they were selected.
        StorageError: the disk is full.
    """
    with threads.pool(min(8, (os.cpu_count() or 1) + 4)) as pool:
        for piece in _pieces(export):
            if not export.target.exists(record.part(piece.number)):
                if write := export.layout.shard:
                    part = _write_shard(write, export, piece, pool)
                else:
                    part = _write_files(export, piece, pool)
                export.target.write(record.part(piece.number), part)
                yield len(piece.triples)
            export.progress("triples", piece.first + len(piece.triples), export.selection.total)


def _pieces(export: Export) -> Iterator[_Piece]:
    number = first = 0
    for group, units in export.selection.units.items():
        for place, triples in enumerate(export.selection.of_group(export.dataset, group)):
            yield _Piece(number, place, len(units), group, first, triples)
            number, first = number + 1, first + len(triples)


def _write_shard(write: WriteShard, export: Export, piece: _Piece, pool: Executor) -> bytes:
    """Write a shard and return its record."""
    place = Place(export.target, piece.group, piece.place, piece.of)
    items = _counted(export, piece, _ahead(_load, export, piece, pool))
    return storage.to_line(write(place, items))


def _write_files(export: Export, piece: _Piece, pool: Executor) -> bytes:
    """Write the files of some triples, then their annotations, and return their records."""
    annotations = list(_counted(export, piece, _ahead(_write_item, export, piece, pool)))
    if export.layout.annotation:
        export.target.write(record.annotations(piece.number), b"".join(annotations))
    return b"".join(map(lines.encode, piece.triples))


def _load(export: Export, triple: Triple, place: int) -> Item:
    return writing.load(triple, place, export.dataset.info.palette, export.settings.maps == "rgb")


def _write_item(export: Export, triple: Triple, place: int) -> bytes:
    """Write the files of a triple and return its annotation."""
    item = _load(export, triple, place)
    for name, data in export.layout.files(item, export.settings.split).items():
        export.target.write(name, data)
    return storage.to_line(export.layout.annotation(item)) if export.layout.annotation else b""


def _ahead(
    work: Callable[[Export, Triple, int], Result], export: Export, piece: _Piece, pool: Executor
) -> Iterator[Result]:
    """Yield the result for each triple, in order, while threads work on the next ones."""

    def batch(first: int) -> list[Result]:
        triples = piece.triples[first : first + _BATCH]
        return [work(export, triple, piece.first + place) for place, triple in enumerate(triples, first)]

    running: deque[Future[list[Result]]] = deque()
    for first in range(0, len(piece.triples), _BATCH):
        running.append(pool.submit(batch, first))
        if len(running) >= _AHEAD:
            yield from running.popleft().result()
    while running:
        yield from running.popleft().result()


def _counted(export: Export, piece: _Piece, results: Iterator[Result]) -> Iterator[Result]:
    """Report each result as progress."""
    for done, result in enumerate(results, piece.first):
        export.progress("triples", done, export.selection.total)
        yield result
