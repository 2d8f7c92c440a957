"""The stored samples of a JPEG map, compared with those of its labels block by block, without colours.

A stored coefficient is a whole multiple of its step. From decoded samples it follows exactly, except where a sample was
clipped at 0 or 255 or lies beyond the picture: there the compressed labels stand in for what is hidden.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segkit.maps import pixels
from segkit.maps.coded import Coded, Samples
from segkit.maps.layout import BLOCK, GREY, WAVES
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Positions, Scene

Value = TypeVar("Value", bound=np.generic)

_VISIBLE = 1.5
"""Difference of a sample from that of the labels, besides half the step of the mean, above which a unit is compared."""

_EXPLAINED = 0.5
"""Right settings leave less than this share of the damage unexplained."""

_JUDGES = 128
"""Number of units that are compared to find out whether the settings are right."""

_HALF = np.float32(0.5 + 1e-4)
"""Ties are rounded away from zero, as libjpeg does; flat areas have many."""

_REFINEMENTS = 4
"""Steps in which the coefficients of a block are found; the first suffices where nothing is hidden."""

_HALVES = (1, 2)
"""Terms by which libjpeg rounds sums of four chroma samples, in turn along a row."""


def visible(scene: Scene, coded: Coded) -> tuple[Positions, Positions]:
    """Return the rows and columns of the units whose stored samples differ visibly from their labels."""
    worst = np.zeros([side // MCU for side in scene.labels.shape], bool)
    shape = scene.layout
    planes = [(coded.luma, 1, float(shape.luma_steps[0]))]
    planes += [(coded.chroma[..., channel], shape.scale, float(shape.chroma_steps[0])) for channel in (0, 1)]
    for channel, (plane, scale, step) in enumerate(planes):
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


def explain(scene: Scene, coded: Coded, rows: Positions, columns: Positions, luma_residual: Floats) -> bool:
    """Return whether labels, most of them right, look like the map once they are compressed as its file was.

    They do not if the map was scaled, or saved in another way, before it was saved as it is. The best quarter of the
    units that compression changed visibly judges, since others may have wrong labels.

    Args:
        scene: the map.
        coded: what its file stores.
        rows: (N,) the units that `visible` returns.
        columns: (N,)
        luma_residual: (N, 16, 16) what `compare` returns of them.
    """
    if not len(rows):
        return True
    drawn = np.random.default_rng(0).permutation(len(rows))[:_JUDGES]
    rows, columns, residual = rows[drawn], columns[drawn], luma_residual[drawn]
    table = scene.ycc[:, 0]
    plain = units(coded.luma, rows, columns, MCU) - table.take(units(scene.labels, rows, columns, MCU))
    unexplained, damage = (
        np.sort(np.abs(error).sum((1, 2)))[: len(rows) // 4 + 1].sum() for error in (residual, plain)
    )
    return bool(unexplained < _EXPLAINED * damage)


def compare(scene: Scene, coded: Coded, rows: Positions, columns: Positions) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the errors and residuals of units; see spectrum.Spectrum for their shapes."""
    shape, labels = scene.layout, units(scene.labels, rows, columns, MCU)
    painted = scene.ycc[:, 0].take(labels) - np.float32(GREY)
    beyond = _beyond(rows, columns, coded.height, coded.width, MCU)
    luma, luma_residual = _errors(painted, units(coded.luma, rows, columns, MCU), shape.luma_steps, beyond)
    side, count = MCU // shape.scale, len(rows)
    beyond = _beyond(rows, columns, -(-coded.height // shape.scale), -(-coded.width // shape.scale), side)
    # Both channels at once: with few units, which most comparisons have, the number of calls takes the time.
    painted = np.concatenate([scene.ycc[:, channel].take(labels) for channel in (1, 2)])
    painted = stored_means(painted) if shape.scale > 1 else painted
    stored = np.concatenate([units(coded.chroma[..., channel], rows, columns, side) for channel in (0, 1)])
    errors, residuals = _errors(
        painted, stored, shape.chroma_steps, beyond if beyond is None else np.tile(beyond, (2, 1, 1))
    )
    errors, residuals = errors.reshape(2, count, *errors.shape[1:]), residuals.reshape(2, count, side, side)
    return luma, np.moveaxis(errors, 0, 2).copy(), luma_residual, np.moveaxis(residuals, 0, 3).copy()


def seen(scene: Scene, coded: Coded, rows: Positions, columns: Positions) -> Floats:
    """Return the difference of luma and chroma between the map and its compressed labels: (N, 16, 16, 3)."""
    _, _, luma, chroma = compare(scene, coded, rows, columns)
    scale = scene.layout.scale
    chroma = np.repeat(np.repeat(chroma, scale, 1), scale, 2) if scale > 1 else chroma
    return np.concatenate([luma[..., None], chroma], 3)


def observed(scene: Scene, coded: Coded, rows: Positions, columns: Positions) -> Floats:
    """Return the stored luma and chroma of units, chroma repeated: (N, 16, 16, 3)."""
    scale = scene.layout.scale
    planes = [units(coded.luma, rows, columns, MCU).astype(np.float32)]
    for channel in (0, 1):
        chroma = units(coded.chroma[..., channel], rows, columns, MCU // scale).astype(np.float32) - np.float32(GREY)
        planes.append(np.repeat(np.repeat(chroma, scale, 1), scale, 2))
    return np.stack(planes, 3)


def units(plane: Samples, rows: Positions, columns: Positions, side: int) -> Samples:
    """Return units of a plane: (N, side, side)."""
    height, width = (length // side for length in plane.shape)
    return np.ascontiguousarray(plane.reshape(height, side, width, side)[rows, :, columns])


def _beyond(rows: Positions, columns: Positions, height: int, width: int, side: int) -> NDArray[np.bool_] | None:
    """Return which samples of units lie beyond the picture, (N, side, side); None if none does."""
    if not height % side and not width % side:
        return None
    places = np.arange(side)
    down, across = rows[:, None] * side + places >= height, columns[:, None] * side + places >= width
    return np.asarray(down[:, :, None] | across[:, None])


def stored_means(samples: Floats) -> Floats:
    """Return the means of squares of 2 x 2 in (N, side, side) samples, rounded as libjpeg rounds them."""
    down = samples[:, ::2] + samples[:, 1::2]
    sums = down[:, :, ::2] + down[:, :, 1::2]
    return np.asarray(np.floor((sums + np.resize(np.array(_HALVES, np.float32), sums.shape[2])) / np.float32(4)))


def _errors(painted: Floats, stored: Samples, steps: Floats, beyond: NDArray[np.bool_] | None) -> tuple[Floats, Floats]:
    """Return the errors of coefficients, (N, blocks, 64), and the residual of samples, (N, side, side).

    Args:
        painted: (N, side, side) samples of the labels, 0 for grey.
        stored: (N, side, side) samples of the file.
        steps: (64,) the steps of the coefficients.
        beyond: (N, side, side) where the file has no samples.
    """
    count = painted.shape[1] // BLOCK
    coefficients = (blocks(painted, count) @ WAVES).reshape(-1, BLOCK**2)
    observed = blocks(stored, count).reshape(-1, BLOCK**2)
    hidden = None if beyond is None else blocks(beyond, count).reshape(-1, BLOCK**2)
    numbers = coefficients / steps
    numbers += np.copysign(_HALF, numbers)
    np.trunc(numbers, out=numbers)
    residual = _residual(numbers * steps, observed, hidden)
    first = residual
    places = np.arange(len(numbers))
    for _ in range(_REFINEMENTS):
        different = residual.any(1)
        places, residual = places[different], residual[different]
        if not len(places):
            break
        numbers[places] += np.round(residual @ WAVES / steps)
        beside = None if hidden is None else hidden[places]
        residual = _residual(numbers[places] * steps, observed[places], beside)
    first = first.reshape(-1, count, count, BLOCK, BLOCK).swapaxes(2, 3).reshape(painted.shape)
    return (coefficients - numbers * steps).reshape(-1, count**2, BLOCK**2), first


def _residual(coefficients: Floats, observed: Samples, hidden: NDArray[np.bool_] | None) -> Floats:
    """Return the samples of the map minus those of coefficients, (N, 64); 0 where the map hides the difference."""
    painted = coefficients @ WAVES.T
    np.round(painted, out=painted)
    residual = observed - painted
    residual -= np.float32(GREY)
    if observed.min(initial=255) == 0 or observed.max(initial=0) == 255:  # rarely so
        residual[(observed == 0) & (residual > 0) | (observed == 255) & (residual < 0)] = 0
    if hidden is not None:
        residual[hidden] = 0
    return np.asarray(residual)


def blocks(samples: NDArray[Value], count: int) -> NDArray[Value]:
    """Return the blocks of (N, side, side) samples: (N, blocks, 64)."""
    blocks = samples.reshape(-1, count, BLOCK, count, BLOCK).swapaxes(2, 3)
    return np.asarray(blocks.reshape(-1, count**2, BLOCK**2))
