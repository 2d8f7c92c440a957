"""Which interpretation of a map is plausible: classes that occur together, each at its usual height."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from segkit.maps import pixels
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED, Palette

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

_HEIGHTS = {
    (0.15, 0.12): "|".join(ABOVE),
    (0.82, 0.14): "|".join((*BELOW, "lake")),
    (0.25, 0.15): "chandelier|light|streetlight|traffic light|awning|canopy|fan|hood|airplane",
    (0.42, 0.15): "wall|building|tree|windowpane|mountain|curtain|painting|house|mirror|skyscraper|hill|blind|palm|"
    "tower|screen|poster|clock|sconce|bulletin board|signboard|column|waterfall|bookcase|flag",
    (0.55, 0.15): "door|cabinet|shelf|wardrobe|fence|railing|person|plant|lamp|bus|truck|van|bridge|refrigerator|"
    "fireplace|screen door|countertop|television receiver|boat|ship|rock|oven|microwave",
    (0.70, 0.14): "bed|table|chair|car|sofa|armchair|seat|desk|bathtub|cushion|base|chest of drawers|counter|sink|"
    "pool table|pillow|stairs|coffee table|toilet|bench|stove|kitchen island|swivel chair|ottoman|stool|barrel|"
    "basket|minibike|bicycle|dishwasher|washer|cradle|blanket|ashcan|stage|swimming pool|fountain",
}
"""Mean and standard deviation of the height at which classes lie, from 0, the top, to 1."""

_USUAL = {name: height for height, names in _HEIGHTS.items() for name in names.split("|")}
_ANYWHERE = (0.5, 0.25)
_LOWEST = log(0.02)
"""Lowest log likelihood of a height, relative to the usual one: photos are taken from anywhere."""

_ELSEWHERE = log(0.05)
"""Log likelihood of a class that belongs to the other place, relative to one that belongs to this."""

_SMALL = 0.002
"""Minimum share of the pixels for a class to count."""

_WHOLE = 0.02
"""Share of the pixels from which on a class counts fully; the position of smaller ones is left to chance."""

_HOLES = 0.06
"""Share of unlabelled pixels above which a map is unusual."""

_DECISIVE = 4.0
"""Difference of log likelihoods from which on another reading wins."""

_PER_CLASS = 0.45
"""The same for each class, in maps of many."""

_UNSURE = 0.5
"""Share of a decisive difference from which on another reading may be right."""

BLACK, HINT = 0.15, 1.0
"""Share of black pixels, and difference of log likelihoods, from which on a map of few classes may be shifted."""

_BACKGROUND = frozenset(
    "wall|building|sky|floor|tree|ceiling|road|grass|sidewalk|earth|mountain|water|sea|field|house|sand|river|hill".split(
        "|"
    )
)
"""Classes that fill most of most photos."""

_SENSIBLE = ((4, 0.4, -1.0), (6, 0.25, -1.6), (12, 0.0, -np.inf))
"""A reading makes sense with so many classes, this share of background, and this mean log likelihood of a class: the
more classes are typical of one place, the less else is needed. About 1 in 300 maps of random classes does by chance."""

_ODD = 0.08
"""Share of the classes that may belong to the other place."""


@dataclass(frozen=True)
class Area:
    """All pixels of one value of a map.

    Attributes:
        value: the class index, or the packed colour.
        share: of all pixels, 0 to 1.
        height: mean height, 0 (top) to 1.
    """

    value: int
    share: float
    height: float


def measure(values: NDArray[np.integer]) -> list[Area]:
    """Return the area of each value of an (H, W) map, of those that are not too small to count."""
    height = values.shape[0]
    rows = np.linspace(0, 1, height) if height > 1 else np.array([0.5])
    distinct, inverse = np.unique(values, return_inverse=True)
    places = inverse.reshape(values.shape)
    counts = np.bincount(places.ravel())
    heights = np.bincount(places.ravel(), weights=np.repeat(rows, values.shape[1])) / counts
    shares = counts / values.size
    large = np.flatnonzero(shares >= _SMALL).tolist()
    return [Area(int(distinct[index]), float(shares[index]), float(heights[index])) for index in large]


@dataclass(frozen=True)
class Reading:
    """How plausible a reading of a map is.

    Attributes:
        likelihood: log likelihood, relative to a map whose classes are where they usually are.
        classes: number of classes.
        sensible: whether the reading makes sense by itself: random classes in random places do not.
    """

    likelihood: float
    classes: int
    sensible: bool


def judge(areas: Sequence[tuple[str, Area]]) -> Reading:
    """Judge a reading of a map.

    Args:
        areas: name of the class and area; "" for unlabelled pixels.
    """
    named = [(name, area) for name, area in areas if name]
    holes = sum(area.share for name, area in areas if not name)
    background = sum(area.share for name, area in named if name in _BACKGROUND)
    weights = [min(1.0, area.share / _WHOLE) for _, area in named]
    misplaced = [
        [weight * (name in others) for weight, (name, _) in zip(weights, named, strict=True)]
        for others in (OUTDOORS, INDOORS)
    ]
    total = sum(weight * _height(name, area) for weight, (name, area) in zip(weights, named, strict=True))
    total += _ELSEWHERE * min(map(sum, misplaced)) - (holes > _HOLES)
    mean = total / max(sum(weights), 1.0)
    odd = min(np.count_nonzero(place) for place in misplaced) / max(len(named), 1)
    sensible = bool(odd <= _ODD) and any(
        len(named) >= classes and background >= share and mean >= least for classes, share, least in _SENSIBLE
    )
    return Reading(total, len(named), sensible)


def _height(name: str, area: Area) -> float:
    mean, deviation = _USUAL.get(name, _ANYWHERE)
    return max(_LOWEST, -0.5 * ((area.height - mean) / deviation) ** 2)


def likeliest(packed: Packed, schemes: Sequence[Scheme]) -> tuple[Scheme, Scheme | None]:
    """Return the scheme that a map was most likely painted with, and another that may be right as well.

    The right scheme wins unless another one makes sense of the map and is much more likely.

    Args:
        packed: (H, W) packed map whose colours, apart from black, occur in all schemes.
        schemes: candidate schemes, the right one first.
    """
    areas = measure(packed)
    right, *others = schemes
    base = _of_scheme(right, areas)
    doubt = None
    for scheme in others:
        advantage = gain(base, _of_scheme(scheme, areas))
        if advantage >= 1:
            return scheme, None
        if advantage >= _UNSURE:
            doubt = doubt or scheme
    return right, doubt


def hints_at_shift(packed: Packed, right: Scheme, shifted: Scheme) -> bool:
    """Report whether a map with much black makes more sense if black is the first class.

    Maps of few classes make no sense by themselves, so this is a hint, where `likeliest` decides. In maps of two to
    four classes of the toy world it is right 140 times out of 147 if black was a wall, and given 19 times out of 705 if
    another class was left black.

    Args:
        packed: (H, W) packed map in colours of both schemes.
        right: the scheme in which black is unlabelled.
        shifted: the scheme in which black is the first class.
    """
    areas = measure(packed)
    black = sum(area.share for area in areas if area.value == 0)
    return black >= BLACK and _of_scheme(shifted, areas).likelihood - _of_scheme(right, areas).likelihood >= HINT


def is_shifted(labels: NDArray[np.uint8], palette: Palette) -> bool:
    """Report whether a map may be painted with a list that starts with black: see `likeliest`.

    Args:
        labels: (H, W) classes, 255 where the map is black.
        palette: the classes.
    """
    return gain(*readings(measure(labels), palette)) >= _UNSURE


def readings(areas: Sequence[Area], palette: Palette) -> tuple[Reading, Reading]:
    """Judge a map of exact colours as what it says, and as painted with a list that starts with black.

    Args:
        areas: of its classes; the value 255 is black.
        palette: the classes.
    """
    names = [*(swatch.name for swatch in palette), *[""] * (256 - len(palette))]
    right = judge([(names[area.value], area) for area in areas])
    shifted = judge([(names[(area.value + 1) % 256], area) for area in areas])
    return right, shifted


def gain(one: Reading, other: Reading) -> float:
    """Return by how much the other reading is likelier than the one, in units of a decisive difference.

    A reading that makes no sense by itself gains nothing.
    """
    difference = other.likelihood - one.likelihood
    better = other if difference > 0 else one
    return difference / max(_DECISIVE, _PER_CLASS * better.classes) if better.sensible else 0.0


def _of_scheme(scheme: Scheme, areas: Sequence[Area]) -> Reading:
    classes = dict(zip(pixels.pack(np.array(scheme.colors, np.uint8)).tolist(), scheme.classes, strict=True))
    indices = [classes.get(area.value, UNLABELLED) for area in areas]
    names = ["" if index == UNLABELLED else scheme.palette[index].name for index in indices]
    return judge(list(zip(names, areas, strict=True)))
