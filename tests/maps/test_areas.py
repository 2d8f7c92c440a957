"""Whole areas that get another class."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from segkit.maps import areas, pixels
from segkit.maps.recompress import Compression
from segkit.maps.scene import Residual, Scene, find_residual
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)
EVERY = np.ones(len(COLORS), bool)

Move = Callable[[Scene, Residual, NDArray[np.bool_]], int]


def scene(painted: int, assumed: int) -> Scene:
    """Return a map of a square of class 'painted' on sky, whose label is assumed to be another."""
    truth = np.full((64, 64), 2, np.uint8)
    truth[20:40, 20:40] = painted
    labels = np.where(truth == painted, np.uint8(assumed), truth)
    compression = Compression(75, 2)
    observed = compression.apply(pixels.pack(COLORS)[truth])
    fixed = np.zeros(truth.shape, bool)
    fixed[:8] = True
    return Scene(observed, np.pad(labels, 1, mode="edge"), fixed, COLORS, compression)


@pytest.mark.parametrize("move", [areas.relabel, areas.try_alternatives])
def test_an_area_gets_the_class_that_explains_it(move: Move) -> None:
    """A square that was taken for a similar class is recognised."""
    map_ = scene(painted=31, assumed=30)

    assert move(map_, find_residual(map_), EVERY) == 1
    assert (map_.labels[20:40, 20:40] == 31).all()
    assert (map_.labels[:20] == 2).all()


@pytest.mark.parametrize("move", [areas.relabel, areas.try_alternatives])
def test_a_right_area_stays(move: Move) -> None:
    """What reproduces the map exactly is not changed."""
    map_ = scene(painted=31, assumed=31)

    assert move(map_, find_residual(map_), EVERY) == 0
    assert (map_.labels[20:40, 20:40] == 31).all()


def test_only_allowed_classes_are_given() -> None:
    """The best class is out of the question if it is not allowed."""
    map_ = scene(painted=31, assumed=30)

    areas.relabel(map_, find_residual(map_), np.arange(len(COLORS)) != 31)

    assert not (map_.labels == 31).any()


def test_the_fringe_of_a_fixed_area_stays() -> None:
    """Pixels of one area with fixed ones keep their label, whatever their colours."""
    map_ = scene(painted=31, assumed=30)
    map_.fixed[25:35, 25:35] = True

    assert areas.relabel(map_, find_residual(map_), EVERY) == 0
