"""Units of a JPEG file whose labels cannot be right, searched one by one.

A unit's stored coefficients depend on its own pixels alone, and right labels exceed no step. Where the labels do, other
labels are tried: a class is replaced by another or by what lies beside it, or each pixel gets the class that its sample
suggests; then the outlines adapt. Trials of all units are adapted at once, side by side in a mosaic.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.maps import flips, mosaic, samples, spectrum, trials
from segkit.maps.coded import Coded
from segkit.maps.mosaic import Mosaic
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Indices, Positions, Scene

_ROUNDS = 3
"""Rounds of the search: those after the first search units that are beside changed ones."""

_ADAPTED = 5
"""Trials of a unit whose outlines adapt: those with the least squared excess before."""

_RIVALS = 3
"""Classes of the nearest colours that each class of a unit is replaced by, besides those near by."""

_KNOWN = 50
"""Pixels that make a class known."""

_FEW = 4
"""Pixels in the units around that make a class a candidate."""

_ROUGH = 0.3
"""Factor of the cost of a rough outline by which trials are compared."""

_CLASS = 6.0
"""Cost of each class in a unit, times the mean step of luma."""

_GAIN = 20.0
"""Least gain of a trial that is accepted."""


def search(scene: Scene, coded: Coded, focus: NDArray[np.bool_], least: float) -> int:
    """Give units that cannot be right the labels that explain them best; return how many changed.

    Args:
        scene: the map.
        coded: what its file stores.
        focus: (H / 16, W / 16) the units that may be wrong.
        least: squared excess above which the labels of a unit are searched.
    """
    total = 0
    measured = spectrum.measure(scene, focus)
    for _ in range(_ROUNDS):
        wrong = measured.excess() > least
        wrong &= mosaic.are_whole(coded, measured.rows, measured.columns)
        if not wrong.any():
            break
        rows, columns = measured.rows[wrong], measured.columns[wrong]
        changed = _search(scene, coded, rows, columns)
        total += int(changed.sum())
        if not changed.any():
            break
        focus = np.zeros([side // MCU for side in scene.labels.shape], bool)
        focus[rows[changed], columns[changed]] = True
        measured = spectrum.measure(scene, spectrum.around(focus))
    return total


def _search(scene: Scene, coded: Coded, rows: Positions, columns: Positions) -> NDArray[np.bool_]:
    """Search the labels of units that cannot be right; return which changed: (N,)."""
    places = mosaic.places(scene, rows, columns)
    patches = scene.board.ravel()[places]
    owners, proposed = _proposals(scene, coded, rows, columns, patches)
    tiles = patches[owners]
    tiles[:, 1:-1, 1:-1] = proposed
    kept = _best(owners, Mosaic(scene, coded, tiles, rows[owners], columns[owners]).excess())
    owners = owners[kept]
    tried = Mosaic(scene, coded, tiles[kept], rows[owners], columns[owners])
    trials.adapt(tried.scene, tried.focus)
    adapted = tried.tiles()
    costs = tried.excess() + _outline(scene, adapted)
    before = Mosaic(scene, coded, patches, rows, columns).excess() + _outline(scene, patches)
    order = np.lexsort((costs, owners))
    best = order[np.unique(owners[order], return_index=True)[1]]
    changed = costs[best] < before - _GAIN
    scene.board.ravel()[places[changed, 1:-1, 1:-1]] = adapted[best[changed], 1:-1, 1:-1]
    scene.repeat_edges()
    return np.asarray(changed)


def _proposals(
    scene: Scene, coded: Coded, rows: Positions, columns: Positions, patches: Indices
) -> tuple[Positions, Indices]:
    """Return labels to try: the unit of each, (T,), and (T, 16, 16) labels; the first of each unit are its own."""
    rivals, observed = _rivals(scene), samples.observed(scene, coded, rows, columns)
    tried = []
    for patch, colors, row, column in zip(patches, observed, rows.tolist(), columns.tolist(), strict=True):
        near = scene.labels[max(row - 1, 0) * MCU : (row + 2) * MCU, max(column - 1, 0) * MCU : (column + 2) * MCU]
        candidates = np.flatnonzero(np.bincount(near.ravel()) >= _FEW)
        labels = patch[1:-1, 1:-1]
        inside = np.unique(labels)
        new = [labels, *(_suggested(scene, colors, classes) for classes in (candidates, inside))]
        for label in inside.tolist():
            others = {*candidates.tolist(), *rivals[label].tolist()} - {label}
            new += [np.where(labels == label, np.uint8(other), labels) for other in sorted(others)]
            new.append(trials.without(patch, patch == label)[1:-1, 1:-1])
            if len(inside) > 2:
                new.append(_suggested(scene, colors, inside[inside != label]))
        tried.append(np.stack(new))
    return np.repeat(np.arange(len(rows)), [len(new) for new in tried]), np.concatenate(tried)


def _rivals(scene: Scene) -> Positions:
    """Return the known classes of the nearest colours, for each class: (classes, _RIVALS)."""
    distances = ((scene.ycc[:, None] - scene.ycc) ** 2).sum(2)
    distances[:, scene.counts() < _KNOWN] = np.inf
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, 1)[:, :_RIVALS]


def _suggested(scene: Scene, observed: Floats, candidates: Positions) -> Indices:
    """Return the candidates of the nearest colours, smoothed: (16, 16)."""
    distances = ((observed[..., None, :] - scene.ycc[candidates]) ** 2).sum(3)
    distances = ndimage.uniform_filter(distances, (3, 3, 1), mode="nearest")
    return np.asarray(candidates[distances.argmin(2)].astype(np.uint8))


def _best(owners: Positions, excess: Floats) -> Positions:
    """Return the trials of least excess of each unit, and its first, which keeps the labels."""
    order = np.lexsort((excess, owners))
    start = np.searchsorted(owners, owners)
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order)) - start[order]
    return np.flatnonzero((rank < _ADAPTED) | (np.arange(len(owners)) == start))


def _outline(scene: Scene, tiles: Indices) -> Floats:
    """Return the cost of the outlines and classes in (T, 18, 18) tiles: (T,)."""
    inner = tiles[:, 1:-1, 1:-1]
    pairs = np.zeros(len(tiles), np.float32)
    for down in (0, 1, 2):
        for across in (0, 1, 2):
            pairs += (tiles[:, down : down + MCU, across : across + MCU] != inner).sum((1, 2))
    ordered = np.sort(inner.reshape(len(tiles), -1), 1)
    classes = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(1)
    step = trials.scale(scene)
    return np.asarray(_ROUGH * flips.SMOOTH * step * pairs / 2 + _CLASS * step * classes, np.float32)
