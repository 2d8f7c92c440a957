"""Painting schemes: the right palette, and the wrong colours that public tools are known to use."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segkit.maps import pixels
from segkit.maps.pixels import Packed
from segkit.palette import UNLABELLED, Palette
from segkit.palette.color import BLACK, RGB

_GOLDEN = 137.508
"""The golden angle: degrees between the hues of consecutive classes."""


_CITYSCAPES = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70),
    (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140),
    (180, 165, 180), (150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110),
)  # fmt: skip
"""Colours of Cityscapes' classes (cityscapesscripts.helpers.labels). COCO has many of them, for other classes, too."""

_FEW, _ALL = 3, 0.98
"""Colours of Cityscapes that a map must have, one of them not COCO's, and their share of the flat pixels."""


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


def are_cityscapes(colors: Packed, counts: NDArray[np.int64]) -> bool:
    """Report whether the flat colours of a map are those of Cityscapes, and not all of them COCO's as well.

    Args:
        colors: packed colours.
        counts: number of pixels of each.
    """
    is_known = np.isin(colors, pixels.pack(np.array([*_CITYSCAPES, BLACK], np.uint8)))
    coco = pixels.pack(np.array([swatch.rgb for swatch in Palette.load("coco_panoptic")], np.uint8))
    named = colors[is_known & (colors != 0)]
    not_coco = named[~np.isin(named, coco)]
    return len(named) >= _FEW and len(not_coco) > 0 and bool(counts[is_known].sum() >= _ALL * counts.sum())
