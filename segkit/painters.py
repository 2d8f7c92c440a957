"""What maps are painted with: the right palette, and the wrong ways in which public tools paint."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from segkit import palette
from segkit.color import BLACK, RGB
from segkit.palette import UNLABELLED, Palette

_GOLDEN = 137.508
"""Degrees from the hue of one class to that of the next."""


@dataclass(frozen=True)
class Painter:
    """A way to give classes colours.

    Attributes:
        name: "exact", "shifted", "bgr", "coco" or "golden-angle".
        palette: the one whose classes are painted.
        colours: each once.
        classes: which class each colour stands for, UNLABELLED for none; where classes share a colour, the lowest.
    """

    name: str
    palette: Palette
    colours: tuple[RGB, ...]
    classes: tuple[int, ...]


@lru_cache(maxsize=8)
def known(table: Palette) -> tuple[Painter, ...]:
    """Return the ways in which maps of a palette are known to be painted, the right one first."""
    unlabelled = [(BLACK, UNLABELLED)]
    right = [(swatch.rgb, swatch.index) for swatch in table]
    found = [
        _painter("exact", table, right + unlabelled),
        _painter("shifted", table, [(BLACK, 0), *((rgb, index + 1) for rgb, index in right[:-1])]),
        _painter("bgr", table, [(rgb[::-1], index) for rgb, index in right] + unlabelled),
    ]
    coco = palette.load("coco_panoptic")
    if coco.hash != table.hash:
        found.append(_painter("coco", coco, [(swatch.rgb, swatch.index) for swatch in coco] + unlabelled))
    return (*found, _painter("golden-angle", table, [(golden(index), index) for index in range(len(table))]))


def _painter(name: str, table: Palette, pairs: list[tuple[RGB, int]]) -> Painter:
    by_colour: dict[RGB, int] = {}
    for rgb, index in pairs:
        by_colour[rgb] = min(index, by_colour.get(rgb, index))
    return Painter(name, table, tuple(by_colour), tuple(by_colour.values()))


def golden(index: int) -> RGB:
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
