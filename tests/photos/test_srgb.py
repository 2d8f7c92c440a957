"""Conversion to sRGB: pixel modes, ICC profiles and kinds of transparency."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from PIL import Image, ImageCms

from segkit.photos import srgb

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
"""A profile that is still named sRGB, but has red and green exchanged."""
GREY = (SRGB[:16] + b"GRAY" + SRGB[20:]).replace(b"rTRC", b"kTRC")


def reopened(image: Image.Image, picture_format: str, **options: Any) -> Image.Image:
    """Save a picture and open it again."""
    buffer = BytesIO()
    image.save(buffer, picture_format, **options)
    opened = Image.open(buffer)
    opened.load()
    return opened


def ramp(top: float, dtype: DTypeLike) -> NDArray[Any]:
    """Return a horizontal gradient from 0 to top, (64, 256)."""
    return np.tile(np.linspace(0, top, 256), (64, 1)).astype(dtype)


@pytest.mark.parametrize(
    ("values", "picture_format", "conversion"),
    [
        (ramp(65535, "<u2"), "PNG", "16-bit"),
        (ramp(65535, "<u2"), "TIFF", "16-bit"),
        (ramp(65535, ">u2"), "TIFF", "16-bit"),
        (ramp(65535, "<i4"), "TIFF", "32-bit"),
        (ramp(255, "<i4"), "TIFF", "32-bit"),
        (ramp(2_000_000_000, "<i4"), "TIFF", "32-bit"),
        (ramp(1, "<f4"), "TIFF", "float"),
        (ramp(255, "<f4"), "TIFF", "float"),
        (ramp(65535, "<f4"), "TIFF", "float"),
    ],
)
def test_deep_greys_keep_their_steps(values: NDArray[Any], picture_format: str, conversion: str) -> None:
    """16-bit, 32-bit and float gradients become 0 to 255, where Pillow's convert() would give white or black."""
    image, conversions = srgb.to_srgb(reopened(Image.fromarray(values), picture_format))

    difference = np.asarray(image.convert("L")).astype(int)[0] - np.arange(256)
    assert conversions == (conversion,)
    assert np.abs(difference).max() <= 3


def test_a_lamp_does_not_darken_a_float_picture() -> None:
    """A few pixels above 1 are clipped to white and do not change the scale of the others."""
    values = ramp(1, "<f4")
    values[3, 5], values[3, 6], values[3, 7] = 40, np.inf, -np.inf

    image, _ = srgb.to_srgb(reopened(Image.fromarray(values), "TIFF"))

    assert [image.getpixel(xy) for xy in ((128, 0), (5, 3), (6, 3))] == [(128,) * 3, (255,) * 3, (255,) * 3]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (ramp(4, "<f4"), 255),  # light of a renderer, which has any scale
        (ramp(300, "<f4"), 255),
        (ramp(40, "<f4").round(), 40),  # a dark picture of 8 bits
        (ramp(30000, "<f4").round(), 117),  # a dark picture of 16 bits
        (ramp(4095, "<i4"), 255),  # 12 bits
        (ramp(100, "<i4"), 100),
        (ramp(0.3, "<f4"), 77),
        (ramp(2, "<f4") - 1, 255),
        (ramp(1, "<f4") - 3, 255),
    ],
)
def test_the_scale_of_floats_and_integers_is_recognised(values: NDArray[Any], expected: int) -> None:
    """Values outside 0..1 never leave a picture nearly black, and dark pictures on a known scale stay dark."""
    scaled, _ = srgb.scale(values)

    assert abs(int(scaled.max()) - expected) <= 3
    assert scaled.min() == 0
    assert np.abs(scaled[0].astype(int) - np.linspace(0, scaled.max(), 256)).max() <= 5


def test_the_ringing_of_a_filter_is_no_black_point() -> None:
    """Slightly negative values are clipped and leave the scale as it is."""
    scaled, _ = srgb.scale(ramp(1, "<f4") - np.float32(0.02))

    assert (scaled.min(), scaled.max()) == (0, 250)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((8, 8), np.inf, np.float32), "without a finite value"),
        (np.full((8, 8), np.nan, np.float32), "64 of 64 values are NaN"),
        (np.where(np.eye(8) > 0, np.nan, 0.5).astype(np.float32), "8 of 64 values are NaN"),
    ],
    ids=["infinite", "all NaN", "some NaN"],
)
def test_a_float_picture_with_nan_or_without_finite_values_is_refused(values: Any, message: str) -> None:
    """It is refused as such rather than turned black."""
    with pytest.raises(ValueError, match=message):
        srgb.to_srgb(Image.fromarray(values))


def half_transparent(mode: str, color: Any, transparent: Any) -> Image.Image:
    """Return two pixels: an opaque colour and a transparent one."""
    image = Image.new(mode, (2, 1), color)
    image.putpixel((1, 0), transparent)
    return image


PALETTE = half_transparent("P", 0, 1)
PALETTE.putpalette([10, 10, 10, 0, 200, 0])
DEEP = Image.fromarray(np.array([[10 * 257, 7]], np.uint16))


