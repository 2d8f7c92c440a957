"""Fitting photos to the training size: one scale factor and a centred crop, recorded in the geometry."""

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segkit import photos


@given(st.integers(8, 700), st.integers(8, 700), st.integers(1, 40))
def test_fitting_keeps_the_aspect_and_never_enlarges(width: int, height: int, eighths: int) -> None:
    """One scale factor, whole pixels, a centred crop of fewer than 8 pixels, all recorded in the geometry."""
    size = 8 * eighths

    fitted = photos.fit(Image.new("RGB", (width, height)), size)

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

    fitted = photos.fit(ramp, 8 * eighths)

    geometry = fitted.geometry
    resized = ramp.resize((geometry.resized_width, geometry.resized_height), Image.Resampling.LANCZOS)
    left, top = geometry.crop_left, geometry.crop_top
    assert fitted.image == resized.crop((left, top, left + fitted.image.width, top + fitted.image.height))


def test_the_source_decides_the_scale() -> None:
    """A JPEG decoded at half its size is fitted as the whole photo would be, and what was applied is recorded."""
    image = Image.new("RGB", (400, 300))
    image.info["icc_profile"] = b"profile of the source"

    fitted = photos.fit(image, 256, (800, 600), 6, ("icc",))

    assert fitted.geometry == photos.Geometry(800, 600, 6, ("icc",), 341, 256, 2, 0)
    assert fitted.image.size == (336, 256)
    assert fitted.image.info == {}


def test_the_thinnest_photo_has_eight_pixels() -> None:
    """No side is ever scaled below the smallest multiple of 8."""
    assert photos.fit(Image.new("RGB", (8, 8)), 3).image.size == (8, 8)
