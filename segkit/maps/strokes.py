"""Strokes on a label map: runs of pixels that get one class, applied, compared and validated."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from segkit.errors import UsageError
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette

Run = tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=1)]]
"""Start and length of consecutive pixels in row-major order."""


class Stroke(Struct, frozen=True, forbid_unknown_fields=True):
    """Pixels that get one class.

    Attributes:
        label: index of the class, or 255 for unlabelled.
        runs: the pixels, sorted and disjoint.
    """

    label: Annotated[int, Meta(ge=0, le=UNLABELLED)]
    runs: tuple[Run, ...]


def runs(pixels: NDArray[np.bool_]) -> tuple[Run, ...]:
    """Return the runs of a mask, (H, W) or flat."""
    return _consecutive(np.flatnonzero(pixels))


def _consecutive(places: NDArray[np.intp]) -> tuple[Run, ...]:
    """Return the runs of sorted positions."""
    if not len(places):
        return ()
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.r_[0, breaks + 1]]
    ends = places[np.r_[breaks, len(places) - 1]]
    return tuple(zip(starts.tolist(), (ends - starts + 1).tolist(), strict=True))


def difference(before: Labels, after: Labels) -> tuple[Stroke, ...]:
    """Return the strokes that turn a map into another of the same size; none for equal maps."""
    places = np.flatnonzero(before.ravel() != after.ravel())
    labels = after.ravel()[places]
    return tuple(Stroke(label, _consecutive(places[labels == label])) for label in np.unique(labels).tolist())


def apply(strokes: Iterable[Stroke], labels: Labels, touched: NDArray[np.bool_]) -> None:
    """Set the pixels of strokes.

    Args:
        strokes: see `require_valid`.
        labels: (H, W) uint8, changed in place.
        touched: (H, W) bool, set where a stroke goes.
    """
    for stroke in strokes:
        places = positions(stroke.runs)
        labels.ravel()[places] = stroke.label
        touched.ravel()[places] = True


def positions(runs: Sequence[Run]) -> NDArray[np.intp]:
    """Return the positions of the pixels of runs."""
    starts, lengths = np.array(runs, np.intp).reshape(-1, 2).T
    skipped = starts - np.r_[0, np.cumsum(lengths)[:-1]] if len(starts) else starts
    result: NDArray[np.intp] = np.repeat(skipped, lengths) + np.arange(lengths.sum())
    return result


def require_valid(strokes: Iterable[Stroke], pixels: int, palette: Palette) -> None:
    """Refuse strokes that are not on the map, or whose class does not exist.

    Args:
        strokes: what a person painted.
        pixels: number of pixels of the map.
        palette: the classes.

    Raises:
        UsageError: a stroke is invalid; the message says how.
    """
    for stroke in strokes:
        if not 0 <= stroke.label < len(palette) and stroke.label != UNLABELLED:
            raise UsageError(
                f"label {stroke.label} is not a class of {palette.name}. Expected 0 to {len(palette) - 1}, or "
                f"{UNLABELLED} for unlabelled."
            )
        starts, lengths = np.array(stroke.runs, np.int64).reshape(-1, 2).T
        ends = starts + lengths
        if (starts < 0).any() or (lengths < 1).any() or (ends > pixels).any() or (starts[1:] < ends[:-1]).any():
            raise UsageError(
                f"a stroke's runs are not sorted and disjoint within the {pixels:,} pixels of the map. Expected pairs "
                "of start and length."
            )
