"""Choosing between copies: how coarsely a file stores its pixels."""

import math
from io import BytesIO
from itertools import pairwise
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from segkit import photos
from segkit.photos import Limits, quality
from segkit.toy import world


def coarseness(picture_format: str, mode: str = "RGB", **options: Any) -> float:
    """Return the coarseness of a scene saved in a format, as open_photo passes it on."""
    pillow_heif.register_heif_opener()
    buffer = BytesIO()
    world.scene(3, (160, 120)).photo.convert(mode).save(buffer, picture_format, **options)
    return photos.open_photo(buffer.getvalue(), Limits(min_size=8)).coarseness


@pytest.mark.parametrize("picture_format", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_stronger_compression_is_coarser(picture_format: str) -> None:
    """Within a lossy format, coarseness falls with every step of quality."""
    values = [coarseness(picture_format, quality=quality) for quality in (30, 50, 75, 90)]

    assert all(coarse > fine > 0 for coarse, fine in pairwise(values))


def test_metadata_does_not_make_a_jpeg_better() -> None:
    """A strongly compressed JPEG with 60 kB of EXIF remains coarser than a larger-quality one without."""
    exif = b"Exif\0\0" + bytes(60_000)

    assert coarseness("JPEG", quality=50, exif=exif) == coarseness("JPEG", quality=50) > coarseness("JPEG", quality=80)


@pytest.mark.parametrize(
    ("picture_format", "options"),
    [("PNG", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True}), ("BMP", {}), ("QOI", {})],
)
def test_lossless_colour_is_finest(picture_format: str, options: dict[str, Any]) -> None:
    """Lossless formats are not coarse at all."""
    assert coarseness(picture_format, **options) == 0


@pytest.mark.parametrize(("picture_format", "mode"), [("GIF", "P"), ("PNG", "P"), ("PNG", "L"), ("JPEG", "L")])
def test_grey_and_colour_tables_are_coarsest(picture_format: str, mode: str) -> None:
    """A copy that lost its colours loses against any other of its size."""
    assert coarseness(picture_format, mode) == math.inf


def test_other_lossy_formats_are_estimated_from_their_bytes() -> None:
    """A file of one byte per pixel counts as finer than JPEG at quality 95."""
    image = Image.new("RGB", (100, 100))
    image.format = "AVIF"

    assert quality.coarseness(image, bytes(10_000)) == 3.0
