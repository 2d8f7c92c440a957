"""How much of a photo's detail its file keeps, to choose between copies of one photo."""

import math

import numpy as np
from PIL import Image

_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_STEP_TIMES_RATE = 3.0
"""Quantisation step of JPEG times bytes per pixel of WebP, AVIF or HEIC at the same error: 2 to 5 on real photos."""


def coarseness(image: Image.Image, data: bytes) -> float:
    """Return how coarsely a file stores its pixels: 0 for lossless colour, infinity for grey or a colour table.

    For JPEG it is the mean step of the luminance quantisation, 1 to 255 (about 6 at quality 95, 58 at quality 50), so
    metadata does not count. Other lossy formats do not show theirs: it is estimated from the bytes per pixel.

    Args:
        image: the picture as Pillow opened it; the pixels need not be loaded.
        data: content of the file.
    """
    if image.mode in ("1", "P", "PA") or Image.getmodebase(image.mode) == "L":
        return math.inf
    tables = getattr(image, "quantization", None)
    if image.format in ("JPEG", "MPO") and tables:
        return float(np.mean(tables[min(tables)]))
    if _is_lossy(image, data):
        return _STEP_TIMES_RATE * image.width * image.height / len(data)
    return 0.0


def _is_lossy(image: Image.Image, data: bytes) -> bool:
    if image.format == "WEBP":
        return b"VP8L" not in data[:65536]  # the chunk of lossless WebP, at most behind a colour profile
    if image.format == "TIFF":
        return image.info.get("compression") in _LOSSY_TIFF
    return image.format in ("JPEG", "MPO", "AVIF", "HEIF", "JPEG2000")
