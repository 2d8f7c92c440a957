"""How sure a segmenter was of each pixel, as a small greyscale picture."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELL = 4
"""Side in pixels of the squares whose mean is stored."""

_STEPS = 31
"""Values that are told apart, without 0: a step is 0.03, and half the bytes of 255."""


def encode(confidence: NDArray[np.float32]) -> bytes:
    """Return a confidence map as a greyscale PNG with a pixel for each square of CELL x CELL pixels: their mean.

    Args:
        confidence: (H, W), 0 to 1; both sides are multiples of CELL.
    """
    height, width = confidence.shape
    means = confidence.reshape(height // CELL, CELL, width // CELL, CELL).mean((1, 3))
    values = np.rint(np.rint(means * _STEPS) * (255 / _STEPS)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return the means of `encode`, 0 to 255: (H / CELL, W / CELL).

    Raises:
        OSError: it is not a greyscale PNG.
    """
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        if image.mode != "L":
            raise OSError(f"mode {image.mode}, expected L")
        return np.array(image)
