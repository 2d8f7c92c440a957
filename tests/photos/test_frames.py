"""Pictures of several frames: the first is used, and that is recorded."""

from io import BytesIO
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from segkit import photos
from segkit.photos import Limits, frames

LIMITS = Limits(min_size=8)
COLORS = ("red", "lime", "blue")


def encode(picture_format: str, number: int = 3, **options: Any) -> bytes:
    """Return the bytes of a picture with frames of different colours."""
    pillow_heif.register_heif_opener()
    first, *others = (Image.new("RGB", (64, 48), color) for color in COLORS[:number])
    buffer = BytesIO()
    first.save(buffer, picture_format, save_all=True, append_images=others, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("picture_format", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO", "HEIF"])
def test_the_first_of_several_frames_is_used_and_recorded(picture_format: str) -> None:
    """Animations, pages and multi-picture files give their first frame and its number."""
    photo = photos.open_photo(encode(picture_format), LIMITS)

    red, green, blue = photo.image.getpixel((20, 20))  # type: ignore[misc]
    assert red > 240
    assert max(green, blue) < 20
    assert photo.geometry.conversions == ("first-frame-of-3",)


@pytest.mark.parametrize("picture_format", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO", "HEIF"])
def test_a_single_frame_is_not_recorded(picture_format: str) -> None:
    """Nothing is recorded for a picture of one frame."""
    assert photos.open_photo(encode(picture_format, 1), LIMITS).geometry.conversions == ()


def test_another_primary_frame_is_recorded_by_its_number() -> None:
    """HEIC names its primary picture, which need not be the first."""
    photo = photos.open_photo(encode("HEIF", primary_index=1), LIMITS)

    assert photo.geometry.conversions == ("frame-2-of-3",)
    assert photo.image.getpixel((20, 20))[1] > 240  # type: ignore[index]


def test_an_animation_with_a_damaged_end_gives_its_first_frame() -> None:
    """Later frames that cannot be counted are no reason to reject the photo."""
    data = encode("GIF")

    photo = photos.open_photo(data[: data.rindex(b"\x21\xf9") + 12], LIMITS)

    assert photo.image.getpixel((20, 20)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("index", "number", "word"),
    [(0, 1, ""), (0, 0, ""), (0, 2, "first-frame-of-2"), (2, 12, "frame-3-of-12")],
)
def test_words_contain_no_blanks(index: int, number: int, word: str) -> None:
    """Conversions are stored as words separated by blanks, so a frame is one word."""
    assert frames.word(index, number) == word
