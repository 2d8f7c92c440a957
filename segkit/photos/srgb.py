"""Pillow's pixel modes and colour profiles brought to sRGB, 8 bits a channel, without losing the picture.

Pillow's own convert() clips 16-bit grey to white, makes floats in 0..1 black, ignores profiles and shows what
transparency hides.
"""

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

CONVERSIONS = ("16-bit", "32-bit", "float", "icc-to-srgb", "icc-unreadable", "alpha-over-white")
"""What may have been done to a photo's colours on the way in, in this order."""


def to_srgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Bring a picture of any mode to RGB: 8 bits, its profile applied, transparency laid over white.

    Returns:
        The picture in mode RGB, and what was done, from CONVERSIONS; nothing where no pixel could change.

    Raises:
        ValueError: a float picture holds no finite value, or a mode that nothing converts.
    """
    profile = image.info.get("icc_profile")
    image, narrowed = to_eight_bits(image)
    colors, alpha = split_alpha(image)
    colors, applied = apply_profile(colors, profile)
    if alpha is None:
        return colors, tuple(filter(None, (narrowed, applied)))
    white = Image.new("RGB", colors.size, "white")
    return Image.composite(colors, white, alpha), tuple(filter(None, (narrowed, applied, "alpha-over-white")))


def to_eight_bits(image: Image.Image) -> tuple[Image.Image, str]:
    """Scale 16-bit, 32-bit and float grey to mode L (LA where a value stands for transparent).

    Other modes come back as they are. A 32-bit or float picture does not say what white is: the lowest of 1 (floats
    only), 255 and 65535 that 99 % of its pixels keep to; brighter ones, such as lamps in linear light, become white.

    Returns:
        The picture and the name of what was done, from CONVERSIONS, or "".

    Raises:
        ValueError: a float picture holds no finite value.
    """
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        return _sixteen(image), "16-bit"
    if image.mode.startswith("I"):
        return _scaled(np.asarray(image).astype(np.float32), (255, 65535)), "32-bit"
    if image.mode == "F":
        values = np.asarray(image)
        if not np.isfinite(values).any():
            raise ValueError("a float picture without a finite value")
        return _scaled(np.nan_to_num(values), (1, 255, 65535)), "float"
    return image, ""


def _sixteen(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint16, copy=False)
    nearest = ((np.arange(65536) + 128) // 257).astype(np.uint8)
    grey = Image.fromarray(nearest[values])
    clear = image.info.get("transparency")
    if clear is not None:
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _scaled(values: NDArray[Any], whites: tuple[int, ...]) -> Image.Image:
    most = float(np.quantile(values[::4, ::4], 0.99))
    white = next((white for white in whites if most <= white), most)
    return Image.fromarray((values.clip(0, white) / np.float32(white) * 255).round().astype(np.uint8))


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Part a picture's colours from its transparency: an alpha channel, a transparent colour or palette entry.

    Returns:
        The picture without transparency, and its alpha in mode L; None where every pixel is opaque.
    """
    if image.mode not in ("RGBA", "LA", "PA", "RGBa") and "transparency" not in image.info:
        return image, None
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    colors = rgba.getchannel("R") if image.mode in ("L", "LA") else rgba.convert("RGB")
    return colors, None if alpha.getextrema() == (255, 255) else alpha


def apply_profile(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str]:
    """Convert a picture from its ICC profile to sRGB.

    Args:
        image: no transparency, 8 bits.
        profile: the embedded profile; None or empty is sRGB (CIE Lab for mode LAB).

    Returns:
        The picture in mode RGB and "icc-to-srgb"; "icc-unreadable" where the profile is broken or not one for such
        pixels and was passed over; "" where there was nothing to convert.

    Raises:
        ValueError: a mode that nothing converts.
    """
    if not profile and image.mode != "LAB":
        return image.convert("RGB"), ""
    try:
        if profile and _is_srgb(profile):
            return image.convert("RGB"), ""
        source = ImageCms.ImageCmsProfile(BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
        if source.profile.xcolor_space.strip() == "RGB":
            image = image.convert("RGB")
        return _convert(image, source), "icc-to-srgb"
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image.convert("RGB"), "icc-unreadable"


def _convert(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # only an in-place conversion returns None
    return converted


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    """Tell whether a profile leaves colours as they are; its name proves nothing ("linear sRGB")."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    if source.profile.xcolor_space.strip() != "RGB":
        return False
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(9, 81, 3)
    converted = np.asarray(_convert(Image.fromarray(cube), source))
    return int(np.abs(converted.astype(int) - cube).max()) <= 2
