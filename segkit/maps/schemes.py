"""What maps are painted with: the right palette, and the wrong ways in which public tools paint."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from segkit.palette import UNLABELLED, Palette
from segkit.palette.color import BLACK, RGB

_GOLDEN = 137.508
"""Degrees from the hue of one class to that of the next."""


@dataclass(frozen=True)
class Scheme:
    """A way to give classes colours.

    Attributes:
        name: "exact", "shifted", "bgr", "coco" or "golden-angle".
        palette: the one whose classes are painted.
        colors: each once.
        classes: which class each colour stands for, UNLABELLED for none; where classes share a colour, the lowest.
    """

    name: str
    palette: Palette
    colors: tuple[RGB, ...]
    classes: tuple[int, ...]


@lru_cache(maxsize=8)
def known(table: Palette) -> tuple[Scheme, ...]:
    """Return the ways in which maps of a palette are known to be painted, the right one first."""
    unlabelled = [(BLACK, UNLABELLED)]
    right = [(swatch.rgb, swatch.index) for swatch in table]
    found = [
        _scheme("exact", table, right + unlabelled),
        _scheme("shifted", table, [(BLACK, 0), *((rgb, index + 1) for rgb, index in right[:-1])]),
        _scheme("bgr", table, [(rgb[::-1], index) for rgb, index in right] + unlabelled),
    ]
    coco = Palette.load("coco_panoptic")
    if coco.hash != table.hash:
        found.append(_scheme("coco", coco, [(swatch.rgb, swatch.index) for swatch in coco] + unlabelled))
    return (*found, _scheme("golden-angle", table, [(golden_angle_color(index), index) for index in range(len(table))]))


def _scheme(name: str, table: Palette, pairs: list[tuple[RGB, int]]) -> Scheme:
    by_color: dict[RGB, int] = {}
    for rgb, index in pairs:
        by_color[rgb] = min(index, by_color.get(rgb, index))
    return Scheme(name, table, tuple(by_color), tuple(by_color.values()))


def golden_angle_color(index: int) -> RGB:
    """Return the colour that comfyui_controlnet_aux's OneFormer gives a class since 2025.

    Hue, saturation and value are rounded down to 8 bits (hue to half degrees) and then converted as OpenCV does it, in
    single precision. Class 0, the wall, is black.
    """
    if not index:
        return BLACK
    one = np.float32(1)
    hue = np.float32(int(index * _GOLDEN % 360 / 2)) * np.float32(6 / 180)
    saturation = np.float32(int((0.6 + 0.2 * (index % 3)) * 255)) / np.float32(255)
    value = np.float32(int((0.7 + 0.3 * (index % 2)) * 255)) / np.float32(255)
    part = hue - np.floor(hue)
    low, falling = value * (one - saturation), value * (one - saturation * part)
    rising = value * (one - saturation * (one - part))
    warm = [(value, rising, low), (falling, value, low), (low, value, rising)]
    cold = [(low, falling, value), (rising, low, value), (value, low, falling)]
    red, green, blue = (int(np.rint(channel * np.float32(255))) for channel in [*warm, *cold][int(hue)])
    return red, green, blue
