"""Exact nearest colour of every pixel, from a table of all 2^24 colours."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segkit.maps import pixels
from segkit.maps.pixels import Packed
from segkit.palette import free_colors
from segkit.palette.color import RGB

_CHUNK = 1 << 14
"""Colours that are compared at once without a table."""


def nearest(packed: Packed, colors: tuple[RGB, ...]) -> NDArray[np.uint8]:
    """Return the index of the nearest colour of each pixel (RGB L2).

    Args:
        packed: packed pixels of any shape.
        colors: 1 to 256 colours; among equally near ones the first wins.

    Returns:
        Indices in the shape of the pixels.
    """
    return pixels.look_up(packed, table(colors))


def nearest_of_few(packed: Packed, colors: tuple[RGB, ...]) -> NDArray[np.uint8]:
    """Return what `nearest` does, without a table: faster for up to some 10^5 pixels unless the table exists."""
    shades, inverse = np.unique(packed, return_inverse=True)
    table = np.array(colors, np.float32)
    squares = (table**2).sum(1)
    indices = np.empty(len(shades), np.uint8)
    for start in range(0, len(shades), _CHUNK):
        rgb = pixels.unpack(shades[start : start + _CHUNK]).astype(np.float32)
        indices[start : start + _CHUNK] = (squares - 2 * rgb @ table.T).argmin(1)  # whole numbers below 2^24: exact
    return indices[inverse].reshape(packed.shape)


@lru_cache(maxsize=2)
def table(colors: tuple[RGB, ...]) -> NDArray[np.uint8]:
    """Return the index of the nearest colour of each packed colour: (2^24,), 16 MiB.

    Within each block of the colour cube only colours that can be nearest somewhere in the block are compared.
    """
    bgr = np.array(colors, np.int32)[:, ::-1]  # packed colours have blue in the highest byte
    near, far = zip(*(free_colors.axis_bounds(bgr[:, axis]) for axis in range(3)), strict=True)
    indices = np.empty((256, 256, 256), np.uint8)
    for block in np.ndindex(16, 16, 16):
        lower, upper = (sum(bound[axis][block[axis]] for axis in range(3)) for bound in (near, far))
        candidates = np.flatnonzero(lower <= np.min(upper))
        corner = [int(free_colors.STARTS[step]) for step in block]
        cells = tuple(slice(start, start + free_colors.SIDE) for start in corner)
        indices[cells] = candidates[free_colors.block_distances(corner, bgr[candidates]).argmin(axis=3)]
    return indices.reshape(-1)
