"""Foreign maps mended: known painters are undone, blurred borders are decided, white outlines dissolved."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import MapError, PaletteError
from segkit.maps import borders, codec, diagnose, pixels, schemes
from segkit.maps.codec import Labels
from segkit.maps.diagnose import Diagnosis
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED, Palette, simplify
from segkit.palette.color import RGB

Unsure = Literal["nearest", "unlabelled"]

_ADDED = ("merged", "other", "stuff")
"""Words of COCO's class names that say nothing of what is seen."""

_BY_HAND = {"window blind": "blind"}
"""The one class of COCO whose first word is another class of ADE."""


@dataclass(frozen=True)
class Snapped:
    """A mended map.

    Attributes:
        labels: (H, W) classes of palette.
        palette: what the map is to be painted with now.
        diagnosis: what was wrong with it.
        changed: share of the pixels whose colour is another now, 0 to 1.
        appeared: classes that no area had before.
        vanished: classes that an area of at least 3 x 3 pixels had, exactly or nearly, and no pixel has now.
        doubtful: share of the pixels of which two classes fit nearly as well, or none was near, 0 to 1.
    """

    labels: Labels
    palette: Palette
    diagnosis: Diagnosis
    changed: float
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    doubtful: float


def snap(
    image: Image.Image,
    palette: Palette,
    *,
    target_palette: Palette | None = None,
    cause: str = "",
    unsure: Unsure = "nearest",
) -> Snapped:
    """Mend one map.

    Args:
        image: the map.
        palette: the one it should be painted with.
        target_palette: the palette whose classes a map of another one gets, by their names; None keeps its own.
        cause: a member of fingerprint.CAUSES that the user knows better; "" to look.
        unsure: whether pixels that cannot be decided take what fits best, or none.

    Raises:
        MapError: the cause is unknown, or one that cannot be undone.
    """
    found = diagnose.identify(image, palette)
    packed = pixels.pack_image(image)
    if (packed == pixels.NO_COLOR).any():
        raise MapError(f"cannot be mended: {found.evidence}. Save it with 8 bits a pixel")
    if cause and cause != found.cause:
        found = _told(found, cause, palette)
    if found.scheme is None and found.cause != "label-ids":
        raise MapError(f"cannot be mended: {diagnose.CAUSES[found.cause]} ({found.evidence})")
    if codec.is_exact(image, palette) and found.cause == "exact":
        labels, _ = codec.read(image, palette)
        return Snapped(labels, palette, found, 0.0, (), (), 0.0)
    if found.scheme is None or found.damage == "none":
        labels = _exactly(packed, found.scheme) if found.scheme else _from_ids(packed, palette)
        before, doubtful = labels, np.zeros(labels.shape, bool)
    else:
        labels, doubtful = _repaired(packed, found.scheme, found.damage)
        before = _classes(found.scheme)[borders.seeds(packed, _paints(found.scheme), borders.SOFT)]
    if unsure == "unlabelled":
        labels[doubtful] = UNLABELLED
    own = found.scheme.palette if found.scheme else palette
    appeared, vanished = _changes(before, labels, own)
    if target_palette is not None and target_palette.hash != own.hash:
        labels, own = class_mapping(own, target_palette)[labels], target_palette
    changed = float((pixels.pack_image(codec.paint(labels, own)) != packed).mean())
    return Snapped(labels, own, found, changed, appeared, vanished, float(doubtful.mean()))


def _told(found: Diagnosis, cause: str, palette: Palette) -> Diagnosis:
    """Return the fingerprint that the user tells instead."""
    right = schemes.known(palette)[0]
    named = next((way for way in schemes.known(palette) if way.name == cause), None)
    evidence = f"told by the user; it looked like {found.cause}"
    if named:
        damage = "none" if found.cause == "unknown" else found.damage
        return replace(found, cause=cause, scheme=named, damage=damage, evidence=evidence)
    if cause == "label-ids":
        return replace(found, cause=cause, scheme=None, damage="none", evidence=evidence)
    return replace(found, cause=cause, scheme=found.scheme or right, damage=cause, evidence=evidence)


def _repaired(packed: Packed, scheme: Scheme, damage: str) -> tuple[Labels, NDArray[np.bool_]]:
    """Return the classes of a blurred map, and where they are doubtful."""
    solid = borders.SOLID if damage == "jpeg" else borders.SOFT
    result = borders.repair(packed, _paints(scheme), solid=solid, outlined=damage == "outlined")
    return _classes(scheme)[result.indices], result.doubtful


def _paints(scheme: Scheme) -> tuple[RGB, ...]:
    """Return as many of a painter's colours as repair can tell apart: black, the last, makes room for a 255th class."""
    return scheme.colors[: borders.NONE]


def _from_ids(packed: Packed, palette: Palette) -> Labels:
    """Read grey values as class indices, from 0 or, where the highest says so, from 1 with 0 for none."""
    parts = pixels.unpack(packed)
    if (parts != parts[..., :1]).any():
        raise MapError("cannot be mended: its pixels have colours, so they are no class indices")
    grey = parts[..., 0].astype(np.int64)
    known = grey[grey != UNLABELLED]
    if known.size and known.max() > len(palette):
        raise MapError(f"cannot be mended: value {known.max()} is no class of {palette.name}, which has {len(palette)}")
    one_based = bool(known.size) and known.max() == len(palette)
    return np.where(grey == UNLABELLED, UNLABELLED, grey - one_based).astype(np.uint8)  # 0 - 1 wraps to 255


def _classes(scheme: Scheme) -> NDArray[np.uint8]:
    """Return the class by the place of a colour: (256,)."""
    return np.array([*scheme.classes, *[UNLABELLED] * (256 - len(scheme.classes))], np.uint8)


def _exactly(packed: Packed, scheme: Scheme) -> Labels:
    table = np.full(pixels.COLORS + 1, UNLABELLED, np.uint8)
    table[pixels.pack(np.array(scheme.colors, np.uint8))] = scheme.classes
    return pixels.look_up(packed, table)


def _changes(before: Labels, after: Labels, own: Palette) -> tuple[tuple[str, ...], tuple[str, ...]]:
    was, now = (np.bincount(labels.ravel(), minlength=256)[: len(own)] > 0 for labels in (before, after))
    appeared, vanished = np.flatnonzero(now & ~was), np.flatnonzero(was & ~now)
    return tuple(own[index].name for index in appeared.tolist()), tuple(own[index].name for index in vanished.tolist())


def class_mapping(source: Palette, target: Palette) -> NDArray[np.uint8]:
    """Return for each class of a palette the one of another that has its name: (256,), UNLABELLED where none has.

    COCO's additions are passed over ("tree-merged" is tree), and so is what only says of which kind a thing is
    ("floor-wood", "dining table").
    """
    table = np.full(256, UNLABELLED, np.uint8)
    for swatch in source:
        for name in _names(swatch.name, swatch.synonyms):
            try:
                table[swatch.index] = target.find(name).index
                break
            except PaletteError:
                continue
    return table


def _names(name: str, synonyms: tuple[str, ...]) -> list[str]:
    words = [word for word in simplify(name).split() if word not in _ADDED]
    plain = " ".join(words)
    kind = words[0] if "-" in name else words[-1]
    return [*([_BY_HAND[plain]] if plain in _BY_HAND else []), name, plain, *synonyms, kind]
