"""What a JPEG map would look like without a class: its pixels get other labels, and the outlines adapt.

The compressed picture decides, unit by unit, whether the other labels explain the map.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.maps import differences, flips, spectrum
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Indices, Positions, Scene

_TRIALS = 3
"""How many of the ways to replace a class have the outlines adapt: those with the least squared error before."""

_SMOOTH = (1.0, 0.3, 0.1)
"""Factors of the cost of a rough outline as it adapts: a high one leads near the truth, and only a low one to
it."""

_HOPELESS = 9000.0
"""Squared error that no change of the outline makes up for, in the unit of `scale`."""


@dataclass(frozen=True)
class Change:
    """Pixels that would get other labels.

    Attributes:
        error: change of the squared error, in differences of colour channels; inf if nothing comes near.
        harm: the part of it in units that become worse.
        places: (N,) positions on the flattened board.
        labels: (N,) the labels.
    """

    error: float
    harm: float
    places: Positions
    labels: Indices


@dataclass(frozen=True)
class _Trial:
    """Labels of a window, and the change of the squared error of each of its units."""

    labels: Indices
    errors: Floats

    @property
    def harm(self) -> float:
        return float(np.maximum(self.errors, 0).sum())

    @property
    def cost(self) -> float:
        return float(self.errors.sum()) + 2 * self.harm


@dataclass
class _Window:
    """The rectangle around some units, in which labels are tried.

    Attributes:
        scene: the map.
        focus: (H / 16, W / 16) the units and those beside them, which are compared.
        top: first row of units in the rectangle.
        left: first column.
        board: the part of the board, a view.
    """

    scene: Scene
    focus: NDArray[np.bool_]
    top: int
    left: int
    board: Indices

    def __post_init__(self) -> None:
        self.rows, self.columns = np.nonzero(self.focus)

    def put(self, labels: Indices) -> None:
        self.board[:] = labels
        self.scene.repeat_edges()

    def errors(self) -> Floats:
        """Return the squared error of each unit of the focus."""
        return _errors(self.scene, self.rows, self.columns)

    def adapt(self, labels: Indices, before: Floats) -> _Trial:
        """Return labels after their outlines adapted."""
        self.put(labels)
        adapt(self.scene, self.focus)
        return _Trial(self.board.copy(), self.errors() - before)

    def widen(self, units: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the values of units, (H / 16, W / 16), for each pixel of the window."""
        height, width = (side // MCU for side in self.board.shape)
        inside = units[self.top : self.top + height, self.left : self.left + width]
        return np.repeat(np.repeat(inside.astype(np.uint8), MCU, 0), MCU, 1)


def scale(scene: Scene) -> float:
    """Return the mean step of luma: the coarser the steps, the larger the errors that wrong labels may explain."""
    return float(scene.layout.luma_steps.mean())


def without(labels: Indices, owned: NDArray[np.bool_]) -> Indices:
    """Return (H, W) labels whose owned pixels get the nearest others; all of them if there are no others."""
    if owned.all():
        return labels
    nearest = ndimage.distance_transform_edt(owned, return_distances=False, return_indices=True)
    return np.asarray(labels[*nearest])


def adapt(scene: Scene, focus: NDArray[np.bool_]) -> None:
    """Move the pixels along borders in some units, at falling costs of a rough border."""
    for smooth in _SMOOTH:
        flips.move_pixels(scene, spectrum.measure(scene, focus), smooth)


def polish(scene: Scene, focus: NDArray[np.bool_]) -> None:
    """Let the outlines in some units adapt, except where the compressed picture is farther from the map afterwards."""
    rows, columns = np.nonzero(focus)
    if not len(rows):
        return
    before, labels = _errors(scene, rows, columns), scene.labels.copy()
    adapt(scene, focus)
    change = np.zeros(focus.shape, np.float32)
    change[rows, columns] = _errors(scene, rows, columns) - before
    worse = ndimage.uniform_filter(change, 3, mode="constant") > 0
    worse = np.repeat(np.repeat(worse, MCU, 0), MCU, 1)
    scene.labels[worse] = labels[worse]
    scene.repeat_edges()


def replaced(scene: Scene, label: int, rivals: list[int], units: NDArray[np.bool_]) -> Change:
    """Return the change that replaces a class in some units at the least cost, where harm counts three times.

    Its pixels get one of the rivals, or the nearest labels beside them; each unit may follow another of these.

    Args:
        scene: the map; unchanged afterwards.
        label: the class.
        rivals: classes that may replace it.
        units: (H / 16, W / 16).
    """
    window = _window(scene, units)
    original = window.board.copy()
    owned = (window.widen(units) > 0) & (original == label)
    before = window.errors()
    limit = float(before.sum()) + _HOPELESS * scale(scene)
    kept = window.adapt(original, before)
    if kept.errors.sum() < 0:  # outlines that adapt as they are: what remains is due to the labels
        before = before + kept.errors
    trials = _trials(window, _candidates(window, original, owned, rivals, limit), before)
    window.put(original)
    if not trials:
        return Change(np.inf, np.inf, np.zeros(0, np.intp), np.zeros(0, np.uint8))
    best = min(trials, key=lambda trial: trial.cost)
    down, across = np.nonzero(best.labels != original)
    places = (down + window.top * MCU + 1) * scene.stride + across + window.left * MCU + 1
    return Change(float(best.errors.sum()), best.harm, places, best.labels[down, across])


def _window(scene: Scene, units: NDArray[np.bool_]) -> _Window:
    focus = spectrum.around(units)
    down, across = (np.flatnonzero(focus.any(axis)) for axis in (1, 0))
    top, left = int(down[0]), int(across[0])
    rows = slice(top * MCU + 1, (int(down[-1]) + 1) * MCU + 1)
    columns = slice(left * MCU + 1, (int(across[-1]) + 1) * MCU + 1)
    return _Window(scene, focus, top, left, scene.board[rows, columns])


def _candidates(
    window: _Window, original: Indices, owned: NDArray[np.bool_], rivals: list[int], limit: float
) -> list[Indices]:
    """Return the labels with the least squared error, best first, none above the limit."""
    candidates = [np.where(owned, np.uint8(rival), original) for rival in rivals] + [without(original, owned)]
    errors = []
    for labels in candidates:
        window.put(labels)
        errors.append(float(window.errors().sum()))
    order = [place for place in np.argsort(errors)[:_TRIALS].tolist() if errors[place] < limit]
    return [candidates[place] for place in order]


def _trials(window: _Window, candidates: list[Indices], before: Floats) -> list[_Trial]:
    """Return the candidates after adaptation, and their best mixture unit by unit."""
    trials = [window.adapt(labels, before) for labels in candidates]
    if len(trials) > 1:
        best = np.stack([trial.errors for trial in trials]).argmin(0)
        if best.min() != best.max():
            chosen = np.zeros(window.focus.shape, np.uint8)
            chosen[window.rows, window.columns] = best
            trials.append(window.adapt(np.choose(window.widen(chosen), [trial.labels for trial in trials]), before))
    return trials


def _errors(scene: Scene, rows: Positions, columns: Positions) -> Floats:
    """Return the squared error of each unit: (N,)."""
    difference = differences.in_rgb(scene, rows, columns).reshape(len(rows), -1)
    return np.asarray(np.einsum("ij,ij->i", difference, difference))
