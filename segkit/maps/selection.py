"""The classes of a JPEG map: the fewest that explain its coefficients.

A thin shape of one class is explained about as well by another of nearly the same colour, as its outline adapts: too
thick or too thin, it compensates for the colour. Right labels exceed no step, though, so the right class leaves least
once its outline has adapted. Whether a class is in the map at all is decided over all its units together: it has to
explain more than any others do, by the cost of a class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps import mosaic, spectrum, trials
from segkit.maps.coded import Coded
from segkit.maps.mosaic import Mosaic
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Indices, Positions, Scene

_CLASS = 3.0
"""Cost of a class of _SMALL pixels, in the unit of `_costs`. The more pixels a class has, the less likely it is wrong:
the cost falls with their number."""

_SMALL = 100

_PART = 1.0
"""Cost that a class must spare in a unit, if the other pixels of the class there become another one, or stay."""

_TOLERATED = 3.0
"""Squared excess, times the mean step of luma, beyond which its cost grows with the logarithm only: how much exactly a
badly explained unit has is chance, as outlines adapt step by step and get stuck."""

_FEW = 4000
"""Pixels up to which an unproven class is questioned."""

_UNITS = 20
"""Units of a class, drawn at random, that are compared."""

_KNOWN, _ABSENT = 4, 2
"""Number of classes of the nearest colours that are compared, of those in the map and of others."""

_TRIALS = 3
"""Number of those whose outlines adapt: those with the least squared excess before."""

_NEAR = 45.0
"""Distance in luma and chroma up to which a class may be mistaken for another."""

_HOPELESS = 12.0, 60.0
"""Adapting lowers no excess by more than this factor, and this excess in a unit, times the mean step of luma."""

_ROUNDS = 3
"""Selections at most; each starts from the labels of the one before."""


@dataclass(frozen=True)
class _Pieces:
    """The pixels of questioned classes in a unit each.

    Attributes:
        rows: (N,) unit rows.
        columns: (N,) unit columns.
        labels: (N,) their class.
    """

    rows: Positions
    columns: Positions
    labels: Indices

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class _Costs:
    """What the pieces of a class would cost in others.

    Attributes:
        pieces: (N,) positions among the pieces.
        classes: (K,) the classes that were compared, its own first; the number of classes for the labels beside.
        costs: (N, K).
    """

    pieces: Positions
    classes: Positions
    costs: Floats

    def least(self, is_open: NDArray[np.bool_]) -> tuple[float, Positions]:
        """Return the least cost of all pieces in open classes, and the class of each: (N,).

        All get the same class, the own one if that is open, except those that cost less by _PART in another.
        """
        columns = np.flatnonzero(is_open[self.classes])
        if not len(columns):
            return np.inf, np.full(len(self.pieces), self.classes[0])
        costs = self.costs[:, columns]
        elsewhere = costs.min(1) + _PART
        common = np.minimum(costs, elsewhere[:, None]).sum(0)
        best = 0 if columns[0] == 0 else int(common.argmin())
        chosen = np.where(costs[:, best] <= elsewhere, best, costs.argmin(1))
        return float(common[best]), self.classes[columns[chosen]]


def select(scene: Scene, coded: Coded) -> int:
    """Replace unproven classes without which others explain a JPEG map about as well; return how many changed."""
    total = 0
    for _ in range(_ROUNDS):
        pieces = _questioned(scene, coded)
        if not len(pieces):
            break
        wanted = _assign(scene, pieces, _costs(scene, coded, pieces))
        changed = np.unique(pieces.labels[wanted != pieces.labels])
        if not len(changed):
            break
        _replace(scene, pieces, wanted)
        total += len(changed)
    return total


def _questioned(scene: Scene, coded: Coded) -> _Pieces:
    """Return the pieces of unproven classes, at most _UNITS of each."""
    counts, random = scene.counts(), np.random.default_rng(0)
    rows, columns, labels = [], [], []
    for label in np.flatnonzero((counts > 0) & (counts <= _FEW) & ~scene.established()).tolist():
        down, across = np.nonzero(spectrum.units(scene, scene.labels == label))
        whole = np.flatnonzero(mosaic.are_whole(coded, down, across))
        whole = np.sort(random.permutation(whole)[:_UNITS])
        rows.append(down[whole])
        columns.append(across[whole])
        labels.append(np.full(len(whole), label, np.uint8))
    if not labels:
        nothing = np.zeros(0, np.intp)
        return _Pieces(nothing, nothing, np.zeros(0, np.uint8))
    return _Pieces(np.concatenate(rows), np.concatenate(columns), np.concatenate(labels))


def _costs(scene: Scene, coded: Coded, pieces: _Pieces) -> dict[int, _Costs]:
    """Return what questioned classes would cost in others: the excess of the units, with outlines that adapted."""
    owners, wanted = _trials(scene, pieces)
    tiles = _tiles(scene, pieces, owners, wanted)
    excess = Mosaic(scene, coded, tiles, pieces.rows[owners], pieces.columns[owners]).excess()
    kept = _promising(scene, pieces, owners, wanted, excess)
    owners, wanted = owners[kept], wanted[kept]
    tried = Mosaic(scene, coded, tiles[kept], pieces.rows[owners], pieces.columns[owners])
    trials.adapt(tried.scene, tried.focus)
    tolerated = _TOLERATED * trials.scale(scene)
    costs = _TOLERATED * np.log1p(np.minimum(tried.excess(), excess[kept]) / tolerated)
    result = {}
    for label in np.unique(pieces.labels).tolist():
        mine = pieces.labels[owners] == label
        classes = np.unique(wanted[mine])
        classes = np.append(label, classes[classes != label])
        order = np.concatenate([np.flatnonzero(mine & (wanted == other)) for other in classes])
        result[label] = _Costs(
            np.flatnonzero(pieces.labels == label), classes, costs[order].reshape(len(classes), -1).T
        )
    return result


def _trials(scene: Scene, pieces: _Pieces) -> tuple[Positions, Positions]:
    """Return classes to try: the piece of each, (T,), and the class, (T,); the number of classes for those beside."""
    counts, beside = scene.counts(), len(scene.colors)
    owners, wanted = [], []
    for label in np.unique(pieces.labels).tolist():
        distances = ((scene.ycc - scene.ycc[label]) ** 2).sum(1)
        distances[label] = np.inf
        nearest = np.argsort(distances)
        nearest = nearest[distances[nearest] < _NEAR**2]
        known = counts[nearest] > 0
        rivals = [label, *nearest[known][:_KNOWN].tolist(), *nearest[~known][:_ABSENT].tolist(), beside]
        places = np.flatnonzero(pieces.labels == label)
        owners.append(np.repeat(places, len(rivals)))
        wanted.append(np.tile(rivals, len(places)))
    return np.concatenate(owners), np.concatenate(wanted)


def _tiles(scene: Scene, pieces: _Pieces, owners: Positions, wanted: Positions) -> Indices:
    """Return the units of pieces with the classes to try: (T, 18, 18)."""
    tiles = scene.board.ravel()[mosaic.places(scene, pieces.rows, pieces.columns)][owners]
    owned = tiles == pieces.labels[owners][:, None, None]
    result = np.where(owned, wanted.astype(np.uint8)[:, None, None], tiles)
    for trial in np.flatnonzero(wanted == len(scene.colors)).tolist():
        result[trial] = trials.without(tiles[trial], owned[trial])
    return np.asarray(result)


def _promising(
    scene: Scene, pieces: _Pieces, owners: Positions, wanted: Positions, excess: Floats
) -> NDArray[np.bool_]:
    """Return the trials whose outlines adapt: the present classes, and the best others of each, none hopeless: (T,)."""
    factor, offset = _HOPELESS
    labels = pieces.labels[owners]
    kept = wanted == labels
    for label in np.unique(labels).tolist():
        mine = labels == label
        present = excess[mine & kept]
        limit = factor * present.sum() + offset * trials.scale(scene) * len(present)
        sums = np.bincount(wanted[mine & ~kept], excess[mine & ~kept], len(scene.colors) + 1)
        tried = np.unique(wanted[mine & ~kept])
        best = tried[np.argsort(sums[tried])][:_TRIALS]
        kept |= mine & np.isin(wanted, best[sums[best] < limit])
    return np.asarray(kept)


def _assign(scene: Scene, pieces: _Pieces, costs: dict[int, _Costs]) -> Positions:
    """Return the class of each piece, (N,), such that few classes leave little excess.

    Classes are given up, added and exchanged as long as that lowers the sum of all costs.
    """
    is_open = np.append(scene.counts() > 0, True)
    prior = _CLASS * _SMALL / np.maximum(scene.counts(), 1)
    least = {label: table.least(is_open)[0] for label, table in costs.items()}
    while True:
        best, gain = is_open, 0.0
        for leaving, entering, price in _moves(costs, is_open, prior):
            after = is_open.copy()
            after[list(leaving)] = False
            after[list(entering)] = True
            concerned = [label for label, table in costs.items() if np.isin(table.classes, [*leaving, *entering]).any()]
            better = sum(least[label] - costs[label].least(after)[0] for label in concerned) - price
            if better > gain:
                best, gain = after, better
        if best is is_open:
            break
        is_open = best
        least = {label: table.least(is_open)[0] for label, table in costs.items()}
    wanted = pieces.labels.astype(np.intp)
    for table in costs.values():
        wanted[table.pieces] = table.least(is_open)[1]
    return wanted


def _moves(
    costs: dict[int, _Costs], is_open: NDArray[np.bool_], prior: NDArray[np.floating]
) -> list[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """Return which classes may leave and enter, and the difference of their costs.

    None enters alone: what is left of a class that explains a part of another is mostly a few pixels, and wrong.
    """
    moves: list[tuple[tuple[int, ...], tuple[int, ...], float]] = []
    for label, table in costs.items():
        if is_open[label]:
            moves.append(((label,), (), -float(prior[label])))
            moves += [((label,), (other,), 0.0) for other in table.classes.tolist() if not is_open[other]]
    return moves


def _replace(scene: Scene, pieces: _Pieces, wanted: Positions) -> None:
    """Give pieces their new classes, those of a class that is given up everywhere; then outlines adapt."""
    focus = np.zeros([side // MCU for side in scene.labels.shape], bool)
    flat, before = scene.board.ravel(), scene.board.copy().ravel()
    for label in np.unique(pieces.labels[wanted != pieces.labels]).tolist():
        mine = pieces.labels == label
        chosen = np.full(focus.shape, label)
        if (wanted[mine] != label).all():  # most units were not compared if there are many
            chosen[:] = np.bincount(wanted[mine]).argmax()
        chosen[pieces.rows[mine], pieces.columns[mine]] = wanted[mine]
        rows, columns = np.nonzero(spectrum.units(scene, scene.labels == label) & (chosen != label))
        changed = _Pieces(rows, columns, np.full(len(rows), label, np.uint8))
        tiles = _tiles(scene, changed, np.arange(len(rows)), chosen[rows, columns])
        places = mosaic.places(scene, rows, columns)[:, 1:-1, 1:-1]
        owned = before[places] == label
        flat[places[owned]] = tiles[:, 1:-1, 1:-1][owned]
        focus[rows, columns] = True
    scene.repeat_edges()
    trials.adapt(scene, focus)
