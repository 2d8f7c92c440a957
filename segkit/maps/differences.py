"""The observed map minus its compressed labels, in units of the map."""

import numpy as np
from numpy.typing import NDArray

from segkit.maps import recompress, samples
from segkit.maps.recompress import MCU
from segkit.maps.scene import YCC, Floats, Positions, Scene, to_ycc

Differences = NDArray[np.int16]
"""(N, side, side, 3) differences of colour channels in N units, or in units with a margin around each."""

_VISIBLE = 2
"""Difference of a channel, 0 to 255, above which a unit is worked on."""

_TILED = 16
"""If fewer than one unit in this many is compared, only these are compressed, each with the eight around it."""

_LANE = 32
"""Units at most of a column of the picture in which they are compressed."""

_RGB_OF_YCC = np.linalg.inv(YCC).astype(np.float32)

_CHROMA = np.arange(256) - 128
_RED_OF_CR = ((91881 * _CHROMA + 32768) >> 16).astype(np.int16)
_BLUE_OF_CB = ((116130 * _CHROMA + 32768) >> 16).astype(np.int16)
_GREEN_OF_CB = (-22554 * _CHROMA).astype(np.int32)
_GREEN_OF_CR = (-46802 * _CHROMA + 32768).astype(np.int32)
"""The integer arithmetic of libjpeg (jdcolor.c), which all builds of it share."""


