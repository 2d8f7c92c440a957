"""Fitting photos to the training size: one scale factor and a centred crop, recorded in the geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from PIL import Image
from PIL.Image import Transpose

from segkit import photos
from segkit.photos import Decoded

INVERSES = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
"""What stores an upright picture so that an EXIF orientation turns it back."""


@given(st.integers(8, 700), st.integers(8, 700), st.integers(1, 40))
def test_fitting_keeps_the_aspect_and_never_enlarges(width: int, height: int, eighths: int) -> None:
    """One scale factor, whole pixels, a centred crop of fewer than 8 pixels, all recorded in the geometry."""
    size = 8 * eighths

    fitted = photos.fit(Decoded(Image.new("RGB", (width, height))), size)

    geometry = fitted.geometry
    scale = min(1.0, size / min(width, height))
    assert (geometry.source_width, geometry.source_height) == (width, height)
    sides = (
        (fitted.image.width, geometry.resized_width, geometry.crop_left, width),
        (fitted.image.height, geometry.resized_height, geometry.crop_top, height),
    )
    for stored, resized, start, source in sides:
        assert stored % 8 == 0
        assert 0 <= resized - stored < 8
        assert start == (resized - stored) // 2
        assert resized <= source
        assert abs(resized - source * scale) <= 0.5
    assert min(geometry.resized_width, geometry.resized_height) <= size


@given(st.integers(8, 200), st.integers(8, 200), st.integers(1, 20))
def test_the_geometry_locates_the_crop(width: int, height: int, eighths: int) -> None:
    """The stored picture is the resized one cropped at (crop_left, crop_top)."""
    ramp = Image.linear_gradient("L").resize((width, height)).convert("RGB")

    fitted = photos.fit(Decoded(ramp), 8 * eighths)

    geometry = fitted.geometry
    resized = ramp.resize((geometry.resized_width, geometry.resized_height), Image.Resampling.LANCZOS)
    left, top = geometry.crop_left, geometry.crop_top
    assert fitted.image == resized.crop((left, top, left + fitted.image.width, top + fitted.image.height))


def test_the_source_decides_the_scale() -> None:
    """A JPEG decoded at half its size is fitted as the whole photo would be, and what was applied is recorded."""
    image = Image.new("RGB", (400, 300))
    image.info["icc_profile"] = b"no profile"

    fitted = photos.fit(Decoded(image, (800, 600), applied=6, conversions=("16-bit",)), 256)

    assert fitted.geometry == photos.Geometry(800, 600, 6, ("16-bit", "icc-unreadable"), 341, 256, 2, 0)
    assert fitted.image.size == (336, 256)
    assert fitted.image.info == {}


@pytest.mark.parametrize("turn", INVERSES)
def test_padding_is_left_out_wherever_it_is_turned(turn: int) -> None:
    """What the source does not cover, at the stored right and bottom edges, moves nothing in the upright photo."""
    coarse = np.random.default_rng(turn).integers(0, 256, (7, 11, 3), np.uint8)
    upright = Image.fromarray(coarse).resize((97, 61), Image.Resampling.BICUBIC)
    stored = upright.transpose(INVERSES[turn])
    padded = Image.fromarray(np.pad(np.asarray(stored), ((0, 3), (0, 5), (0, 0)), "edge"))
    expected = photos.fit(Decoded(upright), 32)

    fitted = photos.fit(Decoded(padded, stored.size, stored.size, turn), 32)

    assert fitted.geometry == structs.replace(expected.geometry, orientation=turn)
    differences = np.asarray(fitted.image, np.int16) - np.asarray(expected.image)
    assert np.abs(differences).max() <= 4  # the filter reaches beyond the edge; a shift by a pixel makes 40


def test_the_thinnest_photo_has_eight_pixels() -> None:
    """No side is ever scaled below the smallest multiple of 8."""
    assert photos.fit(Decoded(Image.new("RGB", (8, 8))), 3).image.size == (8, 8)
