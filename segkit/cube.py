"""The cube of all 2^24 colours, cut into blocks, and how far the blocks are from colours."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Colours along the edge of a block."""

STARTS = np.arange(0, 256, SIDE, dtype=np.int32)

Squares = NDArray[np.int32]
"""Squared distances."""


def edges(values: NDArray[np.int32]) -> tuple[Squares, Squares]:
    """Return how far each value of a channel is from the nearest and the farthest place of each of 16 stretches.

    Args:
        values: (K,) 0 to 255.

    Returns:
        Two (16, K) arrays.
    """
    below, above = STARTS[:, None] - values, values - (STARTS[:, None] + SIDE - 1)
    return np.maximum(np.maximum(below, above), 0) ** 2, np.maximum(-below, -above) ** 2


def inside(corner: Sequence[int], colours: NDArray[np.int32]) -> Squares:
    """Return how far each colour of a block is from some colours: (16, 16, 16, K).

    Args:
        corner: where the block begins in each channel.
        colours: (K, 3), the channels in the order of the corner.
    """
    steps = np.arange(SIDE, dtype=np.int32)[:, None]
    return combined([(corner[axis] + steps - colours[:, axis]) ** 2 for axis in range(3)])


def combined(channels: Sequence[Squares]) -> Squares:
    """Add what three (n, K) tables say of each channel, for all colours they make: (n, n, n, K)."""
    first, second, third = channels
    return first[:, None, None] + second[None, :, None] + third[None, None, :]
