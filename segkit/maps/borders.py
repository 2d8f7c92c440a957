"""Spatial repair: the class that each pixel of a map had before JPEG, smooth scaling or outlines blurred its borders.

The colour of a border pixel is often nearest to a class that is absent: a blend of wall and sky passes near bag, glass
and river. So only solid areas are trusted. Every other pixel is assigned one of the labels around it, by its colour and
by the labels of its neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps import candidates, nearest, pixels, solid
from segkit.maps.candidates import Border, Floats
from segkit.maps.pixels import Packed
from segkit.maps.solid import NO_LABEL, SOLID, Indices
from segkit.palette.color import RGB

_SMOOTH = 300.0
"""Cost of each of the eight neighbours with a different label, in squared colour distance."""

_ROUNDS = 4
"""Sweeps of iterated conditional modes."""

_DISTANCE_COST = 10.0
"""Cost per pixel of distance from an area, under an outline, in squared colour distance."""

_TIE = 0.05
"""Share of the pixels to the right and below in the colour that decides. Half of the pixels along the borders of a map
that was halved are blends of two areas in equal parts; Pillow's NEAREST takes the lower right one of four pixels."""

_CELL, _COARSE_CELL = 2, 4
"""Sides of the squares that share their candidates in a first guess, in maps of up to _LARGE pixels and in larger ones,
whose areas are larger, too."""

_LARGE = 1 << 18

_DOUBT = 0.75
"""A pixel is doubtful if the distance to its colour exceeds this share of the distance to the second best colour."""

_ALIEN = 15.0
"""Distance to the only label around that makes a pixel doubtful."""

_FEW = 1 << 17
"""Isolated pixels below which no table of nearest colours is built: each map has its own colours, so its own table."""

_OPPONENT = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
) * np.array([[1.0], [0.55], [0.55]], np.float32)
"""RGB to luma and chroma (JFIF). Chroma has less weight because JPEG stores a quarter of its samples."""


@dataclass(frozen=True)
class Repaired:
    """A repaired map.

    Attributes:
        indices: (H, W) index of the colour that each pixel had.
        doubtful: (H, W) True where two labels fit about equally well, or no label was near.
        is_explained: False for a JPEG map whose damage no settings of JPEG explain, so that colours alone decided.
    """

    indices: Indices
    doubtful: NDArray[np.bool_]
    is_explained: bool = True


_HERE, _NEXT, _EVERY = slice(None, -1), slice(1, None), slice(None)
_PAIRS = (
    ((_EVERY, _HERE), (_EVERY, _NEXT)), ((_HERE, _EVERY), (_NEXT, _EVERY)),
    ((_HERE, _HERE), (_NEXT, _NEXT)), ((_HERE, _NEXT), (_NEXT, _HERE)),
)  # fmt: skip
"""The neighbours of a grid in pairs: beside each other, below each other, and along both diagonals."""

Cost = Callable[[Floats, Floats, Border], Floats]
"""Maps (N, 3) colours, those of the classes and the candidates of pixels to what each candidate costs."""


def repair(packed: Packed, colors: tuple[RGB, ...], *, side: int = SOLID, outlined: bool = False) -> Repaired:
    """Determine which of the given colours each pixel had.

    Args:
        packed: (H, W) the damaged map, as from pixels.pack_image.
        colors: the 1 to 255 colours that the map was painted with.
        side: odd side, in pixels, of a square of one colour that proves that the colour is in the map.
        outlined: areas are separated by white lines, which belong to the areas on both sides.
    """
    seeded = solid.seeds(packed, colors, side)
    return _spread(packed, colors, seeded, _outline_costs if outlined else _color_costs, tie=0 if outlined else _TIE)


def guess(packed: Packed, colors: tuple[RGB, ...], seeded: Indices) -> Repaired:
    """Label the pixels without a label by their colours, fast rather than exactly.

    Args:
        packed: (H, W) the damaged map.
        colors: the colours that the map was painted with.
        seeded: (H, W) known labels, NO_LABEL elsewhere.
    """
    return _spread(packed, colors, seeded, _color_costs, cell=_CELL if packed.size <= _LARGE else _COARSE_CELL)


