"""JPEG on areas of one colour, against Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from segkit.palette import SHIPPED, Palette, jpeg


def through_pillow(rgb: tuple[int, int, int], quality: int) -> tuple[int, int, int]:
    """Return the colour of an area after Pillow's JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), rgb).save(buffer, "JPEG", quality=quality)
    pixels = np.asarray(Image.open(buffer).convert("RGB")).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    red, green, blue = map(int, pixels[0])
    return red, green, blue


@pytest.mark.parametrize("quality", [1, 2, 7, 10, 25, 49, 50, 51, 75, 90, 95, 100])
def test_an_area_of_one_colour_is_what_pillow_makes_of_it(quality: int) -> None:
    """Bit for bit, for the colours of both shipped palettes and the corners of the cube."""
    colors = {swatch.rgb for name in SHIPPED for swatch in Palette.load(name)}
    colors |= {(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)}
    assert {rgb: jpeg.flat(rgb, quality) for rgb in colors} == {rgb: through_pillow(rgb, quality) for rgb in colors}


def test_the_lowest_quality_is_the_lowest() -> None:
    """At it every class of a palette comes back from Pillow nearest its own colour, at one less some class does not."""
    colors = list(dict.fromkeys(swatch.rgb for swatch in Palette.load("ade20k")))
    table = np.array(colors)

    def kept(quality: int) -> bool:
        after = np.array([through_pillow(rgb, quality) for rgb in colors])
        squares = ((after[:, None] - table[None]) ** 2).sum(-1)
        own = np.diag(squares).copy()
        np.fill_diagonal(squares, 10**6)
        return bool((own < squares.min(1)).all())

    lowest = jpeg.lowest_quality(colors)

    assert lowest is not None
    assert all(map(kept, range(lowest, 101)))
    assert not kept(lowest - 1)


def test_neighbours_that_no_quality_keeps_apart_are_told() -> None:
    """Colours one step apart are lost at 100 already; a single colour survives everything."""
    assert jpeg.lowest_quality([(1, 9, 90), (1, 9, 91)]) is None
    assert jpeg.lowest_quality([(9, 9, 90), (9, 9, 90)]) == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_what_was_worked_out_beforehand_is_right(name: str) -> None:
    """For every shipped palette."""
    assert jpeg.LOWEST[name] == jpeg.lowest_quality([swatch.rgb for swatch in Palette.load(name)])
