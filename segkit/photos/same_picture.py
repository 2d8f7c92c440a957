"""Whether two photos show the same picture, decided on grey copies, also if one is mirrored or cropped a little."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from segkit.photos.near_duplicates import SIDE, VIEWS, Grey

AGREEMENT = 0.6
"""Least agreement of two copies of one picture. benchmarks/near_duplicates.py measures both sides: most copies reach
0.7, unrelated photos with the same hash 0.3."""

PARTS = 0.1
"""Share of the details that may agree less: a copy may carry a date or a mark."""

FLAT = 0.1
"""Root mean square of the details, at most 1, below which a picture has none: sky, fog, a black frame."""

FLAT_LEVELS = 4
"""Grey levels by which pictures without details may differ anywhere."""

_FINE, _COARSE = 0.7, 2.0
"""Standard deviations, in pixels, of the two blurs between which details lie. What the hashes of both photos share is
coarser than the second, so that it counts little here."""

_PART = 5.0
"""Standard deviation of the window, in pixels, in which parts of two pictures are compared."""

_NOISE = 2.0
"""Grey levels that details must exceed to count fully; JPEG at low quality changes smooth areas by about one."""

_ROUNDS = ((0.02, 0.3), (0.01, 0.45), (0.005, 0.6), (0.0025, 0.0))
"""How a window is fitted: by steps of so much of a side, given up if the correlation stays below."""

_BEYOND = 0.12
"""How far an end of the window may lie from that of the photo, as a share of the side."""

_MOVES = ((0, 1, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, 1, 0), (1, 0, 1))
"""Axis, and whether its start and its end are moved: shift, and crop or extend at either end."""

Floats = NDArray[np.float32]
_Window = tuple[tuple[float, float], tuple[float, float]]


def is_same(known: Grey, new: Grey, views: Sequence[int] = range(len(VIEWS))) -> bool:
    """Return whether two photos show the same picture.

    Args:
        known: grey copy of one.
        new: grey copy of the other.
        views: positions in VIEWS of the windows of the new one that may show all of the known one.
    """
    return agreement(known, new, views) >= AGREEMENT


def agreement(known: Grey, new: Grey, views: Sequence[int] = range(len(VIEWS))) -> float:
    """Return how well the details of two photos agree wherever they overlap: -1 to 1; 1 for the same picture.

    Details are what two blurs leave, divided by their local strength: an edge that two pictures share, such as that of
    a black bar, counts no more than the texture beside it, and brightness and contrast do not count. The window is
    fitted to a fraction of a pixel. Then details are compared part by part, and the result is the correlation that all
    but PARTS of them reach: rooms and streets of the same layout agree in some parts only. Pictures without details
    agree if their grey levels do.

    Args:
        known: as in `is_same`.
        new: as in `is_same`.
        views: as in `is_same`.
    """
    details, plain = _details(known), _details(new)
    if min(_strength(details), _strength(plain)) < FLAT:
        both = max(_strength(details), _strength(plain)) < FLAT
        return _flat_agreement(known, new) if both else 0.0
    sides = {False: plain, True: np.ascontiguousarray(plain[:, ::-1])}
    starts = [((VIEWS[place].rows, VIEWS[place].columns), VIEWS[place].mirrored) for place in views]
    best, window, mirrored = max((_correlation(details, sides[side], window), window, side) for window, side in starts)
    for step, least in _ROUNDS:
        best, window = _fitted(details, sides[mirrored], (best, window), step)
        if best < least:
            break
    return _least_part(*_overlap(details, sides[mirrored], window))


def _fitted(known: Floats, new: Floats, start: tuple[float, _Window], step: float) -> tuple[float, _Window]:
    """Move the window by one step at a time while that raises the correlation, at most three times over."""
    best, window = start
    for _ in range(3):
        before = best
        for axis, first, last in _MOVES:
            for move in (step, -step):
                moved = _moved(window, axis, first * move, last * move)
                if moved and (value := _correlation(known, new, moved)) > best:
                    best, window = value, moved
        if best == before:
            break
    return best, window


def _moved(window: _Window, axis: int, first: float, last: float) -> _Window | None:
    start, end = window[axis][0] + first, window[axis][1] + last
    if abs(start) > _BEYOND or abs(end - 1) > _BEYOND:
        return None
    return ((start, end), window[1]) if axis == 0 else (window[0], (start, end))


def _least_part(known: Floats, new: Floats) -> float:
    """Return the correlation of the parts of two pictures' details that all but PARTS of the details reach."""
    down, across = (_blur(_PART)[:size, :size] for size in known.shape)
    products, one, other = (down @ product @ across.T for product in (known * new, known * known, new * new))
    weights = np.maximum(one, other).ravel()  # details that only one of them has disagree
    parts = products.ravel() / np.maximum(weights, 1e-3)
    order = np.argsort(parts)
    reached = np.cumsum(weights[order])
    return float(parts[order[np.searchsorted(reached, PARTS * reached[-1])]])


def _flat_agreement(known: Grey, new: Grey) -> float:
    smooth = _blurred(_COARSE, np.asarray(known, np.float32))
    either = (_blurred(_COARSE, np.asarray(grey, np.float32)) for grey in (new, new[:, ::-1]))
    return float(min(np.abs(smooth - other).max() for other in either) <= FLAT_LEVELS)


def _strength(details: Floats) -> float:
    return float(np.sqrt(np.mean(details * details)))


def _details(grey: Grey) -> Floats:
    levels: Floats = grey.astype(np.float32)
    details: Floats = _blurred(_FINE, levels) - _blurred(_COARSE, levels)
    strength = np.sqrt(_blurred(_COARSE, np.asarray(details * details, np.float32)))
    return np.asarray(details / (strength + _NOISE), np.float32)


def _blurred(sigma: float, levels: Floats) -> Floats:
    blur = _blur(sigma)
    return np.asarray(blur @ levels @ blur.T, np.float32)


@cache
def _blur(sigma: float) -> Floats:
    places = np.arange(SIDE)
    weights = np.exp(-((places[:, None] - places) ** 2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _correlation(known: Floats, new: Floats, window: _Window) -> float:
    """Return the correlation of a photo's details with those in a window of another one, where both have pixels."""
    one, other = _overlap(known, new, window)
    norm = np.sqrt(np.vdot(one, one) * np.vdot(other, other))
    return float(np.vdot(one, other) / (norm + 1e-9))


def _overlap(known: Floats, new: Floats, window: _Window) -> tuple[Floats, Floats]:
    """Return a photo's details and those in a window of another one, where both have pixels."""
    (rows, row_matrix), (columns, column_matrix) = map(_sampler, window)
    return known[rows, columns], np.asarray(row_matrix @ new @ column_matrix.T, np.float32)


def _sampler(side: tuple[float, float]) -> tuple[slice, Floats]:
    """Return which of SIDE places across a window lie inside the photo, and the matrix that interpolates there."""
    start, end = side
    places = (start + (end - start) * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5
    inside = np.flatnonzero((places >= 0) & (places <= SIDE - 1))
    first, last = int(inside[0]), int(inside[-1]) + 1
    places = places[first:last]
    left = np.minimum(places.astype(np.intp), SIDE - 2)
    matrix = np.zeros((last - first, SIDE), np.float32)
    rows = np.arange(last - first)
    matrix[rows, left] = 1 - places + left
    matrix[rows, left + 1] += places - left
    return slice(first, last), matrix
