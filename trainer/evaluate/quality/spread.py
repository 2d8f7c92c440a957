"""Diversity: how much the pictures of one map differ, each pair compared, as Zhu et al. (2017, arXiv 1711.11586) do.

They compare pairs by LPIPS, whose weights need a download. These two distances replace it:

- colours: pictures shrunk to 32 x 32 pixels, the mean over pixels of the CIELAB distance (CIE 1976; about 2.3 is just
  noticeable). It needs no network, and sees different colours and light, not different textures.
- features: 1 - cosine of the features that KID compares.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from segkit.palette.perception import TO_XYZ
from trainer.evaluate.quality.networks import Extractor, Vector

_SIDE = 32
"""Side in pixels of the pictures whose colours are compared."""

Values = NDArray[np.float64]


def lab(pixels: NDArray[np.uint8]) -> Values:
    """Convert sRGB to CIELAB, as segkit.palette.perception.lab does with one colour.

    Args:
        pixels: (..., 3) sRGB.

    Returns:
        (..., 3): L* from 0 to 100, a* and b*.
    """
    encoded = pixels / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    matrix = np.array(TO_XYZ)
    xyz = linear @ (matrix / matrix.sum(1, keepdims=True)).T  # relative to white
    x, y, z = np.moveaxis(np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _thumbnail(picture: Image.Image) -> Vector:
    small = picture.resize((_SIDE, _SIDE), Resampling.BOX)
    return lab(np.asarray(small)).astype(np.float32).reshape(-1)


COLORS = Extractor(_thumbnail, {"name": "CIELAB", "side": str(_SIDE)})
"""Returns the colours of a shrunken picture: L*, a* and b* of each pixel."""


def of_colors(drawings: NDArray[np.float32]) -> Values:
    """Return the mean colour distance of the pairs of pictures of each map, (M,).

    Args:
        drawings: (S, M, D) vectors of COLORS, S at least 2.
    """
    pixels = drawings.astype(np.float64).reshape(*drawings.shape[:2], -1, 3)
    pairs = combinations(pixels, 2)
    return np.asarray(np.mean([np.linalg.norm(one - other, axis=-1).mean(-1) for one, other in pairs], axis=0))


def of_features(drawings: NDArray[np.float32]) -> Values:
    """Return the mean cosine distance of the pairs of pictures of each map, (M,), 0 to 2.

    Args:
        drawings: (S, M, D) features, S at least 2.
    """
    unit = normalized(drawings)
    return np.asarray(np.mean([1 - (one * other).sum(-1) for one, other in combinations(unit, 2)], axis=0))


def normalized(vectors: NDArray[np.float32]) -> Values:
    """Return vectors (..., D) scaled to length 1."""
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=-1, keepdims=True))
