"""The search for the farthest free colour."""

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


def by_brute_force(taken: list[RGB]) -> tuple[RGB, float]:
    """Return the lowest of the farthest colours by comparing all 2^24."""
    squares = np.full((256, 256, 256), 1 << 20, np.int32)
    steps = np.arange(256, dtype=np.int32)
    for red, green, blue in taken:
        near = ((steps - red) ** 2)[:, None, None] + ((steps - green) ** 2)[:, None] + (steps - blue) ** 2
        np.minimum(squares, near, out=squares)
    packed = int(squares.argmax())
    return (packed >> 16, packed >> 8 & 255, packed & 255), float(np.sqrt(squares.max()))


@settings(max_examples=12)
@given(COLORS)
def test_the_search_is_exact(taken: list[RGB]) -> None:
    """The result equals that of a brute-force search, ties included."""
    free = next(farthest(taken))

    rgb, distance = by_brute_force(taken)
    assert free.rgb == rgb
    assert free.distance == pytest.approx(distance)


def test_colours_free_beside_ade_and_coco() -> None:
    """The first colours match those of an independent search."""
    ade, coco = ([swatch.rgb for swatch in Palette.load(name)] for name in SHIPPED)

    alone = [(to_hex(free.rgb), round(free.distance, 2)) for free in islice(farthest([*ade, BLACK]), 3)]
    both = [to_hex(free.rgb) for free in islice(farthest([*ade, *coco, BLACK, WHITE]), 5)]

    assert alone == [("#A877FF", 118.87), ("#000074", 114.57), ("#007850", 110.45)]
    assert both == ["#76FE47", "#C4FF4B", "#FFEA40", "#3FFF9B", "#06C141"]


def test_colours_keep_their_distance_from_earlier_ones() -> None:
    """The reported distance covers all used colours, including those yielded before."""
    taken: list[RGB] = [BLACK, WHITE]

    for free in islice(farthest(taken), 20):
        assert min(dist(free.rgb, color) for color in taken) == pytest.approx(free.distance)
        taken.append(free.rgb)


def test_at_least_one_used_colour_is_required() -> None:
    """Without a used colour the farthest one is undefined."""
    with pytest.raises(ValueError, match="No colour is taken"):
        next(farthest([]))
