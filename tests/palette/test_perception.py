"""CIELAB and CIEDE2000."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.palette import Palette, perception
from segkit.palette.color import RGB
from segkit.palette.perception import Lab

PUBLISHED = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0009), 7.1792),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0011), 7.2195),
    ((50, -0.0010, 2.4900), (50, 0.0009, -2.4900), 4.8045),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]
"""Pairs from the test data of Sharma, Wu and Dalal (2005) that cover the special cases of the formula."""

COLORS = st.tuples(*[st.integers(0, 255)] * 3)


@pytest.mark.parametrize(("one", "other", "difference"), PUBLISHED)
def test_published_pairs_are_reproduced(one: Lab, other: Lab, difference: float) -> None:
    """Differences agree to the four published digits, in either order."""
    assert perception.ciede2000(one, other) == pytest.approx(difference, abs=5e-5)
    assert perception.ciede2000(other, one) == pytest.approx(difference, abs=5e-5)


def test_known_colours_have_known_lab() -> None:
    """White, black, red and blue have their textbook values under D65."""
    assert perception.lab((255, 255, 255)) == pytest.approx((100, 0, 0), abs=0.01)
    assert perception.lab((0, 0, 0)) == pytest.approx((0, 0, 0), abs=0.01)
    assert perception.lab((255, 0, 0)) == pytest.approx((53.24, 80.09, 67.20), abs=0.01)
    assert perception.lab((0, 0, 255)) == pytest.approx((32.30, 79.19, -107.86), abs=0.01)


@given(COLORS, COLORS)
def test_the_difference_is_symmetric_and_zero_only_for_equal_colours(one: RGB, other: RGB) -> None:
    """These two properties of a metric hold for any pair of colours."""
    forth = perception.ciede2000(perception.lab(one), perception.lab(other))
    back = perception.ciede2000(perception.lab(other), perception.lab(one))

    assert forth == pytest.approx(back)
    assert (forth == 0) == (one == other)


def test_many_colours_of_ade_look_the_same() -> None:
    """44 pairs of ADE20K classes differ by less than 1, so the palette cannot be checked by eye."""
    colors = [perception.lab(swatch.rgb) for swatch in Palette.load("ade20k")]

    differences = [perception.ciede2000(one, other) for one, other in combinations(colors, 2)]

    assert sum(difference < 1 for difference in differences) == 44
