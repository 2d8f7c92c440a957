"""The stored samples of a JPEG map, compared with those of its labels block by block, without colours.

Where a sample was clipped, or lies beyond the picture, the compressed labels stand in for what is hidden.
"""

import numpy as np

from segkit.maps import pixels, planes
from segkit.maps.coded import Coded
from segkit.maps.layout import BLOCK, GREY
from segkit.maps.planes import Blocks
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Positions, Scene

_VISIBLE = 1.5
"""Difference of a sample from that of the labels, besides half the step of the mean, above which a unit is compared."""

_JUDGES = 128
"""Number of units that are compared to find out whether the settings are right."""

_HALF = np.float32(0.5 + 1e-4)
"""Ties are rounded away from zero, as libjpeg does; flat areas have many."""

_PAIRS = np.repeat(np.eye(MCU // 2, dtype=np.float32), 2, 0)
"""Adds the samples of a row in pairs: (16, 8)."""

_HALVES = np.resize(np.array([1, 2], np.float32), MCU // 2)
"""Terms by which libjpeg rounds sums of four chroma samples along a row."""


def visible(scene: Scene, coded: Coded) -> tuple[Positions, Positions]:
    """Return the rows and columns of the units whose stored samples differ visibly from their labels."""
    worst = np.zeros([side // MCU for side in scene.labels.shape], bool)
    shape = scene.layout
    channels = [(coded.luma, 1, float(shape.luma_steps[0]))]
    channels += [(coded.chroma[..., channel], shape.scale, float(shape.chroma_steps[0])) for channel in (0, 1)]
    for channel, (plane, scale, step) in enumerate(channels):
        table = np.resize(scene.ycc[:, channel] + (GREY if channel else 0), 256).clip(0, 255).astype(np.uint8)
        painted = pixels.translate(scene.labels[::scale, ::scale], table)
        difference = np.maximum(plane, painted) - np.minimum(plane, painted)
        side = MCU // scale
        height, width = worst.shape
        highest = difference.reshape(height, side, -1).max(1).reshape(height, width, side).max(2)
        worst |= highest > _VISIBLE + step / 2 / BLOCK
    if coded.certain is not None:
        worst |= ~coded.certain
    rows, columns = np.nonzero(worst)
    return rows, columns


def unexplained(scene: Scene, coded: Coded, rows: Positions, columns: Positions, luma_residual: Floats) -> float:
    """Return the share of the damage that labels leave, compressed as the map's file was; 0 if there is none.

    Much is left if the map was scaled, or saved in another way, before it was saved as it is, or if most labels are
    wrong. The best quarter of the units that compression changed visibly judges, since others may have wrong labels.

    Args:
        scene: the map.
        coded: what its file stores.
        rows: (N,) the units that `visible` returns.
        columns: (N,)
        luma_residual: (N, 16, 16) what `compare` returns of them.
    """
    if not len(rows):
        return 0.0
    drawn = np.random.default_rng(0).permutation(len(rows))[:_JUDGES]
    rows, columns, residual = rows[drawn], columns[drawn], luma_residual[drawn]
    table = scene.ycc[:, 0]
    plain = planes.cut(coded.luma, rows, columns, MCU) - table.take(planes.cut(scene.labels, rows, columns, MCU))
    left, damage = (np.sort(np.abs(error).sum((1, 2)))[: len(rows) // 4 + 1].sum() for error in (residual, plain))
    return float(left / max(damage, 1.0))


def compare(scene: Scene, coded: Coded, rows: Positions, columns: Positions) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the errors and residuals of units; see spectrum.Spectrum for their shapes."""
    shape, labels = scene.layout, planes.cut(scene.labels, rows, columns, MCU).astype(np.intp)  # converted once
    painted = scene.ycc[:, 0].take(labels) - np.float32(GREY)
    luma, luma_residual = _errors(painted, coded.planes.luma.blocks(rows, columns), shape.luma_steps)
    # Both channels at once: with few units, which most comparisons have, the number of calls takes the time.
    painted = np.stack([scene.ycc[:, channel].take(labels) for channel in (1, 2)], 1).reshape(-1, MCU, MCU)
    painted = stored_means(painted) if shape.scale > 1 else painted
    errors, residuals = _errors(painted, coded.planes.chroma.blocks(rows, columns), shape.chroma_steps)
    chroma = np.ascontiguousarray(errors.reshape(len(rows), 2, *errors.shape[1:]).swapaxes(1, 2))
    residuals = residuals.reshape(len(rows), 2, *residuals.shape[1:])
    return luma, chroma, luma_residual, np.moveaxis(residuals, 1, 3).copy()


def seen(scene: Scene, coded: Coded, rows: Positions, columns: Positions) -> Floats:
    """Return the difference of luma and chroma between the map and its compressed labels: (N, 16, 16, 3)."""
    _, _, luma, chroma = compare(scene, coded, rows, columns)
    scale = scene.layout.scale
    chroma = np.repeat(np.repeat(chroma, scale, 1), scale, 2) if scale > 1 else chroma
    return np.concatenate([luma[..., None], chroma], 3)


def observed(scene: Scene, coded: Coded, rows: Positions, columns: Positions) -> Floats:
    """Return the stored luma and chroma of units, chroma repeated: (N, 16, 16, 3)."""
    scale = scene.layout.scale
    channels = [planes.cut(coded.luma, rows, columns, MCU).astype(np.float32)]
    for channel in (0, 1):
        chroma = planes.cut(coded.chroma[..., channel], rows, columns, MCU // scale).astype(np.float32)
        channels.append(np.repeat(np.repeat(chroma - np.float32(GREY), scale, 1), scale, 2))
    return np.stack(channels, 3)


def stored_means(samples: Floats) -> Floats:
    """Return the means of squares of 2 x 2 in (N, side, side) samples, rounded as libjpeg rounds them."""
    pairs = samples @ _PAIRS  # whole numbers, so that sums are exact; slices of every second sample take much longer
    means = pairs[:, ::2] + pairs[:, 1::2]
    means += _HALVES
    means /= np.float32(4)
    return np.asarray(np.floor(means, out=means))


def _errors(painted: Floats, stored: Blocks, steps: Floats) -> tuple[Floats, Floats]:
    """Return the errors of coefficients, (N, blocks, 64), and the residual of samples, (N, side, side).

    Args:
        painted: (N, side, side) samples of the labels, 0 for grey.
        stored: the blocks of the file.
        steps: (64,) the steps of the coefficients.
    """
    count = painted.shape[1] // BLOCK
    coefficients = planes.transform(painted).reshape(-1, BLOCK**2)
    numbers = coefficients / steps
    numbers += np.copysign(_HALF, numbers)
    np.trunc(numbers, out=numbers)
    residual = planes.difference(numbers * steps, stored.samples)
    errors = coefficients - stored.coefficients
    if len(stored.open):
        samples, guess = stored.samples[stored.open], numbers[stored.open]
        residual[stored.open] = planes.difference(guess * steps, samples, stored.hidden)
        refined = planes.refine(guess, residual[stored.open], samples, steps, stored.hidden)
        errors[stored.open] = coefficients[stored.open] - refined
    residual = residual.reshape(-1, count, count, BLOCK, BLOCK).swapaxes(2, 3).reshape(painted.shape)
    return errors.reshape(-1, count**2, BLOCK**2), residual
