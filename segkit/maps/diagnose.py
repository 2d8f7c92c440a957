"""What a foreign map was painted with, and what was done to it after: the cause by name, with the evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import borders, codec, greyscale, pixels, plausibility, schemes
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import Palette
from segkit.palette.color import BLACK, WHITE

CAUSES = {
    "exact": "every pixel has the colour of its class, or black",
    "shifted": "a list of 151 colours with black first was used for classes that count from 0",
    "bgr": "red and blue are swapped",
    "coco": "the colours are COCO's",
    "golden-angle": "hues turn by the golden angle from class to class, the first is black",
    "outlined": "white lines were drawn between the areas",
    "jpeg": "the map was saved as JPEG",
    "resized": "the map was scaled with a smooth filter",
    "label-ids": "the pixels are class indices, not colours",
    "greyscale": "the colours were turned to grey",
    "unknown": "the pixels fit none of the causes that are known",
}
"""All that can be wrong with a map's colours, in words."""

_COVERED = 0.9
"""Share of the flat pixels that must have just a painter's colours for it to be preferred to all with near ones."""

_NEAR = 0.6
"""Share of the flat pixels that must at least be near a painter's colours: JPEG leaves small areas none."""

_FLAT = 0.15
"""Share of the pixels that are flat in a map, at least."""

_SAMPLE = 20_000
"""Pixels off the palette that are looked at closely."""

_FITS = 6.0
"""RGB L2 within which a pixel is the blend that is looked for."""

_AT_HAND = 8.0
"""RGB L2 to an area's colour below which a pixel says nothing of how it was blended."""


@dataclass(frozen=True)
class Diagnosis:
    """What is known of a map's making.

    Attributes:
        cause: one of CAUSES: the wrong painter where there is one, else the damage.
        painter: how classes became colours; None where it is not known.
        damage: "none", "outlined", "jpeg" or "resized".
        off_palette: share of the pixels that are neither a colour of the palette nor black, 0 to 1.
        evidence: what tells so, in words.
        possible: other causes that these pixels do not exclude.
    """

    cause: str
    scheme: Scheme | None
    damage: str
    off_palette: float
    evidence: str
    possible: tuple[str, ...] = ()


def identify(image: Image.Image, palette: Palette) -> Diagnosis:
    """Tell what a map was painted with and what was done to it.

    Args:
        image: any picture; its file format counts as evidence where Pillow knows it.
        palette: the one it should be painted with.
    """
    if codec.is_exact(image, palette):
        _, off = codec.read(image, palette)
        if off:
            share = off / (image.width * image.height)
            return Diagnosis("unknown", None, "none", share, "an indexed map in which some indices are no class")
        return Diagnosis("exact", schemes.known(palette)[0], "none", 0.0, "an indexed map with just this palette")
    packed = pixels.pack_image(image)
    if deep := float((packed == pixels.NO_COLOR).mean()):
        return Diagnosis("unknown", None, "none", deep, "grey of more than 8 bits, which is no colour and no class")
    ways = schemes.known(palette)
    solid = _solid(packed)
    colors, counts = np.unique(packed[solid], return_counts=True)
    exact = _share(packed, ways[0])
    if exact == 1:
        return _on_palette(packed, ways)
    if found := greyscale.identify(colors, counts, palette):
        cause, evidence = found
        return Diagnosis(cause, None, "none", 1 - exact, evidence)
    scheme, covered = _scheme(colors, counts, ways)
    if covered < _NEAR or solid.mean() < _FLAT:
        evidence = f"{covered:.1%} of the flat pixels are near colours of {scheme.palette.name}, as {scheme.name}"
        return Diagnosis("unknown", None, "none", 1 - exact, evidence)
    own = _share(packed, scheme)
    damage = "none" if own == 1 else "jpeg" if image.format == "JPEG" else _damage(packed, scheme)
    cause = scheme.name if scheme.name != "exact" else damage
    return Diagnosis(cause, scheme, damage, 1 - exact, _evidence(scheme, own, damage))


_PAINTED = {
    "exact": "exact {} colours",
    "shifted": "exact {} colours, each of the class before",
    "bgr": "exact {} colours with red and blue swapped",
    "coco": "exact {} colours",
    "golden-angle": "exact golden-angle colours",
}
_BLURRED = {"outlined": "blends with white", "jpeg": "blurred as JPEG does", "resized": "blends of two areas"}


def _evidence(scheme: Scheme, own: float, damage: str) -> str:
    words = f"{own:.1%} of the pixels are {_PAINTED[scheme.name].format(scheme.palette.name)}"
    return f"{words}, the others are {_BLURRED[damage]}" if damage in _BLURRED else words


