"""How well the colours of a map match those of painting schemes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from segkit.maps import painted, pixels, solid
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette import UNLABELLED
from segkit.palette.color import BLACK

COVERED = 0.9
"""Share of the flat pixels that must match a scheme exactly for it to take precedence over approximate matches."""

NEAR = 0.6
"""Minimum share of the flat pixels near colours of the scheme: JPEG leaves small areas without exact colours."""

_SAMPLE, _SAMPLED = 4096, 0.02
"""Number of pixels to sample, and by how much their share may be lower by chance: four standard deviations."""

COLORS = 256
"""Most colours that a map has without blur: no palette has more."""


def share(packed: Packed, scheme: Scheme) -> float:
    """Return the share of pixels with an exact colour of a scheme, or black."""
    table = np.zeros(pixels.COLORS + 1, bool)
    table[pixels.pack(np.array([*scheme.colors, BLACK], np.uint8))] = True
    return float(pixels.look_up(packed, table).mean())


def radius(scheme: Scheme) -> float:
    """Return the distance to a colour of a scheme, or to black, within which its class is certain (RGB L2)."""
    return painted.half_gap(_with_black(scheme))


def near_share(packed: Packed, scheme: Scheme) -> float:
    """Return the share of pixels, of a sample of about _SAMPLE, whose class is certain; see `nearest`."""
    sample = packed.ravel()[:: max(1, packed.size // _SAMPLE)]
    return float(nearest(sample, scheme)[1].mean())


def noisy(packed: Packed, candidates: Sequence[Scheme], least: float) -> Scheme | None:
    """Return the scheme of a map with noise: the first by which the classes of at least this share are certain."""
    sampled = (scheme for scheme in candidates if near_share(packed, scheme) >= least - _SAMPLED)
    return next((scheme for scheme in sampled if nearest(packed, scheme)[1].mean() >= least), None)


def nearest(packed: Packed, scheme: Scheme) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the class of the nearest colour of each pixel, and where it is certain.

    Args:
        packed: packed pixels of any shape.
        scheme: the colours of classes; black is added as unlabelled if it lacks it.

    Returns:
        Classes, and whether the colour is so near that no other one can be nearer, both in the shape of the pixels.
    """
    scheme = _with_black(scheme)
    colors, inverse = np.unique(packed, return_inverse=True)
    rgb = pixels.unpack(colors).astype(np.float32)
    squares = np.full(len(rgb), np.inf, np.float32)
    classes = np.zeros(len(rgb), np.uint8)
    for color, label in zip(np.array(scheme.colors, np.float32), scheme.classes, strict=True):
        distances = ((rgb - color) ** 2).sum(1)
        nearer = distances < squares
        squares[nearer], classes[nearer] = distances[nearer], label
    certain = squares < painted.half_gap(scheme) ** 2
    return classes[inverse].reshape(packed.shape), certain[inverse].reshape(packed.shape)


def _with_black(scheme: Scheme) -> Scheme:
    if BLACK in scheme.colors:
        return scheme
    return replace(scheme, colors=(*scheme.colors, BLACK), classes=(*scheme.classes, UNLABELLED))


def best(colors: Packed, counts: NDArray[np.int64], candidates: Sequence[Scheme]) -> tuple[Scheme, float]:
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
        exact, near = float(weights[squares == 0].sum()), float(weights[squares <= solid.TOLERANCE**2].sum())
        score = (exact if exact >= COVERED else 0.0, near)
        if score > best_score:
            best, best_score = scheme, score
    return best, max(best_score)


def is_right(
    packed: Packed, colors: Packed, counts: NDArray[np.int64], likely: Scheme, covered: float, right: Scheme
) -> bool:
    """Report whether a map was painted in colours that certainly stand for classes of the right scheme.

    Args:
        packed: (H, W) the map.
        colors: packed colours of its flat pixels.
        counts: number of pixels of each.
        likely: the scheme that matches best: see `best`.
        covered: share of the flat pixels that it explains.
        right: the right scheme.
    """
    if likely is right and covered >= NEAR:
        return False
    weights = counts / max(int(counts.sum()), 1)
    exactly = weights[np.isin(colors, pixels.pack(np.array(likely.colors, np.uint8)))].sum()
    if exactly >= COVERED or (covered >= COVERED and len(np.unique(packed)) > COLORS):
        return False
    frequent = np.argsort(-counts, kind="stable")[:COLORS]
    areas = painted.areas(colors[frequent], counts[frequent], right)
    return bool(sum(area.pixels for area in areas if area.certain) >= COVERED * counts.sum())
