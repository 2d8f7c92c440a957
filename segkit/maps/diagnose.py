"""Diagnosis of foreign maps: the scheme they were painted with, and the damage done afterwards, with evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import borders, codec, greyscale, pixels, plausibility, schemes
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED, Palette
from segkit.palette.color import BLACK, WHITE

CAUSES = {
    "exact": "every pixel has the colour of its class, or black",
    "shifted": "a list of 151 colours with black first was used for classes that count from 0",
    "bgr": "red and blue are swapped",
    "coco": "the colours are COCO's",
    "golden-angle": "hues advance by the golden angle from class to class, starting with black",
    "outlined": "white lines were drawn between the areas",
    "jpeg": "the map was saved as JPEG",
    "resized": "the map was scaled with a smooth filter",
    "label-ids": "the pixels are class indices, not colours",
    "greyscale": "the colours were converted to grey",
    "unknown": "the pixels match no known cause",
}
"""Everything that can be wrong with the colours of a map, and descriptions."""

_COVERED = 0.9
"""Share of the flat pixels that must match a scheme exactly for it to take precedence over approximate matches."""

_NEAR = 0.6
"""Minimum share of the flat pixels near colours of the scheme: JPEG leaves small areas without exact colours."""

_FLAT = 0.15
"""Minimum share of flat pixels in a map; photos and noise have fewer."""

_SAMPLE = 20_000
"""Number of border pixels that are examined."""

_FITS = 6.0
"""RGB L2 within which a pixel counts as a blend of two given colours."""

_AT_HAND = 8.0
"""RGB L2 to the colour of an adjacent area below which a pixel does not reveal what it was blended with."""


@dataclass(frozen=True)
class Diagnosis:
    """How a map was made.

    Attributes:
        cause: a key of CAUSES: the scheme if it is a wrong one, otherwise the damage.
        scheme: how classes were mapped to colours; None if unknown.
        damage: "none", "outlined", "jpeg" or "resized".
        off_palette: share of pixels that are neither a colour of the palette nor black, 0 to 1.
        evidence: what the diagnosis is based on, as text.
        possible: other causes that are consistent with the pixels.
    """

    cause: str
    scheme: Scheme | None
    damage: str
    off_palette: float
    evidence: str
    possible: tuple[str, ...] = ()


def identify(image: Image.Image, palette: Palette) -> Diagnosis:
    """Identify the scheme that a map was painted with, and the damage done to it.

    Args:
        image: any picture; its file format counts as evidence if Pillow knows it.
        palette: the palette that the map should be painted with.
    """
    if codec.is_exact(image, palette):
        _, off = codec.read(image, palette)
        if off:
            share = off / (image.width * image.height)
            return Diagnosis("unknown", None, "none", share, "an indexed map with indices beyond the last class")
        return Diagnosis("exact", schemes.known(palette)[0], "none", 0.0, "an indexed map with exactly this palette")
    packed = pixels.pack_image(image)
    if deep := float((packed == pixels.NO_COLOR).mean()):
        return _deep(image, deep)
    candidates = schemes.known(palette)
    flat = _flat(packed)
    colors, counts = np.unique(packed[flat], return_counts=True)
    exact = _share(packed, candidates[0])
    if exact == 1:
        return _on_palette(packed, candidates)
    if grey := greyscale.identify(colors, counts, palette):
        cause, evidence = grey
        return Diagnosis(cause, None, "none", 1 - exact, evidence)
    scheme, covered = _best_scheme(colors, counts, candidates)
    if covered < _NEAR or flat.mean() < _FLAT:
        evidence = f"{covered:.1%} of the flat pixels are near colours of {scheme.palette.name}, as {scheme.name}"
        if image.mode == "P" and _may_be_ids(image, palette):
            evidence += "; as an indexed picture, it may hold class indices under other colours"
            return Diagnosis("unknown", None, "none", 1 - exact, evidence, ("label-ids",))
        return Diagnosis("unknown", None, "none", 1 - exact, evidence)
    matching = _share(packed, scheme)
    damage = "none" if matching == 1 else "jpeg" if image.format == "JPEG" else _damage(packed, scheme)
    cause = scheme.name if scheme.name != "exact" else damage
    return Diagnosis(cause, scheme, damage, 1 - exact, _evidence(scheme, matching, damage))


def _deep(image: Image.Image, share: float) -> Diagnosis:
    """Return the diagnosis of grey of more than 8 bits, a share of which has no 8-bit equivalent."""
    if (pixels.pack_image(image, indices=True) == pixels.NO_COLOR).any():
        return Diagnosis("unknown", None, "none", share, "grey of more than 8 bits, which is neither colour nor class")
    return Diagnosis("label-ids", None, "none", share, "grey of more than 8 bits, with no value above 255")


def _may_be_ids(image: Image.Image, palette: Palette) -> bool:
    """Report whether all values of an indexed picture could be class indices, from 0 or from 1."""
    values = np.flatnonzero(image.histogram())
    return bool(len(values)) and int(values[values != UNLABELLED].max(initial=0)) <= len(palette)


_PAINTED = {
    "exact": "exact {} colours",
    "shifted": "exact {} colours, each of the class before",
    "bgr": "exact {} colours with red and blue swapped",
    "coco": "exact {} colours",
    "golden-angle": "exact golden-angle colours",
}
_BLURRED = {"outlined": "blends with white", "jpeg": "blurred as by JPEG", "resized": "blends of two areas"}


def _evidence(scheme: Scheme, matching: float, damage: str) -> str:
    text = f"{matching:.1%} of the pixels are {_PAINTED[scheme.name].format(scheme.palette.name)}"
    return f"{text}, the others are {_BLURRED[damage]}" if damage in _BLURRED else text


def _on_palette(packed: Packed, candidates: Sequence[Scheme]) -> Diagnosis:
    """Choose among the schemes that can produce a map with nothing but colours of the palette."""
    right, *others = candidates
    rivals = [scheme for scheme in others if scheme.palette is right.palette and _share(packed, scheme) == 1]
    likely = plausibility.likeliest(packed, [right, *rivals])
    possible = tuple(scheme.name for scheme in (right, *rivals) if scheme is not likely)
    evidence = "all pixels are colours of the palette or black"
    if likely is not right:
        evidence += f", but only read as {likely.name} are its classes and their positions plausible"
    return Diagnosis(likely.name, likely, "none", 0.0, evidence, possible)


def _flat(packed: Packed) -> NDArray[np.bool_]:
    """Return where the right, lower and lower right neighbours of a pixel have its colour."""
    same = np.ones(packed.shape, bool)
    same[:, :-1] &= packed[:, 1:] == packed[:, :-1]
    same[:-1] &= packed[1:] == packed[:-1]
    same[:-1, :-1] &= packed[1:, 1:] == packed[:-1, :-1]
    return same


def _share(packed: Packed, scheme: Scheme) -> float:
    """Return the share of pixels with an exact colour of a scheme, or black."""
    table = np.zeros(pixels.COLORS + 1, bool)
    table[pixels.pack(np.array([*scheme.colors, BLACK], np.uint8))] = True
    return float(pixels.look_up(packed, table).mean())


def _best_scheme(colors: Packed, counts: NDArray[np.int64], candidates: Sequence[Scheme]) -> tuple[Scheme, float]:
    """Return the scheme that explains the flat areas best, and the share of flat pixels that it explains.

    Schemes that match exactly take precedence. Approximate matches only decide if there are none, because JPEG shifts
    even flat areas, and near colours of one scheme may be exact colours of another.
    """
    flat = pixels.unpack(colors).astype(np.float32)
    weights = counts / counts.sum() if len(counts) else counts
    best, best_score = candidates[0], (0.0, 0.0)
    for scheme in candidates:
        squares = np.full(len(flat), np.inf, np.float32)
        for color in np.array([*scheme.colors, BLACK], np.float32):
            np.minimum(squares, ((flat - color) ** 2).sum(1), out=squares)
        exact, near = float(weights[squares == 0].sum()), float(weights[squares <= borders.TOLERANCE**2].sum())
        score = (exact if exact >= _COVERED else 0.0, near)
        if score > best_score:
            best, best_score = scheme, score
    return best, max(best_score)


def _damage(packed: Packed, scheme: Scheme) -> str:
    """Identify the damage from the colours of border pixels.

    Outlines blend an area with white, smooth scaling blends two areas, and JPEG produces colours that are neither.
    """
    indices = borders.seeds(packed, scheme.colors, borders.SOFT)
    unlabelled = np.flatnonzero(indices == borders.NO_LABEL)
    if len(unlabelled) > _SAMPLE:
        unlabelled = np.sort(np.random.default_rng(0).choice(unlabelled, _SAMPLE, replace=False))
    if not len(unlabelled):
        return "jpeg"
    border = borders.find_candidates(indices, unlabelled)
    observed = pixels.unpack(packed.ravel()[unlabelled]).astype(np.float32)
    colors = np.array([*scheme.colors, *[(0, 0, 0)] * (256 - len(scheme.colors))], np.float32)
    areas = np.where(
        (border.labels != borders.NO_LABEL)[..., None], colors[border.labels], np.inf
    )  # (candidates, N, 3)
    with np.errstate(invalid="ignore"):  # missing candidates give inf - inf
        distance = np.nan_to_num(np.linalg.norm(areas - observed, axis=2), nan=np.inf).min(0)
        telling = (distance > _AT_HAND) & (border.labels[0] != borders.NO_LABEL)
        to_white = np.min([_off_line(observed, area, np.array(WHITE, np.float32)) for area in areas], axis=0)
        pairs = [(0, 1), (0, 2), (1, 2)]
        to_blend = np.min([_off_line(observed, areas[a], areas[b]) for a, b in pairs], axis=0)
    if telling.sum() < 0.1 * len(unlabelled):
        return "jpeg"
    outlined, resized = (float((off[telling] <= _FITS).mean()) for off in (to_white, to_blend))
    if max(outlined, resized) >= 0.6:
        return "outlined" if outlined > resized else "resized"
    return "jpeg"


def _off_line(
    observed: NDArray[np.float32], start: NDArray[np.float32], end: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the distance of colours to the line between two others: (N,), inf where one of those is missing.

    The line extends by 20 % at both ends, since filters such as Lanczos overshoot.
    """
    line = end - start
    share = ((observed - start) * line).sum(1) / np.maximum((line**2).sum(1), 1)
    off: NDArray[np.float32] = np.linalg.norm(observed - start - np.clip(share, -0.2, 1.2)[:, None] * line, axis=1)
    return np.nan_to_num(off, nan=np.inf)
