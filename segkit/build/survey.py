"""A first pass over the photos of a build: of near-duplicates the best is kept, whatever their names."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.build.history import History, Loaded, source_name
from segkit.build.intake import load_all
from segkit.dataset.stamps import Stamps
from segkit.dataset.triple import key_of
from segkit.photos import Limits, Photo
from segkit.photos.near_duplicates import HAMMING
from segkit.photos.quiet import quiet_pillow

HELD = 128_000_000
"""Bytes of decoded pixels kept for the second pass. Photos beyond are decoded twice."""


@dataclass
class NewPhotos:
    """What is remembered of new photos until all have been seen: one entry each, in the order of the paths.

    Attributes:
        positions: places among all paths.
        digests: SHA-256 of the files, in hex.
        hashes: perceptual hashes of each photo and of its mirror image.
        sizes: width and height of the sources in pixels.
        coarseness: see quality.coarseness.
    """

    positions: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    hashes: list[tuple[int, int]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    coarseness: list[float] = field(default_factory=list)

    def add(self, position: int, loaded: Loaded, photo: Photo) -> None:
        """Remember a photo, but not its pixels."""
        self.positions.append(position)
        self.digests.append(loaded.sha256)
        self.hashes.append(loaded.hashes)
        self.sizes.append((photo.geometry.source_width, photo.geometry.source_height))
        self.coarseness.append(photo.coarseness)

    def best_first(self) -> list[int]:
        """Return the indices by pixels, then by compression, then in the order of the paths."""

        def rank(index: int) -> tuple[int, float, int]:
            width, height = self.sizes[index]
            return -width * height, self.coarseness[index], index

        return sorted(range(len(self.positions)), key=rank)


def survey(
    folder: Path,
    paths: Sequence[Path],
    limits: Limits,
    history: History,
    report: Callable[[int], None],
    known: Stamps | None = None,
) -> deque[Loaded | None]:
    """Read all photos, and reject each that looks like a better one.

    Photos are accepted best first: one with more pixels precedes one with fewer, and at the same size one that is less
    compressed. A photo that looks like an accepted one, or like one of the dataset, is rejected. The result depends
    neither on threads nor on where an interrupted build stopped: units are recorded in the order of the paths, and two
    photos are always compared in that order.

    Args:
        folder: the photo folder.
        paths: the photos in it.
        limits: size limits of photos, and the size to fit them to.
        history: decisions of earlier runs.
        report: called with the number of photos read so far.
        known: stamps of the photos; see `intake.load_all`.

    Returns:
        For each path its outcome, or None for a new photo that is to be decoded again.
    """
    entries: list[Loaded | None] = []
    new = NewPhotos()
    seen: set[str] = set()
    held = 0
    with quiet_pillow():
        for position, loaded in enumerate(load_all(folder, paths, limits, history, known=known)):
            if not isinstance(loaded.outcome, Photo) or history.is_lost(loaded.sha256):
                entries.append(loaded)
            elif loaded.sha256 in seen:
                entries.append(Loaded(loaded.source, loaded.sha256, None))  # rejected as identical later
            else:
                seen.add(loaded.sha256)
                new.add(position, loaded, loaded.outcome)
                held += loaded.outcome.image.width * loaded.outcome.image.height * 3
                entries.append(loaded if held <= HELD else None)
            report(position + 1)
    for index, keys in outdone(new, history).items():
        position = new.positions[index]
        source, digest = source_name(paths[position], folder), new.digests[index]
        rejection = history.near_duplicate(source, digest, keys, new.sizes[index])
        entries[position] = Loaded(source, digest, rejection)
    return deque(entries)


def outdone(new: NewPhotos, history: History) -> dict[int, list[str]]:
    """Return the index of each new photo that is not accepted, with the keys of the photos that it looks like.

    Args:
        new: the photos.
        history: finds those of the dataset that they look like.
    """
    accepted = Accepted(new)
    outdone: dict[int, list[str]] = {}
    for index in new.best_first():
        known = history.similar(new.hashes[index])
        if known or accepted.near(index).size:
            outdone[index] = known
        else:
            accepted.add(index)
    for index, keys in outdone.items():  # all accepted photos are known only now: the message must name all of them
        keys += [key_of(new.digests[other]) for other in accepted.near(index)]
    return outdone


class Accepted:
    """The accepted ones among new photos, searchable by likeness.

    Of two photos the later one in the order of the paths is compared with both its hashes, that of the mirror image
    included. A resumed build compares the same way, because its dataset then holds the earlier one.
    """

    def __init__(self, new: NewPhotos) -> None:
        self._new = new
        self._hashes = np.empty((2, len(new.hashes)), np.uint64)  # plain and mirrored, in the order of acceptance
        self._indices = np.empty(len(new.hashes), np.int64)
        self._count = 0

    def add(self, index: int) -> None:
        """Accept the photo with this index."""
        self._hashes[:, self._count] = self._new.hashes[index]
        self._indices[self._count] = index
        self._count += 1

    def near(self, index: int) -> NDArray[np.int64]:
        """Return the indices of the accepted photos that the photo with this index looks like."""
        plain, mirrored = self._hashes[:, : self._count]
        others = self._indices[: self._count]
        own_plain, own_mirrored = map(np.uint64, self._new.hashes[index])
        flipped = np.where(others < index, plain ^ own_mirrored, mirrored ^ own_plain)
        hits = (np.bitwise_count(plain ^ own_plain) <= HAMMING) | (np.bitwise_count(flipped) <= HAMMING)
        near: NDArray[np.int64] = np.sort(others[hits])
        return near
