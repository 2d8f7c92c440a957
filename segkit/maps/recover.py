"""What a JPEG file stored, from its decoded colours alone.

A stored coefficient is a whole multiple of its step. Labels that are nearly right, compressed as the map was, have most
of the coefficients of the file; those of the other units are corrected until they decode to the observed colours. Where
colours were clipped at 0 and 255 several coefficients may do, and those nearest to the labels stay.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from segkit.maps import coded, differences, samples, spectrum
from segkit.maps.coded import Coded, Samples
from segkit.maps.layout import BLOCK, GREY, WAVES, layout
from segkit.maps.recompress import MCU
from segkit.maps.scene import YCC, Floats, Positions, Scene

_ROUNDS = 8
"""Corrections of a unit at most."""

_RELAXED = (1.0, 1.7)
"""Factors of the corrections, in turn: clipped channels let the plain ones fall short."""

_VISIBLE = 2
"""Difference of a channel, 0 to 255, that rounding explains."""


def _solutions() -> Floats:
    """Return the least luma and chroma that explain a difference of colours: (8, 3, 3).

    The number of a matrix has a bit for each channel that is not clipped, red the highest.
    """
    rgb = np.linalg.inv(YCC.astype(np.float64))
    solutions = np.zeros((8, 3, 3), np.float32)
    for solution, known in zip(solutions, product((False, True), repeat=3), strict=True):
        solution[:, known] = np.linalg.pinv(rgb[list(known)])
    return solutions


_SOLUTIONS = _solutions()


def recover(scene: Scene) -> Coded | None:
    """Return the samples that the file of a map probably stored; None if its settings are not supported.

    Args:
        scene: the map, with labels that are mostly right.
    """
    encoded = scene.encoded(scene.labels)
    stored = coded.read(encoded)
    if stored is None:
        return None
    rows, columns = differences.visible(scene, encoded)
    for number in range(_ROUNDS):
        observed, difference = _differences(scene, stored, rows, columns)
        margin = (observed.shape[1] - MCU) // 2
        inner = difference[:, margin : margin + MCU, margin : margin + MCU]
        wrong = (np.abs(inner) > _VISIBLE).any((1, 2, 3))
        if not wrong.any():
            break
        rows, columns = rows[wrong], columns[wrong]
        known = (difference[wrong] != 0) | (observed[wrong] > 0) & (observed[wrong] < 255)
        matrices = _SOLUTIONS[known @ np.array([4, 2, 1])]
        error = np.einsum("nhwij,nhwj->nhwi", matrices, difference[wrong].astype(np.float32))
        _correct(stored, rows, columns, error * np.float32(_RELAXED[number % len(_RELAXED)]), margin)
    return stored


def _differences(
    scene: Scene, stored: Coded, rows: Positions, columns: Positions
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Return the observed colours of units with a margin, (N, side, side, 3), and less those of stored samples."""
    margin = spectrum.REACH * stored.scale
    observed = differences.patches(scene.observed, rows, columns, margin)
    luma = differences.patches(stored.luma[..., None], rows, columns, margin)[..., 0]
    if stored.scale == 1:
        chroma = differences.patches(stored.chroma, rows, columns, margin).astype(np.int32)
    else:
        chroma = _interpolated(differences.patches(stored.chroma, rows, columns, spectrum.REACH + 1, MCU // 2))
    return observed, differences.before_clipping(observed, luma, chroma[..., 0], chroma[..., 1])


def _interpolated(chroma: Samples) -> NDArray[np.int32]:
    """Return the chroma that libjpeg interpolates (jdsample.c) inside of (N, side, side, 2) samples, twice as many."""
    samples = chroma.astype(np.int32)
    near = 3 * samples[:, 1:-1]
    down = np.stack([near + samples[:, :-2], near + samples[:, 2:]], 2).reshape(len(samples), -1, *samples.shape[2:])
    near = 3 * down[:, :, 1:-1]
    across = np.stack([near + down[:, :, :-2] + 8, near + down[:, :, 2:] + 7], 3) >> 4
    return across.reshape(*down.shape[:2], -1, 2)


def _correct(stored: Coded, rows: Positions, columns: Positions, error: Floats, margin: int) -> None:
    """Move the coefficients of units by an error in luma and chroma, (N, side, side, 3), to whole steps."""
    shape = layout(stored.compression)
    inner = slice(margin, margin + MCU)
    _move(stored.luma, rows, columns, error[:, inner, inner, 0], shape.luma_steps)
    for channel in (0, 1):
        if stored.scale == 1:
            plane = error[:, inner, inner, channel + 1]
        else:
            plane = spectrum.sharpened(spectrum.halved(error[..., channel + 1 : channel + 2])[..., 0])
        _move(stored.chroma[..., channel], rows, columns, plane, shape.chroma_steps)


def _move(plane: Samples, rows: Positions, columns: Positions, error: Floats, steps: Floats) -> None:
    """Change the units of a plane, (H, W), in place, by an error in samples: (N, side, side)."""
    side = error.shape[1]
    count = side // BLOCK
    before = samples.units(plane, rows, columns, side).astype(np.float32) - np.float32(GREY)
    before, change = (np.round(samples.blocks(part, count) @ WAVES / steps) for part in (before, error))
    after = np.round((before + change) * steps @ WAVES.T) + np.float32(GREY)
    after = after.reshape(-1, count, count, BLOCK, BLOCK).swapaxes(2, 3).reshape(error.shape)
    view = plane.reshape(plane.shape[0] // side, side, -1, side)
    view[rows, :, columns] = np.clip(after, 0, 255).astype(np.uint8)
