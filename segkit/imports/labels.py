"""Control maps of other tools become labels of the dataset's palette, or are left out with a reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit import maps, photos
from segkit.dataset.formats.items import Segment
from segkit.errors import MapError, PhotoError
from segkit.imports.settings import Repair
from segkit.maps import codec, diagnose, label_ids, snap
from segkit.maps.codec import Labels
from segkit.maps.snap import Snapped
from segkit.palette import UNLABELLED, Palette
from segkit.photos import Geometry

SMALLEST = 0.5
"""Least ratio of a map's width to that of the stored photo: a coarser map would give whole blocks one class."""

Mapping256 = NDArray[np.uint8]
"""(256,) class of the dataset's palette for each class of another, UNLABELLED for those without a counterpart."""


@dataclass(frozen=True)
class Rules:
    """How the maps of one collection are read.

    Attributes:
        palette: of the dataset.
        painted_with: palette of the maps.
        mapping: from the maps' palette to the dataset's; None if indices stay.
        repair: which repairs are made.
        max_doubt: share of doubtful pixels above which a map is left out.
        first_id: finds out the value of the first class in maps of class indices; None if unknown.
        fixed_id: that value where the layout fixes it; None otherwise.
        categories: class of the dataset's palette for each category of COCO panoptic maps.
    """

    palette: Palette
    painted_with: Palette
    mapping: Mapping256 | None = None
    repair: Repair = "auto"
    max_doubt: float = 0.1
    first_id: Callable[[], int | None] = lambda: None
    fixed_id: int | None = None
    categories: Mapping[int, int] | None = None


@dataclass(frozen=True)
class Reading:
    """A map that was read.

    Attributes:
        labels: (H, W) uint8, classes of the dataset's palette; 255 = unlabelled.
        cause, changed, doubtful: see Origin.
    """

    labels: Labels
    cause: str = "exact"
    changed: float = 0.0
    doubtful: float = 0.0


def read(data: bytes, rules: Rules, segments: tuple[Segment, ...] | None = None) -> Reading:
    """Read a map: exactly where possible, else repaired as `segkit snap` does, as far as the rules allow.

    Args:
        data: the file.
        rules: how.
        segments: areas of a COCO panoptic map; None for other maps.

    Raises:
        PhotoError: "map-unreadable", "map-unsure", "map-not-exact" or "map-empty".
    """
    try:
        image = maps.decode(BytesIO(data))
    except MapError as error:
        raise PhotoError("map-unreadable", f"the map {error}") from None
    reading = _panoptic(image, segments, rules) if segments is not None else _read(image, data, rules)
    if (reading.labels == UNLABELLED).all():
        raise PhotoError("map-empty", "no pixel of the map has a class of the palette")
    return reading


def _read(image: Image.Image, data: bytes, rules: Rules) -> Reading:
    if codec.is_exact(image, rules.painted_with):
        labels, off = codec.read(image, rules.painted_with)
        if not off:
            return Reading(mapped(labels, rules.mapping))
    if rules.fixed_id is not None:
        try:
            return _indices(image, rules, rules.fixed_id)
        except MapError:  # its pixels have colours: another kind of map, in the place of one of indices
            pass
    return _snapped(image, data, rules)


def _indices(image: Image.Image, rules: Rules, first: int) -> Reading:
    """Read class indices.

    Raises:
        MapError: the picture holds colours.
        PhotoError: an index is no class.
    """
    ids = label_ids.read(image, values=True)
    labels = label_ids.to_labels(ids, first)
    wrong = (labels >= len(rules.painted_with)) & (labels != UNLABELLED)
    if wrong.any():
        name, classes = rules.painted_with.name, len(rules.painted_with)
        raise PhotoError("map-unsure", f"the map has the value {ids[wrong][0]}; {name} has {classes} classes")
    return Reading(mapped(labels, rules.mapping), "label-ids")


def _snapped(image: Image.Image, data: bytes, rules: Rules) -> Reading:
    try:
        # a guess would be a colour that is not its class: doubtful pixels get none
        snapped = snap.snap(maps.MapFile(image, data), rules.painted_with, first_id=rules.first_id, unsure="unlabelled")
    except MapError as error:
        empty = diagnose.identify(image, rules.painted_with).cause == "blank"
        raise PhotoError("map-empty" if empty else "map-unsure", f"the map {error}") from None
    cause = snapped.diagnosis.cause
    if snapped.palette.hash != rules.painted_with.hash:
        raise PhotoError(
            "map-unsure",
            f"the map is painted with {snapped.palette.name}, not {rules.painted_with.name}; to map its classes by "
            f"name: maps_palette={snapped.palette.name}",
        )
    _require_allowed(snapped, rules.repair)
    if cause == "foreign":
        raise PhotoError("map-unsure", f"the map {snapped.diagnosis.painted or snapped.diagnosis.evidence}")
    if snapped.doubtful > rules.max_doubt:
        raise PhotoError(
            "map-unsure",
            f"{snapped.doubtful:.0%} of the map's pixels fit no class with certainty ({diagnose.CAUSES[cause]}); "
            f"max_doubt={rules.max_doubt:g} allows fewer",
        )
    changed = 0.0 if cause in ("exact", "label-ids") else snapped.changed
    return Reading(mapped(snapped.labels, rules.mapping), cause, round(changed, 4), round(snapped.doubtful, 4))


