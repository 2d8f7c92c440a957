"""Spatial repair: which class each pixel of a map had before JPEG, a smooth resize or an outline blurred its borders.

The colour nearest to a border pixel is often that of a class which is nowhere near: a blend of wall and sky passes
bag, glass and river. So only solid areas are believed. Every other pixel takes one of the labels around it, by its
colour and by what its neighbours took.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segkit.maps import nearest, pixels
from segkit.maps.pixels import Packed
from segkit.palette.color import RGB

Places = NDArray[np.uint8]
"""Places in a tuple of colours."""

TOLERANCE = 5.0
"""RGB L2 within which a pixel may be solid: JPEG at quality 40 moves even flat areas by up to 4.5."""

_REACH = (1, 2, 3, 5, 8, 12, 18)
"""Pixels: how far away labels are looked for, in eight directions."""

_CANDIDATES = 4
"""Different labels, the nearest first, among which a pixel chooses."""

_SMOOTH = 300.0
"""What it costs to differ from one of eight neighbours, in squared distance of colours."""

_ROUNDS = 4
"""How often each pixel looks at its neighbours anew."""

_WAY = 10.0
"""What it costs under an outline to be a pixel farther from an area, in squared distance of colours."""

_DOUBT = 0.75
"""A pixel is doubtful if the distance to its label's colour is more than this share of that to another's."""

SOLID = 9
"""Side of the solid square, in pixels, without which a class is not in a JPEG map. At quality 50 blends form false
squares of 7 in 4 of 100 maps, of 9 in none."""

SOFT = 3
"""The same for a map that was outlined or scaled: its areas are as they were."""

NONE = 255
"""Stands for a pixel without a label."""

_OPPONENT = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
) * np.array([[1.0], [0.55], [0.55]], np.float32)
"""RGB to luma and chroma (JFIF); chroma counts less, since JPEG stores a quarter of it."""


Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Repaired:
    """A repaired map.

    Attributes:
        indices: (H, W) the colour that each pixel had.
        doubtful: (H, W) where two labels fit nearly as well, or none was near.
    """

    indices: Places
    doubtful: NDArray[np.bool_]


@dataclass(frozen=True)
class Border:
    """Pixels that have yet to choose, and what is around them.

    Attributes:
        board: the labels of the map with a margin around, flat; NONE in the margin and where none is chosen.
        stride: places on the board from a pixel to the one below.
        at: (N,) where the pixels are on the board.
        labels: (candidates, N) the different labels around each, the nearest first, then NONE.
        reached: (candidates, N) how far away those are, in pixels.
    """

    board: Places
    stride: int
    at: NDArray[np.intp]
    labels: Places
    reached: Numbers


def repair(packed: Packed, colors: tuple[RGB, ...], *, solid: int = SOLID, outlined: bool = False) -> Repaired:
    """Find which of some colours each pixel had.

    Args:
        packed: (H, W) the damaged map (pixels.pack_image).
        colors: 1 to 255 colours that it was painted with.
        solid: side of the square of one colour, in pixels and odd, without which a colour is not in the map.
        outlined: its areas are divided by white lines, which belong to the areas on both sides.
    """
    places = seeds(packed, colors, solid).ravel()
    unsure = np.flatnonzero(places == NONE)
    doubtful = np.zeros(packed.size, bool)
    if len(unsure):
        border = around(places.reshape(packed.shape), unsure)
        seen = packed.ravel()[unsure]
        cost = _outlined if outlined else _plain
        costs = cost(pixels.unpack(seen).astype(np.float32), np.array(colors, np.float32), border)
        chosen = _choose(border, costs)
        lost = border.labels[0] == NONE
        if lost.any():
            chosen[lost] = _nearest(seen[lost], colors, places)
        places[unsure], doubtful[unsure] = chosen, lost | _is_doubtful(costs)
    return Repaired(places.reshape(packed.shape), doubtful.reshape(packed.shape))


def seeds(packed: Packed, colors: tuple[RGB, ...], side: int) -> Places:
    """Return what is sure: the places of colours in solid areas, NONE elsewhere. For the arguments see repair."""
    places = pixels.look_up(packed, _near(colors))
    around = np.pad(places, 1, mode="edge")
    same = around[:, 1:] == around[:, :-1]
    across = same[:, 1:] & same[:, :-1]
    down = around[1:, 1:-1] == around[:-1, 1:-1]
    solid = across[:-2] & across[1:-1] & across[2:] & down[:-1] & down[1:] & (places != NONE)
    deep = solid
    for _ in range(3, side, 2):
        deep = _every(deep)
    keep = np.bincount(places[deep], minlength=256) > 0
    wide = np.pad(solid & keep[places], 1)  # what touches a solid pixel is of its colour
    wide = wide[:-2] | wide[1:-1] | wide[2:]
    wide = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
    return np.where(wide, places, np.uint8(NONE))


def _every(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where all of the nine pixels around are true."""
    wide = np.pad(mask, 1)
    wide = wide[:-2] & wide[1:-1] & wide[2:]
    return wide[:, :-2] & wide[:, 1:-1] & wide[:, 2:]


