"""Areas that get another class."""

import numpy as np
import pytest

from segkit.maps import areas, pixels, relabel, spectrum
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)


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


def relabelled(map_: Scene, *, compressing: bool = False) -> int:
    """Give connected areas of one label other classes; return the number of areas that changed."""
    measured = spectrum.measure(map_, np.ones((4, 4), bool))
    return relabel.relabel(map_, measured, areas.same_label(map_, measured), compressing=compressing)


@pytest.mark.parametrize("compressing", [False, True])
def test_an_area_gets_the_class_that_explains_it(compressing: bool) -> None:
    """A square that was taken for a class 10 away is recognised."""
    map_ = scene(painted=31, assumed=30)

    assert relabelled(map_, compressing=compressing) == 1
    assert (map_.labels[20:40, 20:40] == 31).all()
    assert (map_.labels[:20] == 2).all()


@pytest.mark.parametrize("compressing", [False, True])
def test_a_right_area_stays(compressing: bool) -> None:
    """What reproduces the map exactly is not changed."""
    map_ = scene(painted=31, assumed=31)

    assert relabelled(map_, compressing=compressing) == 0
    assert (map_.labels[20:40, 20:40] == 31).all()


def test_a_fixed_area_stays() -> None:
    """An area with fixed pixels keeps its label, whatever its colours."""
    map_ = scene(painted=31, assumed=30)
    map_.fixed[25:35, 25:35] = True

    assert relabelled(map_) == 0


def test_two_halves_of_a_square_become_one_class() -> None:
    """One new class costs less than two that are each nearly right."""
    map_ = scene(painted=99, assumed=53)
    map_.labels[20:40, 30:40] = 122

    while relabelled(map_):
        pass

    assert (map_.labels[20:40, 20:40] == 99).all()


def test_a_proposed_area_is_inserted_with_the_class_that_explains_it() -> None:
    """A square that the labels lack is found from a proposal of a similar class."""
    map_ = scene(painted=31, assumed=2)
    measured = spectrum.measure(map_, np.ones((4, 4), bool))
    proposed = np.full(map_.board.size, areas.NONE, np.uint8)
    proposed.reshape(66, 66)[21:41, 21:41] = 30

    assert relabel.relabel(map_, measured, areas.same_proposal(map_, measured, proposed[measured.places])) == 1
    assert (map_.labels[20:40, 20:40] == 31).all()
    assert (map_.labels == 31).sum() == 400


def test_nothing_is_inserted_where_the_labels_are_right() -> None:
    """A wrong proposal changes nothing."""
    map_ = scene(painted=31, assumed=31)
    measured = spectrum.measure(map_, np.ones((4, 4), bool))
    proposed = np.full(measured.places.shape, 30, np.uint8)

    assert relabel.relabel(map_, measured, areas.same_proposal(map_, measured, proposed)) == 0
