"""What the coefficients of a JPEG map say about its labels.

JPEG stores each coefficient of a block (of its discrete cosine transform) as a multiple of a step. The labels are right
only if every coefficient of the painted labels is within half a step of the stored one, however coarse the steps are.
What exceeds half a step is evidence against the labels; quantization, which changes anything less, is not.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.maps import differences, planes, samples
from segkit.maps.differences import Differences
from segkit.maps.layout import BLOCK, GREY, Layout
from segkit.maps.recompress import MCU
from segkit.maps.scene import YCC, Floats, Indices, Positions, Scene

EXPLAINED = 1.0
"""Squared excess up to which a unit is explained."""

REACH = 3
"""Chroma samples beside a unit that its decoded pixels are blended with, as far as that matters."""


def _sharpening() -> Floats:
    """Return the inverse of the decoder's interpolation of chroma: ((8 + 2 * REACH)^2, 64).

    Along an axis each decoded pixel is 3/4 of its chroma sample and 1/4 of the sample beside it, so the mean of two
    pixels is the samples filtered with (1/8, 3/4, 1/8), whose inverse is a constant times powers of sqrt(8) - 3.
    """
    taps = 2**0.5 * (8**0.5 - 3) ** np.abs(np.arange(-REACH, REACH + 1))
    matrix = np.zeros((BLOCK, BLOCK + 2 * REACH))
    for row in range(BLOCK):
        matrix[row, row : row + len(taps)] = taps / taps.sum()
    return np.kron(matrix, matrix).T.astype(np.float32)


_SHARPENING = _sharpening()


@dataclass
class Spectrum:
    """The coefficients of painted labels minus the stored ones, in some units of the map.

    Attributes:
        layout: of the units.
        rows: (N,) unit rows.
        columns: (N,) unit columns.
        places: (N, 256) positions of the pixels on the flattened board.
        luma: (N, blocks, 64) errors of luma coefficients.
        chroma: (N, blocks, 2, 64) errors of chroma coefficients.
        luma_residual: (N, 16, 16) luma of the observed map minus that of the compressed labels.
        chroma_residual: (N, 16 / scale, 16 / scale, 2) the same of chroma samples.
        settled: (N,) True for units in which no pixel wants to move, as far as is known (segkit.maps.flips).
    """

    layout: Layout
    rows: Positions
    columns: Positions
    places: Positions
    luma: Floats
    chroma: Floats
    luma_residual: Floats
    chroma_residual: Floats
    settled: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.settled = np.zeros(len(self.rows), bool)

    def excess(self) -> Floats:
        """Return the squared excess over half a step, summed over the coefficients of each unit: (N,)."""
        luma = square_excess(self.luma, self.layout.luma_limits).sum(1)
        return np.asarray(luma + square_excess(self.chroma, self.layout.chroma_limits).sum((1, 2)))


def badly_explained(scene: Scene, spectrum: Spectrum, least: float) -> NDArray[np.bool_]:
    """Return the units whose squared excess exceeds the least: (H / 16, W / 16)."""
    return grid(scene, spectrum, spectrum.excess() > least)


def refresh(scene: Scene, spectrum: Spectrum, labels: Indices) -> None:
    """Compare the units of a spectrum again whose labels changed, and those beside them.

    Args:
        scene: the map.
        spectrum: updated in place.
        labels: (N, 256) the labels in the units of the spectrum before the change.
    """
    different = (scene.board.ravel()[spectrum.places] != labels).any(1)
    if not different.any():
        return
    stale = beside(scene, spectrum, different)
    measured = measure(scene, grid(scene, spectrum, stale))  # in the order of the spectrum: both are sorted
    spectrum.luma[stale], spectrum.luma_residual[stale] = measured.luma, measured.luma_residual
    spectrum.chroma[stale], spectrum.chroma_residual[stale] = measured.chroma, measured.chroma_residual
    spectrum.settled[stale] = False


def units(scene: Scene, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the units that contain pixels of an (H, W) mask: (H / 16, W / 16)."""
    height, width = (side // MCU for side in scene.labels.shape)
    return np.asarray(mask.reshape(height, MCU, width, MCU).any((1, 3)))


def around(focus: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the units of an (H / 16, W / 16) mask and the eight around each."""
    return np.asarray(ndimage.binary_dilation(focus, np.ones((3, 3), bool)))


def beside(scene: Scene, spectrum: Spectrum, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which units of a spectrum are among, or beside, some of them: (N,)."""
    return np.asarray(around(grid(scene, spectrum, chosen))[spectrum.rows, spectrum.columns])


def grid(scene: Scene, spectrum: Spectrum, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of units, (H / 16, W / 16), of (N,) units chosen from a spectrum."""
    focus = np.zeros([side // MCU for side in scene.labels.shape], bool)
    focus[spectrum.rows[chosen], spectrum.columns[chosen]] = True
    return focus


def excess(errors: Floats, limits: Floats) -> Floats:
    """Return what of (..., 64) errors exceeds the limits, with its sign."""
    return np.asarray(errors - np.maximum(np.minimum(errors, limits), -limits))  # np.clip is slow on few errors


def square_excess(errors: Floats, limits: Floats) -> Floats:
    """Return the squared excess, summed over the coefficients: (...)."""
    beyond = np.abs(errors)
    beyond -= limits
    np.maximum(beyond, 0, out=beyond)
    return np.asarray(np.einsum("...i,...i->...", beyond, beyond))


def measure(scene: Scene, focus: NDArray[np.bool_] | None = None) -> Spectrum:
    """Compare the coefficients of the labels with those of the observed map.

    Args:
        scene: the map.
        focus: (H / 16, W / 16) the units to compare; None for those with a visible difference.
    """
    if scene.coded is not None:
        rows, columns = samples.visible(scene, scene.coded) if focus is None else np.nonzero(focus)
        places = _places(scene, rows, columns)
        parts = samples.compare(scene, scene.coded, rows, columns)
        if scene.coded.certain is not None and (decoded := ~scene.coded.certain[rows, columns]).any():
            others = _compare(scene, rows[decoded], columns[decoded], None)
            for part, other in zip(parts, others, strict=True):
                part[decoded] = other
        return Spectrum(scene.layout, rows, columns, places, *parts)
    encoded = None
    if focus is None:
        encoded = scene.encoded(scene.labels)
        rows, columns = differences.visible(scene, encoded)
    else:
        rows, columns = np.nonzero(focus)
    places = _places(scene, rows, columns)
    return Spectrum(scene.layout, rows, columns, places, *_compare(scene, rows, columns, encoded))


def _places(scene: Scene, rows: Positions, columns: Positions) -> Positions:
    """Return the positions of the pixels of units on the flattened board: (N, 256)."""
    first = (rows * MCU + 1) * scene.stride + columns * MCU + 1
    return np.asarray(first[:, None] + (np.arange(MCU)[:, None] * scene.stride + np.arange(MCU)).ravel())


def _compare(
    scene: Scene, rows: Positions, columns: Positions, encoded: bytes | None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the errors and residuals of Spectrum from decoded colours.

    The stored coefficients are those of the compressed labels plus the rounded difference of the pictures. The
    difference is exactly zero where the labels are right, also where colours were clipped at 0 and 255.
    """
    shape = scene.layout
    margin = REACH * shape.scale if shape.scale > 1 else 0
    difference = differences.unclipped(scene, rows, columns, margin, encoded)
    inner = slice(margin, margin + MCU)
    luma_residual = difference[:, inner, inner].astype(np.float32) @ YCC[0]
    chroma_residual = _samples(difference, shape.scale)
    labels = scene.board.ravel()[_places(scene, rows, columns)].reshape(-1, MCU, MCU)
    luma = _errors(scene.ycc[:, 0].take(labels) - np.float32(GREY), luma_residual, shape.luma_steps)
    chroma = []
    for channel in (0, 1):
        painted = scene.ycc[:, channel + 1].take(labels)[..., None]
        painted = halved(painted) if shape.scale > 1 else painted
        chroma.append(_errors(painted[..., 0], chroma_residual[..., channel], shape.chroma_steps))
    return luma, np.stack(chroma, 2), luma_residual, chroma_residual


def halved(samples: Floats) -> Floats:
    """Return the means of squares of 2 x 2 in (..., side, side, channels) samples."""
    # Sums of slices: mean() over two short axes takes ten times as long.
    down = samples[..., ::2, :, :] + samples[..., 1::2, :, :]
    return np.asarray((down[..., ::2, :] + down[..., 1::2, :]) / np.float32(4))


def sharpened(means: Floats) -> Floats:
    """Return the chroma samples of units, (N, 8, 8), from means of 2 x 2 decoded pixels, REACH more on each side."""
    return np.asarray((means.reshape(-1, len(_SHARPENING)) @ _SHARPENING).reshape(-1, BLOCK, BLOCK))


def _samples(difference: Differences, scale: int) -> Floats:
    """Return the chroma samples of (N, side, side, 3) differences of decoded pixels with margins."""
    if scale == 1:
        return np.asarray(difference.astype(np.float32) @ YCC[1:].T)
    sums = difference[:, ::2] + difference[:, 1::2]  # in integers before the conversion to chroma: the order is free
    sums = (sums[:, :, ::2] + sums[:, :, 1::2]).astype(np.float32)
    return np.stack([sharpened(sums @ (YCC[channel] / np.float32(4))) for channel in (1, 2)], 3)


def _errors(painted: Floats, residual: Floats, steps: Floats) -> Floats:
    """Return the errors of the coefficients of (N, side, side) samples: (N, blocks, 64)."""
    coefficients = planes.transform(painted)
    stored = np.round(coefficients / steps) + np.round(planes.transform(residual) / steps)
    return np.asarray(coefficients - stored * steps)
