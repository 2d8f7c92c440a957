"""A first pass over the photos of a build: of near-duplicates the best is kept, whatever their names."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from segkit.build.arrival import Likeness, Loaded
from segkit.build.held import Held
from segkit.build.history import History
from segkit.build.intake import Intake, load_all
from segkit.dataset import Rejection
from segkit.photos import Measured, Photo
from segkit.photos.near_duplicates import Grey
from segkit.photos.quiet import quiet_pillow

COPIES = 16_384
"""Grey copies kept of photos that may be near-duplicates, of 4 KB each. Photos beyond are read again."""

AGAIN = -1
"""Stands for the row of a photo that is to be decoded again."""

MEASURED = -2
"""Stands for the row of a new photo that a worker opens."""

HELD = -3
"""Stands for the row of a photo whose pixels are held."""


class Surveyed(Iterator[Loaded | None]):
    """What the first pass found out about each path, in their order: its outcome, or None to decode it again.

    Args:
        history: knows the contents.
        new: the new photos.
        held: holds their pixels.
    """

    def __init__(self, history: History, new: "NewPhotos", held: Held) -> None:
        self._history, self._new, self._held = history, new, held
        self._rows = array("i")  # of photos that need no decoding; AGAIN, MEASURED or HELD for the others
        self._loaded: dict[int, Loaded] = {}  # rejections
        self._next = 0

    def add(self, loaded: Loaded, row: int = AGAIN) -> None:
        """Add the next path: with its row if there is nothing else to know about it."""
        if row == AGAIN and loaded.outcome is not None:
            self._loaded[len(self._rows)] = loaded
        self._rows.append(row)

    def add_again(self) -> None:
        """Add the next path as one to be decoded again."""
        self._rows.append(AGAIN)

    def add_new(self, loaded: Loaded) -> None:
        """Add the next path as that of a new photo, which is to be decoded again if its pixels cannot be held."""
        if not isinstance(loaded.outcome, Photo):
            self._rows.append(MEASURED)
        else:
            self._rows.append(HELD if self._held.add(len(self._rows), loaded) else AGAIN)

    def replace(self, position: int, loaded: Loaded) -> None:
        """Set the outcome of a path."""
        self._loaded[position] = loaded

    def __next__(self) -> Loaded | None:
        position, self._next = self._next, self._next + 1
        if position >= len(self._rows):
            raise StopIteration
        if loaded := self._loaded.pop(position, None):
            return loaded
        row = self._rows[position]
        if row == AGAIN:
            return None
        if row == HELD:
            return self._held.take(position)
        if row == MEASURED:
            return self._new.loaded(bisect_left(self._new.positions, position), self._history)
        return Loaded(self._history.source(position), self._history.contents.sha256(row), None, position=position)


class NewPhotos:
    """What is remembered of new photos until all have been seen: one entry each, in the order of the paths.

    Attributes:
        positions: places among all paths.
        rows: their contents in the history.
        numbers: of their hashes; see Lookalikes.
        widths, heights: of the sources in pixels.
        coarseness: see quality.coarseness.
        worked_on: see Loaded, 0 or 1.
        hits: of the photos that resemble an earlier one: the numbers of the hashes of those.
        copies: grey copies of some of the photos with hits.
    """

    def __init__(self) -> None:
        self.positions, self.rows, self.numbers = array("i"), array("i"), array("i")
        self.widths, self.heights = array("i"), array("i")
        self.coarseness = array("d")
        self.worked_on = array("b")
        self.hits: dict[int, array[int]] = {}
        self.copies: dict[int, Grey] = {}

    def add(self, loaded: Loaded, photo: Photo | Measured, row: int, number: int, hits: "array[int]") -> None:
        """Remember a photo, but not its pixels."""
        if hits:
            index = len(self.positions)
            self.hits[index] = hits
            if loaded.grey is not None and len(self.copies) < COPIES:
                self.copies[index] = loaded.grey
        self.positions.append(loaded.position)
        self.rows.append(row)
        self.numbers.append(number)
        self.widths.append(photo.source_size[0])
        self.heights.append(photo.source_size[1])
        self.coarseness.append(photo.coarseness)
        self.worked_on.append(loaded.worked_on)

    def size(self, index: int) -> tuple[int, int]:
        """Return width and height of a source in pixels."""
        return self.widths[index], self.heights[index]

    def loaded(self, index: int, history: History) -> Loaded:
        """Return a photo as it was loaded, without its pixels."""
        position, measured = self.positions[index], Measured(self.size(index), self.coarseness[index])
        digest, phash = history.contents.sha256(self.rows[index]), history.lookalikes.phash(self.numbers[index])
        return Loaded(history.source(position), digest, measured, phash, position=position)

    def best_first(self) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        """Return the indices: those with a person's work, then by pixels, compression, and the order of the paths."""
        pixels = np.multiply(self.widths, self.heights, dtype=np.int64)
        return np.lexsort((np.array(self.coarseness), -pixels, -np.array(self.worked_on)))