def _on_palette(packed: Packed, ways: Sequence[Scheme]) -> Diagnosis:
    """Tell apart what can be painted in nothing but colours of the palette."""
    right, *others = ways
    rivals = [way for way in others if way.palette is right.palette and _share(packed, way) == 1]
    likely = plausibility.likeliest(packed, [right, *rivals])
    possible = tuple(way.name for way in (right, *rivals) if way is not likely)
    evidence = "all pixels are colours of the palette or black"
    if likely is not right:
        evidence += f", but only if {likely.name} do their classes go together and stand where they belong"
    return Diagnosis(likely.name, likely, "none", 0.0, evidence, possible)


def _solid(packed: Packed) -> NDArray[np.bool_]:
    """Return where a pixel's right, lower and lower right neighbours have its colour."""
    same = np.ones(packed.shape, bool)
    same[:, :-1] &= packed[:, 1:] == packed[:, :-1]
    same[:-1] &= packed[1:] == packed[:-1]
    same[:-1, :-1] &= packed[1:, 1:] == packed[:-1, :-1]
    return same


def _share(packed: Packed, scheme: Scheme) -> float:
    """Return the share of pixels that have just a painter's colours, or black."""
    table = np.zeros(pixels.COLORS + 1, bool)
    table[pixels.pack(np.array([*scheme.colors, BLACK], np.uint8))] = True
    return float(pixels.look_up(packed, table).mean())


def _scheme(colors: Packed, counts: NDArray[np.int64], ways: Sequence[Scheme]) -> tuple[Scheme, float]:
    """Return who painted the flat areas, by their colours, and the share of them that is so explained.

    A painter must have the very colours; only if none has does one do that has near ones (JPEG moves even flat areas).
    """
    flat = pixels.unpack(colors).astype(np.float32)
    weights = counts / counts.sum() if len(counts) else counts
    best, most = ways[0], (0.0, 0.0)
    for way in ways:
        palette = np.array([*way.colors, BLACK], np.float32)
        far = np.full(len(flat), np.inf, np.float32)
        for color in palette:
            np.minimum(far, ((flat - color) ** 2).sum(1), out=far)
        exact, near = float(weights[far == 0].sum()), float(weights[far <= borders.TOLERANCE**2].sum())
        score = (exact if exact >= _COVERED else 0.0, near)
        if score > most:
            best, most = way, score
    return best, max(most)


def _damage(packed: Packed, scheme: Scheme) -> str:
    """Tell by what the pixels beside the areas were blended."""
    places = borders.seeds(packed, scheme.colors, borders.SOFT)
    unsure = np.flatnonzero(places == borders.NONE)
    if len(unsure) > _SAMPLE:
        unsure = np.sort(np.random.default_rng(0).choice(unsure, _SAMPLE, replace=False))
    if not len(unsure):
        return "jpeg"
    border = borders.around(places, unsure)
    seen = pixels.unpack(packed.ravel()[unsure]).astype(np.float32)
    colors = np.array([*scheme.colors, *[(0, 0, 0)] * (256 - len(scheme.colors))], np.float32)
    areas = np.where((border.labels != borders.NONE)[..., None], colors[border.labels], np.inf)  # (candidates, N, 3)
    with np.errstate(invalid="ignore"):
        far = np.nan_to_num(np.linalg.norm(areas - seen, axis=2), nan=np.inf).min(0)
        telling = (far > _AT_HAND) & (border.labels[0] != borders.NONE)
        white = np.min([_off_line(seen, area, np.array(WHITE, np.float32)) for area in areas], axis=0)
        pairs = [(0, 1), (0, 2), (1, 2)]
        blend = np.min([_off_line(seen, areas[a], areas[b]) for a, b in pairs], axis=0)
    if telling.sum() < 0.1 * len(unsure):
        return "jpeg"
    outlined, resized = (float((off[telling] <= _FITS).mean()) for off in (white, blend))
    if max(outlined, resized) >= 0.6:
        return "outlined" if outlined > resized else "resized"
    return "jpeg"


def _off_line(seen: NDArray[np.float32], one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far colours are from the line between two others, a little longer: (N,), inf where one is missing."""
    line = other - one
    share = ((seen - one) * line).sum(1) / np.maximum((line**2).sum(1), 1)
    off: NDArray[np.float32] = np.linalg.norm(seen - one - np.clip(share, -0.2, 1.2)[:, None] * line, axis=1)
    return np.nan_to_num(off, nan=np.inf)
