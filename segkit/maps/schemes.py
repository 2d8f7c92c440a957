"""Painting schemes: the right palette, and the wrong colours that public tools are known to use."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from segkit.palette import UNLABELLED, Palette
from segkit.palette.color import BLACK, RGB

_GOLDEN = 137.508
"""The golden angle: degrees between the hues of consecutive classes."""


@dataclass(frozen=True)
class Scheme:
    """A mapping from colours to classes.

    Attributes:
        name: "exact", "shifted", "bgr", "coco" or "golden-angle".
        palette: the palette whose classes are painted.
        colors: the distinct colours.
        classes: the class of each colour, UNLABELLED for none; the lowest index where classes share a colour.
    """

    name: str
    palette: Palette
    colors: tuple[RGB, ...]
    classes: tuple[int, ...]


@lru_cache(maxsize=8)
def known(palette: Palette) -> tuple[Scheme, ...]:
    """Return the known ways to paint maps of a palette, the right one first."""
    unlabelled = [(BLACK, UNLABELLED)]
    exact = [(swatch.rgb, swatch.index) for swatch in palette]
    schemes = [
        _scheme("exact", palette, exact + unlabelled),
        _scheme("shifted", palette, [(BLACK, 0), *((rgb, index + 1) for rgb, index in exact[:-1])]),
        _scheme("bgr", palette, [(rgb[::-1], index) for rgb, index in exact] + unlabelled),
    ]
    coco = Palette.load("coco_panoptic")
    if coco.hash != palette.hash:
        schemes.append(_scheme("coco", coco, [(swatch.rgb, swatch.index) for swatch in coco] + unlabelled))
    golden = [(golden_angle_color(index), index) for index in range(len(palette))]
    return (*schemes, _scheme("golden-angle", palette, golden))


def _scheme(name: str, palette: Palette, pairs: list[tuple[RGB, int]]) -> Scheme:
    by_color: dict[RGB, int] = {}
    for rgb, index in pairs:
        by_color[rgb] = min(index, by_color.get(rgb, index))
    return Scheme(name, palette, tuple(by_color), tuple(by_color.values()))


def golden_angle_color(index: int) -> RGB:
    """Return the colour that comfyui_controlnet_aux's OneFormer has used for a class since 2025.

    Hue, saturation and value are truncated to 8 bits (hue in units of two degrees) and converted to RGB as in OpenCV,
    in single precision. Class 0, wall, is black.
    """
    if not index:
        return BLACK
    one = np.float32(1)
    hue = np.float32(int(index * _GOLDEN % 360 / 2)) * np.float32(6 / 180)
    saturation = np.float32(int((0.6 + 0.2 * (index % 3)) * 255)) / np.float32(255)
    value = np.float32(int((0.7 + 0.3 * (index % 2)) * 255)) / np.float32(255)
    fraction = hue - np.floor(hue)
    low, falling = value * (one - saturation), value * (one - saturation * fraction)
    rising = value * (one - saturation * (one - fraction))
    sectors = [
        (value, rising, low),
        (falling, value, low),
        (low, value, rising),
        (low, falling, value),
        (rising, low, value),
        (value, low, falling),
    ]
    red, green, blue = (int(np.rint(channel * np.float32(255))) for channel in sectors[int(hue)])
    return red, green, blue