def _require_allowed(snapped: Snapped, repair: Repair) -> None:
    """Refuse a repair that the rules do not allow. A lossless one only replaces colours, each by that of its class."""
    diagnosis = snapped.diagnosis
    lossless = diagnosis.damage == "none" and not snapped.doubtful
    if repair == "auto" or diagnosis.cause == "exact" or (repair == "only-lossless" and lossless):
        return
    raise PhotoError("map-not-exact", f"the map needs repair, which repair={repair} forbids: {diagnosis.evidence}")


def _panoptic(image: Image.Image, segments: tuple[Segment, ...], rules: Rules) -> Reading:
    rgb = np.asarray(image.convert("RGB")).astype(np.uint32)
    packed = rgb[..., 0] | rgb[..., 1] << 8 | rgb[..., 2] << 16
    numbers, places = np.unique(packed, return_inverse=True)
    categories = rules.categories or {}
    classes = {segment.number: categories.get(segment.category, UNLABELLED) for segment in segments}
    if unknown := next((number for number in numbers.tolist() if number and number not in classes), None):
        raise PhotoError("map-unsure", f"the map has the segment {unknown}, which its list does not name")
    table = np.array([classes.get(number, UNLABELLED) for number in numbers.tolist()], np.uint8)
    return Reading(table[places.reshape(packed.shape)], "panoptic-ids")


def mapped(labels: Labels, mapping: Mapping256 | None) -> Labels:
    """Return labels of another palette."""
    return labels if mapping is None else mapping[labels]


def with_classes(labels: Labels, names: Sequence[str], palette: Palette) -> Labels:
    """Return labels read from colours, where a colour that classes share stands for the one that is known to occur.

    Args:
        labels: (H, W); a shared colour became the first of its classes (ADE20K: road, not skyscraper).
        names: the classes of the map.
        palette: of the labels.
    """
    known = {palette.find(name).index for name in names if palette.candidates(name)}
    present = set(np.unique(labels).tolist()) - {UNLABELLED}
    for index in known - present:
        first = palette.by_color[palette[index].rgb]
        if first in present and first not in known:
            labels = np.where(labels == first, np.uint8(index), labels)
    return labels


def of_one_color(names: Sequence[str], palette: Palette) -> str:
    """Return two classes that share a colour, as in "road and skyscraper"; "" if there are none."""
    by_color: dict[object, str] = {}
    for name in names:
        other = by_color.setdefault(palette.find(name).rgb, name)
        if other != name:
            return f"{other} and {name}"
    return ""


def fit(labels: Labels, geometry: Geometry, size: tuple[int, int]) -> Labels:
    """Scale and crop labels exactly as their photo was.

    Args:
        labels: (H, W) labels in the proportions of the photo, upright or as it is stored in its file.
        geometry: the photo's transform.
        size: width and height of the stored photo.

    Returns:
        Labels of that size.

    Raises:
        PhotoError: "map-size" or "map-unsure".
    """
    image = Image.fromarray(labels)
    source = geometry.source_width, geometry.source_height
    orientation = geometry.orientation
    upright, lying = _is_alike(image.size, source), orientation > 4 and _is_alike(image.size, source[::-1])
    if not (upright or lying):
        shape, expected = (f"{width}x{height}" for width, height in (image.size, source))
        raise PhotoError("map-size", f"the map is {shape}, the photo {expected}: other proportions")
    if orientation > 1 and upright and (lying or orientation < 5):
        raise PhotoError(
            "map-unsure",
            f"the photo is turned by its EXIF orientation {orientation}, and nothing tells whether the map is; turn "
            "the photo's pixels and remove the tag",
        )
    if lying and not upright:
        image = photos.turned(image, orientation)
    if image.width < SMALLEST * geometry.resized_width:
        raise PhotoError("map-size", f"the map has only {image.width}x{image.height} pixels for a photo of {size}")
    return np.asarray(photos.fit_map(image, geometry, size))


def _is_alike(size: tuple[int, int], source: tuple[int, int]) -> bool:
    """Return whether a size has the proportions of another, but for rounding to whole pixels."""
    (width, height), (full_width, full_height) = size, source
    return abs(width * full_height - height * full_width) <= max(full_width, full_height)
