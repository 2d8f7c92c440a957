"""JPEG compression as a function: the settings that a map was saved with, and the same damage done to another map."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import pixels
from segkit.maps.pixels import Packed

RGBPixels = NDArray[np.uint8]
"""(H, W, 3) colours."""

MCU = 16
"""Side in pixels of the largest unit that JPEG encodes by itself (4:2:0); sizes are multiples of it here."""

_TILE = 2 * MCU
_TILES = 16
_EDGE = 4
"""Pixels at the edges of a tile that are not compared: the decoder interpolates chroma with the tile beside it."""

_EXACT = 0.1
"""The settings that were used leave hardly a difference where the painted map is right."""

_EXPLAINED = 0.5
"""Compression with the right settings leaves less than this share of the damage unexplained."""


@dataclass(frozen=True)
class Compression:
    """Settings of libjpeg.

    Attributes:
        quality: 1 to 100; 0 if the tables are known.
        subsampling: 0 for chroma at full resolution (4:4:4), 2 for a quarter of the samples (4:2:0).
        tables: the 64 steps of luma, and those of chroma; none if they follow from the quality.
    """

    quality: int
    subsampling: int
    tables: tuple[tuple[int, ...], ...] = ()

    def apply(self, packed: Packed, mode: str = "RGB") -> RGBPixels:
        """Return the colours of packed pixels after a round trip through JPEG, in RGB or YCbCr: (H, W, 3)."""
        return decode(self.encode(packed), mode)

    def encode(self, packed: Packed) -> bytes:
        """Return packed pixels, (H, W), as JPEG."""
        height, width = packed.shape
        picture = Image.frombuffer("RGB", (width, height), np.ascontiguousarray(packed), "raw", "RGBX", 0, 1)
        buffer = BytesIO()
        if self.tables:
            picture.save(buffer, "JPEG", qtables=self.tables, subsampling=self.subsampling)
        else:
            picture.save(buffer, "JPEG", quality=self.quality, subsampling=self.subsampling)
        return buffer.getvalue()


def decode(encoded: bytes, mode: str = "RGB") -> RGBPixels:
    """Return the colours of a JPEG, in RGB or YCbCr: (H, W, 3)."""
    with Image.open(BytesIO(encoded)) as image:
        image.draft(mode, image.size)
        return np.asarray(image)


_COMMON = (75, 95, 90, 80, 85, 92, 70, 50)
"""Qualities that are tried first: defaults of programs, and round numbers."""

_CANDIDATES = [
    Compression(quality, subsampling)
    for qualities in (_COMMON, [quality for quality in range(100, 29, -1) if quality not in _COMMON])
    for subsampling in (2, 0)
    for quality in qualities
]
"""The settings to look for, likely ones first."""


def estimate(observed: Packed, painted: Packed) -> Compression | None:
    """Return the settings that turn a painted map into the observed one, None if no settings do.

    Sixteen tiles with borders are compressed with various settings. The best quarter of them judges, since others may
    be painted wrongly.

    Args:
        observed: (H, W) the damaged map; H and W are multiples of MCU.
        painted: (H, W) an estimate of the map before the damage.
    """
    tiles = _border_tiles(observed, painted)
    if tiles is None:
        return None
    target, source = tiles
    expected = pixels.unpack(target).astype(np.int16)

    def misfit(compression: Compression | None) -> float:
        result = compression.apply(source) if compression else pixels.unpack(source)
        difference = np.abs(result - expected).reshape(_TILE, -1, _TILE, 3)[_EDGE:-_EDGE, :, _EDGE:-_EDGE]
        by_tile = np.sort(difference.sum((0, 2, 3)))
        return float(by_tile[: len(by_tile) // 4 + 1].mean())

    plain = misfit(None)
    best, least = None, _EXPLAINED * plain
    # Only the very settings that were used explain everything; those beside them may explain less than distant ones, so
    # that all must be tried.
    for compression in _CANDIDATES:
        unexplained = misfit(compression)
        if unexplained < least:
            best, least = compression, unexplained
        if unexplained < _EXACT * plain:
            break
    return best


def _border_tiles(observed: Packed, painted: Packed) -> tuple[Packed, Packed] | None:
    """Return tiles with borders of the observed and of the painted map, side by side; None if there are none."""
    height, width = (side // _TILE * _TILE for side in observed.shape)
    pair = [
        picture[:height, :width].reshape(height // _TILE, _TILE, width // _TILE, _TILE).swapaxes(1, 2)
        for picture in (observed, painted)
    ]
    rows, columns = np.nonzero((pair[1][:, :, ::4, ::4] != pair[1][:, :, :1, :1]).any((2, 3)))
    if not len(rows):
        return None
    drawn = np.random.default_rng(0).permutation(len(rows))[:_TILES]
    target, source = (np.hstack(list(tiles[rows[drawn], columns[drawn]])) for tiles in pair)
    return target, source
