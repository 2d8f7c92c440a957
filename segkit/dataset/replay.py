"""Maps as their histories show them: edits applied, pixels counted, and the last few results kept in memory.

A person edits one map many times. Decoding and counting twelve million pixels again for each stroke would take most of
the time of an edit; what is kept is the same as replaying the history from the disk.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps import codec, strokes
from segkit.maps.codec import Labels
from segkit.maps.strokes import Run, Stroke
from segkit.palette import UNLABELLED

MEMORY = 50_000_000
"""Bytes of the maps that are kept."""

_LONG = 32
"""Pixels of an average run from which on runs are copied one by one; shorter ones are gathered by position."""

_TOGETHER = 1_000_000
"""Pixels that are gathered by position at once, which takes 24 bytes each."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A map, and which of its pixels a person set. Nobody changes the arrays.

    Attributes:
        labels: (H, W) uint8 class indices; 255 = unlabelled.
        touched: (H, W) bool, whether a person set the pixel.
        counts: (2, 256), numbers of pixels by label: those that nobody set, and those that a person did.
    """

    labels: Labels
    touched: NDArray[np.bool_]
    counts: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Bytes of the two maps."""
        return self.labels.nbytes + self.touched.nbytes

    @property
    def is_unlabelled(self) -> bool:
        """Whether no pixel has a class."""
        return int(self.counts[:, UNLABELLED].sum()) == self.labels.size

    def after(self, edits: Iterable[tuple[Stroke, ...]]) -> "Shown":
        """Return the map after some edits."""
        shown = Shown(self.labels.copy(), self.touched.copy(), self.counts.copy())
        for edit in edits:
            for stroke in edit:
                for runs in _portions(stroke.runs):
                    shown._set(stroke.label, runs)
        return shown

    def _set(self, label: int, runs: tuple[Run, ...]) -> None:
        """Give pixels a label, in a copy that nobody else has yet."""
        labels, touched = self.labels.reshape(-1), self.touched.reshape(-1)
        number = sum(length for _, length in runs)
        if number >= _LONG * len(runs):
            slices = [slice(start, start + length) for start, length in runs]
            old, was_touched = (np.concatenate([pixels[part] for part in slices]) for pixels in (labels, touched))
            for part in slices:
                labels[part], touched[part] = label, True
        else:
            places = strokes.positions(runs)
            old, was_touched = labels[places], touched[places]
            labels[places], touched[places] = label, True
        before = np.array(_counted(old, was_touched))
        self.counts[:] -= before
        self.counts[1, label] += number


def begin(labels: Labels, by_person: bool) -> Shown:
    """Return a map before any edit; `by_person` if all of its pixels were set by one."""
    counts = np.zeros((2, 256), np.int64)
    counts[int(by_person)] = codec.count(labels)
    return Shown(labels, np.full(labels.shape, by_person), counts)


def _portions(runs: tuple[Run, ...]) -> Iterable[tuple[Run, ...]]:
    """Divide runs, so that a stroke over all of a large map is not gathered at once."""
    start, number = 0, 0
    for place, (_, length) in enumerate(runs):
        number += length
        if number >= _TOGETHER:
            yield runs[start : place + 1]
            start, number = place + 1, 0
    if start < len(runs):
        yield runs[start:]


def _counted(labels: NDArray[np.uint8], touched: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Return the numbers of pixels by label: untouched, and touched."""
    by_person = codec.count(labels[None][:, touched]) if touched.any() else [0] * 256
    every = codec.count(labels[None])
    return [total - part for total, part in zip(every, by_person, strict=True)], by_person


_kept: "OrderedDict[Hashable, Shown]" = OrderedDict()
_lock = threading.Lock()


def kept(identity: Hashable) -> Shown | None:
    """Return a map that is still in memory.

    Args:
        identity: of the map and of everything that was done to it.
    """
    with _lock:
        shown = _kept.pop(identity, None)
        if shown is not None:
            _kept[identity] = shown
        return shown


def keep(identity: Hashable, shown: Shown) -> None:
    """Keep a map in memory, in place of those that were not asked for the longest."""
    if shown.size > MEMORY:
        return
    with _lock:
        _kept.pop(identity, None)
        _kept[identity] = shown
        while sum(one.size for one in _kept.values()) > MEMORY:
            _kept.popitem(last=False)
