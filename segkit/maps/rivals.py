"""Classes of a JPEG map that may be another class of nearly the same colour.

A shape of the wrong class compensates for its colour with its outline: a slightly wrong colour makes it too thick or
too thin. Another class then explains it worse until its outline has adapted, so the two must change together.
"""

import numpy as np

from segkit.maps import flips, spectrum
from segkit.maps.scene import Positions, Scene
from segkit.maps.spectrum import Spectrum

_FEW = 2000
"""Pixels up to which an unproven class is questioned."""

_KNOWN = 50
"""Pixels that make a class a rival."""

_NEAR = 45.0
"""Distance in luma and chroma up to which two classes are rivals."""

_RIVALS = 2
"""Number of rivals that are tried for a class."""

_TURNS = 2
"""How often the pixels along the borders move before a rival is judged."""


def replace(scene: Scene, measured: Spectrum, least: float) -> int:
    """Replace unproven classes by rivals where the compressed picture is nearer to the map afterwards.

    Args:
        scene: the map.
        measured: a spectrum with all units that are badly explained.
        least: squared excess above which a unit is badly explained.

    Returns:
        The number of classes that were replaced.
    """
    loud = measured.places[measured.excess() > least]
    present = np.bincount(scene.board.ravel()[loud].ravel(), minlength=len(scene.colors))
    counts, replaced = scene.counts(), 0
    for label in np.flatnonzero((present > 0) & ~scene.proven & (counts <= _FEW)).tolist():
        distances = ((scene.ycc - scene.ycc[label]) ** 2).sum(1)
        distances[(counts < _KNOWN) | (distances > _NEAR**2)] = np.inf
        distances[label] = np.inf
        rivals = np.argsort(distances)[:_RIVALS]
        if any(_is_better(scene, label, int(rival)) for rival in rivals[np.isfinite(distances[rivals])]):
            counts, replaced = scene.counts(), replaced + 1
    return replaced


def _is_better(scene: Scene, label: int, rival: int) -> bool:
    """Replace a class by a rival, and undo that unless the squared error becomes smaller; return whether it did."""
    focus = spectrum.around(spectrum.units(scene, scene.labels == label))
    rows, columns = np.nonzero(focus)
    before, board = _error(scene, rows, columns), scene.board.copy()
    scene.board[scene.board == label] = rival
    for _ in range(_TURNS):
        flips.move_pixels(scene, spectrum.measure(scene, focus))
    if _error(scene, rows, columns) < before:
        return True
    scene.board[:] = board
    return False


def _error(scene: Scene, rows: Positions, columns: Positions) -> float:
    difference = spectrum.residual(scene, rows, columns, 0).astype(np.float32)
    return float((difference**2).sum())
