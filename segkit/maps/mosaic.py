"""Units of a JPEG map with other labels, side by side, so that many trials are compared and adapted at once."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from segkit.maps import spectrum
from segkit.maps.coded import Coded
from segkit.maps.recompress import MCU
from segkit.maps.scene import Floats, Indices, Positions, Scene

SIDE = MCU + 2
"""Side of a tile: a unit with the pixels beside it."""

_APART = 2
"""Distance of the units in a mosaic, in units: between them the pixels beside each have room."""


class Mosaic:
    """Tiles, (T, 18, 18), side by side: units with the pixels beside them.

    Attributes:
        scene: the mosaic as a map.
        focus: the units in it.
    """

    def __init__(self, scene: Scene, coded: Coded, tiles: Indices, rows: Positions, columns: Positions) -> None:
        lanes = int(np.ceil(np.sqrt(len(tiles))))
        side = lanes * _APART + 1
        down, across = np.divmod(np.arange(len(tiles)), lanes)
        down, across = _APART * down + 1, _APART * across + 1
        self.focus = np.zeros((side, side), bool)
        self.focus[down, across] = True
        board = np.zeros((side * MCU + 2, side * MCU + 2), np.uint8)
        self._places = _squares(down * MCU, across * MCU, SIDE)
        board[self._places] = tiles
        colors = np.zeros((1, 1, 3), np.uint8)  # the stored samples suffice
        fixed = np.zeros((side * MCU, side * MCU), bool)
        stored = _stored(coded, side, (rows, columns), (down, across))
        self.scene = Scene(colors, board, fixed, scene.colors, scene.compression, stored)

    def tiles(self) -> Indices:
        """Return the tiles as they are now."""
        return np.asarray(self.scene.board[self._places])

    def excess(self) -> Floats:
        """Return the squared excess of each unit."""
        return spectrum.measure(self.scene, self.focus).excess()


def _stored(coded: Coded, side: int, units: tuple[Positions, Positions], places: tuple[Positions, Positions]) -> Coded:
    """Return the samples of some units of a file at their places in a mosaic, whose side is given in units."""
    luma = np.zeros((side * MCU, side * MCU), np.uint8)
    part = MCU // coded.scale
    chroma = np.zeros((side * part, side * part, 2), np.uint8)
    for target, source, length in ((luma, coded.luma, MCU), (chroma, coded.chroma, part)):
        to, start = (_squares(rows * length, columns * length, length) for rows, columns in (places, units))
        target[to] = source[start]
    return replace(coded, height=len(luma), width=len(luma), luma=luma, chroma=chroma, certain=None)


def places(scene: Scene, rows: Positions, columns: Positions) -> Positions:
    """Return the positions of the tiles of units on the flattened board: (N, 18, 18)."""
    reach = np.arange(SIDE)
    first = rows * MCU * scene.stride + columns * MCU
    return np.asarray(first[:, None, None] + reach[:, None] * scene.stride + reach)


def are_whole(coded: Coded, rows: Positions, columns: Positions) -> NDArray[np.bool_]:
    """Return which units are certain and do not extend beyond the picture, (N,): these fit into a mosaic."""
    inside = ((rows + 1) * MCU <= coded.height) & ((columns + 1) * MCU <= coded.width)
    return np.asarray(inside if coded.certain is None else inside & coded.certain[rows, columns])


def _squares(top: Positions, left: Positions, side: int) -> tuple[Positions, Positions]:
    """Return the indices of squares at some corners: rows and columns that broadcast to (T, side, side)."""
    reach = np.arange(side)
    return (top[:, None] + reach)[:, :, None], (left[:, None] + reach)[:, None]
