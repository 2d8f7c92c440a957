"""Colours for new classes: the ones farthest from all that are taken, exact over all 2^24 of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from segkit import cube
from segkit.color import RGB, to_hex


@dataclass(frozen=True)
class FreeColour:
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


def farthest(taken: Iterable[RGB]) -> Iterator[FreeColour]:
    """Yield, without end, the colour that is farthest from those taken, the ones yielded before among them.

    The search is exact: a block of the colour cube is skipped only if even its corner farthest from some taken colour
    is nearer to it than the best colour found. Of equally far colours the lowest is taken, in the order of #RRGGBB.

    Args:
        taken: at least one colour.

    Raises:
        ValueError: no colour is taken, so that all are equally far.
    """
    colours = np.array(sorted(set(taken)), np.int32).reshape(-1, 3)
    if not len(colours):
        raise ValueError("farthest from what? No colour is taken.")
    while True:
        rgb, square = _farthest(colours)
        yield FreeColour(rgb, sqrt(square))
        colours = np.vstack([colours, np.array([rgb], np.int32)])


def _farthest(taken: NDArray[np.int32]) -> tuple[RGB, int]:
    """Return the colour and its squared distance."""
    edges = [cube.edges(taken[:, axis]) for axis in range(3)]
    near, far = (cube.combined([edge[which] for edge in edges]) for which in (0, 1))  # (16, 16, 16, taken)
    bounds = far.min(axis=3)  # no colour of the block is farther from all
    best, found = -1, (0, 0, 0)
    for place in np.argsort(-bounds, axis=None, kind="stable").tolist():
        block = np.unravel_index(place, bounds.shape)
        if bounds[block] < best:
            break
        corner = [int(cube.STARTS[place]) for place in block]
        squares = cube.inside(corner, taken[near[block] <= bounds[block]]).min(axis=3)
        offset = int(squares.argmax())  # the first, so the lowest of the block
        steps = np.unravel_index(offset, squares.shape)
        red, green, blue = (start + int(step) for start, step in zip(corner, steps, strict=True))
        square = int(squares.flat[offset])
        if square > best or (square == best and (red, green, blue) < found):
            best, found = square, (red, green, blue)
    return found, best
