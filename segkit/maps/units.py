"""Units of a JPEG file whose labels cannot be right, searched one by one.

A unit's stored coefficients depend on its own pixels alone, and right labels exceed no step. Where the labels do, other
labels are tried: a class is replaced by another or by what lies beside it, or each pixel gets the class that its sample
suggests; then the outlines adapt. Trials of all units are adapted at once, side by side in a mosaic.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.maps import flips, samples, spectrum, trials
from segkit.maps.coded import Coded
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

_SIDE = MCU + 2
"""Side of a unit with the pixels beside it."""

_PITCH = 2 * MCU
"""Distance of the units in a mosaic, between which the pixels beside each have room."""


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
        wrong &= (measured.rows + 1) * MCU <= coded.height
        wrong &= (measured.columns + 1) * MCU <= coded.width
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
    reach = np.arange(_SIDE)
    first = rows * MCU * scene.stride + columns * MCU
    places = first[:, None, None] + reach[:, None] * scene.stride + reach
    patches = scene.board.ravel()[places]
    owners, tried = _proposals(scene, coded, rows, columns, patches)
    tiles = patches[owners]
    tiles[:, 1:-1, 1:-1] = tried
    kept = _best(owners, _Mosaic(scene, coded, tiles, rows[owners], columns[owners]).excess())
    owners = owners[kept]
    mosaic = _Mosaic(scene, coded, tiles[kept], rows[owners], columns[owners])
    trials.adapt(mosaic.scene, mosaic.focus)
    adapted = mosaic.tiles()
    costs = mosaic.excess() + _outline(scene, adapted)
    before = _Mosaic(scene, coded, patches, rows, columns).excess() + _outline(scene, patches)
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
            new.append(_filled(patch, label))
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


def _filled(patch: Indices, label: int) -> Indices:
    """Return the labels of a unit without one, whose pixels get the nearest others: (16, 16)."""
    owned = patch == label
    if owned.all():
        return patch[1:-1, 1:-1]
    nearest = ndimage.distance_transform_edt(owned, return_distances=False, return_indices=True)
    return np.asarray(patch[*nearest][1:-1, 1:-1])


def _best(owners: Positions, excess: Floats) -> Positions:
    """Return the trials of least excess of each unit, and its first, which keeps the labels."""
    order = np.lexsort((excess, owners))
    start = np.searchsorted(owners, owners)
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order)) - start[order]
    return np.flatnonzero((rank < _ADAPTED) | (np.arange(len(owners)) == start))


class _Mosaic:
    """Tiles, (T, 18, 18), side by side: units with the pixels beside them.

    Attributes:
        scene: the mosaic as a map.
        focus: the units in it.
    """

    def __init__(self, scene: Scene, coded: Coded, tiles: Indices, rows: Positions, columns: Positions) -> None:
        lanes = int(np.ceil(np.sqrt(len(tiles))))
        side, scale = lanes * _PITCH + MCU, scene.layout.scale
        down, across = np.divmod(np.arange(len(tiles)), lanes)
        self.focus = np.zeros((side // MCU, side // MCU), bool)
        self.focus[2 * down + 1, 2 * across + 1] = True
        board = np.zeros((side + 2, side + 2), np.uint8)
        self._places = _squares(down * _PITCH + MCU, across * _PITCH + MCU, _SIDE)
        board[self._places] = tiles
        luma = np.zeros((side, side), np.uint8)
        chroma = np.zeros((side // scale, side // scale, 2), np.uint8)
        for plane, stored, part in ((luma, coded.luma, MCU), (chroma, coded.chroma, MCU // scale)):
            target = _squares((2 * down + 1) * part, (2 * across + 1) * part, part)
            plane[target] = stored[_squares(rows * part, columns * part, part)]
        known = replace(coded, height=side, width=side, luma=luma, chroma=chroma)
        colors = np.zeros((1, 1, 3), np.uint8)  # the stored samples suffice
        self.scene = Scene(colors, board, np.zeros((side, side), bool), scene.colors, scene.compression, known)

    def tiles(self) -> Indices:
        """Return the tiles as they are now."""
        return np.asarray(self.scene.board[self._places])

    def excess(self) -> Floats:
        """Return the squared excess of each unit."""
        return spectrum.measure(self.scene, self.focus).excess()


def _squares(top: Positions, left: Positions, side: int) -> tuple[Positions, Positions]:
    """Return the indices of squares at some corners: rows and columns that broadcast to (T, side, side)."""
    reach = np.arange(side)
    return (top[:, None] + reach)[:, :, None], (left[:, None] + reach)[:, None]


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
