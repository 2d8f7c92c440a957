"""How the pixels of a unit of a JPEG map are stored: blocks, chroma samples and the steps of coefficients."""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from scipy.fft import dct

from segkit.maps.recompress import MCU, Compression

Floats = NDArray[np.float32]
Positions = NDArray[np.intp]

BLOCK = 8
"""Side in pixels of the blocks that JPEG transforms."""

GREY = 128
"""Value of samples that JPEG stores as 0."""

_SLACK = 0.6
"""Excess over half a step that rounding to whole colours explains."""

_EXACT = 0.2
"""The same of luma if the stored samples are known."""


_COSINES = dct(np.eye(BLOCK), axis=0, norm="ortho").astype(np.float32)
WAVES: Floats = np.einsum("ux,vy->xyuv", _COSINES, _COSINES).reshape(BLOCK**2, BLOCK**2).astype(np.float32)
"""The coefficients of each pixel of a block: (64 pixels, 64 coefficients), orthonormal."""


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
        luma_places: (256,) position of each pixel in the flattened (blocks, 64) samples of luma.
        chroma_places: (256,) the same in (blocks, 2, 64) of chroma, in the first channel.
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
    luma_places: Positions
    chroma_places: Positions


@lru_cache(maxsize=16)
def layout(compression: Compression) -> Layout:
    """Return the layout of units, and the steps, under a compression."""
    luma, chroma = (np.array(table, np.float32) for table in compression.tables or _tables(compression))
    scale = 2 if compression.subsampling else 1
    row, column = np.divmod(np.arange(MCU**2), MCU)
    blocks, places = [], []
    for step in (1, scale):
        down, across = row // step, column // step
        blocks.append(down // BLOCK * (MCU // step // BLOCK) + across // BLOCK)
        places.append(down % BLOCK * BLOCK + across % BLOCK)
    half_luma, half_chroma = (np.asarray(steps / 2 + _SLACK, np.float32) for steps in (luma, chroma))
    if compression.tables:
        half_luma = np.asarray(luma / 2 + _EXACT, np.float32)
    positions = blocks[0] * BLOCK**2 + places[0], blocks[1] * 2 * BLOCK**2 + places[1]
    return Layout(scale, half_luma, half_chroma, luma, chroma, blocks[0], places[0], blocks[1], places[1], *positions)


def _tables(compression: Compression) -> list[list[int]]:
    """Return the steps of luma and chroma at a quality."""
    buffer = BytesIO()
    Image.new("RGB", (MCU, MCU)).save(buffer, "JPEG", quality=compression.quality, subsampling=compression.subsampling)
    buffer.seek(0)
    with JpegImageFile(buffer) as image:
        return [list(image.quantization[number]) for number in (0, 1)]
