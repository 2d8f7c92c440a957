"""Areas of a JPEG map that get another class, where that explains the observed coefficients better."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps import differences
from segkit.maps.areas import Areas
from segkit.maps.layout import WAVES
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Positions, Scene
from segkit.maps.spectrum import Spectrum, square_excess

_NEW = 20_000.0
"""Cost of a class that has fewer than _KNOWN pixels elsewhere, in squared coefficients, times the mean step of luma:
the coarser the steps, the less evidence even a right class leaves."""

_KNOWN = 50
"""Pixels elsewhere that make a class known."""

_SMOOTH = 20.0
"""Cost of each pair of neighbours with different labels along the border of an area, in squared coefficients."""

_SMOOTH_SEEN = 5.0
"""The same in squared differences of compressed pictures, which show more of an error than the coefficients do."""

_GAIN = 50.0
"""By how much another class must explain an area better, in the same unit."""

_TRIALS = 16
"""Number of classes that are evaluated for an area: those that suit it best as far as the cost is quadratic."""

_AT_ONCE = 2048
"""Parts times classes that are evaluated at once: enough to make calls rare, and few enough for a cache."""

_WORST = 1e9
"""Cost of an area without any class, in squared coefficients."""

_COMPRESSIONS = 4
"""Number of classes whose compressed pictures are compared."""


@dataclass(frozen=True)
class _Part:
    """The share of areas in the blocks that they touch, of luma or of one of the chroma channels.

    Attributes:
        areas: (parts,) the area of each part.
        units: (parts,) its unit in the spectrum.
        blocks: (parts,) its block in the unit.
        covered: (parts, 64) coefficients of the area, as a mask.
        rest: (parts, channels, 64) errors of the block's coefficients if the area were black.
        before: (parts,) squared excess of the block.
        channels: which of luma and chroma are concerned.
        limits: (64,) half the steps.
    """

    areas: Positions
    units: Positions
    blocks: Positions
    covered: Floats
    rest: Floats
    before: Floats
    channels: slice
    limits: Floats

    def quadratic(self, colors: Floats, number: int) -> Floats:
        """Return the squared errors of coefficients for each area and class, but for a constant: (areas, classes)."""
        squares = np.bincount(self.areas, (self.covered**2).sum(1), number)
        color = colors[:, self.channels]
        products = (self.rest * self.covered[:, None]).sum(2)
        sums = np.stack([np.bincount(self.areas, product, number) for product in products.T], 1)
        return np.asarray(squares[:, None] * (color**2).sum(1) + 2 * sums @ color.T, np.float32)

    def change(self, colors: Floats) -> Floats:
        """Return by how much the squared excess would change if each area had one of its colours.

        Args:
            colors: (areas, trials, 3)

        Returns:
            (areas, trials)
        """
        number, trials = colors.shape[:2]
        color = colors[self.areas][:, :, self.channels]
        errors = self.rest[:, None] + color[..., None] * self.covered[:, None, None]
        change = square_excess(errors, self.limits).sum(2) - self.before[:, None]
        bins = self.areas[:, None] * trials + np.arange(trials)
        return np.bincount(bins.ravel(), change.ravel(), number * trials).reshape(number, trials).astype(np.float32)


def relabel(scene: Scene, spectrum: Spectrum, areas: Areas | None, *, compressing: bool = False) -> int:
    """Give areas the classes that explain the map best with as few new classes as possible.

    Areas in the same unit influence each other, so only the one that gains most changes.

    Args:
        scene: the map.
        spectrum: the errors of its labels.
        areas: sets of pixels in the units of the spectrum.
        compressing: compare compressed pictures, as colours clipped at 0 and 255 require, instead of coefficients.

    Returns:
        The number of areas that changed.
    """
    if areas is None:
        return 0
    parts = _parts(scene, spectrum, areas)
    costs = _costs(scene, parts, areas)
    if compressing:
        costs = _compressed_costs(scene, spectrum, areas, costs)
    costs += (_SMOOTH_SEEN if compressing else _SMOOTH) * _border_costs(scene, spectrum, areas)
    allowed = _allowed(scene, areas, costs, _NEW / float(spectrum.layout.luma_steps.mean()))
    best = np.where(allowed, costs, np.inf).argmin(1)
    every = np.arange(len(best))
    gains = -costs[every, best]
    leaving = np.zeros(len(best), bool)
    if areas.labels is not None:
        leaving = ~allowed[areas.labels]
        gains[leaving] = np.maximum(gains[leaving], 2 * _GAIN)  # their class is given up, whatever it costs
        gains[best == areas.labels] = 0
    gains[~(allowed & np.isfinite(costs)).any(1)] = 0
    changed = _independent(parts[-1], gains, leaving)
    pixels = (areas.owners >= 0) & changed[areas.owners]
    scene.board.ravel()[spectrum.places[pixels]] = best.astype(np.uint8)[areas.owners[pixels]]
    scene.repeat_edges()
    return int(changed.sum())


def _independent(part: _Part, gains: NDArray[np.floating], leaving: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the areas that change: the best first, and none that touches a unit of another, unless it must."""
    order = np.argsort(part.areas, kind="stable")
    units = np.split(part.units[order], np.searchsorted(part.areas[order], np.arange(1, len(gains))))
    used: set[int] = set()
    changed = np.zeros(len(gains), bool)
    for area in np.argsort(-gains, kind="stable").tolist():
        if gains[area] <= _GAIN:
            break
        touched = units[area].tolist()
        if leaving[area] or used.isdisjoint(touched):
            used.update(touched)
            changed[area] = True
    return changed


