"""Connected areas of one label: another class for a whole area, where it explains the observed map better."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from segkit.maps.scene import Floats, Indices, Positions, Residual, Scene, to_ycc

_SMALLEST = 4
"""Pixels of the smallest area that is reconsidered."""

_OFF = 1.0
"""Mean residual of an area above which another class may suit it better."""

_NEW = 3000.0
"""Cost of a class that has fewer than _KNOWN pixels elsewhere, in squared colour distance summed over pixels."""

_KNOWN = 50

_GAIN = 100.0
"""By how much another class must explain an area better, in the same unit."""

_SIMILAR = 12.0
"""Distance of classes, in luma and chroma, of which one is easily taken for the other on a part of a thin shape."""

_CONFUSION = 0.25
"""Share of the expected misfit that is tolerated for the commoner of two similar classes."""

_TRIALS = 4
"""Number of classes whose compressed pictures are compared."""


@dataclass(frozen=True)
class Areas:
    """Areas of the pixels in question.

    Attributes:
        places: (N,) positions of the pixels on the flattened board.
        owners: (N,) area of each pixel.
        labels: (areas,) the class of each.
        sizes: (areas,) pixels of each.
        costs: (areas, classes) by how much each class would change the squared residual of an area, as far as that is
            linear: before quantization and clipping. inf for changes that are out of the question.
    """

    places: Positions
    owners: NDArray[np.int32]
    labels: Indices
    sizes: NDArray[np.intp]
    costs: Floats


def find_areas(scene: Scene, residual: Residual, *, connected: bool = True) -> Areas | None:
    """Collect the areas in the blocks of a residual, without fixed pixels; None if there are none.

    Args:
        scene: the map.
        residual: what its labels leave unexplained.
        connected: False to take all pixels of a class as one area.
    """
    fixed = np.pad(scene.fixed, 1).ravel()
    free = ~fixed[residual.places]
    places = residual.places[free]
    if not len(places):
        return None
    labels = scene.board.ravel()[places]
    number, owners = _connect(scene, places, labels) if connected else (len(scene.colors), labels.astype(np.int32))
    sizes = np.bincount(owners, minlength=number)
    firsts = np.arange(number).astype(np.uint8)
    firsts[owners] = labels

    cells = scene.board.ravel()[residual.places].reshape(-1, 4, 2, 4, 2)
    pixel = cells.transpose(0, 1, 3, 2, 4).reshape(-1, 4)
    mates = (pixel[:, :, None] == pixel[:, None]).sum(2).reshape(-1, 4, 4, 2, 2).transpose(0, 1, 3, 2, 4)
    covered = np.bincount(owners, mates.reshape(free.shape)[free] / 4, number)
    luma = np.bincount(owners, residual.luma[free], number)
    chroma = np.repeat(np.repeat(residual.chroma, 2, 1), 2, 2)[free]
    sums = np.stack([np.bincount(owners, chroma[:, channel], number) for channel in (0, 1)], 1)

    change = scene.ycc - scene.ycc[firsts][:, None]  # (areas, classes, 3)
    costs = sizes[:, None] * change[..., 0] ** 2 - 2 * change[..., 0] * luma[:, None]
    costs += covered[:, None] * (change[..., 1:] ** 2).sum(2) - 2 * (change[..., 1:] * sums[:, None]).sum(2)
    off = np.abs(luma) / np.maximum(sizes, 1) + np.abs(sums).sum(1) / np.maximum(covered, 1)
    settled = (sizes < _SMALLEST) | (off < _OFF)
    for offset in (1, -1, scene.stride, -scene.stride):  # the fringe of a larger area is no area by itself
        beside = places + offset
        settled[owners[fixed[beside] & (scene.board.ravel()[beside] == labels)]] = True
    costs[settled] = np.inf
    costs[settled, firsts[settled]] = 0
    return Areas(places, owners, firsts, sizes, costs.astype(np.float32))


def _connect(scene: Scene, places: Positions, labels: Indices) -> tuple[int, NDArray[np.int32]]:
    """Return the number of areas, and the area of each pixel; pixels connect to the four beside them."""
    numbers = np.full(scene.board.size, -1, np.int32)
    numbers[places] = np.arange(len(places))
    edges = []
    for offset in (1, scene.stride):
        other = numbers[places + offset]
        connected = np.flatnonzero((other >= 0) & (labels[other] == labels))
        edges.append((connected, other[connected]))
    start, end = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    graph = coo_matrix((np.ones(len(start), bool), (start, end)), shape=(len(places), len(places)))
    number, owners = connected_components(graph, directed=False)
    return int(number), owners


def relabel(scene: Scene, residual: Residual, allowed: NDArray[np.bool_]) -> int:
    """Give each area the class that costs least, among those allowed; return the number of areas that changed."""
    areas = find_areas(scene, residual)
    if areas is None:
        return 0
    costs = areas.costs + _novelty(scene, areas)
    costs[:, ~allowed] = np.inf
    every = np.arange(len(areas.labels))
    best = costs.argmin(1)
    better = costs[every, areas.labels] - costs[every, best] > _GAIN
    return _assign(scene, areas, np.where(better, best, areas.labels))


def try_alternatives(scene: Scene, residual: Residual, allowed: NDArray[np.bool_], *, connected: bool = True) -> int:
    """Compress the map with the best alternatives of each area, and keep what reproduces the observed map best.

    Unlike `relabel`, this accounts for quantization, and for clipping at 0 and 255, which hides a part of the damage of
    saturated colours. All areas change at once: they hardly influence the residual inside others. See `find_areas` for
    the arguments; allowed are the classes that areas may get.

    Returns:
        The number of areas that changed.
    """
    areas = find_areas(scene, residual, connected=connected)
    if areas is None or np.isfinite(areas.costs).sum() == len(areas.labels):
        return 0
    novelty = _novelty(scene, areas)
    costs = areas.costs + novelty
    costs[:, ~allowed] = np.inf
    every = np.arange(len(areas.labels))
    costs[every, areas.labels] = np.inf
    questioned = np.flatnonzero(np.isfinite(costs).any(1)[areas.owners])
    best = areas.labels.astype(np.intp)
    lowest = _misfit(scene, areas, best, questioned) + novelty[every, best] - _GAIN
    for trial in np.argsort(costs, 1)[:, :_TRIALS].T:
        trial = np.where(np.isfinite(costs[every, trial]), trial, areas.labels)
        misfit = _misfit(scene, areas, trial, questioned) + novelty[every, trial]
        if not connected:
            misfit -= _tolerance(scene, areas, trial)
        better = misfit < lowest
        lowest[better], best[better] = misfit[better], trial[better]
    return _assign(scene, areas, best)


def _tolerance(scene: Scene, areas: Areas, chosen: Positions) -> Floats:
    """Return the misfit that is tolerated for a class with more pixels in place of a similar one."""
    squares = ((scene.ycc[chosen] - scene.ycc[areas.labels]) ** 2).sum(1)
    counts = scene.counts()
    similar = (squares < _SIMILAR**2) & (counts[chosen] > counts[areas.labels])
    return np.where(similar, _CONFUSION * squares * areas.sizes, 0).astype(np.float32)


def _novelty(scene: Scene, areas: Areas) -> Floats:
    """Return the cost of a class that is little known outside an area: (areas, classes)."""
    elsewhere = np.tile(scene.counts(), (len(areas.labels), 1))
    elsewhere[np.arange(len(areas.labels)), areas.labels] -= areas.sizes
    return np.where((elsewhere < _KNOWN) & ~scene.proven, np.float32(_NEW), np.float32(0))


def _misfit(scene: Scene, areas: Areas, chosen: Positions, pixels: Positions) -> Floats:
    """Return the squared residual inside each area if the areas had the chosen classes, over some of the pixels."""
    places, owners = areas.places[pixels], areas.owners[pixels]
    board = scene.board.copy()
    board.ravel()[places] = chosen.astype(np.uint8)[owners]
    compressed = scene.compressed(board[1:-1, 1:-1])
    rows, columns = np.divmod(places, scene.stride)
    inside = (rows - 1) * (scene.stride - 2) + columns - 1
    difference = scene.observed.reshape(-1, 3)[inside].astype(np.float32) - compressed.reshape(-1, 3)[inside]
    squares = (to_ycc(difference) ** 2).sum(1)
    return np.bincount(owners, squares, len(areas.labels)).astype(np.float32)


def _assign(scene: Scene, areas: Areas, chosen: NDArray[np.integer]) -> int:
    scene.board.ravel()[areas.places] = chosen.astype(np.uint8)[areas.owners]
    scene.repeat_edges()
    return int((chosen != areas.labels).sum())
