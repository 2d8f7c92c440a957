"""Single pixels that change their label, where that explains the observed coefficients better."""

from dataclasses import dataclass

import numpy as np

from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Indices, Positions, Scene
from segkit.maps.spectrum import EXPLAINED, WAVES, Spectrum, excess, square_excess

_SMOOTH = 100.0
"""Cost of each of the eight neighbours with a different label, in squared coefficients."""

_SWEEPS = 6
"""Turns of each block at most."""

_TRIALS = 6
"""Most promising flips of a block that are evaluated."""

_GAIN = 1.0
"""Least gain of a flip, in squared coefficients."""


_AROUND = [(down, across) for down in range(3) for across in range(3) if (down, across) != (1, 1)]


@dataclass(frozen=True)
class Flips:
    """Pixels that may take another label.

    Attributes:
        units: (N,) their unit in the spectrum.
        pixels: (N,) their position in the unit, 0 to 255.
        current: (N,) their labels.
        wanted: (N,) the labels they may take.
        smoother: (N,) by how many more of the eight neighbours would have the same label.
        gains: (N,) by how much that would reduce the cost.
    """

    units: Positions
    pixels: Positions
    current: Indices
    wanted: Indices
    smoother: Floats
    gains: Floats

    def at(self, rows: Positions) -> "Flips":
        """Return some of the flips."""
        return Flips(
            self.units[rows],
            self.pixels[rows],
            self.current[rows],
            self.wanted[rows],
            self.smoother[rows],
            self.gains[rows],
        )


def move_pixels(scene: Scene, spectrum: Spectrum) -> None:
    """Flip pixels along borders, the best one of each block at a time, until no flip reduces the cost.

    The blocks of a unit share their chroma: where flips in several of them reduce the cost less than the best of them
    alone, only that one is made. The spectrum is updated along with the labels.
    """
    active = np.flatnonzero(spectrum.excess() > EXPLAINED)
    for _ in range(_SWEEPS):
        active = _flip(scene, spectrum, active)
        if not len(active):
            break


def _flip(scene: Scene, spectrum: Spectrum, active: Positions) -> Positions:
    """Flip the best pixel of each block in each of the active units; return the units that changed."""
    flips, shape = _promising(scene, spectrum, active), spectrum.layout
    luma, chroma, gains = _evaluate(scene, spectrum, flips)
    order = np.argsort(-gains, kind="stable")
    order = order[gains[order] > _GAIN]
    blocks = flips.units[order] * len(shape.luma_blocks) + shape.luma_blocks[flips.pixels[order]]
    chosen = order[np.unique(blocks, return_index=True)[1]]
    if shape.scale > 1 and len(chosen):
        chosen = _compatible(spectrum, flips.at(chosen), chroma[chosen], gains, chosen)
    best = flips.at(chosen)
    spectrum.luma[best.units, shape.luma_blocks[best.pixels]] = luma[chosen]
    before = spectrum.chroma[best.units, shape.chroma_blocks[best.pixels]]
    np.add.at(spectrum.chroma, (best.units, shape.chroma_blocks[best.pixels]), chroma[chosen] - before)
    scene.board.ravel()[spectrum.places[best.units, best.pixels]] = best.wanted
    scene.repeat_edges()
    return np.unique(best.units)


def _compatible(spectrum: Spectrum, best: Flips, chroma: Floats, gains: Floats, chosen: Positions) -> Positions:
    """Return those of the chosen flips, sorted by unit, that are made: all of a unit, or the best alone."""
    units, start, counts = np.unique(best.units, return_index=True, return_counts=True)
    before, limits = spectrum.chroma[units, 0], spectrum.layout.chroma_limits
    change = chroma - np.repeat(before, counts, 0)
    alone = np.repeat(square_excess(before, limits).sum(1), counts) - square_excess(chroma, limits).sum(1)
    together = square_excess(before, limits) - square_excess(before + np.add.reduceat(change, start), limits)
    gain = np.add.reduceat(gains[chosen] - alone, start) + together.sum(1)
    most = np.maximum.reduceat(gains[chosen], start)
    kept = np.repeat(gain >= most, counts) | (gains[chosen] == np.repeat(most, counts))
    return chosen[kept]


