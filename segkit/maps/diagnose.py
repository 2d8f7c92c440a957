"""Diagnosis of foreign maps: the scheme they were painted with, and the damage done afterwards, with evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from segkit.maps import (
    blur,
    codec,
    greyscale,
    label_ids,
    matching,
    painted,
    pixels,
    plausibility,
    reasons,
    schemes,
    solid,
)
from segkit.maps.codec import Labels
from segkit.maps.painted import PaintedArea
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED, Palette
from segkit.palette.color import BLACK

_HALF = 0.5
"""Minimum share of large flat areas in a map in unknown colours."""

_SEGMENTS = "; if colours number segments, as in COCO panoptic's PNG files, their classes are in a JSON file"

_STRAY, _STRAY_SHARE = 4, 0.001
"""Number, and share of the pixels, up to which those without the colour of a class are stray, whatever made them."""

_CERTAIN = 0.95
"""Share of the pixels of a map without flat areas whose class must be certain; the others are filled from around."""

_DEPTHS = 64
"""Number of values of more than 8 bits from which on they are depths rather than numbers of things."""


@dataclass(frozen=True)
class Diagnosis:
    """How a map was made.

    Attributes:
        cause: a key of causes.CAUSES: the scheme if it is a wrong one, otherwise the damage.
        scheme: how classes were mapped to colours, the colours of painted areas included; None if unknown.
        damage: "none", "stray", "noisy", "outlined", "jpeg" or "resized".
        off_palette: share of pixels that are neither a colour of the palette nor black, 0 to 1.
        evidence: what the diagnosis is based on, as text.
        possible: other causes that are consistent with the pixels.
        painted: areas in flat colours that no class has, and the nearest classes, as text; "" for none.
        hint: why an exact map may be shifted all the same, as text; "" for no reason.
    """

    cause: str
    scheme: Scheme | None = field(repr=False)
    damage: str
    off_palette: float
    evidence: str
    possible: tuple[str, ...] = ()
    painted: str = ""
    hint: str = ""


def identify(image: Image.Image, palette: Palette) -> Diagnosis:
    """Identify the scheme that a map was painted with, and the damage done to it.

    Args:
        image: any picture; its file format counts as evidence if Pillow knows it.
        palette: the palette that the map should be painted with.
    """
    if codec.is_exact(image, palette):
        return _indexed(image, palette)
    packed = pixels.pack_image(image)
    if (packed == pixels.NO_COLOR).any():
        return _deep(image, packed)
    candidates = schemes.known(palette)
    off = 1 - matching.share(packed, candidates[0])
    if not off:
        return _on_palette(packed, candidates)
    diagnosis = _indices(packed, palette) or _colored(image, packed, candidates)
    if diagnosis.cause in ("unknown", "foreign") and image.mode == "P" and _may_be_ids(image, palette):
        evidence = f"{diagnosis.evidence}; as an indexed picture, it may hold class indices under other colours"
        diagnosis = replace(diagnosis, evidence=evidence, possible=("label-ids",))
    return replace(diagnosis, off_palette=off)


def suspicion(image: Image.Image, labels: Labels, palette: Palette) -> str:
    """Return why a map whose colours are all in the palette may be wrong all the same; "" for no reason.

    This is much cheaper than `identify`.

    Args:
        image: the map.
        labels: what codec.read found in it.
        palette: its palette.
    """
    if codec.is_exact(image, palette):
        return ""
    if (labels == UNLABELLED).all():
        return "no pixel has a class"
    if plausibility.is_shifted(labels, palette):
        return "its classes and their positions make more sense if black is the first class, wall"
    return ""


def _indexed(image: Image.Image, palette: Palette) -> Diagnosis:
    labels, off = codec.read(image, palette)
    if off:
        evidence = "an indexed map with indices beyond the last class"
        return Diagnosis("unknown", None, "none", off / labels.size, evidence)
    if (labels == UNLABELLED).all():
        return Diagnosis("blank", None, "none", 0.0, "an indexed map whose pixels are all unlabelled")
    return Diagnosis("exact", schemes.known(palette)[0], "none", 0.0, "an indexed map with exactly this palette")


def _deep(image: Image.Image, colors: Packed) -> Diagnosis:
    """Return the diagnosis of grey of more than 8 bits, a share of which has no 8-bit equivalent."""
    off = float((colors == pixels.NO_COLOR).mean())
    if (pixels.pack_image(image, indices=True) == pixels.NO_COLOR).any():
        values = np.asarray(image)
        number = len(np.unique(values))
        evidence = f"grey of more than 8 bits, with {number:,} values from {values.min()} to {values.max()}"
        if number > _DEPTHS:
            return Diagnosis("depth", None, "none", off, evidence)
        return Diagnosis("unknown", None, "none", off, f"{evidence}, which are neither colours nor classes")
    return Diagnosis("label-ids", None, "none", off, "grey of more than 8 bits, with no value above 255")


def _on_palette(packed: Packed, candidates: Sequence[Scheme]) -> Diagnosis:
    """Choose among the schemes that can produce a map with nothing but colours of the palette."""
    if not packed.any():
        return Diagnosis("blank", None, "none", 0.0, "every pixel is black or transparent")
    right, *others = candidates
    rivals = [scheme for scheme in others if scheme.palette is right.palette and matching.share(packed, scheme) == 1]
    likely, doubt = plausibility.likeliest(packed, [right, *rivals])
    evidence = "all pixels are colours of the palette or black"
    if doubt:
        evidence += f", but read as {doubt.name} its classes and their positions are more plausible"
        return Diagnosis("unsure", None, "none", 0.0, evidence, ("exact", doubt.name))
    possible = tuple(scheme.name for scheme in (right, *rivals) if scheme is not likely)
    if likely is not right:
        evidence += f", but only read as {likely.name} are its classes and their positions plausible"
    hint = _hint(packed, right, rivals) if likely is right else ""
    return Diagnosis(likely.name, likely, "none", 0.0, evidence, possible, hint=hint)


def _hint(packed: Packed, right: Scheme, rivals: Sequence[Scheme]) -> str:
    shifted = next((scheme for scheme in rivals if scheme.name == "shifted"), None)
    if shifted is None or not plausibility.hints_at_shift(packed, right, shifted):
        return ""
    black, first = float((packed == 0).mean()), right.palette[0].name
    return f"{black:.0%} of its pixels are black, and its classes make more sense if black is the first class, {first}"


def _indices(packed: Packed, palette: Palette) -> Diagnosis | None:
    """Return the diagnosis of a picture that is grey or has one channel, such as class indices or a mask."""
    grey = greyscale.identify(packed, palette)
    channel = label_ids.only_channel(packed)
    if grey is None and channel is not None:
        values = (packed >> np.uint32(8 * channel) & np.uint32(255)).astype(np.uint8)
        grey = greyscale.of_channel(values, label_ids.CHANNELS[channel], palette)
        if grey and grey.cause == "mask" and _are_classes(packed, palette):
            return None  # such as a map of nothing but a class whose colour is red, painted by hand
    return Diagnosis(grey.cause, None, "none", 0.0, grey.evidence, grey.possible) if grey else None


def _are_classes(packed: Packed, palette: Palette) -> bool:
    """Return whether every colour but black is within painted.CERTAIN of a class's."""
    colors = np.unique(packed[packed != 0])
    distances = np.linalg.norm(
        pixels.unpack(colors)[:, None].astype(float) - [swatch.rgb for swatch in palette], axis=2
    )
    return bool((distances.min(1) <= painted.CERTAIN).all())


