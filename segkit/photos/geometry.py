"""How a photo is fitted to the training size: scaled, then cropped to multiples of 8."""

from dataclasses import dataclass

from msgspec import Struct
from PIL import Image
from PIL.Image import Resampling


class Geometry(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The transform from the source to the stored pixels, shared by photo and control map.

    Attributes:
        source_width, source_height: size of the upright source in pixels.
        orientation: the EXIF orientation that was applied, 1 to 8.
        conversions: which of several frames was used, such as "first-frame-of-3", and the colour conversions that were
            applied, from srgb.CONVERSIONS.
        resized_width, resized_height: size after scaling, before the crop.
        crop_left, crop_top: offset of the stored picture in the resized one.
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
    """A decoded and fitted photo: upright RGB pixels, and the transform that produced them.

    Attributes:
        image: the pixels.
        geometry: the transform.
        coarseness: how coarsely the source stored its pixels; see quality.coarseness.
    """

    image: Image.Image
    geometry: Geometry
    coarseness: float = 0.0

    @property
    def source_size(self) -> tuple[int, int]:
        """Width and height of the upright source in pixels."""
        return self.geometry.source_width, self.geometry.source_height


@dataclass(frozen=True)
class Measured:
    """What decides about a photo whose pixels are elsewhere; see Photo.

    Attributes:
        source_size: width and height of the upright source in pixels.
        coarseness: see quality.coarseness.
    """

    source_size: tuple[int, int]
    coarseness: float = 0.0


def fit(
    image: Image.Image,
    size: int,
    source: tuple[int, int] | None = None,
    orientation: int = 1,
    conversions: tuple[str, ...] = (),
) -> Photo:
    """Scale the short side down to a size (never up) and centre-crop both sides to multiples of 8.

    Args:
        image: upright RGB picture; smaller than the source where JPEG was decoded at a fraction of its size.
        size: target length of the short side in pixels.
        source: upright width and height of the source; None for those of the image.
        orientation: the EXIF orientation that was applied, recorded as it is.
        conversions: colour conversions that were applied, recorded as they are.
    """
    source = source or image.size
    scale = min(1.0, size / min(source))
    resized = max(8, round(source[0] * scale)), max(8, round(source[1] * scale))
    if resized != image.size:
        image = image.resize(resized, Resampling.LANCZOS)
    width, height = resized[0] // 8 * 8, resized[1] // 8 * 8
    left, top = (resized[0] - width) // 2, (resized[1] - height) // 2
    image = image.crop((left, top, left + width, top + height))
    image.info.clear()  # otherwise Pillow would save a PNG with the ICC profile of the source
    return Photo(image, Geometry(*source, orientation, conversions, *resized, left, top))


def fit_map(control_map: Image.Image, geometry: Geometry, size: tuple[int, int]) -> Image.Image:
    """Apply the transform of a photo to its control map: scaled without mixing values, and cropped alike.

    Args:
        control_map: a picture of mode L with the proportions of the upright photo.
        geometry: the photo's transform.
        size: width and height of the stored photo.
    """
    resized = geometry.resized_width, geometry.resized_height
    if control_map.size != resized:
        control_map = control_map.resize(resized, Resampling.NEAREST)
    left, top = geometry.crop_left, geometry.crop_top
    return control_map.crop((left, top, left + size[0], top + size[1]))
