"""The labels around pixels without a label: the candidates that they choose from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps.solid import NO_LABEL, Indices

Floats = NDArray[np.float32]

_REACH = (1, 2, 3, 5, 8, 12, 18)
"""Distances, in pixels, at which labels are sampled in eight directions."""

_CANDIDATES = 4
"""Number of distinct labels, nearest first, that a pixel chooses from."""


@dataclass(frozen=True)
class Border:
    """Unlabelled pixels and the labels around them.

    Attributes:
        board: the labels of the map, flattened, with a margin that spares bounds checks; NO_LABEL in the margin and
            where no label is known.
        stride: offset on the board from a pixel to the one below.
        positions: (N,) positions of the pixels on the board.
        labels: (candidates, N) distinct labels around each pixel, nearest first, padded with NO_LABEL.
        samples: (candidates, N) numbers of the samples in which they were met, NO_LABEL for none; see `distances`.
    """

    board: Indices
    stride: int
    positions: NDArray[np.intp]
    labels: Indices
    samples: Indices

    def distances(self) -> Floats:
        """Return the distances of the labels in pixels, inf for NO_LABEL: (candidates, N)."""
        reach = np.full(256, np.inf, np.float32)
        offsets = _offsets(self.stride)
        reach[: len(offsets)] = [distance for distance, _ in offsets]
        return reach.take(self.samples)


def find(seeded: Indices, unlabelled: NDArray[np.intp], cell: int = 1) -> Border:
    """Collect the labels around unlabelled pixels.

    Args:
        seeded: (H, W) known labels, NO_LABEL elsewhere.
        unlabelled: (N,) ascending flat positions of at least one pixel to label.
        cell: side of squares whose pixels share the labels around their centre: faster, less exact.
    """
    margin = _REACH[-1]
    board = np.pad(seeded, margin, constant_values=NO_LABEL)
    stride, (height, width) = board.shape[1], seeded.shape
    rows = unlabelled // width
    columns = unlabelled - rows * width  # divmod() takes several times as long
    positions = (rows + margin) * stride + columns + margin
    if cell == 1:
        return Border(board.ravel(), stride, positions, *_sampled(board, positions))
    lanes = -(-width // cell)
    cells = rows // cell * lanes + columns // cell
    used = np.zeros(-(-height // cell) * lanes, bool)
    used[cells] = True
    places = np.flatnonzero(used)
    down, across = places // lanes, places % lanes
    centers = (down * cell + cell // 2 + margin) * stride + across * cell + cell // 2 + margin
    numbers = (np.cumsum(used, dtype=np.int32) - 1).take(cells)
    labels, samples = _sampled(board, centers)
    return Border(board.ravel(), stride, positions, labels.take(numbers, 1), samples.take(numbers, 1))


def _sampled(board: Indices, positions: NDArray[np.intp]) -> tuple[Indices, Indices]:
    """Return the labels around positions on a board with a margin, and the samples they are from; see Border."""
    # Reading at an offset becomes a view that starts at the first pixel plus the offset, read at relative positions:
    # no array of N shifted positions is needed for any of the 56 samples.
    flat, stride, first = board.ravel(), board.shape[1], int(positions[0])
    relative = positions - first
    labels = np.full((_CANDIDATES, len(positions)), NO_LABEL, np.uint8)
    samples = np.full(labels.shape, NO_LABEL, np.uint8)
    for number, (_, offset) in enumerate(_offsets(stride)):
        sample = flat[first + offset :].take(relative, mode="clip")  # nothing is clipped; the mode skips bounds checks
        pending = sample != NO_LABEL
        # Insert each sample into the first free row, unless an earlier row has the same label.
        for label, reached in zip(labels, samples, strict=True):
            pending &= sample != label
            free = pending & (label == NO_LABEL)
            if free.any():  # rarely so: near samples fill the first rows
                # What is free is 255, all bits set, so "and" writes to it, faster than copyto() with a mask.
                occupied = free.view(np.uint8) - np.uint8(1)
                label &= sample | occupied
                reached &= np.uint8(number) | occupied
                pending ^= free
            if not pending.any():
                break
    return labels, samples


def _offsets(stride: int) -> list[tuple[float, int]]:
    """Return the distance and board offset of each sample in eight directions, nearest first."""
    straight = [(float(reach), reach * step) for reach in _REACH for step in (1, -1, stride, -stride)]
    corners = [down + across for down in (stride, -stride) for across in (1, -1)]
    return sorted(straight + [(2**0.5 * reach, reach * step) for reach in _REACH for step in corners])
