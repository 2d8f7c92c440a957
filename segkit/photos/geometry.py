"""Where the stored pixels of a photo lie in its source: scaled, then cropped to multiples of 8."""

from dataclasses import dataclass

from msgspec import Struct
from PIL import Image
from PIL.Image import Resampling


class Geometry(Struct, frozen=True, forbid_unknown_fields=True):
    """How the stored pixels came out of the source; photo and map share it.

    Attributes:
        source_width, source_height: pixels of the source, upright.
        orientation: the EXIF orientation that was applied, 1 to 8.
        conversions: what else was done, from modes.CONVERSIONS.
        resized_width, resized_height: after scaling the short side, before the crop.
        crop_left, crop_top: where the stored picture begins in the resized one.
    """

    source_width: int
    source_height: int
    orientation: int
    conversions: tuple[str, ...]
    resized_width: int
    resized_height: int
    crop_left: int
    crop_top: int


@dataclass(frozen=True)
class Photo:
    """An opened and fitted photo: upright RGB pixels, and how they came out of the source."""

    image: Image.Image
    geometry: Geometry


def fit(
    image: Image.Image,
    size: int,
    source: tuple[int, int] | None = None,
    orientation: int = 1,
    conversions: tuple[str, ...] = (),
) -> Photo:
    """Scale the short side down to size (never up) and crop both sides to multiples of 8 around the centre.

    Args:
        image: RGB, upright; may be smaller than the source where JPEG was decoded at a fraction.
        size: target of the short side in pixels.
        source: upright width and height of the source; the image's own if None.
        orientation: the EXIF orientation that was applied, for the record.
        conversions: what was done to the colours, for the record.
    """
    source = source or image.size
    scale = min(1.0, size / min(source))
    resized = max(8, round(source[0] * scale)), max(8, round(source[1] * scale))
    if resized != image.size:
        image = image.resize(resized, Resampling.LANCZOS)
    width, height = resized[0] // 8 * 8, resized[1] // 8 * 8
    left, top = (resized[0] - width) // 2, (resized[1] - height) // 2
    image = image.crop((left, top, left + width, top + height))
    image.info.clear()  # PNG would be saved with the profile of the source
    return Photo(image, Geometry(*source, orientation, conversions, *resized, left, top))