def _may_be_ids(image: Image.Image, palette: Palette) -> bool:
    """Report whether all values of an indexed picture could be class indices, from 0 or from 1."""
    values = np.flatnonzero(image.histogram())
    return bool(len(values)) and int(values[values != UNLABELLED].max(initial=0)) <= len(palette)


def _colored(image: Image.Image, packed: Packed, candidates: Sequence[Scheme]) -> Diagnosis:
    right = candidates[0]
    flat = painted.constant(packed, 2)
    colors, counts = np.unique(packed[flat], return_counts=True)
    scheme, covered = matching.best(colors, counts, candidates)
    if matching.is_right(packed, colors, counts, scheme, covered, right):
        scheme, covered = right, 1.0
    lossy = image.format == "JPEG"
    if flat.mean() < reasons.FLAT and (noisy := matching.noisy(packed, candidates, _CERTAIN)):
        return under(packed, noisy)
    if picture := reasons.picture(packed, float(flat.mean()), right):
        return Diagnosis(picture.cause, None, "none", 0.0, picture.evidence, picture.possible)
    if scheme is not right and schemes.are_cityscapes(colors, counts):
        return Diagnosis("cityscapes", None, "none", 0.0, "all flat pixels have colours of Cityscapes")
    if covered >= matching.NEAR:
        return under(packed, scheme, lossy)
    text = reasons.of_flat_pixels(packed, scheme, covered)
    if label_ids.is_full_ade(colors):
        return Diagnosis("full-ade", None, "none", 0.0, "red is a multiple of 10 everywhere")
    areas = painted.find(packed, right, painted.LARGE)
    if sum(area.pixels for area in areas) < _HALF * packed.size:
        return Diagnosis("unknown", None, "none", 0.0, text)
    foreign = under(packed, right, lossy)
    text = foreign.painted + _SEGMENTS
    return replace(foreign, cause="foreign", evidence=text, painted=text)