def _promising(scene: Scene, spectrum: Spectrum, active: Positions) -> Flips:
    """Return the flips that gain most as far as the cost is linear, at most _TRIALS in each block."""
    flat, shape = scene.board.ravel(), spectrum.layout
    corners = spectrum.places[active, 0] - scene.stride - 1
    side = np.arange(MCU + 2)
    around = flat[corners[:, None, None] + (side[:, None] * scene.stride + side)]
    inner = around[:, 1:-1, 1:-1]
    mixed = np.zeros(inner.shape, bool)
    for down, across in _AROUND:
        mixed |= around[:, down : down + MCU, across : across + MCU] != inner
    rows, pixels = np.nonzero(mixed.reshape(-1, MCU**2))
    places = spectrum.places[active[rows], pixels]
    current = flat[places]
    neighbors = np.stack([flat[places + offset] for offset in scene.neighbors])
    luma, chroma = _slopes(spectrum, active)
    luma_slope = luma[rows, shape.luma_blocks[pixels], shape.luma_pixels[pixels]]
    chroma_slope = chroma[rows, shape.chroma_blocks[pixels], :, shape.chroma_pixels[pixels]] / shape.scale**2
    slopes = np.concatenate([luma_slope[:, None], chroma_slope], 1)
    own = (scene.ycc[current] * slopes).sum(1)
    agreeing = (neighbors == current).sum(0, np.float32)
    wanted, gains = current.copy(), np.zeros(len(current), np.float32)
    smoother = np.zeros(len(current), np.float32)
    for candidate in neighbors:
        differing = np.flatnonzero(candidate != current)
        label = candidate[differing]
        calmer = (neighbors[:, differing] == label).sum(0, np.float32) - agreeing[differing]
        gain = _SMOOTH * calmer - 2 * ((scene.ycc[label] * slopes[differing]).sum(1) - own[differing])
        better = gain > gains[differing]
        places_, label = differing[better], label[better]
        gains[places_], wanted[places_], smoother[places_] = gain[better], label, calmer[better]
    flips = Flips(active[rows], pixels, current, wanted, smoother, gains)
    keys = rows * len(shape.luma_blocks) + shape.luma_blocks[pixels]
    order = np.flatnonzero(gains > 0)
    order = order[np.lexsort((-gains[order], keys[order]))]
    ranks = np.arange(len(order)) - np.searchsorted(keys[order], keys[order])
    return flips.at(order[ranks < _TRIALS])


def _slopes(spectrum: Spectrum, active: Positions) -> tuple[Floats, Floats]:
    """Return half the change of the cost with the luma of each pixel, and with each chroma sample.

    Returns:
        (N, blocks, 64) for luma and (N, blocks, 2, 64) for chroma.
    """
    shape = spectrum.layout
    luma = excess(spectrum.luma[active], shape.luma_limits)
    chroma = excess(spectrum.chroma[active], shape.chroma_limits)
    return luma @ WAVES.T, chroma @ WAVES.T


def _evaluate(scene: Scene, spectrum: Spectrum, flips: Flips) -> tuple[Floats, Floats, Floats]:
    """Return the errors of the coefficients after each flip, (N, 64) and (N, 2, 64), and what it gains: (N,)."""
    shape = spectrum.layout
    change = scene.ycc[flips.wanted] - scene.ycc[flips.current]
    luma = spectrum.luma[flips.units, shape.luma_blocks[flips.pixels]]
    chroma = spectrum.chroma[flips.units, shape.chroma_blocks[flips.pixels]]
    before = square_excess(luma, shape.luma_limits) + square_excess(chroma, shape.chroma_limits).sum(1)
    luma += change[:, :1] * WAVES[shape.luma_pixels[flips.pixels]]
    chroma += change[:, 1:, None] * (WAVES[shape.chroma_pixels[flips.pixels]] / shape.scale**2)[:, None]
    after = square_excess(luma, shape.luma_limits) + square_excess(chroma, shape.chroma_limits).sum(1)
    return luma, chroma, before - after + _SMOOTH * flips.smoother
