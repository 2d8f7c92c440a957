"""Areas that follow the edges of a photo."""

import numpy as np
from PIL import Image

from segkit.review import areas
from segkit.toy import world


def test_areas_follow_edges() -> None:
    """In a rendered scene, nearly every pixel is in an area that is mostly of its class."""
    scene = world.scene(3, (320, 240))

    numbers = areas.find(scene.photo)

    assert numbers.shape == scene.labels.shape
    counts = np.zeros((int(numbers.max()) + 1, 256), int)
    np.add.at(counts, (numbers, scene.labels), 1)
    grid = np.add.outer(np.arange(240) // 12 * 100, np.arange(320) // 12)
    squares = np.zeros((int(grid.max()) + 1, 256), int)
    np.add.at(squares, (grid, scene.labels), 1)
    right, by_squares = (table.max(1).sum() / scene.labels.size for table in (counts, squares))
    assert right > 0.97
    assert 1 - right < 0.5 * (1 - by_squares)


def test_areas_stay_together() -> None:
    """An area reaches no farther than the cells around its own, however uniform the photo."""
    numbers = areas.find(Image.new("RGB", (240, 120)))

    for number in np.unique(numbers):
        rows, columns = np.nonzero(numbers == number)
        assert max(np.ptp(rows), np.ptp(columns)) < 36


def test_areas_of_a_large_photo_fit_into_16_bits() -> None:
    """It is scaled down first; odd sizes are covered to the last pixel."""
    numbers = areas.find(Image.new("RGB", (1203, 801)))

    assert numbers.shape == (801, 1203)
    assert 1 <= numbers.min() <= numbers.max() <= 65_535
