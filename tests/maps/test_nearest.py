"""The nearest colour of every pixel."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import nearest, pixels
from segkit.palette import Palette
from segkit.palette.color import RGB

CHANNEL = st.integers(0, 255) | st.sampled_from([0, 15, 16, 127, 128, 255])
COLORS = st.lists(st.tuples(CHANNEL, CHANNEL, CHANNEL), min_size=1, max_size=60)


def by_brute_force(rgb: NDArray[np.uint8], colors: list[RGB]) -> NDArray[np.intp]:
    """Return the index of the first nearest colour of (N, 3) pixels by computing every distance."""
    differences = rgb[:, None].astype(np.int32) - np.array(colors, np.int32)
    return np.asarray((differences**2).sum(2).argmin(1))


@settings(max_examples=10)
@given(COLORS, st.integers(0, 1000))
def test_the_nearest_colour_is_exact(colors: list[RGB], seed: int) -> None:
    """Random pixels, and pixels close to the colours, give the results of a brute-force search, ties included."""
    random = np.random.default_rng(seed)
    close = np.clip(
        np.array(colors)[random.integers(len(colors), size=2000)] + random.integers(-9, 10, (2000, 3)), 0, 255
    )
    rgb = np.concatenate([random.integers(0, 256, (2000, 3)), close]).astype(np.uint8)

    packed = pixels.pack_image(Image.fromarray(rgb[None]))

    for look_up in (nearest.nearest, nearest.nearest_of_few):
        assert (look_up(packed, tuple(colors))[0] == by_brute_force(rgb, colors)).all()


def test_large_pictures_are_looked_up_in_chunks() -> None:
    """A picture of several chunks, the last one partial, gives the same result as its rows one by one."""
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (701, 1009, 3), np.uint8))
    ade = tuple(swatch.rgb for swatch in Palette.load("ade20k"))

    whole = nearest.nearest(pixels.pack_image(image), ade)

    rows = [nearest.nearest(pixels.pack_image(image.crop((0, row, 1009, row + 1))), ade) for row in range(701)]
    assert (whole == np.concatenate(rows)).all()


def test_every_colour_of_the_palette_is_its_own_nearest() -> None:
    """This holds for ADE20K except skyscraper, which shares the colour of road."""
    ade = Palette.load("ade20k")
    picture = Image.fromarray(np.array([[swatch.rgb for swatch in ade]], np.uint8))

    indices = nearest.nearest(pixels.pack_image(picture), tuple(swatch.rgb for swatch in ade))[0].tolist()

    assert [position for position, index in enumerate(indices) if position != index] == [ade.find("skyscraper").index]
    assert indices[48] == ade.find("road").index
