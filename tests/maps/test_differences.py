"""The observed map minus its compressed labels."""

import numpy as np
import pytest

from segkit.maps import differences, pixels
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene

COLORS = np.array([(0, 255, 112), (128, 128, 128), (255, 0, 245)], np.uint8)
ROWS, COLUMNS = np.nonzero(np.ones((4, 4), bool))


def scene(truth: np.ndarray, labels: np.ndarray, compression: Compression) -> Scene:
    """Return a scene of a compressed map, with labels, none of them fixed."""
    observed = compression.apply(pixels.pack(COLORS)[truth])
    return Scene(observed, np.pad(labels, 1, mode="edge"), np.zeros(truth.shape, bool), COLORS, compression)


@pytest.mark.parametrize("compression", [Compression(75, 2), Compression(50, 0)])
def test_nothing_differs_where_the_labels_are_right(compression: Compression) -> None:
    """The integer arithmetic is that of the decoder, also where colours are clipped."""
    truth = np.random.default_rng(0).integers(0, 3, (16, 16), np.uint8).repeat(4, 0).repeat(4, 1)
    map_ = scene(truth, truth, compression)

    assert not differences.seen(map_, ROWS, COLUMNS).any()
    assert not differences.unclipped(map_, ROWS, COLUMNS, 6).any()


def test_a_difference_beyond_the_range_of_colours_is_known_from_the_labels() -> None:
    """Grey that is labelled with a saturated colour differs by more than the clipped pictures show."""
    truth = np.ones((64, 64), np.uint8)
    truth[20:44, 20:44] = 0
    labels = truth.copy()
    labels[20:44, 44:48] = 0
    map_ = scene(truth, labels, Compression(50, 2))

    seen = differences.seen(map_, ROWS, COLUMNS)
    least = differences.unclipped(map_, ROWS, COLUMNS, 0)

    inside = (map_.observed > 0) & (map_.observed < 255)
    units = inside.reshape(4, 16, 4, 16, 3).swapaxes(1, 2).reshape(16, 16, 16, 3)
    assert (np.abs(least[units]) >= np.abs(seen[units])).all()
    assert (np.abs(least[units]) > np.abs(seen[units])).any()


def test_few_units_differ_as_in_the_whole_picture() -> None:
    """A unit inside the map that is compressed alone, with those around it, differs as before."""
    truth = np.zeros((160, 160), np.uint8)
    truth[60:100] = 2
    labels = np.roll(truth, 2, 0)
    map_ = scene(truth, labels, Compression(75, 2))
    rows, columns = np.nonzero(np.ones((10, 10), bool))

    whole = differences.seen(map_, rows, columns)

    assert (differences.seen(map_, np.array([4]), np.array([5]))[0] == whole[45]).all()