def visible(scene: Scene, encoded: bytes, least: int = _VISIBLE) -> tuple[Positions, Positions]:
    """Return the rows and columns of the units that differ visibly from the encoded labels."""
    observed, compressed = scene.observed, recompress.decode(encoded)
    height, width = (side // MCU for side in observed.shape[:2])
    difference = np.maximum(observed, compressed) - np.minimum(observed, compressed)
    worst: NDArray[np.uint8] = difference.reshape(height, MCU, -1).max(1).reshape(height, width, -1).max(2)
    rows, columns = np.nonzero(worst > least)
    return rows, columns


def seen(scene: Scene, rows: Positions, columns: Positions) -> Differences:
    """Return the difference of the pictures in units: (N, 16, 16, 3)."""
    observed, compressed = _pair(scene, rows, columns, 0)
    return np.subtract(observed, compressed, dtype=np.int16)


def in_rgb(scene: Scene, rows: Positions, columns: Positions) -> Floats:
    """Return the difference of the pictures in units, unclipped if the samples are known: (N, 16, 16, 3)."""
    if scene.coded is None:
        return seen(scene, rows, columns).astype(np.float32)
    return samples.seen(scene, scene.coded, rows, columns) @ _RGB_OF_YCC.T


def in_ycc(scene: Scene, rows: Positions, columns: Positions) -> Floats:
    """Return the same difference in luma and chroma: (N, 16, 16, 3)."""
    if scene.coded is None:
        return to_ycc(seen(scene, rows, columns))
    return samples.seen(scene, scene.coded, rows, columns)


def unclipped(
    scene: Scene, rows: Positions, columns: Positions, margin: int, encoded: bytes | None = None
) -> Differences:
    """Return the least differences before colours were clipped at 0 and 255, in units with a margin around each.

    Most colours of palettes have channels of 0 or 255, and compression carries them beyond. How far is known of the
    compressed labels; a clipped channel of the map tells only that it was at 0 or below, or at 255 or above.

    Args:
        scene: the map.
        rows: (N,) unit rows.
        columns: (N,) unit columns.
        margin: pixels around each unit.
        encoded: the labels as JPEG, if at hand; otherwise they are compressed, only the units if those are few.
    """
    if encoded is None:
        observed, compressed = _pair(scene, rows, columns, margin, "YCbCr")
    else:
        whole = recompress.decode(encoded, "YCbCr")
        observed, compressed = (patches(picture, rows, columns, margin) for picture in (scene.observed, whole))
    return before_clipping(observed, *(compressed[..., channel] for channel in range(3)))


def before_clipping(
    observed: NDArray[np.uint8], luma: NDArray[np.uint8], blue: NDArray[np.integer], red: NDArray[np.integer]
) -> Differences:
    """Return the least differences of (..., 3) colours from luma and chroma, (...), before they were clipped."""
    green = ((_GREEN_OF_CB.take(blue) + _GREEN_OF_CR.take(red)) >> 16).astype(np.int16)
    result = np.empty(observed.shape, np.int16)
    for channel, offset in enumerate((_RED_OF_CR.take(red), green, _BLUE_OF_CB.take(blue))):
        target = observed[..., channel]
        offset += luma
        difference = target - offset
        difference[(target == 0) & (difference > 0) | (target == 255) & (difference < 0)] = 0
        result[..., channel] = difference
    return result


def _pair(
    scene: Scene, rows: Positions, columns: Positions, margin: int, mode: str = "RGB"
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the observed map and the compressed labels in units with a margin around each.

    Few units are compressed alone, each with the eight around it, as the decoder blends chroma with theirs. Units at
    the edge of the map are mirrored: a mirrored unit has the chroma samples that the decoder repeats there.

    Returns:
        (N, 16 + 2 margin, 16 + 2 margin, 3), twice.
    """
    if _TILED * len(rows) * MCU**2 > scene.labels.size:
        pictures = scene.observed, scene.compressed(scene.labels, mode)
        observed, compressed = (patches(picture, rows, columns, margin) for picture in pictures)
        return observed, compressed
    tiles = _tiles(scene.labels, rows, columns)
    side = tiles.shape[1]
    lanes = max(-(-len(tiles) // _LANE), 1)
    lane = max(-(-len(tiles) // lanes), 1)
    mosaic = np.resize(tiles, (lanes, lane * side, side)).swapaxes(0, 1).reshape(lane * side, lanes * side)
    compressed = scene.compressed(mosaic, mode).reshape(lane, side, lanes, side, 3)
    cut = slice(MCU - margin, 2 * MCU + margin)
    windows = compressed[:, cut, :, cut].transpose(2, 0, 1, 3, 4).reshape(-1, *[MCU + 2 * margin] * 2, 3)
    return _tiles(scene.observed, rows, columns)[:, cut, cut], windows[: len(rows)]


def _tiles(picture: NDArray[np.uint8], rows: Positions, columns: Positions) -> NDArray[np.uint8]:
    """Return each unit of a picture, (H, W) or (H, W, 3), with the eight around it: (N, 48, 48) or (N, 48, 48, 3)."""
    height, width = (side // MCU for side in picture.shape[:2])
    units = picture.reshape(height, MCU, width, MCU, -1).swapaxes(1, 2)
    beside = np.arange(-1, 2)
    down, across = np.clip(rows[:, None] + beside, 0, height - 1), np.clip(columns[:, None] + beside, 0, width - 1)
    tiles = units[down[:, :, None], across[:, None]]  # (N, 3, 3, 16, 16, channels)
    for edge, place in ((0, 0), (height - 1, 2)):
        tiles[rows == edge, place] = tiles[rows == edge, place, :, ::-1]
    for edge, place in ((0, 0), (width - 1, 2)):
        tiles[columns == edge, :, place] = tiles[columns == edge, :, place, :, ::-1]
    return np.asarray(tiles.swapaxes(2, 3).reshape(-1, 3 * MCU, 3 * MCU, *picture.shape[2:]))


def patches(
    picture: NDArray[np.uint8], rows: Positions, columns: Positions, margin: int, unit: int = MCU
) -> NDArray[np.uint8]:
    """Return the units of a picture with a margin around each: (N, unit + 2 margin, unit + 2 margin, channels)."""
    padded = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="edge") if margin else picture
    side = unit + 2 * margin
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    return np.ascontiguousarray(np.moveaxis(windows, 2, -1)[rows * unit, columns * unit])
