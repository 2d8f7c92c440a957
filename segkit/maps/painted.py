"""Areas painted in one flat colour that is nearly the colour of a class, or that of no class.

People paint maps by hand, with colours picked from a screen or typed from memory. A large flat area is never a blur:
it stands for the nearest class if that is certain; else the map is refused, with the colour and the choice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.maps import pixels
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED
from segkit.palette.color import RGB, to_hex

RADIUS = 20.0
"""RGB L2 within which a flat colour may stand for a class."""

MARGIN = 3.0
"""Minimum amount by which all other classes must be farther. About fifty pairs of ADE20K are 10 apart, so that colours
within 3.5 of a class are certain, and farther ones if the palette is sparse around them."""

CERTAIN = 3.5
"""RGB L2 within which a flat colour stands for a class, whatever the palette."""

NOISE = 1.5
"""The same after JPEG, for colours that are at least near a class: areas of right colours keep more at quality 40."""

LARGE = 9
"""Side in pixels of the square of one colour that proves an area in a map with blurred borders."""

SMALL = 3
"""The same in a map without any blur."""

_LISTED = 3
"""Number of areas that a description lists."""

_TITLES = {"ade20k": "ADE20K", "coco_panoptic": "COCO"}


@dataclass(frozen=True)
class PaintedArea:
    """All pixels of one flat colour that no class has.

    Attributes:
        color: the colour.
        pixels: their number.
        label: the nearest class, or UNLABELLED for black.
        distance: RGB L2 to its colour.
        margin: by how much the second nearest class is farther.
        certain: whether the area stands for the nearest class.
    """

    color: RGB
    pixels: int
    label: int
    distance: float
    margin: float
    certain: bool


def constant(packed: NDArray[np.unsignedinteger[Any]], side: int) -> NDArray[np.bool_]:
    """Return where a square of one colour begins: (H, W), True at its upper left pixel.

    Args:
        packed: (H, W) packed colours or values.
        side: of the square in pixels, at least 2.
    """
    result = np.zeros(packed.shape, bool)
    if min(packed.shape) < side:
        return result
    same = packed[:, 1:] == packed[:, :-1]
    square = same[1:] & same[:-1] & (packed[1:, 1:] == packed[:-1, 1:])  # of side 2
    covered = 2
    while covered < side:
        step = min(covered - 1, side - covered)  # overlapping squares that share a row and a column are of one colour
        square = square[step:] & square[:-step]
        square = square[:, step:] & square[:, :-step]
        covered += step
    result[: square.shape[0], : square.shape[1]] = square
    return result


def find(packed: Packed, scheme: Scheme, side: int) -> list[PaintedArea]:
    """Find the flat areas whose colour the scheme lacks, largest first.

    Args:
        packed: (H, W) the map.
        scheme: the colours of classes.
        side: of the square of one colour that proves an area.
    """
    proven = np.unique(packed[constant(packed, side)])
    known = pixels.pack(np.array(scheme.colors, np.uint8))
    foreign = proven[~np.isin(proven, known) & (proven != pixels.NO_COLOR)]
    if not len(foreign):
        return []
    colors, counts = np.unique(packed[np.isin(packed, foreign)], return_counts=True)
    return areas(colors, counts, scheme)


def areas(colors: Packed, counts: NDArray[np.int64], scheme: Scheme) -> list[PaintedArea]:
    """Return what flat colours stand for, the most frequent first.

    Args:
        colors: (N,) packed colours.
        counts: (N,) number of pixels of each.
        scheme: the colours of classes, at least two.
    """
    targets = np.array(scheme.colors, np.float64)
    sure = half_gap(scheme)
    result = []
    for place in np.argsort(-counts, kind="stable").tolist():
        rgb = pixels.unpack(colors[place])
        distances = np.linalg.norm(targets - rgb, axis=1)
        nearest, second = np.argsort(distances, kind="stable")[:2].tolist()
        distance, margin = float(distances[nearest]), float(distances[second] - distances[nearest])
        certain = distance < sure or (distance <= RADIUS and margin >= MARGIN)
        red, green, blue = rgb.tolist()
        label = scheme.classes[nearest]
        result.append(PaintedArea((red, green, blue), int(counts[place]), label, distance, margin, certain))
    return result


@lru_cache(maxsize=16)
def half_gap(scheme: Scheme) -> float:
    """Return half the distance of the closest two colours: the radius within which the nearest class is certain."""
    colors = np.array(scheme.colors, np.float64)
    gaps = np.linalg.norm(colors[:, None] - colors, axis=2)
    return float(gaps[~np.eye(len(colors), dtype=bool)].min()) / 2


def extend(scheme: Scheme, areas: Iterable[PaintedArea]) -> Scheme:
    """Return a scheme in which the colours of areas stand for their classes; those of uncertain areas for none."""
    listed = list(areas)
    classes = tuple(area.label if area.certain else UNLABELLED for area in listed)
    return replace(
        scheme, colors=scheme.colors + tuple(area.color for area in listed), classes=scheme.classes + classes
    )


def describe(areas: Sequence[PaintedArea], scheme: Scheme) -> str:
    """Describe areas: number of pixels, colour, nearest class and distance of those farthest from it."""
    palette = scheme.palette
    title = _TITLES.get(palette.name)
    lacks = f"no {title} colour" if title else f"no colour of {palette.name}"
    texts = []
    for area in sorted(areas, key=lambda area: -area.distance)[:_LISTED]:
        name = "unlabelled" if area.label == UNLABELLED else palette[area.label].name
        text = f"{area.pixels:,} flat pixel{'s' * (area.pixels != 1)} of {to_hex(area.color)}, {lacks}; "
        text += f"the nearest is {name}, {area.distance:.1f} away"
        if not area.certain and area.distance <= RADIUS:
            text += f", but another is only {area.margin:.1f} farther"
        texts.append(text)
    more = f", and {len(areas) - _LISTED:,} more colours" if len(areas) > _LISTED else ""
    return "; ".join(texts) + more
