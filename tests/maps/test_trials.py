"""What a JPEG map would look like without a class."""

import numpy as np
import pytest

from segkit.maps import pixels, trials
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)
UNITS = np.zeros((4, 6), bool)
UNITS[1:3, :4] = True


def scene(truth: np.ndarray, labels: np.ndarray, quality: int = 75) -> Scene:
    """Return a scene of a compressed map, with labels, none of them fixed."""
    compression = Compression(quality, 2)
    observed = compression.apply(pixels.pack(COLORS)[truth])
    return Scene(observed, np.pad(labels, 1, mode="edge"), np.zeros(truth.shape, bool), COLORS, compression)


@pytest.mark.parametrize("rivals", [[12], [20, 12]])
def test_a_wrong_class_is_replaced_by_the_right_rival(rivals: list[int]) -> None:
    """A part of a bar in another class is not needed: the change gives the bar back and improves the picture."""
    truth = np.full((64, 96), 2, np.uint8)
    truth[28:36, 4:90] = 12
    labels = truth.copy()
    labels[28:36, 10:40] = 4
    map_ = scene(truth, labels)

    change = trials.replaced(map_, 4, rivals, UNITS)

    assert (map_.labels == labels).all()
    assert change.error < 0
    assert change.harm < -change.error / 10
    map_.board.ravel()[change.places] = change.labels
    assert (map_.labels == truth).mean() > 0.99


def test_doing_without_a_right_class_costs_much() -> None:
    """The picture becomes much worse, or nothing comes near it at all."""
    truth = np.full((64, 96), 2, np.uint8)
    truth[28:36, 10:40] = 12

    change = trials.replaced(scene(truth, truth), 12, [4], UNITS)

    assert change.error > 3000 * 28


def test_polishing_brings_outlines_nearer_to_the_truth_and_keeps_what_is_right() -> None:
    """A bar with a ragged outline becomes straight; the true labels stay."""
    truth = np.full((64, 96), 2, np.uint8)
    truth[28:36, 10:80] = 12
    ragged = truth.copy()
    ragged[27, 12:70:3] = 12
    everywhere = np.ones((4, 6), bool)
    map_, right = scene(truth, ragged), scene(truth, truth)

    trials.polish(map_, everywhere)
    trials.polish(right, everywhere)

    assert (map_.labels != truth).sum() * 3 < (ragged != truth).sum()
    assert (right.labels == truth).all()


def test_the_pixels_of_an_area_get_the_nearest_other_labels() -> None:
    """A square between two areas is divided among them; labels of one area alone stay."""
    labels = np.repeat(np.array([[1, 1, 4, 4, 4, 4, 2, 2]], np.uint8), 3, 0)

    assert (trials.without(labels, labels == 4) == [1, 1, 1, 1, 2, 2, 2, 2]).all()
    assert (trials.without(labels, labels < 9) == labels).all()
