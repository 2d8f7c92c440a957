"""How a photo is fitted to the training size: scaled, then cropped to multiples of 8."""

from dataclasses import dataclass

from msgspec import Struct
from PIL import Image
from PIL.Image import Resampling, Transpose

from segkit.photos import srgb

TRANSPOSES = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What turns a picture upright, by EXIF orientation: EXIF 2.32, tag 0x0112."""

_MIRRORED, _UPSIDE_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations that move the stored right edge (the bottom, from 5 on) to the left, and the bottom (right edge) to the
top."""


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
class Decoded:
    """A photo as it was decoded, neither upright nor in sRGB.

    Attributes:
        image: the pixels, of mode RGB or L; the ICC profile in its info is yet to be applied.
        source: width and height of the picture in the file; None for those of the image.
        covered: width and height of the image's part that shows the source; None for all of it. Where JPEG is decoded
            at a fraction of its size, the last pixels are partly padding.
        orientation: the EXIF orientation that is yet to be applied, 1 to 8.
        applied: the EXIF orientation that the decoder has applied.
        conversions: what Geometry records, without those that are yet to be applied.
        coarseness: see quality.coarseness.
    """

    image: Image.Image
    source: tuple[int, int] | None = None
    covered: tuple[float, float] | None = None
    orientation: int = 1
    applied: int = 1
    conversions: tuple[str, ...] = ()
    coarseness: float = 0.0

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the upright source."""
        width, height = self.source or self.image.size
        return (height, width) if self.orientation >= 5 else (width, height)

    def upright(self) -> tuple[Image.Image, tuple[float, float, float, float]]:
        """Return the upright picture, and the box (left, top, right, bottom) in it that shows the source."""
        image = turned(self.image, self.orientation)
        width, height = self.covered or self.image.size
        if self.orientation >= 5:
            width, height = height, width
        left = image.width - width if self.orientation in _MIRRORED else 0
        top = image.height - height if self.orientation in _UPSIDE_DOWN else 0
        return image, (left, top, left + width, top + height)


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


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture with an EXIF orientation, 1 to 8, applied."""
    return image if orientation == 1 else image.transpose(TRANSPOSES[orientation])


def fit(decoded: Decoded, size: int) -> Photo:
    """Turn a photo upright, scale its short side down to a size (never up), and centre-crop to multiples of 8, in sRGB.

    Colours are converted after scaling, because that takes time by the pixel: for 12 megapixels in Display P3, which
    phones write, a tenth of a second.

    Args:
        decoded: the photo.
        size: target length of the short side in pixels.
    """
    source = decoded.upright_size
    scale = min(1.0, size / min(source))
    resized = max(8, round(source[0] * scale)), max(8, round(source[1] * scale))
    image, box = decoded.upright()
    if resized != image.size:
        image = image.resize(resized, Resampling.LANCZOS, box)
    image, converted = srgb.to_srgb(image)
    width, height = resized[0] // 8 * 8, resized[1] // 8 * 8
    left, top = (resized[0] - width) // 2, (resized[1] - height) // 2
    image = image.crop((left, top, left + width, top + height))
    image.info.clear()  # otherwise Pillow would save a PNG with the ICC profile of the source
    conversions = (*decoded.conversions, *converted)
    geometry = Geometry(*source, max(decoded.applied, decoded.orientation), conversions, *resized, left, top)
    return Photo(image, geometry, decoded.coarseness)


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
