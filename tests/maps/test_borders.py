"""Spatial repair of damaged maps."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.Image import Resampling

from segkit.maps import borders, nearest, pixels, solid
from segkit.maps.codec import Labels
from segkit.maps.solid import SOLID
from segkit.toy.world import damage

COLORS = tuple(swatch.rgb for swatch in damage.ADE)


def repaired(image: Image.Image, side: int = SOLID, *, outlined: bool = False) -> Labels:
    """Return the classes after repair."""
    return borders.repair(pixels.pack_image(image), COLORS, side=side, outlined=outlined).indices


def percent_wrong(labels: Labels, truth: Labels) -> float:
    """Return the percentage of wrong pixels, after checking that no class was invented."""
    assert set(np.unique(labels)) <= set(np.unique(truth))
    return float(100 * (labels != truth).mean())


@pytest.mark.parametrize(("regions", "quality", "limit"), [(30, 75, 0.4), (30, 50, 0.8), (300, 75, 4.5)])
def test_jpeg_is_reversed(regions: int, quality: int, limit: float) -> None:
    """Few pixels are wrong, and at most a tenth as many as with the nearest colour."""
    truth = damage.regions(1, regions, 1024)
    image = damage.jpeg(damage.painted(truth), quality)

    labels = repaired(image)

    assert percent_wrong(labels, truth) <= limit
    assert 10 * percent_wrong(labels, truth) < 100 * (nearest.nearest(pixels.pack_image(image), COLORS) != truth).mean()


@pytest.mark.parametrize("how", [Resampling.LANCZOS, Resampling.BILINEAR, Resampling.BICUBIC, Resampling.BOX])
def test_smooth_scaling_is_reversed(how: Resampling) -> None:
    """The halved map equals one scaled with NEAREST, except for a few pixels on borders."""
    truth = damage.regions(2, 30, 1024)

    labels = repaired(damage.halved(damage.painted(truth), how), side=3)

    assert percent_wrong(labels, truth[1::2, 1::2]) <= 0.5


@pytest.mark.parametrize("how", [Resampling.LANCZOS, Resampling.BILINEAR, Resampling.BOX])
@pytest.mark.parametrize("turned", [False, True])
def test_ties_of_halved_maps_go_where_nearest_looks(how: Resampling, turned: bool) -> None:
    """A line of pixels that is half of either area gets the one to the right or below, and is doubtful."""
    truth = np.zeros((64, 64), np.uint8)
    truth[:, 33:] = 2
    truth = truth.T.copy() if turned else truth

    result = borders.repair(pixels.pack_image(damage.halved(damage.painted(truth), how)), COLORS, side=3)

    assert (result.indices == truth[1::2, 1::2]).all()
    assert (result.doubtful.T if turned else result.doubtful)[:, 16].all()


def test_a_guess_shares_candidates_and_finds_the_same_areas() -> None:
    """Squares of pixels choose from the labels around their centre: the fast first labels are hardly worse."""
    truth = damage.regions(1, 30, 500)
    packed = pixels.pack_image(damage.jpeg(damage.painted(truth), 75))
    seeded = solid.seeds(packed, COLORS, SOLID)

    fast = percent_wrong(borders.guess(packed, COLORS, seeded).indices, truth)

    assert fast <= 1.1 * percent_wrong(repaired(damage.jpeg(damage.painted(truth), 75)), truth)


@pytest.mark.parametrize("draw", [damage.outlined, damage.ruled])
def test_white_outlines_are_removed(draw: Callable[[Labels], Image.Image]) -> None:
    """Pixels of soft and hard lines are assigned to the regions on both sides."""
    truth = damage.regions(3, 30, 1024)

    labels = repaired(draw(truth), side=3, outlined=True)

    assert percent_wrong(labels, truth) <= 1


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(50, 200))
def test_an_undamaged_map_of_solid_regions_is_preserved(seed: int, number: int, size: int) -> None:
    """If every region is solid, only pixels in very thin corners may be taken for damage."""
    truth = damage.regions(seed, number, size)

    assert percent_wrong(repaired(damage.painted(truth), side=3), truth) < 0.3


def test_a_class_without_solid_area_vanishes_and_none_is_invented() -> None:
    """A speck of 2 x 2 pixels gets the class around it, and the blend at its edge adds no class."""
    truth = np.zeros((64, 64), np.uint8)
    truth[30:32, 30:32] = 4

    assert set(np.unique(repaired(damage.painted(truth)))) == {0}


def test_pixels_between_two_labels_are_doubtful() -> None:
    """A column half way between wall and sky is doubtful, the areas beside it are not."""
    truth = np.zeros((32, 33), np.uint8)
    truth[:, 17:] = 2
    rgb = np.asarray(damage.painted(truth)).copy()
    rgb[:, 16] = (np.array(COLORS[0]) + np.array(COLORS[2])) // 2

    result = borders.repair(pixels.pack_image(Image.fromarray(rgb)), COLORS)

    assert result.doubtful[:, 16].all()
    assert not result.doubtful[:, :16].any()
    assert not result.doubtful[:, 17:].any()


def test_a_map_without_solid_areas_gets_nearest_colours() -> None:
    """Noise has no seeds, so every pixel is doubtful."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    packed = pixels.pack_image(Image.fromarray(noise))

    result = borders.repair(packed, COLORS)

    assert result.doubtful.all()
    assert (result.indices == nearest.nearest(packed, COLORS)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3)])
def test_tiny_maps_are_repaired(shape: tuple[int, int]) -> None:
    """Maps of a few pixels get the class of their colour."""
    truth = np.full(shape, 5, np.uint8)

    assert (repaired(damage.painted(truth)) == truth).all()
