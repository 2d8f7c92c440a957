"""Which reading of a map makes sense: classes that go together, each where it belongs."""

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
"""Classes of ADE20K by their primary names; the others are seen in both places."""

ABOVE = frozenset(("sky", "ceiling"))
BELOW = frozenset(
    "floor|road|grass|sidewalk|earth|rug|water|sea|field|sand|path|runway|river|land|dirt track".split("|")
)

_SMALL = 0.002
"""Share of the pixels from which a colour counts."""

_WALL = 0.06
"""Share of black from which it may be a wall rather than pixels without a class."""


def likeliest(packed: Packed, ways: Sequence[Scheme]) -> Scheme:
    """Return how a map was most likely painted.

    Args:
        packed: (H, W) a map in which every way has all colours, or black.
        ways: the right one first. It wins unless by another nearly all classes go together and stand where they
            belong, while by the right one at least three do not: one is enough where black, in which the right one sees
            no class, covers a wall's share.
    """
    areas = _areas(packed)
    right, *others = ways
    faults, _ = _faults(right, areas)
    black = areas.get(int(pixels.pack(np.array(BLACK, np.uint8))), (0.0, 0.0))[0]
    for way in others:
        wrong, classes = _faults(way, areas)
        wall = black >= _WALL and _is_class(way, BLACK) and classes > 3
        needed = max(1 if wall else 3, 0.2 * classes)
        if wrong <= (0.08 * classes if wall else 0) and faults - wrong >= needed:
            return way
    return right


def _areas(packed: Packed) -> dict[int, tuple[float, float]]:
    """Return the share of the pixels and the mean height, 0 at the top to 1, of each packed colour."""
    colors, places = np.unique(packed, return_inverse=True)
    rows = np.repeat(np.linspace(0, 1, packed.shape[0]), packed.shape[1])
    counts: NDArray[np.int64] = np.bincount(places.ravel())
    heights = np.bincount(places.ravel(), weights=rows) / counts
    return dict(zip(colors.tolist(), zip(counts / packed.size, heights, strict=True), strict=True))


def _is_class(way: Scheme, color: RGB) -> bool:
    return color in way.colors and way.classes[way.colors.index(color)] != UNLABELLED


def _faults(way: Scheme, areas: dict[int, tuple[float, float]]) -> tuple[int, int]:
    """Return how many classes are out of place, as a painter's colours are read, and of how many."""
    classes = dict(zip(pixels.pack(np.array(way.colors, np.uint8)).tolist(), way.classes, strict=True))
    found = [(classes.get(color, UNLABELLED), height) for color, (share, height) in areas.items() if share >= _SMALL]
    named = [(way.palette[index].name, height) for index, height in found if index != UNLABELLED]
    if way.palette.name != "ade20k":  # of other palettes nothing is known
        return 0, len(named)
    strange = min(sum(name in place for name, _ in named) for place in (INDOORS, OUTDOORS))
    return strange + sum(not _fits(name, height) for name, height in named), len(named)


def _fits(name: str, height: float) -> bool:
    return (height < 0.6 or name not in ABOVE) and (height > 0.4 or name not in BELOW)
