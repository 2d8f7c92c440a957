"""Packing pixels into integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from segkit.maps import pixels

COLORS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2).map(lambda shape: (*shape, 3)))
IDENTITY = np.arange(pixels.COLORS + 1, dtype=np.uint32)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_pixels_are_packed_from_any_mode(mode: str) -> None:
    """Red is the lowest byte, blue the highest."""
    image = Image.new("RGB", (2, 1), (51, 102, 204)).convert(mode)

    assert pixels.pack_image(image).tolist() == [[0xCC6633, 0xCC6633]]


@pytest.mark.parametrize(("alpha", "packed"), [(0, 0), (1, 0x030201), (255, 0x030201)])
def test_only_full_transparency_counts(alpha: int, packed: int) -> None:
    """A fully transparent pixel is unlabelled, whatever colour hides in it; any other has its colour."""
    image = Image.new("RGBA", (1, 1), (1, 2, 3, alpha))
    assert pixels.pack_image(image).tolist() == [[packed]]
    assert pixels.pack_image(Image.new("LA", (1, 1), (7, alpha))).tolist() == [[0x070707 if alpha else 0]]


def test_deep_pictures_may_hold_indices() -> None:
    """Without a value above 255, 16-bit or float values are taken as they are, if asked for: they are no colours."""
    for dtype in (np.uint16, np.int32, np.float32):
        image = Image.fromarray(np.array([[0, 1, 150, 255]], dtype))
        assert pixels.pack_image(image, indices=True).tolist() == [[0, 0x010101, 0x969696, 0xFFFFFF]]
        assert pixels.pack_image(image).tolist() == [[0, *[pixels.NO_COLOR] * 3]]
    fractions = Image.fromarray(np.array([[0.5, 3.0]], np.float32))
    assert pixels.pack_image(fractions, indices=True).tolist() == [[pixels.NO_COLOR, 0x030303]]


def test_deep_grey_is_packed_if_8_bits_can_represent_it() -> None:
    """257 of 65535 is 1 of 255; 258 has no 8-bit equivalent, nor do NaN, infinity and negative values."""
    deep = Image.fromarray(np.array([[0, 257, 258, 65535]], np.uint16))
    broken = Image.fromarray(np.array([[np.nan, np.inf, -257.0, 257.0]], np.float32))

    assert pixels.pack_image(deep).tolist() == [[0, 0x010101, pixels.NO_COLOR, 0xFFFFFF]]
    assert pixels.pack_image(broken).tolist() == [[pixels.NO_COLOR] * 3 + [0x010101]]


@given(COLORS)
def test_unpacking_undoes_packing(colors: np.ndarray) -> None:
    """Packing colours equals packing a picture of them."""
    assert (pixels.unpack(pixels.pack(colors)) == colors).all()
    assert (pixels.pack(colors) == pixels.pack_image(Image.fromarray(colors))).all()


@given(st.lists(st.integers(0, pixels.NO_COLOR), max_size=50))
def test_tables_cover_every_packed_colour(numbers: list[int]) -> None:
    """A table of 2^24 + 1 entries has a value for each colour, and its last entry serves NO_COLOR."""
    assert pixels.look_up(np.array(numbers, np.uint32), IDENTITY).tolist() == numbers


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2)))
def test_bytes_are_translated_by_a_table(values: np.ndarray) -> None:
    """Each value gets its entry, also in views that are not contiguous, and boolean tables give booleans."""
    table = np.arange(256, dtype=np.uint8)[::-1].copy()

    assert (pixels.translate(values.T, table) == 255 - values.T).all()
    assert (pixels.translate(values, table > 100) == (values < 155)).all()


@given(arrays.arrays(np.uint8, (4, 5)), arrays.arrays(bool, (4, 5)))
def test_values_are_counted_under_a_mask(values: np.ndarray, mask: np.ndarray) -> None:
    """Without a mask every pixel counts."""
    assert (pixels.histogram(values) == np.bincount(values.ravel(), minlength=256)).all()
    assert (pixels.histogram(values, mask) == np.bincount(values[mask], minlength=256)).all()


@given(arrays.arrays(np.uint8, (40, 30)), st.integers(0, 5))
def test_present_values_are_those_under_the_mask(values: np.ndarray, seed: int) -> None:
    """A value counts wherever it is, among the sampled pixels or not."""
    mask = np.random.default_rng(seed).random(values.shape) < 0.02 * seed

    present = pixels.present(values, mask)

    assert np.flatnonzero(present).tolist() == np.unique(values[mask]).tolist()
    for others in (0, 1, 50):
        assert (pixels.present(values, mask, present | (np.arange(256) < others)) == present).all()