def _spread(
    packed: Packed, colors: tuple[RGB, ...], seeded: Indices, cost: Cost, *, tie: float = 0, cell: int = 1
) -> Repaired:
    """Label the pixels without a label; see `guess`, `_TIE` and `candidates.find` for the arguments."""
    indices = seeded.flatten()
    unlabelled = np.flatnonzero(indices == NO_LABEL)
    doubtful = np.zeros(packed.size, bool)
    if len(unlabelled):
        border, table = candidates.find(seeded, unlabelled, cell), np.array(colors, np.float32)
        packed_colors = packed.ravel()[unlabelled]
        observed = pixels.unpack(packed_colors).astype(np.float32)
        costs = cost(observed, table, border)
        isolated = border.labels[0] == NO_LABEL
        doubtful[unlabelled] = isolated | _is_doubtful(costs)
        if tie:
            costs = cost(_leaning(packed, unlabelled, observed, tie), table, border)
        chosen = _choose(border, costs)
        if isolated.any():
            chosen[isolated] = _nearest(packed_colors[isolated], colors, indices)
        indices[unlabelled] = chosen
    return Repaired(indices.reshape(packed.shape), doubtful.reshape(packed.shape))


def _leaning(packed: Packed, places: NDArray[np.intp], observed: Floats, share: float) -> Floats:
    """Return the colours of pixels, (N, 3), with a share of those to the right and below."""
    rows, columns = np.divmod(places, packed.shape[1])
    right = packed[rows, np.minimum(columns + 1, packed.shape[1] - 1)]
    below = packed[np.minimum(rows + 1, packed.shape[0] - 1), columns]
    beside = pixels.unpack(right).astype(np.float32) + pixels.unpack(below)
    return np.asarray((1 - 2 * share) * observed + share * beside, np.float32)


def _color_costs(observed: Floats, colors: Floats, border: Border) -> Floats:
    """Return the squared distance of (N, 3) pixels to the colours of their candidates: (candidates, N), else inf."""
    opponent = np.ascontiguousarray((observed @ _OPPONENT.T).T)
    palette = np.ascontiguousarray((colors @ _OPPONENT.T).T)

    def cost(rows: NDArray[np.intp] | slice, label: Indices) -> Floats:
        total, index = np.zeros(len(label), np.float32), label.astype(np.intp)  # converted once
        for channel, table in zip(opponent, palette, strict=True):
            difference = table.take(index)
            difference -= channel[rows]
            difference *= difference
            total += difference
        return total

    return _costs(border, cost)


def _outline_costs(observed: Floats, colors: Floats, border: Border) -> Floats:
    """Return the costs under white lines: the squared distance to the best blend with white, plus a cost of distance.

    The latter decides in the middle of a line, where every candidate blends to white equally well.
    """

    def cost(rows: NDArray[np.intp] | slice, label: Indices) -> Floats:
        difference, to_white = observed[rows] - colors[label], 255 - colors[label]
        # projection onto the segment from the colour (0) to white (1)
        share = np.clip(np.einsum("ij,ij->i", difference, to_white) / np.maximum(_square(to_white), 1), 0, 1)
        return _square(difference - share[:, None] * to_white)

    return _costs(border, cost) + np.float32(_DISTANCE_COST) * border.distances()


def _costs(border: Border, cost: Callable[[NDArray[np.intp] | slice, Indices], Floats]) -> Floats:
    """Evaluate the cost of existing candidates only, since few pixels have a third one: (candidates, N), else inf."""
    costs = np.full(border.labels.shape, np.inf, np.float32)
    for row, label in zip(costs, border.labels, strict=True):
        exists = label != NO_LABEL
        rows = slice(None) if exists.all() else np.flatnonzero(exists)
        row[rows] = cost(rows, label[rows])
    return costs


def _square(vectors: Floats) -> Floats:
    lengths: Floats = np.einsum("ij,ij->i", vectors, vectors)
    return lengths


