"""What becomes of a photo, judged by what is known of those before it, in this run and in earlier ones."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.build.arrival import (
    RECONSIDERED,
    Arrival,
    Candidate,
    Kept,
    Likeness,
    Loaded,
    Place,
    is_lost,
    parents,
    printable,
    source_name,
)
from segkit.build.compact import NameSet
from segkit.build.contents import Contents
from segkit.build.lookalikes import Files, Lookalikes, Pictures, Sources
from segkit.dataset import Dataset, Rejection
from segkit.dataset.triple import Triple, key_of
from segkit.photos import Limits, Measured, PassedOver, Photo, near_duplicates
from segkit.photos.near_duplicates import Grey


class History:
    """Decides about photos from what is known of those seen before, in this run and in earlier ones.

    Worker threads call only `verdict`, which reads what does not change while they run. All other methods belong to the
    thread that consumes the photos.

    Args:
        dataset: the dataset of the earlier runs; None if there is none yet.
        keep_duplicates: admit near-duplicates, in the group of the first one.
        retry: ignore earlier rejections.
        imports: whether this run imports data. Imported triples that lost their files are made again by an import only,
            never by a segmenter.

    Attributes:
        rejections: earlier rejections by source and SHA-256.
        contents: what is known of files by their content, as numbered rows.
        pictures: reads photos again to compare them.
        pixels: returns those of a photo of this run, by position, if they are at hand.
        lookalikes: the rows of accepted photos, searchable by likeness.
    """

    def __init__(
        self, dataset: Dataset | None, keep_duplicates: bool = False, retry: bool = False, imports: bool = False
    ) -> None:
        self.contents = Contents()
        self._is_expected = bytearray()  # of each of the dataset's rows: whether a photo of this run has its name
        self._is_imported = bytearray()  # of each of the dataset's rows
        self._groups: dict[int, str] = {}  # row to group, where that is not the photo's key
        self._lost: dict[int, Triple] = {}  # row to a triple without its files
        self._keep_duplicates = keep_duplicates
        self._retry = retry
        self._names = NameSet()  # of this run; see expect
        self._folders: set[str] = set()  # in which this run saw photos
        self._rejected: dict[str, Rejection] = {}  # source to this run's rejection
        self.pictures = Pictures(dataset)
        self.pixels: Callable[[int], Image.Image | None] = lambda position: None
        self._sources: Sources = Files(Path(), (), self.pictures)
        phashes = array("Q")
        for triple in dataset.triples() if dataset is not None else ():
            row = self.contents.record(triple)
            if is_lost(triple, imports):
                self._lost[row] = triple
            if row == len(phashes):
                phashes.append(int(triple.phash, 16))
                self._is_imported.append(bool(triple.origin.layout))
            if triple.group != triple.key:
                self._groups[row] = triple.group
        self.lookalikes = Lookalikes(self._picture, phashes)
        self.rejections: dict[tuple[str, str], Rejection] = {}
        for rejection in dataset.rejections() if dataset is not None else ():
            self.rejections[rejection.source, rejection.sha256] = rejection
        self._reconsidered = RECONSIDERED | ({"near-duplicate"} if keep_duplicates else set())

    def expect(self, folder: Path, paths: Sequence[Place], limits: Limits) -> None:
        """Announce all photos of this run, so that a triple's source counts as the original of its copies.

        Otherwise a copy that sorts before it would be taken for the original.

        Args:
            folder: the photo folder.
            paths: the photos in it.
            limits: how they are opened if they must be compared again.
        """
        if isinstance(self._sources, Files) and self._sources.paths is paths:
            return
        self.expect_sources(Files(folder, paths, self.pictures), limits)

    def expect_sources(self, sources: Sources, limits: Limits) -> None:
        """Announce photos that need not be files; see `expect`."""
        self._sources, self.pictures.limits = sources, limits
        self._names = NameSet(map(self.source, range(len(sources))))
        self._is_expected = bytearray(source in self._names for source in self.contents.sources)
        for source in map(self.source, range(len(sources))):
            self._folders.update(parents(source))

    def source(self, position: int) -> str:
        """Return the name of a photo of this run."""
        return self._sources.name(position)

    def read_again(self, position: int) -> Grey | None:
        """Return the grey copy of a new photo of this run; None if its file is gone by now."""
        image = self.pixels(position)
        return near_duplicates.grey_copy(image) if image else self._sources.new(position)

    def verdict(self, source: str, sha256: str) -> Kept | Rejection | None:
        """Return what an earlier run decided about a photo; None for a new one. Thread-safe."""
        row = self.contents.find(sha256)
        if row in self._lost:
            return None
        if self.contents.is_recorded(row):
            return Kept(source)
        rejection = None if self._retry else self.rejections.get((source, sha256))
        return rejection if rejection and rejection.reason not in self._reconsidered else None

    def known_bits(self) -> "NDArray[np.uint64]":
        """Return the first 64 bits of the SHA-256 of all photos that `verdict` decides about, sorted."""
        rows = range(len(self.contents.sources))
        known = [self.contents.sha256(row) for row in rows if row not in self._lost]
        known += [sha256 for source, sha256 in self.rejections if sha256 and self.verdict(source, sha256)]
        return np.sort(np.array([*map(first_bits, known)], np.uint64))

    def meet(self, loaded: Loaded) -> int:
        """Note where a content was first met in this run, and return its row."""
        row = self.contents.row(loaded.sha256)
        if self.contents.positions[row] < 0:
            self.contents.positions[row] = loaded.position
        return row

    def is_first(self, row: int, position: int) -> bool:
        """Return whether a content was first met at this position."""
        return self.contents.positions[row] == position

    def is_lost(self, row: int) -> bool:
        """Return whether a photo's triple has lost its files, so that they are written again."""
        return row in self._lost

    def judge(self, loaded: Loaded, compared: bool = False) -> Arrival:
        """Decide about the next photo in order: copies and near-duplicates of earlier photos are rejected.

        Args:
            loaded: the photo.
            compared: whether a survey has compared all photos already.
        """
        arrival = self._judge(loaded, compared)
        if isinstance(arrival, Rejection):
            self._rejected[loaded.source] = arrival
        else:
            self._rejected.pop(loaded.source, None)  # of another file that maps to the same source
        return arrival

    def pass_over(self, folder: Path, passed: Iterable[PassedOver]) -> Iterator[Rejection]:
        """Yield the rejection of each file that the search passed over."""
        for item in passed:
            rejection = Rejection(source_name(item.path, folder), "", item.reason, printable(item.message))
            self._rejected[rejection.source] = rejection
            self._folders.update(parents(rejection.source))
            yield rejection

    def still_rejected(self, rejection: Rejection) -> bool:
        """Return whether an earlier rejection is still valid: this run confirmed it, or did not see the photo."""
        # An unreadable folder is recorded as one rejection, which is void once this run saw a photo inside it.
        if rejection.reason == "unreadable" and rejection.source in self._folders:
            return False
        if rejection.source in self._rejected:
            return self._rejected[rejection.source] == rejection
        return rejection.source not in self._names

    def renamed(self) -> dict[str, str]:
        """Return the new source of each triple whose photo this run found under another name only, by SHA-256."""
        renamed = {}
        for row, old in enumerate(self.contents.sources):
            if self.contents.positions[row] < 0:
                continue
            new = self.source(self.contents.positions[row])
            is_moved = not self.contents.is_judged[row]  # its old name now belongs to another photo
            if old != new and (is_moved or not (self._is_expected[row] or old in self._rejected)):
                renamed[self.contents.sha256(row)] = new
        return renamed

    def admit(self, renamed: Iterable[str]) -> int:
        """Withdraw rejections of photos that were taken for copies of a file which has other content now.

        Args:
            renamed: SHA-256 of photos whose triples get a new source.

        Returns:
            How many photos were rejected as identical to a file that is no longer the same.
        """
        rows = [self.contents.find(digest) for digest in renamed]
        mistaken = [row for row in rows if not self.contents.is_judged[row]]
        for row in mistaken:
            self._rejected.pop(self.source(self.contents.positions[row]), None)
        return len(mistaken)

    def gone(self) -> set[str]:
        """Return the SHA-256 of each triple whose photo is gone: not found, and its file neither unread nor skipped.

        The photos of imported triples never were in the folder.
        """
        unread = {source for source, rejection in self._rejected.items() if not rejection.sha256}
        missing = (
            (row, source)
            for row, source in enumerate(self.contents.sources)
            if self.contents.positions[row] < 0 and not self._is_imported[row]
        )
        return {
            self.contents.sha256(row) for row, source in missing if unread.isdisjoint((source, ".", *parents(source)))
        }

    def similar(
        self, grey: Grey, numbers: Iterable[int], counts: Callable[[int], bool] = lambda row: True
    ) -> list[Likeness]:
        """Return one photo of each group that shows the same picture as a new photo: of several the largest.

        Args:
            grey: copy of the new photo.
            numbers: the hashes that resemble its own; see Lookalikes.search.
            counts: whether a row is compared at all.
        """
        groups: dict[str, list[tuple[int, int, int]]] = {}
        for number in numbers:
            for row in filter(counts, self.lookalikes.photos(number)):
                width, height = self.contents.size(row) or (0, 0)
                groups.setdefault(self._group(row), []).append((-width * height, row, number))
        similar = []
        for group, members in groups.items():
            same = (row for _, row, number in sorted(members) if self.lookalikes.is_same(row, number, grey))
            similar += [Likeness(group, self.contents.size(row)) for row in islice(same, 1)]
        return similar

    def near_duplicate(self, source: str, digest: str, similar: Iterable[Likeness], size: tuple[int, int]) -> Rejection:
        """Return the rejection of a photo that looks like others.

        Args:
            source: the photo's path relative to the photo folder.
            digest: SHA-256 of its bytes, in hex.
            similar: the photos that it looks like.
            size: its width and height in pixels.
        """
        similar = list(similar)
        message = f"looks like the photo with key {' and '.join(sorted({likeness.group for likeness in similar}))}"
        sizes = [likeness.size or size for likeness in similar]
        if not self._keep_duplicates and all(width * height < size[0] * size[1] for width, height in sizes):
            width, height = max(sizes, key=lambda stored: stored[0] * stored[1])
            # a triple may carry a person's prompt or decisions, so a build never replaces it
            message += f", which is smaller ({width}x{height}, this one {size[0]}x{size[1]}) but came first; "
            message += "keep_duplicates=True adds this one beside it"
        return Rejection(source, digest, "near-duplicate", message)

    def _judge(self, loaded: Loaded, compared: bool) -> Arrival:
        source, digest = loaded.source, loaded.sha256
        row = self.meet(loaded) if digest else -1
        if digest:
            original = self._original(row)
            if (
                original != source or self.contents.is_judged[row]
            ):  # two file names can map to one source: see source_name
                return Rejection(source, digest, "identical", f"the same bytes as {original}")
            self.contents.is_judged[row] = True
        if loaded.outcome is None:
            return Kept(source)
        if isinstance(loaded.outcome, Rejection):
            return loaded.outcome
        if lost := self._lost.get(row):
            return Candidate(source, digest, loaded.outcome, loaded.phash, lost.group, lost, loaded.position)
        return self._new(row, loaded, loaded.outcome, compared)

    def _new(self, row: int, loaded: Loaded, photo: Photo | Measured, compared: bool) -> Candidate | Rejection:
        key = key_of(loaded.sha256)
        similar = []
        if not compared and loaded.grey is not None:
            similar = self.similar(loaded.grey, self.lookalikes.search(loaded.grey, loaded.phash))
        # A photo that resembles two groups is always rejected: it would merge them, although their splits may differ.
        if len(similar) > 1 or (similar and not self._keep_duplicates):
            return self.near_duplicate(loaded.source, loaded.sha256, similar, photo.source_size)
        group = similar[0].group if similar else key
        if not compared:
            self.accept(row, loaded.phash, group)
        return Candidate(loaded.source, loaded.sha256, photo, loaded.phash, group, position=loaded.position)

    def accept(self, row: int, phash: int, group: str) -> None:
        """Compare later photos with this one.

        Args:
            row: of its content; see `meet`.
            phash: its perceptual hash.
            group: its group.
        """
        self.lookalikes.add(phash, row)
        if group != self.contents.key(row):
            self._groups[row] = group

    def knows(self, rejection: Rejection) -> bool:
        """Return whether an earlier run rejected this photo in the same way."""
        return self.rejections.get((rejection.source, rejection.sha256)) == rejection

    def reject(self, rejection: Rejection) -> Rejection:
        """Note a rejection of a photo of this run, and return it."""
        self._rejected[rejection.source] = rejection
        return rejection

    def _group(self, row: int) -> str:
        return self._groups.get(row) or self.contents.key(row)

    def _original(self, row: int) -> str:
        """Return which of several identical files counts as the original: that of the triple, else the first."""
        is_of_triple = self.contents.is_recorded(row) and self._is_expected[row]
        return self.contents.sources[row] if is_of_triple else self.source(self.contents.positions[row])

    def _picture(self, row: int) -> Grey | None:
        """Return the grey copy of a photo that is stored, or will be."""
        grey = self.pictures.stored(self.contents.key(row))
        if grey is None and (position := self.contents.positions[row]) >= 0:
            image = self.pixels(position)
            grey = self.pictures.stored_later(image) if image else self._sources.to_be_stored(position)
        return grey


def first_bits(sha256: str) -> int:
    """Return the first 64 bits of a SHA-256 in hex, as a number."""
    return int(sha256[:16], 16)
