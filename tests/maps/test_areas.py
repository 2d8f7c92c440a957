"""Connected areas that may get another class."""

import numpy as np
import pytest
from scipy import ndimage

from segkit.maps import areas, pixels, spectrum
from segkit.maps.areas import Areas
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)
EVERYWHERE = np.ones((4, 4), bool)


def scene() -> Scene:
    """Return a map of two squares on sky; the class of the first, 30, is assumed to be one 10 away."""
    truth = np.full((64, 64), 2, np.uint8)
    truth[4:24, 4:24] = 31
    truth[40:60, 40:60] = 12
    labels = np.where(truth == 31, np.uint8(30), truth)
    compression = Compression(75, 2)
    observed = compression.apply(pixels.pack(COLORS)[truth])
    return Scene(observed, np.pad(labels, 1, mode="edge"), truth == 12, COLORS, compression)


def sizes(result: Areas | None) -> list[tuple[int, int]]:
    """Return the label and the size of each area."""
    assert result is not None
    assert result.labels is not None
    return sorted(zip(result.labels.tolist(), result.sizes.tolist(), strict=True))


def test_areas_of_one_label_are_connected_across_units() -> None:
    """The sky and the square without fixed pixels are areas, the fixed square is none."""
    map_ = scene()

    assert sizes(areas.same_label(map_, spectrum.measure(map_, EVERYWHERE))) == [(2, 64 * 64 - 800), (30, 400)]


def test_only_areas_with_a_visible_residual_are_reconsidered() -> None:
    """The square of a slightly wrong colour is an area; the sky is one only around it."""
    map_ = scene()

    result = areas.same_residual(map_, spectrum.measure(map_, EVERYWHERE))

    areas_ = dict(sizes(result))
    assert areas_[30] == 400
    assert areas_.get(2, 0) < 1000


@pytest.mark.parametrize("seed", range(5))
def test_areas_are_the_connected_components(seed: int) -> None:
    """Of random labels, scipy finds the same areas class by class, also where some units were not compared."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, (64, 64)).astype(np.uint8)
    focus = random.random((4, 4)) < 0.7
    compression = Compression(75, 2)
    map_ = Scene(
        compression.apply(pixels.pack(COLORS)[labels]),
        np.pad(labels, 1, mode="edge"),
        np.zeros(labels.shape, bool),
        COLORS,
        compression,
    )
    inside = np.repeat(np.repeat(focus, 16, 0), 16, 1)
    expected = []
    for label in range(3):
        numbers, _ = ndimage.label(inside & (labels == label))
        expected += [(label, int(size)) for size in np.bincount(numbers.ravel())[1:] if size >= 4]

    assert sizes(areas.same_label(map_, spectrum.measure(map_, focus))) == sorted(expected)
