"""Classes of a JPEG map that may be another class of nearly the same colour.

A shape of the wrong class compensates for its colour with its outline: a slightly wrong colour makes it too thick or
too thin. Another class then explains it worse until its outline has adapted, so the two must change together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.maps import spectrum, trials
from segkit.maps.scene import Scene
from segkit.maps.trials import Change

_FEW = 3000
"""Pixels up to which an unproven class is questioned."""

_KNOWN = 50
"""Pixels that make a class a rival."""

_NEAR = 45.0
"""Distance in luma and chroma up to which two classes are rivals."""

_RIVALS = 3
"""Number of rivals of a class."""

_CLASS = 3000.0
"""Squared error that a class of at most _SMALL pixels must explain to stay, in the unit of trials.scale. The more
pixels a class has, the less likely it is wrong."""

_SMALL = 100

_GAIN = 300.0
"""Squared error by which a rival must explain a part of a class better that stays elsewhere, in the same unit."""


@dataclass(frozen=True)
class _Verdict:
    """What it costs to do without a class.

    Attributes:
        worth: squared error that the class must explain to stay.
        focus: (H / 16, W / 16) the units that were compared.
        changes: how its pixels would change, a change for each group of units.
    """

    worth: float
    focus: NDArray[np.bool_]
    changes: tuple[Change, ...]

    @property
    def cost(self) -> float:
        """The change of the squared error without the class, harm counted three times, less its worth."""
        return sum(change.error + 2 * change.harm for change in self.changes) - self.worth


def replace(scene: Scene) -> int:
    """Replace unproven classes by rivals where the compressed picture is hardly farther from the map afterwards.

    The class that is needed least goes first, as two wrong classes may share the pixels of a right one. Classes that
    stay lose the parts that a rival explains better.

    Returns:
        The number of classes that were replaced.
    """
    counts = scene.counts()
    questioned = np.flatnonzero((counts > 0) & ~scene.proven & (counts <= _FEW)).tolist()
    verdicts = {label: _judge(scene, label) for label in questioned}
    replaced = 0
    while verdicts:
        label = min(verdicts, key=lambda candidate: verdicts[candidate].cost)
        if verdicts[label].cost >= 0:
            break
        verdict = verdicts.pop(label)
        _apply(scene, verdict.changes)
        _judge_again(scene, verdicts, verdict.focus)
        replaced += 1
    _replace_parts(scene, verdicts)
    return replaced


def _replace_parts(scene: Scene, verdicts: dict[int, _Verdict]) -> None:
    """Replace the parts of classes that a rival explains better."""
    least = -_GAIN * trials.scale(scene)
    for label in list(verdicts):
        verdict = verdicts.pop(label)
        better = tuple(change for change in verdict.changes if change.error + 2 * change.harm < least)
        if better:
            _apply(scene, better)
            _judge_again(scene, verdicts, verdict.focus)


def _apply(scene: Scene, changes: tuple[Change, ...]) -> None:
    for change in changes:
        scene.board.ravel()[change.places] = change.labels
    scene.repeat_edges()


def _judge(scene: Scene, label: int) -> _Verdict:
    """Return what it costs to do without a class, each group of its units with what suits it best."""
    pixels = scene.labels == label
    units = spectrum.units(scene, pixels)
    groups, number = ndimage.label(units, np.ones((3, 3), bool))
    worth = _CLASS * trials.scale(scene) * min(1.0, _SMALL / max(int(pixels.sum()), 1)) ** 1.5
    rivals = _rivals(scene, label)
    changes = tuple(trials.replaced(scene, label, rivals, groups == group) for group in range(1, number + 1))
    return _Verdict(worth, spectrum.around(units), changes)


def _judge_again(scene: Scene, verdicts: dict[int, _Verdict], focus: NDArray[np.bool_]) -> None:
    """Update the verdicts on classes in units that changed."""
    for label, verdict in verdicts.items():
        replaceable = any(np.isfinite(change.error) for change in verdict.changes)
        if replaceable and (verdict.focus & focus).any():
            verdicts[label] = _judge(scene, label)


def _rivals(scene: Scene, label: int) -> list[int]:
    """Return the classes of the nearest colours."""
    distances = ((scene.ycc - scene.ycc[label]) ** 2).sum(1)
    distances[(scene.counts() < _KNOWN) | (distances > _NEAR**2)] = np.inf
    distances[label] = np.inf
    nearest = np.argsort(distances)[:_RIVALS]
    return [int(rival) for rival in nearest[np.isfinite(distances[nearest])]]
