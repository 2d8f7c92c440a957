"""What the coefficients of a JPEG map say about its labels.

JPEG stores each coefficient of a block (of its discrete cosine transform) as a multiple of a step. The labels are right
only if every coefficient of the painted labels is within half a step of the stored one, however coarse the steps are.
What exceeds half a step is evidence against the labels; quantization, which changes anything less, is not.
"""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from scipy import ndimage
from scipy.fft import dct

from segkit.maps import differences
from segkit.maps.differences import Differences
from segkit.maps.recompress import MCU, Compression
from segkit.maps.scene import YCC, Floats, Indices, Positions, Scene

BLOCK = 8
"""Side in pixels of the blocks that JPEG transforms."""

_SLACK = 0.6
"""Excess over half a step that rounding to whole colours explains."""

EXPLAINED = 1.0
"""Squared excess up to which a unit is explained."""

_REACH = 3
"""Chroma samples beside a unit that its decoded pixels are blended with, as far as that matters."""

_COSINES = dct(np.eye(BLOCK), axis=0, norm="ortho").astype(np.float32)
WAVES: Floats = np.einsum("ux,vy->xyuv", _COSINES, _COSINES).reshape(BLOCK**2, BLOCK**2).astype(np.float32)
"""The coefficients of each pixel of a block: (64 pixels, 64 coefficients), orthonormal."""


def _sharpening() -> Floats:
    """Return the inverse of the decoder's interpolation of chroma: ((8 + 2 * _REACH)^2, 64).

    Along an axis each decoded pixel is 3/4 of its chroma sample and 1/4 of the sample beside it, so the mean of two
    pixels is the samples filtered with (1/8, 3/4, 1/8), whose inverse is a constant times powers of sqrt(8) - 3.
    """
    taps = 2**0.5 * (8**0.5 - 3) ** np.abs(np.arange(-_REACH, _REACH + 1))
    matrix = np.zeros((BLOCK, BLOCK + 2 * _REACH))
    for row in range(BLOCK):
        matrix[row, row : row + len(taps)] = taps / taps.sum()
    return np.kron(matrix, matrix).T.astype(np.float32)


_SHARPENING = _sharpening()


@dataclass(frozen=True)
class Layout:
    """Where the pixels of a unit of MCU x MCU pixels are stored.

    Attributes:
        scale: pixels per chroma sample along an axis: 2 for 4:2:0, 1 for 4:4:4.
        luma_limits: (64,) half the steps of luma coefficients, plus the slack.
        chroma_limits: (64,) the same for chroma.
        luma_steps: (64,) the steps of luma coefficients.
        chroma_steps: (64,) the same for chroma.
        luma_blocks: (256,) block of each pixel in its unit.
        luma_pixels: (256,) position in its block, 0 to 63.
        chroma_blocks: (256,) chroma block of each pixel in its unit; there is only one in 4:2:0.
        chroma_pixels: (256,) its sample in that block, 0 to 63.
    """

    scale: int
    luma_limits: Floats
    chroma_limits: Floats
    luma_steps: Floats
    chroma_steps: Floats
    luma_blocks: Positions
    luma_pixels: Positions
    chroma_blocks: Positions
    chroma_pixels: Positions


