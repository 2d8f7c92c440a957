"""Single pixels that change their label, where that explains the observed coefficients better."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps.layout import BLOCK, WAVES
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Indices, Positions, Scene
from segkit.maps.spectrum import EXPLAINED, Spectrum, beside, excess, square_excess

SMOOTH = 1.75
"""Cost of each of the eight neighbours with a different label, in squared coefficients, times the mean step of luma:
the coarser the steps, the less the coefficients say about an outline."""

_SWEEPS = 6
"""Turns of each block at most."""

_TRIALS = 6
"""Most promising flips of a block that are evaluated."""

_GAIN = 1.0
"""Least gain of a flip, in squared coefficients."""


@dataclass(frozen=True)
class Flips:
    """Pixels that may take another label.

    Attributes:
        units: (N,) their unit in the spectrum.
        pixels: (N,) their position in the unit, 0 to 255.
        current: (N,) their labels.
        wanted: (N,) the labels they may take.
        smoother: (N,) by how many more of the eight neighbours would have the same label.
    """

    units: Positions
    pixels: Positions
    current: Indices
    wanted: Indices
    smoother: Floats

    def at(self, rows: Positions) -> "Flips":
        """Return some of the flips."""
        return Flips(
            self.units[rows],
            self.pixels[rows],
            self.current[rows],
            self.wanted[rows],
            self.smoother[rows],
        )


def move_pixels(scene: Scene, spectrum: Spectrum, smooth: float = 1.0) -> None:
    """Flip pixels along borders, the best one of each block at a time, until no flip reduces the cost.

    The blocks of a unit share their chroma: where flips in several of them reduce the cost less than the best of them
    alone, only that one is made. The spectrum is updated along with the labels, and units in which nothing moves are
    left out the next time, so that all moves in one spectrum must have one cost.

    Args:
        scene: the map.
        spectrum: the units with the pixels.
        smooth: factor of the cost of a rough border.
    """
    smooth *= SMOOTH * float(spectrum.layout.luma_steps.mean())
    active = np.flatnonzero((spectrum.excess() > EXPLAINED) & ~spectrum.settled)
    moved = np.zeros(len(spectrum.rows), bool)
    for _ in range(_SWEEPS):
        if not len(active):
            break
        active = _flip(scene, spectrum, active, smooth)
        moved[active] = True
    spectrum.settled = ~beside(scene, spectrum, moved)


def _flip(scene: Scene, spectrum: Spectrum, active: Positions, smooth: float) -> Positions:
    """Flip the best pixel of each block in each of the active units; return the units that changed."""
    flips, shape = _promising(scene, spectrum, active, smooth), spectrum.layout
    luma, chroma, gains = _evaluate(scene, spectrum, flips, smooth)
    gaining = np.flatnonzero(gains > _GAIN)
    blocks = flips.units[gaining] * len(shape.luma_blocks) + shape.luma_blocks[flips.pixels[gaining]]
    order = np.lexsort((-gains[gaining], blocks))
    chosen = gaining[order[_starts(blocks[order])]]
    best = flips.at(chosen)
    if shape.scale > 1 and len(chosen):
        kept = _compatible(spectrum, best, chroma[chosen], gains[chosen])
        chosen, best = chosen[kept], best.at(kept)
    spectrum.luma[best.units, shape.luma_blocks[best.pixels]] = luma[chosen]
    _add(spectrum, best, chroma[chosen])
    scene.board.ravel()[spectrum.places[best.units, best.pixels]] = best.wanted
    scene.repeat_edges()
    return best.units[_starts(best.units)]


def _add(spectrum: Spectrum, best: Flips, chroma: Floats) -> None:
    """Add what flips, sorted by block, change in chroma blocks; several may share one. np.add.at takes much longer."""
    blocks = spectrum.layout.chroma_blocks[best.pixels]
    start = _starts(best.units * MCU**2 + blocks)
    if len(start):
        units, blocks = best.units[start], blocks[start]
        before = spectrum.chroma[units, blocks]
        counts = _lengths(start, len(best.units))
        spectrum.chroma[units, blocks] = before + np.add.reduceat(chroma - np.repeat(before, counts, 0), start)


def _starts(ordered: Positions) -> Positions:
    """Return the positions in ascending values where a new one begins; np.unique takes several times as long."""
    is_new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return np.flatnonzero(is_new)


def _lengths(starts: Positions, end: int) -> Positions:
    """Return the distances from ascending positions to the next ones, and from the last to the end."""
    lengths = np.empty(len(starts), np.intp)
    np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
    lengths[-1:] = end - starts[-1:]
    return lengths


def _compatible(spectrum: Spectrum, best: Flips, chroma: Floats, gains: Floats) -> Positions:
    """Return which of the best flips, sorted by unit, are made: all of a unit, or the best alone."""
    start = _starts(best.units)
    counts = _lengths(start, len(best.units))
    several = np.repeat(counts, counts) > 1
    kept = ~several
    if several.any():
        kept[several] = _kept(spectrum, best.units[several], chroma[several], gains[several])
    return np.flatnonzero(kept)


def _kept(spectrum: Spectrum, units: Positions, chroma: Floats, gains: Floats) -> NDArray[np.bool_]:
    """Return which flips are made in units that have several, sorted: all of a unit, or the best alone."""
    start = _starts(units)
    units, counts = units[start], _lengths(start, len(units))
    before, limits = spectrum.chroma[units, 0], spectrum.layout.chroma_limits
    change = chroma - np.repeat(before, counts, 0)
    alone = np.repeat(square_excess(before, limits).sum(1), counts) - square_excess(chroma, limits).sum(1)
    together = square_excess(before, limits) - square_excess(before + np.add.reduceat(change, start), limits)
    gain = np.add.reduceat(gains - alone, start) + together.sum(1)
    most = np.maximum.reduceat(gains, start)
    return np.asarray(np.repeat(gain >= most, counts) | (gains == np.repeat(most, counts)))


def _promising(scene: Scene, spectrum: Spectrum, active: Positions, smooth: float) -> Flips:
    """Return the flips that gain most as far as the cost is linear, at most _TRIALS in each block."""
    flat, shape = scene.board.ravel(), spectrum.layout
    corners = spectrum.places[active, 0] - scene.stride - 1
    side = np.arange(MCU + 2)
    # Nothing is clipped; the mode skips bounds checks.
    around = flat.take(corners[:, None, None] + (side[:, None] * scene.stride + side), mode="clip")
    inner = around[:, 1:-1, 1:-1]
    mixed = (around[:, :-2, 1:-1] != inner) | (around[:, 2:, 1:-1] != inner)
    mixed |= (around[:, 1:-1, :-2] != inner) | (around[:, 1:-1, 2:] != inner)
    inside = np.flatnonzero(mixed)  # nonzero() takes several times as long, and so does divmod()
    rows, pixels = inside // MCU**2, inside % MCU**2
    places = spectrum.places.ravel().take(active[rows] * MCU**2 + pixels)
    current = flat.take(places)
    neighbors = flat.take(places + np.array(scene.neighbors)[:, None], mode="clip")
    new = neighbors != current  # the neighbours with another label, each label once
    agreeing = 8 - _count(new)
    for number in range(1, 8):
        new[number] &= (neighbors[:number] != neighbors[number]).all(0)
    wanting = np.flatnonzero(new)
    wanted, chosen = neighbors.ravel().take(wanting), wanting % max(len(places), 1)
    rows, pixels, current = rows.take(chosen), pixels.take(chosen), current.take(chosen)
    smoother = _count(neighbors.take(chosen, 1) == wanted).astype(np.float32) - agreeing.take(chosen)
    linear = _linear(scene, spectrum, active, Flips(rows, pixels, current, wanted, smoother))
    gains = smooth * smoother - 2 * linear
    order = np.flatnonzero(gains > 0)
    keys = rows[order] * MCU**2 + shape.luma_blocks[pixels[order]]
    by_gain = np.lexsort((-gains[order], keys))
    order, keys = order[by_gain], keys[by_gain]
    order = order[np.arange(len(order)) - np.searchsorted(keys, keys) < _TRIALS]
    return Flips(active[rows[order]], pixels[order], current[order], wanted[order], smoother[order])


def _linear(scene: Scene, spectrum: Spectrum, active: Positions, flips: Flips) -> Floats:
    """Return half of what flips gain as far as the cost is linear: (N,); their units are places in the active ones."""
    shape = spectrum.layout
    luma, chroma = _slopes(spectrum, active)
    change = scene.ycc.take(flips.wanted, 0) - scene.ycc.take(flips.current, 0)
    linear = change[:, 0] * luma.take(flips.units * luma[0].size + shape.luma_places[flips.pixels])
    first = flips.units * chroma[0].size + shape.chroma_places[flips.pixels]
    for channel in (0, 1):
        linear += change[:, channel + 1] * (chroma.take(first + channel * BLOCK**2) / shape.scale**2)
    return np.asarray(linear)


def _count(rows: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the number of True in each column of (8, N)."""
    total = np.zeros(rows.shape[1], np.uint8)
    for row in rows:  # sum() over a short axis takes several times as long
        total += row
    return total