@lru_cache(maxsize=2)
def _near(colors: tuple[RGB, ...]) -> Places:
    """Return the place of the nearest colour within TOLERANCE for each packed colour, NONE where there is none."""
    found = np.full(pixels.COLORS + 1, NONE, np.uint8)
    taken = np.array(colors, np.int32)
    places = np.arange(len(colors) - 1, -1, -1)  # the lowest is written last
    reach = int(TOLERANCE)
    steps = np.array(list(np.ndindex(*[2 * reach + 1] * 3)), np.int32) - reach
    far = (steps**2).sum(1)
    for step in steps[far <= TOLERANCE**2][np.argsort(-far[far <= TOLERANCE**2], kind="stable")]:
        moved = taken[places] + step
        valid = ((moved >= 0) & (moved <= 255)).all(1)
        found[pixels.pack(moved[valid].astype(np.uint8))] = places[valid]
    return found


def around(sure: Places, unsure: NDArray[np.intp]) -> Border:
    """Find the labels around pixels.

    Args:
        sure: (H, W) what is sure, NONE elsewhere.
        unsure: (N,) places in the flat map of at least one pixel that is not.
    """
    margin = _REACH[-1]
    board = np.pad(sure, margin, constant_values=NONE)
    stride, width = board.shape[1], sure.shape[1]
    at = (unsure // width + margin) * stride + unsure % width + margin
    flat, first = board.ravel(), int(at[0])
    near = at - first
    labels = np.full((_CANDIDATES, len(at)), NONE, np.uint8)
    reached = np.full((_CANDIDATES, len(at)), np.inf, np.float32)
    for distance, step in _steps(stride):
        new = flat[first + step :].take(near, mode="clip")  # never clipped, but unchecked it is faster
        fresh = new != NONE
        for label, far in zip(labels, reached, strict=True):
            fresh &= new != label
            here = fresh & (label == NONE)
            np.copyto(label, new, where=here)
            np.copyto(far, distance, where=here)
            fresh ^= here
            if not fresh.any():
                break
    return Border(flat, stride, at, labels, reached)


def _steps(stride: int) -> list[tuple[float, int]]:
    """Return distances and steps on a flat board to eight directions, the nearest first."""
    straight = [(float(reach), reach * step) for reach in _REACH for step in (1, -1, stride, -stride)]
    corners = [down + across for down in (stride, -stride) for across in (1, -1)]
    return sorted(straight + [(2**0.5 * reach, reach * step) for reach in _REACH for step in corners])


def _plain(seen: Numbers, colors: Numbers, border: Border) -> Numbers:
    """Return the squared distance of (N, 3) pixels to their candidates' colours: (candidates, N), inf for none."""
    view, known = seen @ _OPPONENT.T, colors @ _OPPONENT.T
    return _costs(border.labels, lambda some, label, far: _square(view[some] - known[label]), border.reached)


def _outlined(seen: Numbers, colors: Numbers, border: Border) -> Numbers:
    """Return how ill candidates fit under a white line: the squared distance to a blend with white, and the way."""

    def cost(some: NDArray[np.intp], label: Places, far: Numbers) -> Numbers:
        apart, line = seen[some] - colors[label], 255 - colors[label]
        white = np.clip(np.einsum("ij,ij->i", apart, line) / np.maximum(_square(line), 1), 0, 1)
        return _square(apart - white[:, None] * line) + _WAY * far

    return _costs(border.labels, cost, border.reached)


def _costs(labels: Places, cost: Callable[[NDArray[np.intp], Places, Numbers], Numbers], reached: Numbers) -> Numbers:
    """Ask for the cost of every candidate there is; few pixels have a third."""
    costs = np.full(labels.shape, np.inf, np.float32)
    for row, label, far in zip(costs, labels, reached, strict=True):
        some = np.flatnonzero(label != NONE)
        row[some] = cost(some, label[some], far[some])
    return costs


def _square(vectors: Numbers) -> Numbers:
    lengths: Numbers = np.einsum("ij,ij->i", vectors, vectors)
    return lengths


def _choose(border: Border, costs: Numbers) -> Places:
    """Return the labels: colours fit and neighbours agree (iterated conditional modes, Besag 1986)."""
    board, at, stride = border.board, border.at, border.stride
    board[at] = np.take_along_axis(border.labels, costs.argmin(0)[None], 0)[0]
    steps = [across + down for across in (-1, 0, 1) for down in (-stride, 0, stride) if across or down]
    active = np.arange(len(at))
    for _ in range(_ROUNDS):
        places = at[active]
        own, mixed = board[places], np.zeros(len(places), bool)
        for step in steps:
            mixed |= board[places + step] != own
        active, places, own = active[mixed], places[mixed], own[mixed]  # the others' neighbours agree with them
        around = np.stack([board[places + step] for step in steps])
        lowest = np.full(len(active), np.inf, np.float32)
        for label, cost in zip(border.labels[:, active], costs[:, active], strict=True):
            total = cost + _SMOOTH * (around != label).sum(0, np.float32)
            better = total < lowest
            lowest[better], own[better] = total[better], label[better]
        board[places] = own
    return board[at]


def _nearest(packed: Packed, colors: tuple[RGB, ...], sure: Places) -> Places:
    """Return the nearest of the colours that the map has for sure, of all where it has none."""
    present = np.flatnonzero(np.bincount(sure, minlength=256)[: len(colors)])
    if not len(present):
        present = np.arange(len(colors))
    return present.astype(np.uint8)[nearest.nearest(packed, tuple(colors[place] for place in present))]


def _is_doubtful(costs: Numbers) -> NDArray[np.bool_]:
    first, second = np.minimum(costs[0], costs[1]), np.maximum(costs[0], costs[1])
    for cost in costs[2:]:
        second = np.minimum(second, np.maximum(first, cost))
        first = np.minimum(first, cost)
    return np.asarray(first > _DOUBT**2 * second)
