"""Conversion of any pixel mode and colour profile to sRGB, 8 bits a channel.

Pillow's convert() does not suffice: it clips 16-bit grey to white, turns floats in 0..1 black, ignores ICC profiles and
reveals colours hidden by transparency.
"""

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

CONVERSIONS = ("16-bit", "32-bit", "float", "icc-to-srgb", "icc-unreadable", "alpha-over-white")
"""Colour conversions that a photo may undergo, in this order."""


def to_srgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert a picture of any mode to 8-bit sRGB: apply its ICC profile, composite transparency over white.

    Returns:
        The picture in mode RGB, and the conversions that were applied, from CONVERSIONS; conversions without an effect
        on any pixel are left out.

    Raises:
        ValueError: a float picture has NaN or no finite value, or the mode cannot be converted.
    """
    profile = image.info.get("icc_profile")
    image, narrowed = to_eight_bits(image)
    colors, alpha = split_alpha(image)
    colors, applied = apply_profile(colors, profile)
    if alpha is None:
        return colors, tuple(filter(None, (narrowed, applied)))
    white = Image.new("RGB", colors.size, "white")
    return Image.composite(colors, white, alpha), tuple(filter(None, (narrowed, applied, "alpha-over-white")))


def to_plain(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert a picture of any mode to one of 8 bits without transparency, which may be scaled before `to_srgb`.

    Colours of such pictures stay as they are, with their ICC profile; others are converted by `to_srgb`.

    Returns:
        A picture of mode RGB or L, and the conversions that were applied.

    Raises:
        ValueError: as `to_srgb`.
    """
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image, ()
    converted, conversions = to_srgb(image)
    converted.info.clear()  # its profile has been applied
    return converted, conversions


def to_eight_bits(image: Image.Image) -> tuple[Image.Image, str]:
    """Scale 16-bit, 32-bit and float grey to mode L, or LA if one value is marked as transparent.

    Pictures of other modes are returned unchanged; for 32-bit and float pictures see `scale`.

    Returns:
        The picture, and the conversion from CONVERSIONS or "".

    Raises:
        ValueError: a float picture has NaN or no finite value.
    """
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        return _from_16_bits(image), "16-bit"
    if image.mode.startswith("I"):
        values, conversion = scale(np.asarray(image))
        return Image.fromarray(values), conversion
    if image.mode == "F":
        values, conversion = scale(np.asarray(image))
        return Image.fromarray(values), conversion
    return image, ""


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint16, copy=False)
    rounded = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # 65535 is 255 * 257
    grey = Image.fromarray(rounded[values])
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def scale(values: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Scale samples of 16 bits, 32 bits or floats to 0..255, all channels alike.

    32-bit and float pictures do not define white. It is taken as the lowest of 1 (floats only), 255 and 65535 that at
    least 99 % of the pixels do not exceed. Where that would leave the picture nearly black, because the 99 % quantile
    is less than a quarter of it (a sixteenth, if all values are whole), and for still larger values, the quantile is
    white. Brighter pixels, such as lamps in linear light, are clipped. Black is 0, or the 1 % quantile if that lies
    well below.

    Args:
        values: (H, W) or (H, W, C).

    Returns:
        The scaled values, and the conversion from CONVERSIONS.

    Raises:
        ValueError: floats with NaN, or without a finite value.
    """
    if values.dtype.kind != "f" and values.dtype.itemsize <= 2:
        top = np.iinfo(values.dtype).max
        low = np.iinfo(values.dtype).min
        return ((values.astype(np.float32) - low) * np.float32(255 / (top - low))).round().astype(np.uint8), "16-bit"
    if values.dtype.kind != "f":
        values = values.astype(np.float32)
        return _between(values, *_range(values, (255, 65535))), "32-bit"
    if missing := int(np.isnan(values).sum()):
        raise ValueError(f"a float picture in which {missing:,} of {values.size:,} values are NaN")
    if not np.isfinite(values).any():
        raise ValueError("a float picture without a finite value")
    values = np.nan_to_num(values.astype(np.float32, copy=False))
    return _between(values, *_range(values, (1, 255, 65535))), "float"


def _between(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    scaled = (values.clip(black, white) - np.float32(black)) / np.float32(white - black) * 255
    return scaled.round().astype(np.uint8)


def _range(values: NDArray[Any], whites: tuple[int, ...]) -> tuple[float, float]:
    """Return the values that become black and white."""
    sample = values[::4, ::4]  # a sixteenth of the pixels is enough
    dark, bright = (float(quantile) for quantile in np.quantile(sample, (0.01, 0.99)))
    if dark < -0.05 * max(abs(bright), 1):  # more than the ringing of a filter: -1..1, or logarithms
        return dark, max(bright, dark + 1e-6)
    # whole numbers are values of 8 or 16 bits, which may be dark; other floats are light, which has any scale
    share = 1 / 16 if (sample == np.floor(sample)).all() else 1 / 4
    for white in whites:
        if bright <= white and (white == whites[0] or bright > white * share):
            return 0.0, float(white)
    return 0.0, bright


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Separate colours from transparency, be it an alpha channel, a transparent colour or a palette entry.

    Returns:
        The picture without transparency, and its alpha in mode L or None if all pixels are opaque.
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
        image: 8-bit picture without transparency.
        profile: the embedded profile; None or empty means sRGB (CIE Lab for mode LAB).

    Returns:
        The picture in mode RGB, and "icc-to-srgb", "icc-unreadable" if the profile is broken or does not fit the mode
        and was ignored, or "" if no conversion was needed.

    Raises:
        ValueError: the mode cannot be converted.
    """
    if not profile and image.mode != "LAB":
        return image if image.mode == "RGB" else image.convert("RGB"), ""  # convert() would copy all pixels
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
    """Report whether a profile leaves colours nearly unchanged. Names prove nothing: "linear sRGB" is not sRGB."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    if source.profile.xcolor_space.strip() != "RGB":
        return False
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(9, 81, 3)
    converted = np.asarray(_convert(Image.fromarray(cube), source))
    return int(np.abs(converted.astype(int) - cube).max()) <= 2  # levels of 255; rounding inside LittleCMS
