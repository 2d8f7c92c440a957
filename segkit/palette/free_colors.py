"""Colours for new classes: the ones farthest from all that are taken, exact over all 2^24 of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from segkit.palette.color import RGB, to_hex

SIDE = 16
"""Colours along the edge of a block."""

STARTS = np.arange(0, 256, SIDE, dtype=np.int32)

Squares = NDArray[np.int32]
"""Squared distances."""


@dataclass(frozen=True)
class FreeColor:
    """A colour for a new class.

    Attributes:
        rgb: sRGB, 8 bits a channel.
        distance: RGB L2 to the nearest colour that was taken when it was chosen, 0 to 441.67.
    """

    rgb: RGB
    distance: float

    @property
    def hex(self) -> str:
        """The colour as "#RRGGBB"."""
        return to_hex(self.rgb)


def farthest(taken: Iterable[RGB]) -> Iterator[FreeColor]:
    """Yield, without end, the colour that is farthest from those taken, the ones yielded before among them.

    The search is exact: a block of the colour cube is skipped only if even its corner farthest from some taken colour
    is nearer to it than the best colour found. Of equally far colours the lowest is taken, in the order of #RRGGBB.

    Args:
        taken: at least one colour.

    Raises:
        ValueError: no colour is taken, so that all are equally far.
    """
    colors = np.array(sorted(set(taken)), np.int32).reshape(-1, 3)
    if not len(colors):
        raise ValueError("farthest from what? No colour is taken.")
    while True:
        rgb, square = _farthest(colors)
        yield FreeColor(rgb, sqrt(square))
        colors = np.vstack([colors, np.array([rgb], np.int32)])


def _farthest(taken: NDArray[np.int32]) -> tuple[RGB, int]:
    """Return the colour and its squared distance."""
    bounds_of_axes = [axis_bounds(taken[:, axis]) for axis in range(3)]
    near, far = (sum_channels([axis[which] for axis in bounds_of_axes]) for which in (0, 1))  # (16, 16, 16, taken)
    bounds = far.min(axis=3)  # no colour of the block is farther from all
    best, found = -1, (0, 0, 0)
    for place in np.argsort(-bounds, axis=None, kind="stable").tolist():
        block = np.unravel_index(place, bounds.shape)
        if bounds[block] < best:
            break
        corner = [int(STARTS[place]) for place in block]
        squares = block_distances(corner, taken[near[block] <= bounds[block]]).min(axis=3)
        offset = int(squares.argmax())  # the first, so the lowest of the block
        steps = np.unravel_index(offset, squares.shape)
        red, green, blue = (start + int(step) for start, step in zip(corner, steps, strict=True))
        square = int(squares.flat[offset])
        if square > best or (square == best and (red, green, blue) < found):
            best, found = square, (red, green, blue)
    return found, best


def axis_bounds(values: NDArray[np.int32]) -> tuple[Squares, Squares]:
    """Return how far each value of a channel is from the nearest and the farthest place of each of 16 stretches.

    Args:
        values: (K,) 0 to 255.

    Returns:
        Two (16, K) arrays.
    """
    below, above = STARTS[:, None] - values, values - (STARTS[:, None] + SIDE - 1)
    return np.maximum(np.maximum(below, above), 0) ** 2, np.maximum(-below, -above) ** 2


def block_distances(corner: Sequence[int], colors: NDArray[np.int32]) -> Squares:
    """Return how far each colour of a block is from some colours: (16, 16, 16, K).

    Args:
        corner: where the block begins in each channel.
        colors: (K, 3), the channels in the order of the corner.
    """
    steps = np.arange(SIDE, dtype=np.int32)[:, None]
    return sum_channels([(corner[axis] + steps - colors[:, axis]) ** 2 for axis in range(3)])


def sum_channels(channels: Sequence[Squares]) -> Squares:
    """Add what three (n, K) tables say of each channel, for all colours they make: (n, n, n, K)."""
    first, second, third = channels
    return first[:, None, None] + second[None, :, None] + third[None, None, :]
