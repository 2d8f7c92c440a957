"""Areas whose borders follow the edges of a photo, for a brush that snaps to them: superpixels by scikit-image."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.dataset.triple import Triple

MAX_PIXELS = 250_000
"""Larger photos are scaled down for the computation, and the areas up again."""

ROUNDS = 5
"""Rounds of k-means; more change little."""

COMPACTNESS = 4.0
"""Difference in Lab colour that counts as much as the distance between two centres; chosen on rendered scenes."""


def of_triple(triple: Triple) -> NDArray[np.uint16]:
    """Divide the photo of a triple into areas; see `find`. A large JPEG is not decoded at its full size."""
    size = triple.width, triple.height
    with Image.open(triple.folder / triple.file_name, formats=("JPEG", "PNG")) as image:
        image.draft("RGB", _computed(size))
        return find(image.convert("RGB"), size)


def _computed(size: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height at which a photo of some size is divided."""
    factor = max(1.0, np.sqrt(size[0] * size[1] / MAX_PIXELS))
    return max(1, round(size[0] / factor)), max(1, round(size[1] / factor))


def find(photo: Image.Image, shown: tuple[int, int] | None = None, size: int = 12) -> NDArray[np.uint16]:
    """Divide a photo into areas.

    Args:
        photo: RGB.
        shown: width and height of the result; None for those of the photo.
        size: about the width of an area, in pixels of the photo as it is scaled down.

    Returns:
        (H, W) numbers of the areas, from 1.
    """
    from skimage.segmentation import slic  # a quarter of a second, for those who snap

    shown = shown or photo.size
    small = photo.resize(_computed(shown), Image.Resampling.BOX)
    number = max(1, round(small.width / size)) * max(1, round(small.height / size))
    # pieces of an area may lie apart: joining small ones to their neighbours loses thin things
    areas: NDArray[np.uint16] = slic(
        np.asarray(small), number, COMPACTNESS, ROUNDS, sigma=0.5, enforce_connectivity=False, start_label=1
    ).astype(np.uint16)
    rows, columns = np.arange(shown[1]) * small.height // shown[1], np.arange(shown[0]) * small.width // shown[0]
    enlarged: NDArray[np.uint16] = areas[np.ix_(rows, columns)]
    return enlarged