def _choose(border: Border, costs: Floats) -> Indices:
    """Choose labels that fit the colours and agree with their neighbours (iterated conditional modes, Besag 1986).

    The board is updated in place. Each sweep reads the labels of the sweep before and then writes all changes. What
    agrees with all its neighbours is settled, and stays so even if a neighbour changes later; what did not change, nor
    any neighbour of it, need not be looked at again.
    """
    board, positions, stride = border.board, border.positions, border.stride
    board[positions] = _cheapest(border.labels, costs)
    offsets = [across + down for across in (-1, 0, 1) for down in (-stride, 0, stride) if across or down]
    active = np.flatnonzero(_mixed(board.reshape(-1, stride)).take(positions, mode="clip"))
    places, labels, costs = positions[active], border.labels.take(active, 1), costs.take(active, 1)
    is_stale, is_settled = np.ones(len(board), bool), np.zeros(len(places), bool)
    for _ in range(_ROUNDS):
        rows = np.flatnonzero(is_stale.take(places, mode="clip") & ~is_settled)
        stale = places[rows]
        neighbors = np.stack([board.take(stale + offset, mode="clip") for offset in offsets])
        mixed = (neighbors != board.take(stale, mode="clip")).any(0)
        is_settled[rows[~mixed]] = True
        rows, stale, neighbors = rows[mixed], stale[mixed], neighbors.compress(mixed, 1)
        chosen = _agreeing(labels.take(rows, 1), costs.take(rows, 1), neighbors)
        changed = stale[chosen != board.take(stale, mode="clip")]
        board[stale] = chosen
        is_stale[:] = False
        for offset in (0, *offsets):
            is_stale[changed + offset] = True
    return board.take(positions, mode="clip")


def _agreeing(labels: Indices, costs: Floats, neighbors: Indices) -> Indices:
    """Return the label of the lowest cost, (N,), if each of the eight neighbours, (8, N), adds to that of others.

    Args:
        labels: (candidates, N)
        costs: (candidates, N); overwritten.
        neighbors: (8, N) labels.
    """
    for label, cost in zip(labels, costs, strict=True):
        disagreeing = np.zeros(len(label), np.uint8)
        for neighbor in neighbors:  # sum() over bools takes several times as long
            disagreeing += neighbor != label
        cost += np.float32(_SMOOTH) * disagreeing
    return _cheapest(labels, costs)


def _mixed(board: Indices) -> NDArray[np.bool_]:
    """Return which pixels have a neighbour with another label: (H, W). Those of the margin may be wrong."""
    mixed = np.zeros(board.shape, bool)
    for first, second in _PAIRS:
        differs = board[first] != board[second]
        mixed[first] |= differs
        mixed[second] |= differs
    return mixed


def _cheapest(labels: Indices, costs: Floats) -> Indices:
    """Return the label of the lowest cost of each pixel, the first of equal ones: (N,); argmin takes much longer."""
    chosen: Indices = labels[0].copy()
    lowest: Floats = costs[0].copy()
    for label, cost in zip(labels[1:], costs[1:], strict=True):
        better = cost < lowest
        np.copyto(chosen, label, where=better)
        np.minimum(lowest, cost, out=lowest)
    return chosen


def _nearest(packed: Packed, colors: tuple[RGB, ...], seeded: Indices) -> Indices:
    """Return the nearest of the colours that have seeds, or of all colours if the map has no seeds."""
    present = np.flatnonzero(np.bincount(seeded, minlength=256)[: len(colors)])
    if not len(present):
        present = np.arange(len(colors))
    chosen = tuple(colors[index] for index in present)
    look_up = nearest.nearest_of_few if len(packed) < _FEW else nearest.nearest
    return present.astype(np.uint8)[look_up(packed, chosen)]


def _is_doubtful(costs: Floats) -> NDArray[np.bool_]:
    """Compare the two lowest costs of each pixel, by selection: a full sort of (candidates, N) would be slower.

    A pixel with a single candidate is doubtful if it is far from its colour: it belonged to something that vanished.
    """
    first, second = np.minimum(costs[0], costs[1]), np.maximum(costs[0], costs[1])
    for cost in costs[2:]:
        second = np.minimum(second, np.maximum(first, cost))
        first = np.minimum(first, cost)
    return np.asarray(first > np.minimum(_DOUBT**2 * second, np.where(np.isinf(second), _ALIEN**2, np.inf)))
