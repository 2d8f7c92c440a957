"""Single pixels that change their label, where that explains the observed coefficients better."""

from dataclasses import dataclass

import numpy as np

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

    The blocks of a unit share their chroma, so they take turns. The spectrum is updated along with the labels.
    """
    blocks = [np.flatnonzero(spectrum.layout.luma_blocks == block) for block in range(spectrum.luma.shape[1])]
    active = np.flatnonzero(spectrum.excess() > EXPLAINED)
    for _ in range(_SWEEPS):
        flipped = [_flip(scene, spectrum, active, block) for block in blocks]
        active = np.unique(np.concatenate(flipped))
        if not len(active):
            break


def _flip(scene: Scene, spectrum: Spectrum, active: Positions, block: Positions) -> Positions:
    """Flip the best pixel of a block in each of the active units; return the units that changed."""
    flips = _promising(scene, spectrum, active, block)
    luma, chroma, gains = _evaluate(scene, spectrum, flips)
    order = np.argsort(-gains, kind="stable")
    order = order[gains[order] > _GAIN]
    chosen = order[np.unique(flips.units[order], return_index=True)[1]]
    best, shape = flips.at(chosen), spectrum.layout
    spectrum.luma[best.units, shape.luma_blocks[best.pixels]] = luma[chosen]
    spectrum.chroma[best.units, shape.chroma_blocks[best.pixels]] = chroma[chosen]
    scene.board.ravel()[spectrum.places[best.units, best.pixels]] = best.wanted
    scene.repeat_edges()
    return best.units


def _promising(scene: Scene, spectrum: Spectrum, active: Positions, block: Positions) -> Flips:
    """Return the flips in a block that gain most as far as the cost is linear, at most _TRIALS in each unit."""
    flat, shape = scene.board.ravel(), spectrum.layout
    places = spectrum.places[np.ix_(active, block)]
    label = flat[places]
    mixed = np.zeros(places.shape, bool)
    for offset in scene.neighbors:
        mixed |= flat[places + offset] != label
    rows, columns = np.nonzero(mixed)
    places, current, pixels = places[rows, columns], label[rows, columns], block[columns]
    neighbors = np.stack([flat[places + offset] for offset in scene.neighbors])
    luma, chroma = _slopes(spectrum, active, block)
    luma_slope = luma[rows, shape.luma_pixels[pixels]]
    chroma_slope = chroma[rows, shape.chroma_blocks[pixels], :, shape.chroma_pixels[pixels]] / shape.scale**2
    agreeing = (neighbors == current).sum(0, np.float32)
    wanted, gains = current.copy(), np.zeros(len(current), np.float32)
    smoother = np.zeros(len(current), np.float32)
    for candidate in neighbors:
        change = scene.ycc[candidate] - scene.ycc[current]
        calmer = (neighbors == candidate).sum(0, np.float32) - agreeing
        gain = _SMOOTH * calmer - 2 * (change[:, 0] * luma_slope + (change[:, 1:] * chroma_slope).sum(1))
        better = (gain > gains) & (candidate != current)
        gains[better], wanted[better], smoother[better] = gain[better], candidate[better], calmer[better]
    flips = Flips(active[rows], pixels, current, wanted, smoother, gains)
    order = np.lexsort((-gains, rows))
    order = order[gains[order] > 0]
    ranks = np.arange(len(order)) - np.searchsorted(rows[order], rows[order])
    return flips.at(order[ranks < _TRIALS])


def _slopes(spectrum: Spectrum, active: Positions, block: Positions) -> tuple[Floats, Floats]:
    """Return half the change of the cost with the luma of each pixel of a block, and with each chroma sample.

    Returns:
        (N, 64) for luma and (N, blocks, 2, 64) for chroma.
    """
    shape = spectrum.layout
    luma = excess(spectrum.luma[active, shape.luma_blocks[block[0]]], shape.luma_limits)
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
