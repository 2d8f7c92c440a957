"""Repair of foreign maps: wrong colour schemes are reversed, blurred borders restored, white outlines removed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import MapError, PaletteError
from segkit.maps import borders, causes, codec, coded, diagnose, label_ids, matching, pixels, schemes, solid, synthesis
from segkit.maps.codec import Labels
from segkit.maps.coded import Coded
from segkit.maps.diagnose import Diagnosis
from segkit.maps.files import MapFile
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED, Palette, simplify
from segkit.palette.color import BLACK, RGB
from segkit.settings import Unsure

_ADDED = ("merged", "other", "stuff")
"""Words in class names of COCO panoptic that do not describe the class."""

_EXCEPTIONS = {"window blind": "blind"}
"""The only COCO class whose first word names a different ADE20K class."""


_DOUBTFUL = 0.3
"""Share of doubtful pixels above which a picture is no map, or not only a map."""

_CONCERN = 0.1
"""Share of doubtful pixels from which a repaired map should be compared with its original."""

FirstId = int | None | Callable[[], int | None]
"""Value of the first class in maps of class indices, 0 or 1, or a function that finds it out; None if unknown."""


@dataclass(frozen=True)
class Snapped:
    """A repaired map.

    Attributes:
        labels: (H, W) classes of palette.
        palette: the palette to paint the repaired map with.
        diagnosis: what was wrong with the map.
        changed: share of pixels whose colour changed, 0 to 1.
        appeared: classes that had no area before.
        vanished: classes that had at least 3 x 3 pixels exactly or nearly in their colour, and have none now.
        doubtful: share of pixels where two classes fit about equally well or none was near, 0 to 1.
        first_id: value that stood for the first class, if the map held class indices; otherwise None.
        doubts: (H, W) bool, the doubtful pixels; None if there are none.
        is_explained: False for a JPEG map whose damage no settings of JPEG explain: it was scaled or cropped
            afterwards, or its chroma is halved along one axis only (4:2:2).
    """

    labels: Labels
    palette: Palette
    diagnosis: Diagnosis
    changed: float
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    doubtful: float
    first_id: int | None = None
    doubts: NDArray[np.bool_] | None = None
    is_explained: bool = True

    @property
    def concern(self) -> str:
        """Why the map should be compared with its original, as a sentence without a full stop; "" if it need not be."""
        if not self.is_explained:
            return (
                "No settings of JPEG explain its damage, so that its borders follow their colours alone, and thin or "
                "small areas may be lost. Compare it with its original, or save that as PNG"
            )
        if self.doubtful >= _CONCERN:
            return f"{self.doubtful:.0%} of its pixels fit no class with certainty. Compare it with its original"
        return ""


def snap(
    source: Image.Image | MapFile,
    palette: Palette,
    *,
    target_palette: Palette | None = None,
    cause: str = "",
    unsure: Unsure = "nearest",
    first_id: FirstId = None,
) -> Snapped:
    """Repair one map.

    Args:
        source: the map; with its file, if that is at hand: what a JPEG file stores tells more than its colours.
        palette: the palette that the map should be painted with.
        target_palette: palette to convert a map of another palette to, class by class, by name; None converts nothing.
        cause: a key of causes.CAUSES that overrides the diagnosis; "" to diagnose.
        unsure: whether doubtful pixels get the best label or become unlabelled.
        first_id: value of the first class in a map of class indices, 0 or 1; None decides by the values and where
            they lie. A function is called for such a map only.

    Raises:
        MapError: the cause is unknown or cannot be reversed. The message begins with a verb, to follow a file name.
    """
    image, encoded = (source, b"") if isinstance(source, Image.Image) else (source.image, source.data)
    diagnosis = _diagnosed(image, palette, cause)
    if diagnosis.scheme is None:
        labels, first = _from_ids(image, palette, diagnosis, cause, first_id)
        return _finished(image, Snapped(labels, palette, diagnosis, 0.0, (), (), 0.0, first), target_palette)
    scheme = diagnosis.scheme
    if diagnosis.cause == "foreign" and unsure == "nearest":
        indices = f"{_IDS} " if "label-ids" in diagnosis.possible else ""
        raise MapError(f"cannot be repaired: {diagnosis.painted}. {indices}{_FOREIGN}")
    if codec.is_exact(image, palette) and diagnosis.cause == "exact":
        labels, _ = codec.read(image, palette)
        return Snapped(labels, palette, diagnosis, 0.0, (), (), 0.0)
    packed = pixels.pack_image(image)
    if diagnosis.damage == "none":
        labels = _look_up(packed, scheme)
        before, doubtful, is_explained = labels, np.zeros(labels.shape, bool), True
    else:
        stored = coded.read(encoded) if diagnosis.damage == "jpeg" and image.format == "JPEG" else None
        labels, doubtful, is_explained = _restore_borders(packed, scheme, diagnosis.damage, stored)
        before = labels
        if diagnosis.damage != "noisy":
            before = _classes(scheme)[solid.seeds(packed, _repairable_colors(scheme), solid.SOFT)]
    if (share := float(doubtful.mean())) > _DOUBTFUL:
        raise MapError(
            f"cannot be repaired: {share:.0%} of its pixels fit no class with certainty, so it is not, or not only, "
            "a map"
        )
    if unsure == "unlabelled":
        labels[doubtful] = UNLABELLED
    appeared, vanished = _changes(before, labels, scheme.palette)
    snapped = Snapped(
        labels, scheme.palette, diagnosis, 0.0, appeared, vanished, share,
        doubts=doubtful if share else None, is_explained=is_explained,
    )  # fmt: skip
    return _finished(image, snapped, target_palette)


_TRY = "To give its pixels the nearest classes, as far as those are clear: cause=exact"
_IDS = "If its values are class indices: cause=label-ids."
_FOREIGN = (
    "If it is painted with another palette, pass that: palette=FILE. Otherwise paint the area in the colour of its "
    "class, or leave it without a class: unsure=unlabelled"
)


def _finished(image: Image.Image, snapped: Snapped, target: Palette | None) -> Snapped:
    """Return the repaired map in the target palette, with the share of pixels whose colour changed.

    Raises:
        MapError: no pixel has a class.
    """
    labels, palette = snapped.labels, snapped.palette
    if target is not None and target.hash != palette.hash:
        labels, palette = class_mapping(palette, target)[labels], target
    if (labels == UNLABELLED).all():
        raise MapError("cannot be repaired: no pixel of the result would have a class")
    before, after = pixels.pack_image(image), pixels.pack_image(codec.paint(labels, palette))
    return replace(snapped, labels=labels, palette=palette, changed=float((before != after).mean()))


def _diagnosed(image: Image.Image, palette: Palette, cause: str) -> Diagnosis:
    """Return the diagnosis of a map that can be repaired, with the cause replaced by one that the user specified.

    Raises:
        MapError: it cannot be repaired.
    """
    diagnosis = diagnose.identify(image, palette)
    if cause and cause != diagnosis.cause:
        diagnosis = _overridden(image, diagnosis, cause, palette)
    if diagnosis.cause == "unsure":
        choices = " or ".join(f"cause={name}" for name in diagnosis.possible)
        raise MapError(f"cannot be repaired with certainty: {diagnosis.evidence}. Say which is right: {choices}")
    if diagnosis.scheme is None and diagnosis.cause != "label-ids":
        advice = f". {_IDS[:-1]}" if "label-ids" in diagnosis.possible else ""
        if not advice and (cure := _TRY if diagnosis.possible else causes.cure(diagnosis.cause)):
            advice = f". {cure}"
        raise MapError(f"cannot be repaired: {causes.CAUSES[diagnosis.cause]} ({diagnosis.evidence}){advice}")
    return diagnosis


def _overridden(image: Image.Image, diagnosis: Diagnosis, cause: str, palette: Palette) -> Diagnosis:
    """Return the diagnosis under a cause that the user specified: a scheme, class indices, or a kind of damage.

    Raises:
        MapError: the picture is blank, or has more than 8 bits.
    """
    evidence = f"specified by the user; it looked like {diagnosis.cause}"
    packed = pixels.pack_image(image, indices=cause == "label-ids")
    if diagnosis.cause == "blank" or (packed == pixels.NO_COLOR).any():
        raise MapError(f"cannot be repaired: {causes.CAUSES[diagnosis.cause]} ({diagnosis.evidence})")
    if cause == "label-ids":
        return replace(diagnosis, cause=cause, scheme=None, damage="none", evidence=evidence)
    candidates = schemes.known(palette)
    named = next((scheme for scheme in candidates if scheme.name == cause), None)
    base = named or next((scheme for scheme in candidates if scheme.name == _scheme_name(diagnosis)), candidates[0])
    reading = diagnose.under(packed, base, lossy=image.format == "JPEG")
    if reading.scheme is None:  # numbers of segments, read as COCO's colours if the user insists
        return replace(diagnosis, cause=cause, scheme=base, damage=reading.damage, evidence=evidence)
    uncertain = reading.cause == "foreign"
    damage = reading.damage if named else cause
    return replace(reading, cause="foreign" if uncertain else cause, damage=damage, evidence=evidence)


def _scheme_name(diagnosis: Diagnosis) -> str:
    return diagnosis.scheme.name if diagnosis.scheme else ""


def _from_ids(
    image: Image.Image, palette: Palette, diagnosis: Diagnosis, cause: str, first_id: FirstId
) -> tuple[Labels, int]:
    """Return the labels of a map of class indices, and the value of the first class.

    Raises:
        MapError: an index is no class, or nothing tells whether classes count from 0 or from 1.
    """
    ids = label_ids.read(image, cause == "label-ids")
    evidence = label_ids.evidence(ids, palette)
    alone = evidence.first(palette)
    first = first_id() if callable(first_id) else alone if first_id is None else first_id
    if callable(first_id) and first is not None and alone == 1 - first:
        raise MapError(
            f"cannot be repaired: its classes count from {1 - first}, those of the other maps from {first}. Repair it "
            f"by itself: first_id={1 - first}"
        )
    if first is None:
        raise MapError(
            f"cannot be repaired: nothing tells whether its classes count from 0 or from 1 ({diagnosis.evidence}). "
            f"If {palette[0].name} is 0: first_id=0; if it is 1: first_id=1"
        )
    return label_ids.to_labels(ids, first), first


def _restore_borders(
    packed: Packed, scheme: Scheme, damage: str, stored: Coded | None
) -> tuple[Labels, NDArray[np.bool_], bool]:
    """Return the classes of a damaged map, where they are doubtful, and whether its damage is explained."""
    if damage == "noisy":
        labels, certain = matching.nearest(packed, scheme)
        return _filled(labels, ~certain), ~certain, True
    if damage == "stray":
        stray = ~np.isin(packed, pixels.pack(np.array([*scheme.colors, BLACK], np.uint8)))
        return _filled(_look_up(packed, scheme), stray), stray, True
    colors = _repairable_colors(scheme)
    if damage == "jpeg":
        repaired = synthesis.repair(packed, colors, stored)
    else:
        repaired = borders.repair(packed, colors, side=solid.SOFT, outlined=damage == "outlined")
    labels = pixels.translate(repaired.indices, _classes(scheme)).copy()
    return labels, repaired.doubtful, repaired.is_explained


def _filled(labels: Labels, holes: NDArray[np.bool_]) -> Labels:
    """Give the pixels of a few holes the most frequent label around them, from the rims inwards."""
    offsets = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
    while holes.any():
        rows, columns = np.nonzero(holes)
        edged, open_ = np.pad(labels, 1), np.pad(holes, 1, constant_values=True)
        around = np.stack([edged[rows + row, columns + column] for row, column in offsets])
        known = ~np.stack([open_[rows + row, columns + column] for row, column in offsets])
        votes = ((around[:, None] == around) & known).sum(1) * known  # (8, N)
        reached = known.any(0)
        if not reached.any():
            break
        chosen = np.take_along_axis(around, votes.argmax(0)[None], 0)[0]
        labels, holes = labels.copy(), holes.copy()
        labels[rows[reached], columns[reached]] = chosen[reached]
        holes[rows[reached], columns[reached]] = False
    return labels


def _repairable_colors(scheme: Scheme) -> tuple[RGB, ...]:
    """Return at most the 255 colours that repair can tell apart; black comes last and yields to a 255th class."""
    return scheme.colors[: solid.NO_LABEL]


def _classes(scheme: Scheme) -> NDArray[np.uint8]:
    """Return the class of each colour index: (256,), UNLABELLED beyond the last colour."""
    return np.array([*scheme.classes, *[UNLABELLED] * (256 - len(scheme.classes))], np.uint8)


def _look_up(packed: Packed, scheme: Scheme) -> Labels:
    table = np.full(pixels.COLORS + 1, UNLABELLED, np.uint8)
    table[pixels.pack(np.array(scheme.colors, np.uint8))] = scheme.classes
    return pixels.look_up(packed, table)


def _changes(before: Labels, after: Labels, palette: Palette) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the classes that appeared, and of those that vanished."""
    old, new = (np.bincount(labels.ravel(), minlength=256)[: len(palette)] > 0 for labels in (before, after))
    appeared, vanished = np.flatnonzero(new & ~old).tolist(), np.flatnonzero(old & ~new).tolist()
    return tuple(palette[index].name for index in appeared), tuple(palette[index].name for index in vanished)


def class_mapping(source: Palette, target: Palette) -> NDArray[np.uint8]:
    """Map the classes of a palette to those of another by name: (256,), UNLABELLED for classes without a counterpart.

    Tried in order: the name, the name without COCO's additions ("tree-merged" becomes tree), the synonyms, and the main
    word ("floor-wood" becomes floor, "dining table" becomes table).
    """
    mapping = np.full(256, UNLABELLED, np.uint8)
    for swatch in source:
        for name in _names(swatch.name, swatch.synonyms):
            try:
                mapping[swatch.index] = target.find(name).index
                break
            except PaletteError:
                continue
    return mapping


def _names(name: str, synonyms: tuple[str, ...]) -> list[str]:
    words = [word for word in simplify(name).split() if word not in _ADDED]
    plain = " ".join(words)
    main = words[0] if "-" in name else words[-1]
    return [*([_EXCEPTIONS[plain]] if plain in _EXCEPTIONS else []), name, plain, *synonyms, main]