def _slopes(spectrum: Spectrum, active: Positions) -> tuple[Floats, Floats]:
    """Return half the change of the cost with the luma of each pixel, and with each chroma sample.

    Returns:
        (N, blocks, 64) for luma and (N, blocks, 2, 64) for chroma.
    """
    shape = spectrum.layout
    luma = excess(spectrum.luma[active], shape.luma_limits)
    chroma = excess(spectrum.chroma[active], shape.chroma_limits)
    return _decoded(luma), _decoded(chroma)


def _decoded(coefficients: Floats) -> Floats:
    """Return the samples of blocks, both (..., 64)."""
    # As one product: arrays of more dimensions are multiplied matrix by matrix.
    return np.asarray((coefficients.reshape(-1, BLOCK**2) @ WAVES.T).reshape(coefficients.shape))


def _evaluate(scene: Scene, spectrum: Spectrum, flips: Flips, smooth: float) -> tuple[Floats, Floats, Floats]:
    """Return the errors of the coefficients after each flip, (N, 64) and (N, 2, 64), and what it gains: (N,).

    Flips of the same block follow each other.
    """
    shape = spectrum.layout
    start = _starts(flips.units * len(shape.luma_blocks) + shape.luma_blocks[flips.pixels])
    units, pixels, counts = flips.units[start], flips.pixels[start], _lengths(start, len(flips.units))
    luma, chroma = spectrum.luma[units, shape.luma_blocks[pixels]], spectrum.chroma[units, shape.chroma_blocks[pixels]]
    before = square_excess(luma, shape.luma_limits) + square_excess(chroma, shape.chroma_limits).sum(1)
    change = scene.ycc.take(flips.wanted, 0) - scene.ycc.take(flips.current, 0)
    luma, chroma = np.repeat(luma, counts, 0), np.repeat(chroma, counts, 0)
    luma += change[:, :1] * WAVES.take(shape.luma_pixels[flips.pixels], 0)
    chroma += change[:, 1:, None] * (WAVES.take(shape.chroma_pixels[flips.pixels], 0) / shape.scale**2)[:, None]
    after = square_excess(luma, shape.luma_limits) + square_excess(chroma, shape.chroma_limits).sum(1)
    return luma, chroma, np.repeat(before, counts) - after + smooth * flips.smoother
