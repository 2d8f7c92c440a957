"""Areas whose borders follow the edges of a photo, for a brush that snaps to them: superpixels by SLIC.

SLIC (Achanta et al. 2012) is k-means in colour and place. Here each pixel chooses among the centres of its own cell of
a grid and the eight around it, so all pixels are compared at once.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segkit.dataset.triple import Triple

MAX_PIXELS = 250_000
"""Larger photos are scaled down for the computation, and the areas up again."""

ROUNDS = 4
"""Rounds of k-means; more change little."""

COMPACTNESS = 12.0
"""Difference in colour, of 0 to 255, that counts as much as the distance between two cells of the grid."""

Features = NDArray[np.float32]
"""(N, 5) red, green and blue, and x and y in units in which all count alike."""


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
    shown = shown or photo.size
    small = photo.resize(_computed(shown), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.7))
    grid = max(1, round(small.height / size)), max(1, round(small.width / size))
    rows, columns = np.indices((small.height, small.width))
    home = rows * grid[0] // small.height, columns * grid[1] // small.width
    places = np.stack((columns, rows), -1) * (COMPACTNESS / size)
    features = np.concatenate((np.asarray(small), places), -1).reshape(-1, 5).astype(np.float32)
    cells = home[0].ravel(), home[1].ravel()
    numbers = cells[0] * grid[1] + cells[1]
    for _ in range(ROUNDS):
        numbers = _nearest(features, _centers(features, numbers, grid[0] * grid[1]), cells, grid)
    areas = (numbers.reshape(small.height, small.width) + 1).astype(np.uint16)
    rows, columns = np.arange(shown[1]) * small.height // shown[1], np.arange(shown[0]) * small.width // shown[0]
    return areas[np.ix_(rows, columns)]


def _centers(features: Features, numbers: NDArray[np.intp], count: int) -> Features:
    """Return the mean of each area: (count, 5); that of an area without pixels is far from all of them."""
    sizes = np.bincount(numbers, minlength=count)
    sums = np.stack([np.bincount(numbers, column, count) for column in features.T], -1)
    means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], 1e6)
    return means.astype(np.float32)


def _nearest(
    features: Features, centers: Features, cells: tuple[NDArray[np.intp], NDArray[np.intp]], grid: tuple[int, int]
) -> NDArray[np.intp]:
    """Return the area of each pixel: the nearest of the nine around its cell."""
    best = np.full(len(features), np.inf, np.float32)
    numbers = np.zeros(len(features), np.intp)
    for down, right in product((-1, 0, 1), repeat=2):
        row, column = np.clip(cells[0] + down, 0, grid[0] - 1), np.clip(cells[1] + right, 0, grid[1] - 1)
        candidates = row * grid[1] + column
        difference = features - centers[candidates]
        distances = np.einsum("ij,ij->i", difference, difference)
        np.copyto(numbers, candidates, where=distances < best)
        np.minimum(best, distances, out=best)
    return numbers
