"""Classes that another class of nearly the same colour replaces."""

import numpy as np

from segkit.maps import pixels, rivals
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)
WRONG, RIGHT = damage.ADE.by_color[255, 0, 204], damage.ADE.by_color[255, 0, 235]


def scene(painted: int, assumed: int) -> Scene:
    """Return a map of a bar and a square of class 'painted' on sky; the bar's label is assumed to be another."""
    truth = np.full((64, 96), 2, np.uint8)
    truth[30:35, 8:56] = painted
    labels = np.where(truth == painted, np.uint8(assumed), truth)
    truth[20:40, 70:90] = labels[20:40, 70:90] = painted
    labels[29, 20:40:4] = assumed  # ragged
    compression = Compression(75, 2)
    observed = compression.apply(pixels.pack(COLORS)[truth])
    return Scene(observed, np.pad(labels, 1, mode="edge"), np.zeros(truth.shape, bool), COLORS, compression)


def test_a_bar_gets_the_class_and_the_outline_of_its_rival() -> None:
    """A ragged bar of a class 31 away becomes the class of the square beside it, and straight."""
    map_ = scene(painted=RIGHT, assumed=WRONG)

    assert rivals.replace(map_) == 1
    assert not (map_.labels == WRONG).any()
    assert (map_.labels == RIGHT).sum() == 5 * 48 + 20 * 20


def test_a_right_class_stays() -> None:
    """What explains the map is not replaced, however near a rival is."""
    map_ = scene(painted=RIGHT, assumed=WRONG)
    map_.observed = map_.compressed(map_.labels)
    before = map_.labels.copy()

    assert rivals.replace(map_) == 0
    assert (map_.labels == before).all()
