"""Colours for new classes."""

from itertools import islice
from math import dist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkit.palette import SHIPPED, Palette
from segkit.palette.color import RGB, to_hex
from segkit.palette.free_colors import farthest

CHANNEL = st.integers(0, 255) | st.sampled_from([0, 15, 16, 127, 128, 255])
COLORS = st.lists(st.tuples(CHANNEL, CHANNEL, CHANNEL), min_size=1, max_size=5)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def by_trying_all(taken: list[RGB]) -> tuple[RGB, float]:
    """Return the lowest of the colours farthest from those taken, by looking at each of the 2^24."""
    squares = np.full((256, 256, 256), 1 << 20, np.int32)
    steps = np.arange(256, dtype=np.int32)
    for red, green, blue in taken:
        near = ((steps - red) ** 2)[:, None, None] + ((steps - green) ** 2)[:, None] + (steps - blue) ** 2
        np.minimum(squares, near, out=squares)
    place = int(squares.argmax())
    return (place >> 16, place >> 8 & 255, place & 255), float(np.sqrt(squares.max()))


@settings(max_examples=12)
@given(COLORS)
def test_no_colour_is_farther(taken: list[RGB]) -> None:
    """The answer is the first of all best, as trying each of the 2^24 colours finds it."""
    found = next(farthest(taken))

    rgb, distance = by_trying_all(taken)
    assert found.rgb == rgb
    assert found.distance == pytest.approx(distance)


def test_the_answers_for_ade_are_known() -> None:
    """The colours that a search by another program gave, for ADE and black, and for COCO as well."""
    ade, coco = ([swatch.rgb for swatch in Palette.load(name)] for name in SHIPPED)

    alone = [(to_hex(free.rgb), round(free.distance, 2)) for free in islice(farthest([*ade, BLACK]), 3)]
    both = [to_hex(free.rgb) for free in islice(farthest([*ade, *coco, BLACK, WHITE]), 5)]

    assert alone == [("#A877FF", 118.87), ("#000074", 114.57), ("#007850", 110.45)]
    assert both == ["#76FE47", "#C4FF4B", "#FFEA40", "#3FFF9B", "#06C141"]


def test_each_answer_keeps_its_distance_from_those_before() -> None:
    """The distance told is the one to all that is taken, earlier answers among them."""
    taken: list[RGB] = [BLACK, WHITE]

    for free in islice(farthest(taken), 20):
        assert min(dist(free.rgb, color) for color in taken) == pytest.approx(free.distance)
        taken.append(free.rgb)


def test_far_from_nothing_is_no_question() -> None:
    """Without a colour that is taken there is no answer."""
    with pytest.raises(ValueError, match="No colour is taken"):
        next(farthest([]))
