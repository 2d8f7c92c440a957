"""Photos as datasets store them: encoded, and read again as grey copies."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from segkit.photos.near_duplicates import SIDE, Grey, grey_copy


def encode_photo(photo: Image.Image, photo_format: str) -> bytes:
    """Encode a photo as "jpg" (quality 95, 4:4:4) or "png", without EXIF or ICC profile."""
    buffer = BytesIO()
    if photo_format == "jpg":
        photo.save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        photo.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def decode_grey(data: bytes) -> Grey:
    """Return the grey copy of an encoded photo. Pillow raises exceptions of any type if it is damaged."""
    with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        image.draft("L", (2 * SIDE, 2 * SIDE))  # JPEG at a fraction of its size, several times faster
        return grey_copy(image)


def read_grey(path: Path) -> Grey | None:
    """Return the grey copy of a stored photo; None if the file is missing or damaged."""
    try:
        return decode_grey(path.read_bytes())
    except Exception:  # see decode_grey
        return None
