"""Which interpretation of a map is plausible: classes that occur together, each at its usual height."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segkit.maps import pixels
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED
from segkit.palette.color import BLACK, RGB

INDOORS = frozenset(
    "floor|ceiling|bed|cabinet|table|curtain|sofa|shelf|mirror|rug|armchair|desk|wardrobe|lamp|bathtub|cushion|"
    "chest of drawers|counter|sink|fireplace|refrigerator|case|pool table|pillow|screen door|bookcase|blind|"
    "coffee table|toilet|book|countertop|stove|kitchen island|computer|swivel chair|bar|arcade machine|towel|light|"
    "chandelier|television receiver|apparel|ottoman|buffet|stage|washer|plaything|stool|basket|cradle|oven|"
    "microwave|dishwasher|screen|blanket|sconce|vase|tray|crt screen|plate|monitor|radiator|glass|clock".split("|")
)
OUTDOORS = frozenset(
    "building|sky|tree|road|grass|sidewalk|earth|mountain|car|water|house|sea|field|fence|rock|sand|skyscraper|"
    "grandstand|path|runway|river|bridge|hill|palm|boat|hovel|bus|truck|tower|awning|streetlight|airplane|dirt track|"
    "land|van|ship|fountain|canopy|swimming pool|waterfall|tent|minibike|bicycle|lake|pier|traffic light".split("|")
)
"""Primary names of ADE20K classes that are typical of one place; all others occur in both."""

ABOVE = frozenset(("sky", "ceiling"))
BELOW = frozenset(
    "floor|road|grass|sidewalk|earth|rug|water|sea|field|sand|path|runway|river|land|dirt track".split("|")
)

_SMALL = 0.002
"""Minimum share of the pixels for a colour to count."""

_WALL = 0.06
"""Minimum share of black for it to be a wall (as in the "shifted" scheme) rather than unlabelled pixels."""


def likeliest(packed: Packed, schemes: Sequence[Scheme]) -> Scheme:
    """Return the scheme that a map was most likely painted with.

    The right scheme wins unless another one makes nearly all classes plausible while at least three are implausible
    under the right one. A single one suffices if black, which is not a class in the right scheme, covers the share of a
    wall.

    Args:
        packed: (H, W) packed map whose colours, apart from black, occur in all schemes.
        schemes: candidate schemes, the right one first.
    """
    areas = _areas(packed)
    right, *others = schemes
    faults, _ = _faults(right, areas)
    black = areas.get(int(pixels.pack(np.array(BLACK, np.uint8))), (0.0, 0.0))[0]
    for scheme in others:
        remaining, classes = _faults(scheme, areas)
        wall = black >= _WALL and _is_class(scheme, BLACK) and classes > 3
        needed = max(1 if wall else 3, 0.2 * classes)
        if remaining <= (0.08 * classes if wall else 0) and faults - remaining >= needed:
            return scheme
    return right


def _areas(packed: Packed) -> dict[int, tuple[float, float]]:
    """Return the share of pixels and the mean height, 0 (top) to 1, of each packed colour."""
    colors, inverse = np.unique(packed, return_inverse=True)
    rows = np.repeat(np.linspace(0, 1, packed.shape[0]), packed.shape[1])
    counts: NDArray[np.int64] = np.bincount(inverse.ravel())
    heights = np.bincount(inverse.ravel(), weights=rows) / counts
    return dict(zip(colors.tolist(), zip(counts / packed.size, heights, strict=True), strict=True))


def _is_class(scheme: Scheme, color: RGB) -> bool:
    return color in scheme.colors and scheme.classes[scheme.colors.index(color)] != UNLABELLED


def _faults(scheme: Scheme, areas: dict[int, tuple[float, float]]) -> tuple[int, int]:
    """Return the number of implausible classes under a scheme, and the number of all classes.

    A class is implausible if it belongs to the rarer of the two places, or lies at an unusual height.
    """
    classes = dict(zip(pixels.pack(np.array(scheme.colors, np.uint8)).tolist(), scheme.classes, strict=True))
    present = [(classes.get(color, UNLABELLED), height) for color, (share, height) in areas.items() if share >= _SMALL]
    named = [(scheme.palette[index].name, height) for index, height in present if index != UNLABELLED]
    if scheme.palette.name != "ade20k":  # the lists above only know its classes
        return 0, len(named)
    misplaced = min(sum(name in place for name, _ in named) for place in (INDOORS, OUTDOORS))
    return misplaced + sum(not _fits(name, height) for name, height in named), len(named)


def _fits(name: str, height: float) -> bool:
    return (height < 0.6 or name not in ABOVE) and (height > 0.4 or name not in BELOW)
