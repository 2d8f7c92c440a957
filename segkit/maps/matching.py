"""How well the colours of a map match those of painting schemes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segkit.maps import borders, painted, pixels
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette.color import BLACK

COVERED = 0.9
"""Share of the flat pixels that must match a scheme exactly for it to take precedence over approximate matches."""

NEAR = 0.6
"""Minimum share of the flat pixels near colours of the scheme: JPEG leaves small areas without exact colours."""

COLORS = 256
"""Most colours that a map has without blur: no palette has more."""


def share(packed: Packed, scheme: Scheme) -> float:
    """Return the share of pixels with an exact colour of a scheme, or black."""
    table = np.zeros(pixels.COLORS + 1, bool)
    table[pixels.pack(np.array([*scheme.colors, BLACK], np.uint8))] = True
    return float(pixels.look_up(packed, table).mean())


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
        exact, near = float(weights[squares == 0].sum()), float(weights[squares <= borders.TOLERANCE**2].sum())
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
