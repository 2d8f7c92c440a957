"""Colours for new classes: the farthest from all used colours, by an exact search of all 2^24."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from segkit.palette.color import RGB, to_hex

SIDE = 16
"""Edge length of a block of the colour cube; 16 x 16 x 16 blocks fill the cube."""

STARTS = np.arange(0, 256, SIDE, dtype=np.int32)
"""(16,) lowest channel value of each block along an axis."""

Squares = NDArray[np.int32]
"""Squared distances."""


@dataclass(frozen=True)
class FreeColor:
    """A colour for a new class.

    Attributes:
        rgb: sRGB, 8 bits a channel.
        distance: RGB L2 to the nearest colour in use when it was chosen, 0 to 441.67.
    """

    rgb: RGB
    distance: float

    @property
    def hex(self) -> str:
        """The colour as "#RRGGBB"."""
        return to_hex(self.rgb)


def farthest(taken: Iterable[RGB]) -> Iterator[FreeColor]:
    """Yield, without end, the colour farthest from all used ones; each colour yielded counts as used from then on.

    The search is exact. Among equally far colours the lowest in the order of #RRGGBB wins.

    Args:
        taken: the used colours, at least one.

    Raises:
        ValueError: taken is empty, so that all colours are equally far.
    """
    colors = np.array(sorted(set(taken)), np.int32).reshape(-1, 3)
    if not len(colors):
        raise ValueError("No colour is taken; expected at least one to keep a distance from.")
    while True:
        rgb, square = _farthest(colors)
        yield FreeColor(rgb, sqrt(square))
        colors = np.vstack([colors, np.array([rgb], np.int32)])


def _farthest(taken: NDArray[np.int32]) -> tuple[RGB, int]:
    """Return the farthest colour and its squared distance, by branch and bound over the blocks of the cube."""
    bounds_of_axes = [axis_bounds(taken[:, axis]) for axis in range(3)]
    near, far = (sum_channels([axis[which] for axis in bounds_of_axes]) for which in (0, 1))  # (16, 16, 16, taken)
    bounds = far.min(axis=3)  # no colour of the block is farther than this from all used colours
    best, best_rgb = -1, (0, 0, 0)
    # Most promising blocks first: as soon as a bound falls below the best distance, all remaining blocks do too.
    for position in np.argsort(-bounds, axis=None, kind="stable").tolist():
        block = np.unravel_index(position, bounds.shape)
        if bounds[block] < best:
            break
        corner = [int(STARTS[step]) for step in block]
        # Colours whose near side lies beyond the bound cannot be the nearest to any colour of the block.
        squares = block_distances(corner, taken[near[block] <= bounds[block]]).min(axis=3)
        offset = int(squares.argmax())  # argmax returns the first, hence the lowest of the block
        steps = np.unravel_index(offset, squares.shape)
        red, green, blue = (start + int(step) for start, step in zip(corner, steps, strict=True))
        square = int(squares.flat[offset])
        if square > best or (square == best and (red, green, blue) < best_rgb):
            best, best_rgb = square, (red, green, blue)
    return best_rgb, best


def axis_bounds(values: NDArray[np.int32]) -> tuple[Squares, Squares]:
    """Return the squared distance of channel values to the near and the far end of each of the 16 blocks of an axis.

    Args:
        values: (K,) channel values, 0 to 255.

    Returns:
        Two (16, K) arrays: to the nearest value of the block (0 inside it), and to the farthest.
    """
    below, above = STARTS[:, None] - values, values - (STARTS[:, None] + SIDE - 1)
    return np.maximum(np.maximum(below, above), 0) ** 2, np.maximum(-below, -above) ** 2


def block_distances(corner: Sequence[int], colors: NDArray[np.int32]) -> Squares:
    """Return the squared distance of each colour of a block to some colours: (16, 16, 16, K).

    Args:
        corner: lowest value of the block in each channel.
        colors: (K, 3), channels in the same order.
    """
    steps = np.arange(SIDE, dtype=np.int32)[:, None]
    return sum_channels([(corner[axis] + steps - colors[:, axis]) ** 2 for axis in range(3)])


def sum_channels(channels: Sequence[Squares]) -> Squares:
    """Add the squares of three channels, each (n, K), over all combinations: (n, n, n, K)."""
    first, second, third = channels
    return first[:, None, None] + second[None, :, None] + third[None, None, :]
