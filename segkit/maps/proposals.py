"""Classes that may be missing from a map, proposed from what its labels leave unexplained."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.maps.areas import NONE
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Indices, Positions, Scene
from segkit.maps.spectrum import EXPLAINED, Spectrum, halved

_VISIBLE = 8.0
"""Length of a residual that may belong to a class that is missing."""

_PROMINENT = 0.35
"""Least share of the largest residual near by: what is less is ringing."""

_RADIUS = 3
"""Colours of missing classes are averaged over squares of twice this and one pixel."""

_MARGIN = 8
"""Pixels around a unit that influence it: twice the radius, to whole cells of chroma."""


def propose(scene: Scene, spectrum: Spectrum) -> Indices:
    """Propose a class for pixels with a prominent residual, from the mean colour of such pixels around them.

    A thin shape of a missing class appears as a residual of its form. Luma is averaged over its pixels; chroma, which
    is blurred, is the least-squares fit to its share of the cells.

    Returns:
        (N, 256) classes in the units of the spectrum, NONE where there is no proposal.
    """
    proposed = np.full(spectrum.places.shape, NONE, np.uint8)
    cells = spectrum.chroma_residual if spectrum.layout.scale > 1 else halved(spectrum.chroma_residual)
    units = np.flatnonzero(spectrum.excess() > EXPLAINED)
    units = units[(_square(spectrum.luma_residual[units], cells[units]) > _VISIBLE**2).any((1, 2))]
    luma, chroma, painted = _windows(scene, spectrum, units, cells)
    square = _square(luma, chroma)
    prominent = square > np.maximum(_VISIBLE**2, _PROMINENT**2 * _highest(square))
    inner = prominent[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    mean = _mean_colors(prominent, luma, chroma, painted)[inner]
    distance = mean @ (-2 * scene.ycc.T)  # squared, but for what all classes have in common
    distance += (scene.ycc**2).sum(1)
    votes = np.bincount(distance.argmin(1), minlength=len(scene.colors))
    labels = np.full(inner.shape, NONE, np.uint8)
    distance += scene.rarity(scene.cores() + votes)
    labels[inner] = distance.argmin(1)
    proposed[units] = labels.reshape(-1, MCU**2)
    return proposed


def _square(luma: Floats, chroma: Floats) -> Floats:
    """Return the squared length of (N, side, side) luma and (N, side / 2, side / 2, 2) chroma: (N, side, side)."""
    return np.asarray(luma**2 + np.repeat(np.repeat((chroma**2).sum(3), 2, 1), 2, 2))


def _highest(values: Floats) -> Floats:
    """Return the highest of (N, side, side) values in the square of _RADIUS around each.

    The same as ndimage.maximum_filter, which takes several times as long on so small windows.
    """
    highest = values
    for axis in (1, 2):
        before = np.moveaxis(highest, axis, 0)
        highest = highest.copy()
        after = np.moveaxis(highest, axis, 0)
        for reach in range(1, _RADIUS + 1):
            np.maximum(after[reach:], before[:-reach], out=after[reach:])
            np.maximum(after[:-reach], before[reach:], out=after[:-reach])
    return highest


def _windows(scene: Scene, spectrum: Spectrum, units: Positions, cells: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the residual and the painted colours of units with a margin around each.

    Args:
        scene: the map.
        spectrum: all units that were compared.
        units: (N,) some of them.
        cells: the residual of chroma in squares of 2 x 2 pixels, for all units of the spectrum.

    Returns:
        (N, side, side) luma, (N, side / 2, side / 2, 2) chroma, and (N, side, side, 3) painted luma and chroma.
    """
    height, width = (side // MCU for side in scene.labels.shape)
    numbers = np.full((height + 2, width + 2), -1)
    numbers[spectrum.rows + 1, spectrum.columns + 1] = np.arange(len(spectrum.rows))
    stored_luma = np.concatenate([spectrum.luma_residual, np.zeros((1, MCU, MCU), np.float32)])  # for units beyond
    stored_chroma = np.concatenate([cells, np.zeros((1, MCU // 2, MCU // 2, 2), np.float32)])
    rows, columns = spectrum.rows[units], spectrum.columns[units]
    around = numbers[rows[:, None, None] + np.arange(3)[:, None], columns[:, None, None] + np.arange(3)]  # (N, 3, 3)
    cut, half = slice(MCU - _MARGIN, 2 * MCU + _MARGIN), slice((MCU - _MARGIN) // 2, (2 * MCU + _MARGIN) // 2)
    luma = stored_luma[around].swapaxes(2, 3).reshape(-1, 3 * MCU, 3 * MCU)[:, cut, cut]
    chroma = stored_chroma[around].swapaxes(2, 3).reshape(-1, 3 * MCU // 2, 3 * MCU // 2, 2)[:, half, half]
    reach = np.arange(-_MARGIN, MCU + _MARGIN)
    down = np.clip(rows[:, None] * MCU + reach, 0, height * MCU - 1)
    across = np.clip(columns[:, None] * MCU + reach, 0, width * MCU - 1)
    places = (down[:, :, None] + 1) * scene.stride + across[:, None] + 1
    return luma, chroma, scene.ycc.take(scene.board.ravel().take(places), 0)


def _mean_colors(prominent: NDArray[np.bool_], luma: Floats, chroma: Floats, painted: Floats) -> Floats:
    """Return the mean colour of the prominent pixels around each pixel of the units: (N, 16, 16, 3)."""
    weight = prominent.astype(np.float32)
    mean_luma = _mean(weight * (painted[..., 0] + luma), weight, _RADIUS)
    share = halved(weight[..., None])[..., 0]
    colored = chroma + halved(weight[..., None] * painted[..., 1:])
    fit = [_mean(share * colored[..., channel], share**2, (_RADIUS + 1) // 2) for channel in (0, 1)]
    inner, half = slice(_MARGIN, -_MARGIN), slice(_MARGIN // 2, -_MARGIN // 2)
    chromas = [np.repeat(np.repeat(plane[:, half, half], 2, 1), 2, 2) for plane in fit]
    return np.stack([mean_luma[:, inner, inner], *chromas], 3)


def _mean(values: Floats, weights: Floats, radius: int) -> Floats:
    """Return sums of values over sums of weights in squares around each pixel of (N, side, side) windows."""
    side = 2 * radius + 1
    top, bottom = (ndimage.uniform_filter(plane, (1, side, side), mode="constant") for plane in (values, weights))
    return np.asarray(top / (bottom + 1e-6))
