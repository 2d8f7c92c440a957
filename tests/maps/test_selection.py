"""Which classes a JPEG map is believed to have."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segkit.maps import coded, selection
from segkit.maps.coded import Coded
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)
NEAR = damage.ADE.find("armchair").index, damage.ADE.find("sofa").index


def make(truth: np.ndarray, labels: np.ndarray, quality: int) -> tuple[Scene, Coded]:
    """Return a scene of a map saved as JPEG, with labels of whole units, and what its file stores, which suffices."""
    buffer = BytesIO()
    Image.fromarray(COLORS[truth]).save(buffer, "JPEG", quality=quality)
    stored = coded.read(buffer.getvalue())
    assert stored is not None
    observed, fixed = np.zeros((*labels.shape, 3), np.uint8), np.zeros(labels.shape, bool)
    board = np.pad(labels, 1, mode="edge")
    return Scene(observed, board, fixed, COLORS, stored.compression, stored), stored


def nearest(label: int) -> int:
    """Return the class of the nearest colour."""
    distances = ((COLORS.astype(int) - COLORS[label].astype(int)) ** 2).sum(1)
    distances[distances == 0] = 1 << 20
    return int(distances.argmin())


RIGHT = 31
WRONG = nearest(RIGHT)


def with_bars() -> tuple[np.ndarray, np.ndarray]:
    """Return a map with two bars of the class RIGHT, and the pixels of the second."""
    truth = np.full((96, 160), 2, np.uint8)
    truth[20:24, 10:150] = RIGHT
    second = np.zeros(truth.shape, bool)
    second[60:64, 60:100] = True
    truth[second] = RIGHT
    return truth, second


@pytest.mark.parametrize("quality", [75, 50])
def test_a_class_that_another_of_the_map_explains_is_given_up(quality: int) -> None:
    """A bar in a class of nearly the same colour gets the class of another bar, to the pixel."""
    truth, second = with_bars()
    map_, stored = make(truth, np.where(second, np.uint8(WRONG), truth), quality)

    assert selection.select(map_, stored) == 1
    assert (map_.labels == truth).all()


def test_a_class_that_nothing_else_explains_stays() -> None:
    """A right class of few pixels stays although one of nearly the same colour has many."""
    truth, second = with_bars()
    truth[second] = WRONG
    map_, stored = make(truth, truth, 75)

    assert selection.select(map_, stored) == 0
    assert (map_.labels == truth).all()


def test_an_absent_class_replaces_one_that_explains_the_map_worse() -> None:
    """The right class need not be in the map yet."""
    truth, _ = with_bars()
    map_, stored = make(truth, np.where(truth == RIGHT, np.uint8(WRONG), truth), 75)

    selection.select(map_, stored)

    assert (map_.labels == truth).all()


def test_a_class_is_given_up_in_units_that_were_not_compared_too() -> None:
    """Of a long bar only some units are compared; all its pixels change, also those at the edge of the picture."""
    truth = np.full((40, 500), 2, np.uint8)
    truth[18:22] = RIGHT
    labels = truth.copy()
    labels[18:22, 16:] = WRONG
    map_, stored = make(truth, np.pad(labels, ((0, 8), (0, 12)), mode="edge"), 75)

    selection.select(map_, stored)

    assert not (map_.labels == WRONG).any()


def test_two_wrong_classes_share_the_pixels_of_a_right_one() -> None:
    """Both give way to the class that explains all of it, although it was in neither."""
    truth, second = with_bars()
    labels = np.where(truth == RIGHT, np.uint8(WRONG), truth)
    other = nearest(WRONG)
    labels[second] = other if other != RIGHT else nearest(other)
    map_, stored = make(truth, labels, 75)

    selection.select(map_, stored)

    assert (map_.labels == truth).all()


def test_proven_classes_are_not_questioned() -> None:
    """A class with a solid square stays whatever its other pixels look like."""
    truth, second = with_bars()
    labels = np.where(second, np.uint8(WRONG), truth)
    labels[70:90, 10:40] = WRONG
    map_, stored = make(labels, labels, 75)
    map_.proven[WRONG] = True
    before = map_.labels.copy()

    assert selection.select(map_, stored) == 0
    assert (map_.labels == before).all()
