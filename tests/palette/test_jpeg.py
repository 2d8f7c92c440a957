"""JPEG on flat areas, compared with Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from segkit.palette import SHIPPED, Palette, jpeg


def through_pillow(rgb: tuple[int, int, int], quality: int) -> tuple[int, int, int]:
    """Return the colour of a flat area after Pillow's JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), rgb).save(buffer, "JPEG", quality=quality)
    pixels = np.asarray(Image.open(buffer).convert("RGB")).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    red, green, blue = map(int, pixels[0])
    return red, green, blue


@pytest.mark.parametrize("quality", [1, 2, 7, 10, 25, 49, 50, 51, 75, 90, 95, 100])
def test_flat_areas_match_pillow(quality: int) -> None:
    """Results are bit-equal for the colours of both shipped palettes and the corners of the cube."""
    colors = {swatch.rgb for name in SHIPPED for swatch in Palette.load(name)}
    colors |= {(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)}
    assert {rgb: jpeg.flat(rgb, quality) for rgb in colors} == {rgb: through_pillow(rgb, quality) for rgb in colors}


def test_the_lowest_quality_is_the_lowest() -> None:
    """From it on every class stays nearest its own colour; at one less some class does not."""
    colors = list(dict.fromkeys(swatch.rgb for swatch in Palette.load("ade20k")))
    palette = np.array(colors)

    def is_safe(quality: int) -> bool:
        after = np.array([through_pillow(rgb, quality) for rgb in colors])
        squares = ((after[:, None] - palette[None]) ** 2).sum(-1)
        drift = np.diag(squares).copy()
        np.fill_diagonal(squares, 10**6)
        return bool((drift < squares.min(1)).all())

    lowest = jpeg.lowest_quality(colors)

    assert lowest is not None
    assert all(map(is_safe, range(lowest, 101)))
    assert not is_safe(lowest - 1)


def test_colours_that_no_quality_separates_have_no_lowest_quality() -> None:
    """Colours one step apart are confused even at 100; a single colour survives every quality."""
    assert jpeg.lowest_quality([(1, 9, 90), (1, 9, 91)]) is None
    assert jpeg.lowest_quality([(9, 9, 90), (9, 9, 90)]) == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_precomputed_qualities_are_correct(name: str) -> None:
    """The constants of the shipped palettes equal the computed values."""
    assert jpeg.LOWEST[name] == jpeg.lowest_quality([swatch.rgb for swatch in Palette.load(name)])
