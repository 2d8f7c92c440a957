"""Repair of foreign maps: wrong colour schemes are reversed, blurred borders restored, white outlines removed."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import MapError, PaletteError
from segkit.maps import borders, codec, diagnose, pixels, schemes, synthesis
from segkit.maps.codec import Labels
from segkit.maps.diagnose import Diagnosis
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED, Palette, simplify
from segkit.palette.color import RGB
from segkit.settings import Unsure

_ADDED = ("merged", "other", "stuff")
"""Words in class names of COCO panoptic that do not describe the class."""

_EXCEPTIONS = {"window blind": "blind"}
"""The only COCO class whose first word names a different ADE20K class."""


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
    first_id: int | None = None,
) -> Snapped:
    """Repair one map.

    Args:
        image: the map.
        palette: the palette that the map should be painted with.
        target_palette: palette to convert a map of another palette to, class by class, by name; None converts nothing.
        cause: a key of diagnose.CAUSES that overrides the diagnosis; "" to diagnose.
        unsure: whether doubtful pixels get the best label or become unlabelled.
        first_id: value of the first class in a map of class indices, 0 or 1; None decides by the highest value.

    Raises:
        MapError: the cause is unknown or cannot be reversed. The message begins with a verb, to follow a file name.
    """
    diagnosis = diagnose.identify(image, palette)
    packed = pixels.pack_image(image, indices=diagnosis.cause == "label-ids")
    if (packed == pixels.NO_COLOR).any():
        raise MapError(f"cannot be repaired: {diagnosis.evidence}. Save it with 8 bits a pixel")
    if cause and cause != diagnosis.cause:
        diagnosis = _overridden(diagnosis, cause, palette)
    scheme = diagnosis.scheme
    if scheme is None and diagnosis.cause != "label-ids":
        raise MapError(f"cannot be repaired: {diagnose.CAUSES[diagnosis.cause]} ({diagnosis.evidence})")
    if codec.is_exact(image, palette) and diagnosis.cause == "exact":
        labels, _ = codec.read(image, palette)
        return Snapped(labels, palette, diagnosis, 0.0, (), (), 0.0)
    if scheme is None or diagnosis.damage == "none":
        labels = _look_up(packed, scheme) if scheme else _from_ids(class_ids(image, cause), palette, first_id)
        before, doubtful = labels, np.zeros(labels.shape, bool)
    else:
        labels, doubtful = _restore_borders(packed, scheme, diagnosis.damage)
        before = _classes(scheme)[borders.seeds(packed, _repairable_colors(scheme), borders.SOFT)]
    if unsure == "unlabelled":
        labels[doubtful] = UNLABELLED
    palette = scheme.palette if scheme else palette
    appeared, vanished = _changes(before, labels, palette)
    if target_palette is not None and target_palette.hash != palette.hash:
        labels, palette = class_mapping(palette, target_palette)[labels], target_palette
    changed = float((pixels.pack_image(codec.paint(labels, palette)) != packed).mean())
    return Snapped(labels, palette, diagnosis, changed, appeared, vanished, float(doubtful.mean()))


def _overridden(diagnosis: Diagnosis, cause: str, palette: Palette) -> Diagnosis:
    """Return the diagnosis with the cause replaced by one that the user specified."""
    candidates = schemes.known(palette)
    named = next((scheme for scheme in candidates if scheme.name == cause), None)
    evidence = f"specified by the user; it looked like {diagnosis.cause}"
    if named:
        damage = "none" if diagnosis.cause == "unknown" else diagnosis.damage
        return replace(diagnosis, cause=cause, scheme=named, damage=damage, evidence=evidence)
    if cause == "label-ids":
        return replace(diagnosis, cause=cause, scheme=None, damage="none", evidence=evidence)
    # The remaining causes are kinds of damage, which any scheme may have suffered.
    return replace(diagnosis, cause=cause, scheme=diagnosis.scheme or candidates[0], damage=cause, evidence=evidence)


def _restore_borders(packed: Packed, scheme: Scheme, damage: str) -> tuple[Labels, NDArray[np.bool_]]:
    """Return the classes of a damaged map, and where they are doubtful."""
    colors = _repairable_colors(scheme)
    if damage == "jpeg":
        repaired = synthesis.repair(packed, colors)
    else:
        repaired = borders.repair(packed, colors, solid=borders.SOFT, outlined=damage == "outlined")
    return _classes(scheme)[repaired.indices], repaired.doubtful


def _repairable_colors(scheme: Scheme) -> tuple[RGB, ...]:
    """Return at most the 255 colours that repair can tell apart; black comes last and yields to a 255th class."""
    return scheme.colors[: borders.NO_LABEL]


def class_ids(image: Image.Image, cause: str = "") -> NDArray[np.uint8]:
    """Return the class indices that a map holds as grey values, or as an indexed picture's values: (H, W).

    Args:
        image: the map.
        cause: "label-ids" reads the values of an indexed picture, whatever colours it embeds.

    Raises:
        MapError: its pixels have colours.
    """
    if image.mode == "P" and cause == "label-ids":
        return np.asarray(image)
    rgb = pixels.unpack(pixels.pack_image(image, indices=True))
    if (rgb != rgb[..., :1]).any():
        raise MapError("cannot be repaired: its pixels have colours, so they are not class indices")
    return rgb[..., 0]


def highest_id(ids: NDArray[np.uint8]) -> int:
    """Return the highest class index of a map; -1 if every pixel is unlabelled."""
    return int(ids[ids != UNLABELLED].max(initial=0)) if (ids != UNLABELLED).any() else -1


def _from_ids(ids: NDArray[np.uint8], palette: Palette, first_id: int | None) -> Labels:
    """Return labels for class indices from 0, or from 1 with 0 for unlabelled."""
    highest = highest_id(ids)
    if highest > len(palette):
        raise MapError(
            f"cannot be repaired: value {highest} is not a class of {palette.name}, which has {len(palette)}"
        )
    first = first_id if first_id is not None else int(highest == len(palette))
    return np.where(ids == UNLABELLED, UNLABELLED, ids.astype(np.int64) - first).astype(np.uint8)  # 0 - 1 wraps to 255


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
