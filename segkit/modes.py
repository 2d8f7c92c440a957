"""Pillow's odd pixel modes brought to eight bits without losing the picture.

Pillow's own convert() clips 16-bit grey to white, makes floats in 0..1 black and shows what transparency hides.
"""

import numpy as np
from PIL import Image

CONVERSIONS = ("16-bit", "32-bit", "float")


def to_eight_bits(image: Image.Image) -> tuple[Image.Image, str]:
    """Scale 16-bit, 32-bit and float grey to mode L; other modes come back as they are.

    Returns:
        The picture and the name of what was done, from CONVERSIONS, or "".

    Raises:
        ValueError: a float picture holds no finite value.
    """
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)), "16-bit"
    if image.mode == "I":
        values = np.asarray(image).clip(0).astype(np.float64)
        top = 65535 if values.max() <= 65535 else values.max()
        return _scaled(values / top), "32-bit"
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0).clip(0)
        top = next((limit for limit in (1, 255, 65535) if values.max() <= limit), values.max())
        return _scaled(values / top), "float"
    return image, ""


def _scaled(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values * 255).round().astype(np.uint8))


def has_alpha(image: Image.Image) -> bool:
    """Tell whether some pixels may be transparent: an alpha channel, or a transparent palette entry."""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def over_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """Lay a picture with transparency over white.

    Returns:
        The picture in mode RGB, and whether any pixel was not opaque.
    """
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):
        return rgba.convert("RGB"), False
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB"), True