def survey(
    intake: Intake, history: History, report: Callable[[int], None], held: Held | None = None
) -> Iterator[Loaded | None]:
    """Read all photos, and reject each that looks like a better one.

    Photos are accepted best first: one that a person worked on in a slice precedes all others, one with more pixels one
    with fewer, and at the same size one that is less compressed the other. A photo that looks like an accepted one, or
    like one of the dataset, is rejected. The result depends neither on threads nor on where an interrupted build
    stopped: units are recorded in the order of the paths, and two photos are always compared in that order.

    Args:
        intake: the photos.
        history: decisions of earlier runs.
        report: called with the number of photos read so far.
        held: holds the pixels of photos until they are asked for; None for some photos only.

    Returns:
        For each path its outcome, or None for a new photo that is to be decoded again.
    """
    intake.announce(history)
    new, held = NewPhotos(), held or Held()
    history.pixels = held.image
    surveyed = Surveyed(history, new, held)
    with quiet_pillow():
        for loaded in load_all(intake, history):
            row = history.meet(loaded) if loaded.sha256 else AGAIN
            if loaded.outcome is None or isinstance(loaded.outcome, Rejection):
                surveyed.add(loaded, row if loaded.outcome is None else AGAIN)
            elif history.is_lost(row):
                surveyed.add_again()
            elif not history.is_first(row, loaded.position):
                surveyed.add(loaded, row)  # rejected as identical later
            else:
                remember(new, history, loaded, row)
                surveyed.add_new(loaded)
            report(loaded.position + 1)
    for index, similar in outdone(new, history).items():
        position = new.positions[index]
        source, digest = history.source(position), history.contents.sha256(new.rows[index])
        rejection = history.near_duplicate(source, digest, similar, new.size(index))
        surveyed.replace(position, Loaded(source, digest, rejection, position=position))
    return surveyed


def remember(new: NewPhotos, history: History, loaded: Loaded, row: int) -> None:
    """Compare a new photo's hash with those of all earlier ones, and remember it."""
    assert isinstance(loaded.outcome, Photo | Measured)
    assert loaded.grey is not None
    hits = history.lookalikes.search(loaded.grey, loaded.phash)
    new.add(loaded, loaded.outcome, row, history.lookalikes.add(loaded.phash), hits)


def outdone(new: NewPhotos, history: History) -> dict[int, list[Likeness]]:
    """Return the index of each new photo that is not accepted, with the photos that it looks like.

    Args:
        new: the photos.
        history: knows those of the dataset.
    """
    contest = Contest(new, history)
    losers = []
    for index in new.best_first().tolist():
        if contest.rivals(index):
            losers.append(index)
        else:
            contest.accept(index)
    # all accepted photos are known only now: the message must name all of them
    return {index: contest.rivals(index) for index in losers}


class Contest:
    """The accepted ones among new photos, searchable by likeness.

    Of two photos the later one in the order of the paths is the new one, which is compared in all views with the
    earlier one as it is stored. A resumed build compares the same way, because its dataset then holds the earlier one.
    """

    def __init__(self, new: NewPhotos, history: History) -> None:
        self._new = new
        self._history = history
        self._accepted: dict[int, list[int]] = {}  # hash number to accepted photos, where another photo hits it
        self._later: dict[int, list[int]] = {}  # photo to later accepted ones that may look like it
        self._by_number = np.argsort(new.numbers, kind="stable")
        self._numbers = np.array(new.numbers)[self._by_number]
        self._is_hit = {number for hits in new.hits.values() for number in hits}
        self._same: dict[tuple[int, int], bool] = {}  # of pairs that were compared
        self._known: dict[int, list[Likeness]] = {}  # photo to those of the dataset that it looks like
        self._grey = lru_cache(COPIES)(self._read)

    def rivals(self, index: int) -> list[Likeness]:
        """Return the accepted photos, and those of the dataset, that a photo looks like."""
        hits = self._new.hits.get(index, ())
        earlier = [other for number in hits for other in self._accepted.get(number, ()) if other < index]
        same = [other for other in earlier if self._is_same(other, index)]
        same += [other for other in self._later.get(index, ()) if self._is_same(index, other)]
        accepted = [Likeness(self._history.contents.key(self._new.rows[other])) for other in same]
        return self._of_dataset(index) + accepted

    def accept(self, index: int) -> None:
        """Accept a photo."""
        if (number := self._new.numbers[index]) in self._is_hit:
            self._accepted.setdefault(number, []).append(index)
        for hit in self._new.hits.get(index, ()):
            first, last = np.searchsorted(self._numbers, [hit, hit + 1])
            for other in self._by_number[first:last].tolist():
                if other < index:
                    self._later.setdefault(other, []).append(index)

    def _of_dataset(self, index: int) -> list[Likeness]:
        if index not in self._new.hits:
            return []
        if index not in self._known:
            grey = self._grey(index)
            self._known[index] = [] if grey is None else self._history.similar(grey, self._new.hits[index])
        return self._known[index]

    def _is_same(self, earlier: int, later: int) -> bool:
        pair = earlier, later
        if pair not in self._same:
            grey = self._grey(later)
            row, number = self._new.rows[earlier], self._new.numbers[earlier]
            self._same[pair] = grey is not None and self._history.lookalikes.is_same(row, number, grey)
        return self._same[pair]

    def _read(self, index: int) -> Grey | None:
        """Return the grey copy of a new photo; None if its file is gone by now."""
        position = self._new.positions[index]
        return self._new.copies.get(index) if index in self._new.copies else self._history.read_again(position)
