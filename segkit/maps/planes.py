"""The coefficients that a JPEG file stores, found from its decoded samples, unit by unit when they are first needed.

A stored coefficient is a whole multiple of its step. From decoded samples it follows exactly, except where a sample was
clipped at 0 or 255 or lies beyond the picture.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segkit.maps.layout import BLOCK, GREY, WAVES, Layout
from segkit.maps.recompress import MCU

Floats = NDArray[np.float32]
Positions = NDArray[np.intp]
Value = TypeVar("Value", bound=np.generic)

Samples = NDArray[np.uint8]
"""Luma or chroma, 0 to 255; chroma is 128 for grey."""

_HALF = np.float32(0.5 + 1e-3)
"""Ties are rounded up, as libjpeg does when it decodes; flat blocks have many."""

_REFINEMENTS = 4
"""Steps in which coefficients are corrected; mostly the first guess is right."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of some units of a plane.

    Attributes:
        samples: (B, 64) as decoded.
        coefficients: (B, 64) the stored ones; meaningless in open blocks.
        open: (O,) positions of blocks whose samples do not tell the coefficients.
        hidden: (O, 64) the samples of these that lie beyond the picture.
    """

    samples: Samples
    coefficients: Floats
    open: Positions
    hidden: NDArray[np.bool_]


class Plane:
    """Luma, or both channels of chroma: the samples and coefficients of all units, as far as they have been asked for.

    Args:
        samples: (channels, H, W) of the file.
        side: samples of a unit along an axis.
        size: height and width of the picture in samples.
        steps: (64,) the steps of the coefficients.
    """

    def __init__(self, samples: Samples, side: int, size: tuple[int, int], steps: Floats) -> None:
        self._plane, self._side, self._size, self._steps = samples, side, size, steps
        channels, height, width = samples.shape
        self._lanes = width // side
        self._places = np.full(height // side * self._lanes, -1)  # of units in what follows; few units are asked for
        self._samples = np.empty((0, channels, (side // BLOCK) ** 2, BLOCK**2), np.uint8)
        self._coefficients = np.empty(self._samples.shape, np.float32)
        self._open = np.empty(self._samples.shape[:3], bool)

    def blocks(self, rows: Positions, columns: Positions) -> Blocks:
        """Return the blocks of units, unit by unit; in each those of the first channel first."""
        units = rows * self._lanes + columns
        places = self._places[units]
        new = places < 0
        if new.any():
            self._find(units[new], rows[new], columns[new])
            places = self._places[units]
        is_open = self._open.take(places, 0)
        hidden = np.zeros((int(is_open.sum()), BLOCK**2), bool)
        if (beyond := self._beyond(rows, columns)) is not None and len(hidden):
            hidden = np.repeat(beyond[:, None], len(self._plane), 1)[is_open]
        samples, coefficients = self._samples.take(places, 0), self._coefficients.take(places, 0)
        return Blocks(
            samples.reshape(-1, BLOCK**2), coefficients.reshape(-1, BLOCK**2), np.flatnonzero(is_open), hidden
        )

    def _find(self, units: Positions, rows: Positions, columns: Positions) -> None:
        """Find the coefficients of units that are not known."""
        samples = np.stack([blocks(cut(plane, rows, columns, self._side)) for plane in self._plane], 1)
        is_open = (samples.min(3) == 0) | (samples.max(3) == 255)
        if (beyond := self._beyond(rows, columns)) is not None:
            is_open |= np.asarray(beyond.any(2))[:, None]
        coefficients = stored(samples.reshape(-1, BLOCK**2), self._steps).reshape(samples.shape)
        self._places[units] = np.arange(len(units)) + len(self._samples)
        self._samples = np.concatenate([self._samples, samples])
        self._coefficients = np.concatenate([self._coefficients, coefficients])
        self._open = np.concatenate([self._open, is_open])

    def _beyond(self, rows: Positions, columns: Positions) -> NDArray[np.bool_] | None:
        """Return which samples of units lie beyond the picture, (N, blocks, 64); None if no unit can have any."""
        height, width = self._size
        if not height % self._side and not width % self._side:
            return None
        places = np.arange(self._side)
        down, across = rows[:, None] * self._side + places >= height, columns[:, None] * self._side + places >= width
        return blocks(down[:, :, None] | across[:, None])


class Planes:
    """The luma and the chroma of a JPEG file.

    Args:
        luma: (H, W) samples; H and W are multiples of MCU.
        chroma: (H / scale, W / scale, 2)
        size: height and width of the picture in pixels.
        layout: of its units.
    """

    def __init__(self, luma: Samples, chroma: Samples, size: tuple[int, int], layout: Layout) -> None:
        height, width = (-(-length // layout.scale) for length in size)
        self.luma = Plane(luma[None], MCU, size, layout.luma_steps)
        self.chroma = Plane(np.moveaxis(chroma, 2, 0), MCU // layout.scale, (height, width), layout.chroma_steps)


def stored(samples: Samples, steps: Floats) -> Floats:
    """Return the coefficients that samples, (B, 64), were decoded from: multiples of the steps, (B, 64)."""
    numbers = np.asarray((samples - np.float32(GREY)) @ WAVES, np.float32)
    numbers /= steps
    np.round(numbers, out=numbers)
    return refine(numbers, difference(numbers * steps, samples), samples, steps)


def refine(
    numbers: Floats,
    residual: Floats,
    samples: Samples,
    steps: Floats,
    hidden: NDArray[np.bool_] | None = None,
) -> Floats:
    """Return the coefficients, multiples of their steps, whose decoded samples are those of a file: (B, 64).

    Args:
        numbers: (B, 64) a first guess in steps; overwritten.
        residual: (B, 64) the samples minus those of the guess.
        samples: (B, 64) as decoded.
        steps: (64,)
        hidden: see `difference`.
    """
    places = np.arange(len(numbers))
    for _ in range(_REFINEMENTS):
        moves = residual @ WAVES
        moves /= steps
        np.round(moves, out=moves)
        moving = moves.any(1)
        places = places[moving]
        if not len(places):
            break
        numbers[places] += moves[moving]
        beside = None if hidden is None else hidden[places]
        residual = difference(numbers[places] * steps, samples[places], beside)
    return numbers * steps


def difference(coefficients: Floats, samples: Samples, hidden: NDArray[np.bool_] | None = None) -> Floats:
    """Return samples of a file minus those of coefficients, both (B, 64).

    Args:
        coefficients: multiples of the steps.
        samples: as decoded.
        hidden: (B, 64) samples beyond the picture, whose difference is 0, as it is where samples are clipped and those
            of the coefficients exceed 0 to 255; None for blocks without hidden samples.
    """
    painted = coefficients @ WAVES.T
    painted += _HALF
    np.floor(painted, out=painted)
    residual = samples - painted
    residual -= np.float32(GREY)
    if hidden is not None:
        residual[hidden | (samples == 0) & (residual > 0) | (samples == 255) & (residual < 0)] = 0
    return np.asarray(residual)


def cut(plane: NDArray[Value], rows: Positions, columns: Positions, side: int) -> NDArray[Value]:
    """Return units of a plane: (N, side, side)."""
    height, width = (length // side for length in plane.shape)
    return np.ascontiguousarray(plane.reshape(height, side, width, side)[rows, :, columns])


def blocks(samples: NDArray[Value]) -> NDArray[Value]:
    """Return the blocks of (N, side, side) samples: (N, blocks, 64)."""
    count = samples.shape[1] // BLOCK
    parts = samples.reshape(-1, count, BLOCK, count, BLOCK).swapaxes(2, 3)
    return np.asarray(parts.reshape(-1, count**2, BLOCK**2))


def transform(samples: NDArray[np.float32]) -> Floats:
    """Return the coefficients of (N, side, side) samples: (N, blocks, 64)."""
    parts = blocks(samples)
    # As one product: arrays of more dimensions are multiplied matrix by matrix.
    return np.asarray((parts.reshape(-1, BLOCK**2) @ WAVES).reshape(parts.shape))
