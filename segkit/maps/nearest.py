"""The nearest of a set of colours for every pixel: exact, by a table of all 2^24 colours."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segkit.maps import pixels
from segkit.maps.pixels import Packed
from segkit.palette import free_colors
from segkit.palette.color import RGB


def nearest(packed: Packed, colors: tuple[RGB, ...]) -> NDArray[np.uint8]:
    """Return for each pixel the place of the colour nearest to it in RGB (L2).

    Args:
        packed: the pixels, of any shape.
        colors: 1 to 256; of equally near ones the first is taken.

    Returns:
        An array of the shape of the pixels.
    """
    return pixels.look_up(packed, table(colors))


@lru_cache(maxsize=2)
def table(colors: tuple[RGB, ...]) -> NDArray[np.uint8]:
    """Return the place of the nearest colour for each packed colour: (2^24,), 16 MiB."""
    taken = np.array(colors, np.int32)[:, ::-1]  # blue, green, red, as packed colours count
    near, far = zip(*(free_colors.axis_bounds(taken[:, axis]) for axis in range(3)), strict=True)
    found = np.empty((256, 256, 256), np.uint8)
    for block in np.ndindex(16, 16, 16):
        reach, limits = (sum(part[axis][block[axis]] for axis in range(3)) for part in (near, far))
        places = np.flatnonzero(reach <= np.min(limits))  # no other can be nearest inside the block
        corner = [int(free_colors.STARTS[place]) for place in block]
        cells = tuple(slice(start, start + free_colors.SIDE) for start in corner)
        found[cells] = places[free_colors.block_distances(corner, taken[places]).argmin(axis=3)]
    return found.reshape(-1)
