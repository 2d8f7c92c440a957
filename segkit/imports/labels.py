"""Control maps of other tools become labels of the dataset's palette, or are left out with a reason."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit import maps
from segkit.dataset.formats.items import Segment
from segkit.errors import MapError, PhotoError
from segkit.imports.settings import Repair
from segkit.maps import MapFile, causes, codec, diagnose, label_ids, matching, pixels, schemes, snap
from segkit.maps import shift as shifts
from segkit.maps.codec import Labels
from segkit.maps.shift import Evidence
from segkit.maps.snap import Snapped
from segkit.palette import UNLABELLED, Palette

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
        names: of these categories.
        cause: how the maps were made, if a person says so: a key of causes.CAUSES; "" to find out.
        shift: finds out what all maps tell about whether they were painted with a list that starts with black.
    """

    palette: Palette
    painted_with: Palette
    mapping: Mapping256 | None = None
    repair: Repair = "auto"
    max_doubt: float = 0.1
    first_id: Callable[[], int | None] = lambda: None
    fixed_id: int | None = None
    categories: Mapping[int, int] | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    cause: str = ""
    shift: Callable[[], Evidence] = Evidence


@dataclass(frozen=True)
class Reading:
    """A map that was read.

    Attributes:
        labels: (H, W) uint8, classes of the dataset's palette; 255 = unlabelled.
        cause, changed, doubtful: see Origin.
        unmapped: classes that the dataset's palette lacks, with their shares of the pixels, which became unlabelled.
    """

    labels: Labels
    cause: str = "exact"
    changed: float = 0.0
    doubtful: float = 0.0
    unmapped: Mapping[str, float] = field(default_factory=dict)


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
    reading = _panoptic(image, segments, rules) if segments is not None else _read(MapFile(image, data), rules)
    if (reading.labels == UNLABELLED).all():
        raise PhotoError("map-empty", "no pixel of the map has a class of the palette")
    return reading


def _read(source: MapFile, rules: Rules) -> Reading:
    image = source.image
    if not rules.cause and codec.is_exact(image, rules.painted_with):
        labels, off = codec.read(image, rules.painted_with)
        if not off:
            return _mapped(labels, rules)
    if rules.fixed_id is not None and rules.cause in ("", "label-ids"):
        try:
            return _indices(image, rules, rules.fixed_id)
        except MapError:  # its pixels have colours: another kind of map, in the place of one of indices
            pass
    return _snapped(source, rules)


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
    return _mapped(labels, rules, "label-ids")


def _snapped(source: MapFile, rules: Rules) -> Reading:
    snapped = _as_its_source(source, _repaired(source, rules, rules.cause), rules)
    cause = snapped.diagnosis.cause
    if snapped.palette.hash != rules.painted_with.hash:
        raise PhotoError(
            "map-unsure",
            f"the map is painted with {snapped.palette.name}, not {rules.painted_with.name}; to map its classes by "
            f"name: maps_palette={snapped.palette.name}",
        )
    _require_allowed(snapped, rules.repair)
    if cause == "foreign":
        raise PhotoError(
            "map-unsure", f"the map cannot be read: {snapped.diagnosis.painted or snapped.diagnosis.evidence}"
        )
    if not snapped.is_explained:
        raise PhotoError(
            "map-unsure",
            "no settings of JPEG explain the damage of the map, so that thin or small areas would be lost; segkit snap "
            "repairs it by its colours alone, to be compared with its original",
        )
    if snapped.doubtful > rules.max_doubt:
        raise PhotoError(
            "map-unsure",
            f"{snapped.doubtful:.0%} of the map's pixels fit no class with certainty ({causes.CAUSES[cause]}); "
            f"max_doubt={rules.max_doubt:g} allows fewer",
        )
    changed = 0.0 if cause in ("exact", "label-ids") else _changed(source.image, snapped.labels, rules.painted_with)
    return _mapped(snapped.labels, rules, cause, changed, round(snapped.doubtful, 4))


def _changed(image: Image.Image, labels: Labels, palette: Palette) -> float:
    """Return the share of pixels that have another class than that of the nearest colour."""
    nearest, _ = matching.nearest(pixels.pack_image(image), schemes.known(palette)[0])
    return round(float(((labels != nearest) & (labels != UNLABELLED)).mean()), 4)


def _repaired(source: MapFile, rules: Rules, cause: str) -> Snapped:
    try:
        # a guess would be a colour that is not its class: doubtful pixels get none
        return snap.snap(source, rules.painted_with, cause=cause, first_id=rules.first_id, unsure="unlabelled")
    except MapError as error:
        diagnosis = diagnose.identify(source.image, rules.painted_with)
        if not cause and diagnosis.cause == "unsure" and (verdict := rules.shift().verdict) in diagnosis.possible:
            return _repaired(source, rules, verdict)  # what the map alone leaves open, its source decides
        reason = "map-empty" if diagnosis.cause == "blank" else "map-unsure"
        raise PhotoError(reason, f"the map {error}") from None


def _as_its_source(source: MapFile, snapped: Snapped, rules: Rules) -> Snapped:
    """Return a map of class colours read as the maps of its source are: exactly, or as painted with a shifted list.

    Raises:
        PhotoError: nothing decides.
    """
    scheme = snapped.diagnosis.scheme
    if rules.cause or scheme is None or scheme.name != "exact" or codec.is_exact(source.image, rules.painted_with):
        return snapped
    one, all_maps = shifts.evidence(snapped.labels, rules.painted_with), rules.shift()
    if one.exact:
        return snapped
    if all_maps.verdict == "shifted":
        return _repaired(source, rules, "shifted")
    if not all_maps.verdict and (doubt := shifts.doubt(snapped.labels, one, rules.painted_with, all_maps)):
        raise PhotoError(
            "map-unsure",
            f"the map cannot be read with certainty: {doubt}. Say which is right: cause=exact or cause=shifted",
        )
    return snapped


def _require_allowed(snapped: Snapped, repair: Repair) -> None:
    """Refuse a repair that the rules do not allow. A lossless one only replaces colours, each by that of its class."""
    diagnosis = snapped.diagnosis
    lossless = diagnosis.damage == "none" and not snapped.doubtful
    if repair == "auto" or (lossless and (diagnosis.cause == "exact" or repair == "only-lossless")):
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
    labels = table[places.reshape(packed.shape)]
    names = {segment.number: rules.names.get(segment.category, str(segment.category)) for segment in segments}
    lost = Counter[str]()
    for number, pixel_count in zip(numbers.tolist(), np.bincount(places.ravel()).tolist(), strict=True):
        if number and classes[number] == UNLABELLED:
            lost[names[number]] += pixel_count
    return Reading(labels, "panoptic-ids", unmapped={name: number / labels.size for name, number in lost.items()})


def _mapped(labels: Labels, rules: Rules, cause: str = "exact", changed: float = 0.0, doubtful: float = 0.0) -> Reading:
    return Reading(mapped(labels, rules.mapping), cause, changed, doubtful, unmapped(labels, rules))


def unmapped(labels: Labels, rules: Rules) -> dict[str, float]:
    """Return the classes of a map that the dataset's palette lacks, with their shares of the pixels.

    Args:
        labels: (H, W) of the maps' palette.
        rules: how the maps are read.
    """
    if rules.mapping is None:
        return {}
    counts = codec.count(labels)
    return {
        swatch.name: counts[swatch.index] / labels.size
        for swatch in rules.painted_with
        if counts[swatch.index] and rules.mapping[swatch.index] == UNLABELLED
    }


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