def _allowed(scene: Scene, areas: Areas, costs: Floats, novelty: float) -> NDArray[np.bool_]:
    """Return the classes that areas may get: known ones, and those whose gain over all areas is worth a new class."""
    counts = scene.counts()
    if areas.labels is not None:
        counts = counts - np.bincount(areas.labels, areas.sizes, len(counts)).astype(np.intp)
    allowed: NDArray[np.bool_] = scene.proven | (counts >= _KNOWN)
    lowest = costs[:, allowed].min(1, initial=np.inf)
    if areas.labels is None:
        lowest = np.minimum(lowest, 0)  # their pixels may keep their labels
    while not allowed.all():
        gains = np.maximum(np.minimum(lowest, _WORST)[:, None] - costs, 0).sum(0) - novelty
        gains[allowed] = -np.inf
        best = int(gains.argmax())
        if gains[best] <= 0:
            break
        allowed[best] = True
        lowest = np.minimum(lowest, costs[:, best])
    return allowed


def _costs(scene: Scene, parts: list[_Part], areas: Areas) -> Floats:
    """Return by how much each class would change the squared excess of an area: (areas, classes).

    inf for classes that are not evaluated.
    """
    number, colors = len(areas.sizes), scene.ycc
    estimate = sum((part.quadratic(colors, number) for part in parts), np.zeros((number, len(colors)), np.float32))
    costs = np.full(estimate.shape, np.inf, np.float32)
    every, trials = np.arange(number), np.argsort(estimate, 1)[:, :_TRIALS]
    step = max(1, _AT_ONCE // max(len(part.areas) for part in parts))
    for first in range(0, trials.shape[1], step):
        tried = trials[:, first : first + step]
        costs[every[:, None], tried] = sum(part.change(colors[tried]) for part in parts)
    if areas.labels is not None:
        costs[every, areas.labels] = 0
    return costs


def _compressed_costs(scene: Scene, spectrum: Spectrum, areas: Areas, costs: Floats) -> Floats:
    """Return by how much each of the best classes would change the squared error inside an area: (areas, classes)."""
    result = np.full(costs.shape, np.inf, np.float32)
    every, current = np.arange(len(costs)), _misfit(scene, spectrum, areas, None)
    for trial in np.argsort(costs, 1)[:, :_COMPRESSIONS].T:
        result[every, trial] = _misfit(scene, spectrum, areas, trial) - current
    result[~np.isfinite(costs)] = np.inf
    if areas.labels is not None:
        result[every, areas.labels] = 0
    return result


def _border_costs(scene: Scene, spectrum: Spectrum, areas: Areas) -> Floats:
    """Return by how many pairs the borders would grow if areas had another class: (areas, classes)."""
    flat = scene.board.ravel()
    numbers = scene.numbers
    numbers[spectrum.places.ravel()] = areas.owners.ravel()
    inside = areas.owners >= 0
    places, owners = spectrum.places[inside], areas.owners[inside]
    labels = flat[places]
    shape = (len(areas.sizes), len(scene.colors))
    equal = np.zeros(shape[0] * shape[1], np.intp)
    before = np.zeros(shape[0], np.intp)
    for offset in scene.neighbors:
        outside = numbers[places + offset] != owners
        beside, owner = flat[places + offset][outside], owners[outside]
        equal += np.bincount(owner.astype(np.intp) * shape[1] + beside, minlength=len(equal))
        before += np.bincount(owner, beside == labels[outside], shape[0]).astype(np.intp)
    numbers[spectrum.places.ravel()] = -1
    return (before[:, None] - equal.reshape(shape)).astype(np.float32)


def _misfit(scene: Scene, spectrum: Spectrum, areas: Areas, chosen: Positions | None) -> Floats:
    """Return the squared error inside each area if all areas had the chosen classes: (areas,)."""
    units = np.flatnonzero((areas.owners >= 0).any(1))
    inside = areas.owners[units] >= 0
    places, owners = spectrum.places[units][inside], areas.owners[units][inside]
    flat = scene.board.ravel()
    labels = flat[places]
    if chosen is not None:
        flat[places] = chosen.astype(np.uint8)[owners]
    difference = differences.in_ycc(scene, spectrum.rows[units], spectrum.columns[units])
    flat[places] = labels
    squares = (difference.reshape(*inside.shape, 3)[inside] ** 2).sum(1)
    return np.bincount(owners, squares, len(areas.sizes)).astype(np.float32)


def _parts(scene: Scene, spectrum: Spectrum, areas: Areas) -> list[_Part]:
    """Return the parts of areas in luma blocks, and those in chroma blocks."""
    shape = spectrum.layout
    inside = np.flatnonzero(areas.owners >= 0)
    units, pixels = inside // MCU**2, inside % MCU**2
    owners = areas.owners.ravel()[inside].astype(np.intp)
    colors = scene.ycc[scene.board.ravel()[spectrum.places.ravel()[inside]]]
    parts = []
    for errors, blocks, samples, scale, channels, limits in (
        (spectrum.luma[:, :, None], shape.luma_blocks, shape.luma_pixels, 1, slice(0, 1), shape.luma_limits),
        (spectrum.chroma, shape.chroma_blocks, shape.chroma_pixels, shape.scale, slice(1, 3), shape.chroma_limits),
    ):
        count = errors.shape[1]
        keys, part = np.unique((owners * len(errors) + units) * count + blocks[pixels], return_inverse=True)
        bins = part * 64 + samples[pixels]

        def transformed(
            weights: Floats | None, bins: Positions = bins, size: int = len(keys) * 64, scale: int = scale
        ) -> Floats:
            summed = np.bincount(bins, weights, size).reshape(-1, 64).astype(np.float32)
            return np.asarray(summed @ WAVES / np.float32(scale**2))

        unit, block = keys // count % len(errors), keys % count
        error = errors[unit, block]
        painted = np.stack([transformed(colors[:, channel]) for channel in range(channels.start, channels.stop)], 1)
        before = square_excess(error, limits).sum(1)
        parts.append(
            _Part(
                keys // count // len(errors), unit, block, transformed(None), error - painted, before, channels, limits
            )
        )
    return parts