@pytest.mark.parametrize(
    "image",
    [
        reopened(half_transparent("RGBA", (10, 10, 10, 255), (0, 200, 0, 0)), "PNG"),
        reopened(half_transparent("RGBA", (10, 10, 10, 255), (0, 200, 0, 0)), "TIFF"),
        reopened(half_transparent("RGBA", (10, 10, 10, 255), (0, 200, 0, 0)), "WEBP", lossless=True, exact=True),
        reopened(half_transparent("LA", (10, 255), (99, 0)), "PNG"),
        half_transparent("PA", (0, 255), (1, 0)).convert("RGBA").convert("PA"),
        reopened(PALETTE, "PNG", transparency=1),
        reopened(PALETTE, "PNG", transparency=b"\xff\x00"),
        reopened(PALETTE, "GIF", transparency=1),
        reopened(half_transparent("L", 10, 99), "PNG", transparency=99),
        reopened(half_transparent("RGB", (10, 10, 10), (0, 200, 0)), "PNG", transparency=(0, 200, 0)),
        reopened(DEEP, "PNG", transparency=7),
    ],
    ids="RGBA-PNG RGBA-TIFF RGBA-WebP LA PA P-entry P-bytes P-GIF L-tRNS RGB-tRNS 16-bit-tRNS".split(),
)
def test_transparency_is_composited_over_white(image: Image.Image) -> None:
    """Every way to express transparency hides the colour below and is recorded."""
    image, conversions = srgb.to_srgb(image)

    assert conversions[-1] == "alpha-over-white"
    assert image.getpixel((1, 0)) == (255, 255, 255)
    if conversions != ("alpha-over-white",):
        assert conversions == ("16-bit", "alpha-over-white")


def test_partial_transparency_blends_with_white() -> None:
    """Alpha weights the colour against white."""
    image, _ = srgb.to_srgb(Image.new("RGBA", (1, 1), (100, 0, 200, 128)))

    assert image.getpixel((0, 0)) == (177, 127, 227)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (2, 2), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("LA", (2, 2), (50, 255)), (50, 50, 50)),
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.new("CMYK", (2, 2), (255, 0, 0, 0)), (0, 255, 255)),
        (Image.new("CMYK", (2, 2), (0, 0, 0, 255)), (0, 0, 0)),
        (Image.new("YCbCr", (2, 2), (50, 128, 128)), (50, 50, 50)),
        (reopened(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100), (255, 0, 0)),
        (PALETTE.crop((0, 0, 1, 1)), (10, 10, 10)),
    ],
)
def test_other_modes_keep_their_colour(image: Image.Image, expected: tuple[int, ...]) -> None:
    """Opaque alpha, bilevel, CMYK, YCbCr and palette pictures become RGB without a recorded conversion."""
    converted, conversions = srgb.to_srgb(image)

    assert (converted.mode, converted.getpixel((0, 0)), conversions) == ("RGB", expected, ())


@pytest.mark.parametrize(
    ("image", "profile", "expected", "conversions"),
    [
        (Image.new("RGB", (2, 2), (200, 30, 10)), SRGB, (200, 30, 10), ()),
        (Image.new("RGB", (2, 2), (200, 30, 10)), SWAPPED, (30, 200, 10), ("icc-to-srgb",)),
        (Image.new("RGBA", (2, 2), (200, 30, 10, 0)), SWAPPED, (255,) * 3, ("icc-to-srgb", "alpha-over-white")),
        (Image.new("L", (2, 2), 77), SWAPPED, (77,) * 3, ("icc-to-srgb",)),
        (Image.new("L", (2, 2), 77), GREY, (77,) * 3, ("icc-to-srgb",)),
        (Image.new("LA", (2, 2), (77, 255)), GREY, (77,) * 3, ("icc-to-srgb",)),
        (Image.new("RGB", (2, 2), (200, 30, 10)), GREY, (200, 30, 10), ("icc-unreadable",)),
        (Image.new("RGB", (2, 2), (200, 30, 10)), b"no profile" * 30, (200, 30, 10), ("icc-unreadable",)),
        (Image.new("RGB", (2, 2), (200, 30, 10)), SRGB[:300], (200, 30, 10), ("icc-unreadable",)),
        (Image.new("LAB", (2, 2), (255, 128, 128)), None, (254, 255, 254), ("icc-to-srgb",)),
    ],
    ids="sRGB swapped alpha L-RGB L-grey LA-grey mismatch nonsense cut Lab".split(),
)
def test_profiles_are_applied(
    image: Image.Image, profile: bytes | None, expected: tuple[int, ...], conversions: tuple[str, ...]
) -> None:
    """The effect of a profile counts, not its name; a broken or unsuitable one is ignored and recorded."""
    image = image.copy()
    image.info["icc_profile"] = profile

    converted, applied = srgb.to_srgb(image)

    assert (converted.getpixel((0, 0)), applied) == (expected, conversions)
    assert set(applied) <= set(srgb.CONVERSIONS)
