"""Which triples of a dataset are exported, in which pieces, and what a person should know about them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from typing import Any

from segkit.dataset import Dataset, lines
from segkit.dataset.triple import SPLITS, Triple
from segkit.errors import DatasetError
from segkit.exports.layouts import Layout
from segkit.settings import SelectionSettings, to_bytes
from segkit.words import quote

UNIT = 200
"""Triples of a piece in layouts of files: what an interruption may repeat."""

_BLOCK = 512
_MEMBERS = 4


@dataclass
class Selection:
    """The triples to export.

    Attributes:
        condition: returns whether a triple is among them.
        total: how many there are.
        candidates: how many met the conditions before a sample was drawn.
        splits: how many there are in each split that occurs.
        units: the pieces of each group. A group is a split, or "" for all.
        sizes: width and height of the pictures, and how many have it.
        pixels: number of pixels of each class.
        area: number of all pixels.
    """

    condition: Callable[[Triple], bool]
    total: int = 0
    candidates: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    units: dict[str, list["Unit"]] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    area: int = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that is exported."""
        units = [(group, unit.count, unit.digest.hexdigest()) for group in self.units for unit in self.units[group]]
        return hashlib.sha256(repr(units).encode()).hexdigest()

    @property
    def pieces(self) -> int:
        """How many pieces there are in all groups."""
        return sum(map(len, self.units.values()))

    @property
    def by_split(self) -> dict[str, int]:
        """How many triples there are in each split that occurs, in the order train, val, test."""
        return {split: self.splits[split] for split in SPLITS if self.splits[split]}

    def of_group(self, dataset: Dataset, group: str) -> Iterator[list[Triple]]:
        """Yield the triples of each piece of a group, in the dataset's order.

        Raises:
            DatasetError: before a piece, if its triples are not those that were selected.
        """
        triples = (triple for triple in dataset if self.condition(triple) and group in ("", triple.split))
        for number, unit in enumerate(self.units[group], 1):
            piece = list(islice(triples, unit.count))
            is_whole = number < len(self.units[group]) or next(triples, None) is None
            if _digest(piece).digest() != unit.digest.digest() or not is_whole:
                raise DatasetError(
                    f"{dataset.folder} was changed while it was exported. Export it again, with overwrite=True."
                )
            yield piece


@dataclass
class Unit:
    """A piece of an export: triples that follow each other.

    Attributes:
        count: how many.
        size: bytes that they take in a shard; 0 in layouts of files.
        digest: SHA-256 of their records.
    """

    count: int = 0
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


def _digest(triples: Iterable[Triple]) -> Any:
    digest = hashlib.sha256()
    for triple in triples:
        digest.update(lines.encode(triple))
    return digest


def select(dataset: Dataset, settings: SelectionSettings, layout: Layout) -> Selection:
    """Decide in one or two passes over the manifest what is exported.

    Raises:
        DatasetError: a line is damaged, or a file is missing.
    """
    is_asked = _condition(settings)
    candidates = sum(map(is_asked, dataset)) if settings.sample else 0
    if settings.sample:
        keys = _sample(dataset, is_asked, settings)
        selection = Selection(lambda triple: triple.key in keys and is_asked(triple), candidates=candidates)
    else:
        selection = Selection(is_asked)
    pieces = _Pieces(layout, to_bytes(settings.shard_size) or layout.shard_size)
    for triple in filter(selection.condition, dataset):
        pieces.add(triple.split if layout.by_split else "", triple)
        _count(selection, triple)
    selection.units = {group: pieces.units[group] for group in ("", *SPLITS) if group in pieces.units}
    return selection


def _condition(settings: SelectionSettings) -> Callable[[Triple], bool]:
    def is_asked(triple: Triple) -> bool:
        return settings.split in ("all", triple.split) and (not settings.accepted_only or triple.review == "accepted")

    return is_asked


def _sample(dataset: Dataset, is_asked: Callable[[Triple], bool], settings: SelectionSettings) -> set[str]:
    """Draw keys by a hash of seed and key: neither order nor other triples matter."""

    def position(key: str) -> bytes:
        return hashlib.sha256(f"{settings.seed} {key}".encode()).digest()

    return set(nsmallest(settings.sample, (triple.key for triple in dataset if is_asked(triple)), position))


def _count(selection: Selection, triple: Triple) -> None:
    area = triple.width * triple.height
    selection.total += 1
    selection.area += area
    selection.splits[triple.split] += 1
    selection.sizes[triple.width, triple.height] += 1
    for share in triple.classes:
        selection.pixels[share.name] += round(share.share * area)


class _Pieces:
    """Divides the triples of each group: into units of one length, or by the size of shards."""

    def __init__(self, layout: Layout, limit: int) -> None:
        self.units: dict[str, list[Unit]] = {}
        self._is_sharded, self._limit = layout.shard is not None, limit

    def add(self, group: str, triple: Triple) -> None:
        """Count a triple to the last piece of its group, or to a new one if that is full."""
        units, line = self.units.setdefault(group, []), lines.encode(triple)
        size = _size(triple, line) if self._is_sharded else 0
        if not units or self._is_full(units[-1], size):
            units.append(Unit(size=2 * _BLOCK))
        units[-1].count += 1
        units[-1].size += size
        units[-1].digest.update(line)

    def _is_full(self, unit: Unit, size: int) -> bool:
        return unit.size + size > self._limit if self._is_sharded else unit.count == UNIT


def _size(triple: Triple, line: bytes) -> int:
    """Return the bytes that a triple with this record takes in a tar shard, and about those in another one."""
    files = [triple.folder / name for name in (triple.file_name, triple.conditioning_image_file_name)]
    try:
        sizes = [path.stat().st_size for path in files]
    except OSError as error:
        raise DatasetError(f"{error.filename} is missing. Run: segkit check {quote(triple.folder)}") from None
    sizes += [len(triple.text.encode()), len(line)]
    return sum(size + -size % _BLOCK for size in sizes) + _MEMBERS * _BLOCK
