"""Overlapping tiles of a photo, and their blending in bands, from top to bottom.

Averages are kept at a quarter of the resolution in which networks see tiles, as most of them predict it, and for one
row of tiles at a time. So memory depends on the size of the network's input, and hardly on that of the photo.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.models import argmax

if TYPE_CHECKING:
    from torch import Tensor

STRIDE = 4
"""Sides of a cell of averages, in pixels of a tile as the network sees it."""
OVERLAP = 0.25
"""Least overlap of neighbouring tiles, as a share of their side."""
WHOLE = 0.5
"""Weight of the whole photo; tiles have the rest."""

Score = Callable[[Sequence[Image.Image]], "list[Tensor]"]
"""Maps pictures of one size to (C, h, w) class probabilities, in any resolution."""


@dataclass(frozen=True)
class Tiling:
    """Sizes of tiles and cells, in pixels of the photo.

    Attributes:
        side: of the tiles.
        cell: side of the cells for which averages are kept.
    """

    side: int
    cell: int

    @classmethod
    def of(cls, short: int, count: int, input_side: int) -> "Tiling | None":
        """Return the sizes for a photo; None if it is not larger than the network's input, so that tiles show no more.

        Args:
            short: the photo's shorter side.
            count: tiles along that side; fewer if they would be smaller than the input.
            input_side: the shorter side of photos as the network sees them; 0: it sees them at their own size.
        """
        if not 0 < input_side < short:
            return None
        side = max(input_side, ceil(short / (count - (count - 1) * OVERLAP)))
        return cls(side, STRIDE * (side // input_side))


@dataclass(frozen=True)
class Axis:
    """Tiles along one side of a photo, in cells.

    Attributes:
        length: of a tile.
        starts: first cell of each tile, ascending.
        weights: (tiles, length) float32; at each cell of the photo, the weights of all tiles add up to 1.
    """

    length: int
    starts: tuple[int, ...]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, total: int, length: int) -> "Axis":
        """Distribute tiles evenly; their weights fall linearly to zero where another tile takes over.

        Args:
            total: cells along the photo.
            length: cells along a tile, at most; the photo's, if that is shorter.
        """
        length = min(length, total)
        overlap = max(1, int(OVERLAP * length))
        count = 1 + ceil((total - length) / max(1, length - overlap))
        starts = [round(start) for start in np.linspace(0, total - length, count)]
        cells = np.arange(length) + 0.5
        ramp = np.minimum(np.minimum(cells, length - cells) / overlap, 1)
        sums = np.zeros(total)
        for start in starts:
            sums[start : start + length] += ramp
        weights = [ramp / sums[start : start + length] for start in starts]
        return cls(length, tuple(starts), np.array(weights, np.float32))


def label(photo: Image.Image, tiling: Tiling, whole: "Tensor", score: Score) -> tuple["Tensor", "Tensor"]:
    """Blend the class probabilities of a photo's tiles with those of the whole photo, and return the winning classes.

    Args:
        photo: RGB.
        tiling: sizes of tiles and of cells.
        whole: (C, h, w) class probabilities of the whole photo.
        score: returns those of tiles.

    Returns:
        (H, W) int16 class indices and (H, W) float32 probabilities, as argmax.label.
    """
    import torch

    width, height = photo.size
    bands = list(_bands(photo, tiling, whole, score))
    classes, probabilities = (torch.cat(parts)[:height, :width] for parts in zip(*bands, strict=True))
    return classes, probabilities


def _bands(photo: Image.Image, tiling: Tiling, whole: "Tensor", score: Score) -> Iterator[tuple["Tensor", "Tensor"]]:
    """Yield the results of `label` from top to bottom, for the photo extended to whole cells."""
    import torch

    cell = tiling.cell
    pixels = _whole_cells(photo, cell)
    height, width = (length // cell for length in pixels.shape[:2])  # from here on in cells
    rows, columns = (Axis.of(total, ceil(tiling.side / cell)) for total in (height, width))
    first = done = 0  # the band's first row, and the first row without labels
    band = whole.new_empty(len(whole), 0, width)
    for top, below, weights in zip(rows.starts, (*rows.starts[1:], height + 1), rows.weights, strict=True):
        bottom = top + rows.length
        band = torch.cat([band, _rows(whole, (height, width), first + band.shape[1], bottom).mul_(WHOLE)], 1)
        tiles = [_crop(pixels, cell, (top, left), (rows.length, columns.length)) for left in columns.starts]
        for left, shares, scores in zip(columns.starts, columns.weights, score(tiles), strict=True):
            window = band.new_tensor((1 - WHOLE) * np.outer(weights, shares))
            place = band[:, top - first : bottom - first, left : left + columns.length]
            place += resized(scores, (rows.length, columns.length)) * window
        # Rows above the next tile are final, but the last of them is needed to interpolate those above it.
        final = min(below - 1, height)
        start, stop = max(done - 1, 0), min(final + 1, height)
        size = ((stop - start) * cell, width * cell)
        classes, probabilities = argmax.label(band[:, start - first : stop - first], size)
        labelled = slice((done - start) * cell, (final - start) * cell)
        yield classes[labelled], probabilities[labelled]
        done, first, band = final, max(final - 1, 0), band[:, max(final - 1, 0) - first :]


def resized(scores: "Tensor", size: tuple[int, int]) -> "Tensor":
    """Scale (C, h, w) class probabilities to (C, *size), bilinearly; to a smaller size, over the area of each cell."""
    from torch.nn import functional

    if tuple(scores.shape[1:]) == size:
        return scores
    return functional.interpolate(scores[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def _rows(whole: "Tensor", size: tuple[int, int], start: int, stop: int) -> "Tensor":
    """Return rows of the class probabilities of the whole photo, as of `resized`, without computing the others."""
    import torch

    # As a row, since torch 2.13 scales pictures of a single column wrongly.
    identity = torch.eye(whole.shape[1], device=whole.device)[:, None]
    vertical = resized(identity, (1, size[0]))[:, 0, start:stop]  # (h, rows): each row as a mean of rows of `whole`
    return resized(torch.einsum("chw, hr -> crw", whole, vertical), (stop - start, size[1]))


def _whole_cells(photo: Image.Image, cell: int) -> NDArray[np.uint8]:
    """Return the photo's pixels, (H, W, 3), the last ones repeated until both sides are multiples of a cell's."""
    missing = [(0, -length % cell) for length in photo.size[::-1]]
    return np.pad(np.asarray(photo), (*missing, (0, 0)), mode="edge")


def _crop(pixels: NDArray[np.uint8], cell: int, place: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Return the tile at (row, column) of (rows, columns), all in cells."""
    (top, left), (height, width) = ((length * cell for length in lengths) for lengths in (place, size))
    return Image.fromarray(pixels[top : top + height, left : left + width])
