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
"""Pairs of the test data of Sharma, Wu and Dalal (2005), which meet the formula's corners."""

COLORS = st.tuples(*[st.integers(0, 255)] * 3)


@pytest.mark.parametrize(("one", "other", "difference"), PUBLISHED)
def test_the_published_pairs_come_out(one: Lab, other: Lab, difference: float) -> None:
    """To the four digits that were published, in either order."""
    assert perception.ciede2000(one, other) == pytest.approx(difference, abs=5e-5)
    assert perception.ciede2000(other, one) == pytest.approx(difference, abs=5e-5)


def test_known_colours_have_known_lab() -> None:
    """White, black and the primaries, as every converter gives them under D65."""
    assert perception.lab((255, 255, 255)) == pytest.approx((100, 0, 0), abs=0.01)
    assert perception.lab((0, 0, 0)) == pytest.approx((0, 0, 0), abs=0.01)
    assert perception.lab((255, 0, 0)) == pytest.approx((53.24, 80.09, 67.20), abs=0.01)
    assert perception.lab((0, 0, 255)) == pytest.approx((32.30, 79.19, -107.86), abs=0.01)


@given(COLORS, COLORS)
def test_only_equal_colours_have_no_difference(one: RGB, other: RGB) -> None:
    """And the order of two colours does not matter."""
    there = perception.ciede2000(perception.lab(one), perception.lab(other))
    back = perception.ciede2000(perception.lab(other), perception.lab(one))

    assert there == pytest.approx(back)
    assert (there == 0) == (one == other)


def test_many_of_ades_colours_look_the_same() -> None:
    """44 pairs of the 150 classes are less than 1 apart: no eye can check this palette."""
    colors = [perception.lab(swatch.rgb) for swatch in Palette.load("ade20k")]

    differences = [perception.ciede2000(one, other) for one, other in combinations(colors, 2)]

    assert sum(difference < 1 for difference in differences) == 44