@lru_cache(maxsize=16)
def layout(compression: Compression) -> Layout:
    """Return the layout of units, and the steps, under a compression."""
    buffer = BytesIO()
    Image.new("RGB", (MCU, MCU)).save(buffer, "JPEG", quality=compression.quality, subsampling=compression.subsampling)
    buffer.seek(0)
    with JpegImageFile(buffer) as image:
        luma, chroma = (np.array(image.quantization[number], np.float32) for number in (0, 1))
    scale = 2 if compression.subsampling else 1
    row, column = np.divmod(np.arange(MCU**2), MCU)
    blocks, places = [], []
    for step in (1, scale):
        down, across = row // step, column // step
        blocks.append(down // BLOCK * (MCU // step // BLOCK) + across // BLOCK)
        places.append(down % BLOCK * BLOCK + across % BLOCK)
    half_luma, half_chroma = (np.asarray(steps / 2 + _SLACK, np.float32) for steps in (luma, chroma))
    return Layout(scale, half_luma, half_chroma, luma, chroma, blocks[0], places[0], blocks[1], places[1])


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
    """

    layout: Layout
    rows: Positions
    columns: Positions
    places: Positions
    luma: Floats
    chroma: Floats
    luma_residual: Floats
    chroma_residual: Floats

    def excess(self) -> Floats:
        """Return the squared excess over half a step, summed over the coefficients of each unit: (N,)."""
        luma = square_excess(self.luma, self.layout.luma_limits).sum(1)
        return np.asarray(luma + square_excess(self.chroma, self.layout.chroma_limits).sum((1, 2)))


def badly_explained(scene: Scene, spectrum: Spectrum, least: float) -> NDArray[np.bool_]:
    """Return the units whose squared excess exceeds the least: (H / 16, W / 16)."""
    return _grid(scene, spectrum, spectrum.excess() > least)


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
    focus = around(_grid(scene, spectrum, different))
    stale = focus[spectrum.rows, spectrum.columns]
    measured = measure(scene, _grid(scene, spectrum, stale))  # in the order of the spectrum: both are sorted
    spectrum.luma[stale], spectrum.luma_residual[stale] = measured.luma, measured.luma_residual
    spectrum.chroma[stale], spectrum.chroma_residual[stale] = measured.chroma, measured.chroma_residual


def units(scene: Scene, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the units that contain pixels of an (H, W) mask: (H / 16, W / 16)."""
    height, width = (side // MCU for side in scene.labels.shape)
    return np.asarray(mask.reshape(height, MCU, width, MCU).any((1, 3)))


def around(focus: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the units of an (H / 16, W / 16) mask and the eight around each."""
    return np.asarray(ndimage.binary_dilation(focus, np.ones((3, 3), bool)))


def _grid(scene: Scene, spectrum: Spectrum, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of units, (H / 16, W / 16), of (N,) units chosen from a spectrum."""
    focus = np.zeros([side // MCU for side in scene.labels.shape], bool)
    focus[spectrum.rows[chosen], spectrum.columns[chosen]] = True
    return focus


def excess(errors: Floats, limits: Floats) -> Floats:
    """Return what of (..., 64) errors exceeds the limits, with its sign."""
    return errors - np.clip(errors, -limits, limits)


def square_excess(errors: Floats, limits: Floats) -> Floats:
    """Return the squared excess, summed over the coefficients: (...)."""
    beyond = np.abs(errors)
    beyond -= limits
    np.maximum(beyond, 0, out=beyond)
    return np.asarray(np.einsum("...i,...i->...", beyond, beyond))


def measure(scene: Scene, focus: NDArray[np.bool_] | None = None) -> Spectrum:
    """Compress the labels and compare the coefficients with those of the observed map.

    The stored coefficients are those of the compressed labels plus the rounded difference of the pictures. The
    difference is exactly zero where the labels are right, also where colours were clipped at 0 and 255.

    Args:
        scene: the map.
        focus: (H / 16, W / 16) the units to compare; None for those with a visible difference.
    """
    shape = layout(scene.compression)
    margin = _REACH * shape.scale if shape.scale > 1 else 0
    encoded = None
    if focus is None:
        encoded = scene.encoded(scene.labels)
        rows, columns = differences.visible(scene, encoded)
    else:
        rows, columns = np.nonzero(focus)
    difference = differences.unclipped(scene, rows, columns, margin, encoded)
    inner = slice(margin, margin + MCU)
    luma_residual = difference[:, inner, inner].astype(np.float32) @ YCC[0]
    chroma_residual = _samples(difference, shape.scale)
    first = (rows * MCU + 1) * scene.stride + columns * MCU + 1
    places = first[:, None] + (np.arange(MCU)[:, None] * scene.stride + np.arange(MCU)).ravel()
    labels = scene.board.ravel()[places].reshape(-1, MCU, MCU)
    luma = _errors(scene.ycc[:, 0].take(labels), luma_residual, shape.luma_steps)
    chroma = []
    for channel in (0, 1):
        painted = scene.ycc[:, channel + 1].take(labels)[..., None]
        painted = halved(painted) if shape.scale > 1 else painted
        chroma.append(_errors(painted[..., 0], chroma_residual[..., channel], shape.chroma_steps))
    return Spectrum(shape, rows, columns, places, luma, np.stack(chroma, 2), luma_residual, chroma_residual)


def halved(samples: Floats) -> Floats:
    """Return the means of squares of 2 x 2 in (..., side, side, channels) samples."""
    # Sums of slices: mean() over two short axes takes ten times as long.
    down = samples[..., ::2, :, :] + samples[..., 1::2, :, :]
    return np.asarray((down[..., ::2, :] + down[..., 1::2, :]) / np.float32(4))


def _samples(difference: Differences, scale: int) -> Floats:
    """Return the chroma samples of (N, side, side, 3) differences of decoded pixels with margins."""
    if scale == 1:
        return np.asarray(difference.astype(np.float32) @ YCC[1:].T)
    sums = difference[:, ::2] + difference[:, 1::2]  # in integers before the conversion to chroma: the order is free
    sums = (sums[:, :, ::2] + sums[:, :, 1::2]).astype(np.float32)
    channels = [
        (sums @ (YCC[channel] / np.float32(4))).reshape(-1, len(_SHARPENING)) @ _SHARPENING for channel in (1, 2)
    ]
    return np.stack(channels, 2).reshape(-1, BLOCK, BLOCK, 2)


def _errors(painted: Floats, residual: Floats, steps: Floats) -> Floats:
    """Return the errors of the coefficients of (N, side, side) samples: (N, blocks, 64)."""
    coefficients = _transform(painted)
    stored = np.round(coefficients / steps) + np.round(_transform(residual) / steps)
    return np.asarray(coefficients - stored * steps)


def _transform(samples: Floats) -> Floats:
    """Return the coefficients of (N, side, side) samples: (N, blocks, 64)."""
    count = samples.shape[1] // BLOCK
    blocks = samples.reshape(-1, count, BLOCK, count, BLOCK).swapaxes(2, 3)
    return np.asarray(blocks.reshape(-1, count**2, BLOCK**2) @ WAVES)
