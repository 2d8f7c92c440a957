"""Spatial repair of damaged maps."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.Image import Resampling

from segkit.maps import borders, nearest, pixels
from segkit.maps.codec import Labels
from segkit.toy.world import damage

COLORS = tuple(swatch.rgb for swatch in damage.ADE)


def repaired(image: Image.Image, solid: int = borders.SOLID, *, outlined: bool = False) -> Labels:
    """Return the classes that repair finds."""
    return borders.repair(pixels.pack_image(image), COLORS, solid=solid, outlined=outlined).indices


def wrong(found: Labels, truth: Labels) -> float:
    """Return the share of wrong pixels, in percent; no class may have been invented."""
    assert set(np.unique(found)) <= set(np.unique(truth))
    return float(100 * (found != truth).mean())


@pytest.mark.parametrize(("regions", "quality", "limit"), [(30, 75, 0.4), (30, 50, 0.8), (300, 75, 4.5)])
def test_jpeg_is_undone(regions: int, quality: int, limit: float) -> None:
    """Few pixels are wrong where the nearest colour gets at least ten times as many wrong."""
    truth = damage.regions(1, regions, 1024)
    image = damage.jpeg(damage.painted(truth), quality)

    found = repaired(image)

    assert wrong(found, truth) <= limit
    assert 10 * wrong(found, truth) < 100 * (nearest.nearest(pixels.pack_image(image), COLORS) != truth).mean()


@pytest.mark.parametrize("how", [Resampling.LANCZOS, Resampling.BILINEAR, Resampling.BICUBIC, Resampling.BOX])
def test_a_smooth_resize_is_undone(how: Resampling) -> None:
    """The halved map is what NEAREST would have made of it, but for some pixels that lie on a border."""
    truth = damage.regions(2, 30, 1024)

    found = repaired(damage.halved(damage.painted(truth), how), solid=3)

    assert wrong(found, truth[1::2, 1::2]) <= 0.5


@pytest.mark.parametrize("draw", [damage.outlined, damage.ruled])
def test_white_outlines_are_dissolved(draw: Callable[[Labels], Image.Image]) -> None:
    """Soft lines and hard ones give their pixels back to the regions on both sides."""
    truth = damage.regions(3, 30, 1024)

    found = repaired(draw(truth), solid=3, outlined=True)

    assert wrong(found, truth) <= 1


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(50, 200))
def test_an_undamaged_map_of_solid_regions_stays(seed: int, number: int, size: int) -> None:
    """Where every region is solid, only pixels in hair-thin corners may be taken for damage."""
    truth = damage.regions(seed, number, size)

    assert wrong(repaired(damage.painted(truth), solid=3), truth) < 0.3


def test_a_class_without_solid_area_vanishes_and_none_is_invented() -> None:
    """A speck of 2 x 2 pixels takes its surroundings' class; the blend on its edge is no class either."""
    truth = np.zeros((64, 64), np.uint8)
    truth[30:32, 30:32] = 4

    assert set(np.unique(repaired(damage.painted(truth)))) == {0}


def test_doubt_is_told_where_two_labels_fit_alike() -> None:
    """A column half way between wall and sky is doubtful, the areas beside it are not."""
    truth = np.zeros((32, 33), np.uint8)
    truth[:, 17:] = 2
    picture = np.asarray(damage.painted(truth)).copy()
    picture[:, 16] = (np.array(COLORS[0]) + np.array(COLORS[2])) // 2

    result = borders.repair(pixels.pack_image(Image.fromarray(picture)), COLORS)

    assert result.doubtful[:, 16].all()
    assert not result.doubtful[:, :16].any()
    assert not result.doubtful[:, 17:].any()


def test_a_map_without_solid_area_gets_nearest_colours_and_all_of_it_is_doubtful() -> None:
    """Noise has no seeds."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    packed = pixels.pack_image(Image.fromarray(noise))

    result = borders.repair(packed, COLORS)

    assert result.doubtful.all()
    assert (result.indices == nearest.nearest(packed, COLORS)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3)])
def test_tiny_maps_are_maps_too(shape: tuple[int, int]) -> None:
    """They have the class of their colour."""
    truth = np.full(shape, 5, np.uint8)

    assert (repaired(damage.painted(truth)) == truth).all()
