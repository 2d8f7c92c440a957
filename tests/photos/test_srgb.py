"""segkit.photos.srgb: every pixel mode, profile and kind of transparency becomes plain sRGB."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from PIL import Image, ImageCms

from segkit.photos import srgb

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
"""A profile that still calls itself sRGB, and in which red means green."""
GREY = (SRGB[:16] + b"GRAY" + SRGB[20:]).replace(b"rTRC", b"kTRC")


def stored(image: Image.Image, picture_format: str, **options: Any) -> Image.Image:
    """Return a picture as it comes out of a file."""
    buffer = BytesIO()
    image.save(buffer, picture_format, **options)
    opened = Image.open(buffer)
    opened.load()
    return opened


def ramp(top: float, kind: DTypeLike) -> NDArray[Any]:
    """Return 64x256 pixels that rise from 0 to top."""
    return np.tile(np.linspace(0, top, 256), (64, 1)).astype(kind)


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
    """16-bit, 32-bit and float ramps come out as 0 to 255, where Pillow's own convert() gives white or black."""
    image, done = srgb.to_srgb(stored(Image.fromarray(values), picture_format))

    off = np.asarray(image.convert("L")).astype(int)[0] - np.arange(256)
    assert done == (conversion,)
    assert np.abs(off).max() <= 3


def test_a_lamp_does_not_darken_a_float_picture() -> None:
    """A few pixels above white become white; they do not turn 0..1 into 0..255."""
    values = ramp(1, "<f4")
    values[3, 5], values[3, 6], values[3, 7] = 40, np.inf, np.nan

    image, _ = srgb.to_srgb(stored(Image.fromarray(values), "TIFF"))

    assert [image.getpixel(place) for place in ((128, 0), (5, 3), (6, 3))] == [(128,) * 3, (255,) * 3, (255,) * 3]


def test_a_float_picture_without_a_number_is_refused() -> None:
    """All NaN is no black photo."""
    image = Image.fromarray(np.full((8, 8), np.nan, np.float32))

    with pytest.raises(ValueError, match="finite"):
        srgb.to_srgb(image)


def half(mode: str, color: Any, clear: Any) -> Image.Image:
    """Return two pixels: a colour, and one that is transparent."""
    image = Image.new(mode, (2, 1), color)
    image.putpixel((1, 0), clear)
    return image


PALETTE = half("P", 0, 1)
PALETTE.putpalette([10, 10, 10, 0, 200, 0])
DEEP = Image.fromarray(np.array([[10 * 257, 7]], np.uint16))


@pytest.mark.parametrize(
    "image",
    [
        stored(half("RGBA", (10, 10, 10, 255), (0, 200, 0, 0)), "PNG"),
        stored(half("RGBA", (10, 10, 10, 255), (0, 200, 0, 0)), "TIFF"),
        stored(half("RGBA", (10, 10, 10, 255), (0, 200, 0, 0)), "WEBP", lossless=True, exact=True),
        stored(half("LA", (10, 255), (99, 0)), "PNG"),
        half("PA", (0, 255), (1, 0)).convert("RGBA").convert("PA"),
        stored(PALETTE, "PNG", transparency=1),
        stored(PALETTE, "PNG", transparency=b"\xff\x00"),
        stored(PALETTE, "GIF", transparency=1),
        stored(half("L", 10, 99), "PNG", transparency=99),
        stored(half("RGB", (10, 10, 10), (0, 200, 0)), "PNG", transparency=(0, 200, 0)),
        stored(DEEP, "PNG", transparency=7),
    ],
    ids="RGBA-PNG RGBA-TIFF RGBA-WebP LA PA P-entry P-bytes P-GIF L-tRNS RGB-tRNS 16-bit-tRNS".split(),
)
def test_transparency_is_laid_over_white(image: Image.Image) -> None:
    """What transparency hides stays hidden, in every way that files express it, and the record says so."""
    image, done = srgb.to_srgb(image)

    assert done[-1] == "alpha-over-white"
    assert image.getpixel((1, 0)) == (255, 255, 255)
    if done != ("alpha-over-white",):
        assert done == ("16-bit", "alpha-over-white")


def test_half_transparent_is_half_white() -> None:
    """Alpha is a weight, not a switch."""
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
        (stored(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100), (255, 0, 0)),
        (PALETTE.crop((0, 0, 1, 1)), (10, 10, 10)),
    ],
)
def test_other_modes_keep_their_colour(image: Image.Image, expected: tuple[int, ...]) -> None:
    """Opaque alpha, bilevel, CMYK, YCbCr and palettes become RGB, and there is nothing to record."""
    converted, done = srgb.to_srgb(image)

    assert (converted.mode, converted.getpixel((0, 0)), done) == ("RGB", expected, ())


@pytest.mark.parametrize(
    ("image", "profile", "expected", "done"),
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
    image: Image.Image, profile: bytes | None, expected: tuple[int, ...], done: tuple[str, ...]
) -> None:
    """A profile's effect counts, not its name; a broken or foreign one is passed over and the record says so."""
    image = image.copy()
    image.info["icc_profile"] = profile

    converted, conversions = srgb.to_srgb(image)

    assert (converted.getpixel((0, 0)), conversions) == (expected, done)
    assert set(conversions) <= set(srgb.CONVERSIONS)