def under(packed: Packed, scheme: Scheme, lossy: bool = False) -> Diagnosis:
    """Return the diagnosis of a map that is known to be painted with a scheme; off_palette is left to the caller.

    Args:
        packed: (H, W) the map.
        scheme: the scheme.
        lossy: the file is a JPEG.
    """
    extended, areas, damage = _survey(packed, scheme, lossy)
    uncertain = [area for area in areas if not area.certain]
    based_on = reasons.of_scheme(packed, scheme, extended, damage)
    text = painted.describe(uncertain or areas, scheme) if areas else ""
    cause = scheme.name if scheme.name != "exact" else damage if damage != "none" else "painted" if areas else "exact"
    if areas and scheme.name == "coco":
        return Diagnosis("panoptic-ids", None, damage, 0.0, f"{based_on}; {text}")
    if uncertain:
        cause = "foreign"
    return Diagnosis(cause, extended, damage, 0.0, f"{based_on}; {text}" if text else based_on, painted=text)


def _survey(packed: Packed, scheme: Scheme, lossy: bool) -> tuple[Scheme, list[PaintedArea], str]:
    """Return the scheme with the colours of flat areas that it lacks, these areas, and the damage.

    In a map without blur every colour of a small square, and every other one that certainly stands for a class, was
    painted. Where borders are blurred, only large squares prove that.
    """
    if not lossy:
        limit = max(_STRAY, int(_STRAY_SHARE * packed.size))
        areas = _small_areas(packed, scheme, limit)
        extended = painted.extend(scheme, areas)
        stray = round((1 - matching.share(packed, extended)) * packed.size)
        if stray <= limit:
            return extended, areas, "stray" if stray else "none"
        if matching.noisy(packed, [scheme], 1 - _STRAY_SHARE):
            return scheme, [], "noisy"
    areas = painted.find(packed, scheme, painted.LARGE)
    damage = "jpeg" if lossy else blur.identify(packed, _repairable(scheme, areas))
    if damage == "jpeg":  # which shifts flat areas by as much as that
        near = solid.TOLERANCE
        areas = [area for area in areas if area.distance > near or not (area.certain or area.margin >= painted.NOISE)]
    room = solid.NO_LABEL - len(scheme.colors)  # more colours cannot be repaired
    areas = [*areas[:room], *(replace(area, certain=False) for area in areas[room:])]
    return _repairable(scheme, areas), areas, damage


def _repairable(scheme: Scheme, areas: Sequence[PaintedArea]) -> Scheme:
    """Return the scheme with the colours of as many areas as repair can tell apart."""
    return painted.extend(scheme, areas[: max(0, solid.NO_LABEL - len(scheme.colors))])


def _small_areas(packed: Packed, scheme: Scheme, limit: int) -> list[PaintedArea]:
    """Return the painted areas of a map without blur.

    These are all that certainly stand for a class, and large squares. Small squares count if they are black, that is,
    unlabelled, or too many pixels to be stray.
    """
    squares = [painted.constant(packed, side) for side in (painted.SMALL, painted.LARGE)]
    small, large = (set(np.unique(packed[square]).tolist()) for square in squares)
    known = pixels.pack(np.array([*scheme.colors, BLACK], np.uint8))
    colors, counts = np.unique(packed[~np.isin(packed, known)], return_counts=True)
    if len(colors) > matching.COLORS:
        return []
    found = []
    for area in painted.areas(colors, counts, scheme):
        color = int(pixels.pack(np.array(area.color, np.uint8)))
        is_class = area.certain and area.label != UNLABELLED
        if is_class or color in large or (color in small and (area.certain or area.pixels > limit)):
            found.append(area)
    return found
