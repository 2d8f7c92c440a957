"""The state of a repair by synthesis: labels, and what their compressed picture leaves unexplained."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import pixels
from segkit.maps.pixels import Packed, Value
from segkit.maps.recompress import Compression, RGBPixels

Indices = NDArray[np.uint8]
Floats = NDArray[np.float32]
Positions = NDArray[np.intp]

BLOCK = 8
"""Side in pixels of the blocks that JPEG transforms."""

_UNEXPLAINED = 5
"""Difference of a channel, 0 to 255, above which a block is worked on, and those beside it: its border may be wrong."""

_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
"""RGB to luma and chroma (JFIF)."""

_RARE = 400.0
"""Cost, in squared colour distance, of a pixel of an unproven class without cores; none at 300 cores."""


@dataclass
class Scene:
    """A map under repair. Its sides are multiples of recompress.MCU.

    Attributes:
        observed: (H, W, 3) the damaged map.
        board: (H + 2, W + 2) the labels, indices of colours, with a margin that repeats those at the edge.
        fixed: (H, W) True where the label is beyond doubt.
        colors: (classes, 3) the colours of the classes.
        compression: how the map was damaged.
        focus: (H / 8, W / 8) False for blocks that are not worked on, None to work on all.
    """

    observed: RGBPixels
    board: Indices
    fixed: NDArray[np.bool_]
    colors: RGBPixels
    compression: Compression
    focus: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        self.ycc = to_ycc(self.colors)
        self.packed: Packed = np.resize(pixels.pack(self.colors), 256)
        self.proven = np.bincount(self.labels[self.fixed], minlength=len(self.colors)) > 0
        self.neighbors = [
            down + across for down in (-self.stride, 0, self.stride) for across in (-1, 0, 1) if down or across
        ]

    @property
    def labels(self) -> Indices:
        """The labels without the margin: (H, W), a view."""
        return self.board[1:-1, 1:-1]

    @property
    def stride(self) -> int:
        """Offset on the flattened board from a pixel to the one below."""
        return int(self.board.shape[1])

    def counts(self) -> NDArray[np.intp]:
        """Return the number of pixels of each class."""
        return np.array(
            Image.fromarray(self.labels).histogram()[: len(self.colors)]
        )  # bincount takes ten times as long

    def repeat_edges(self) -> None:
        """Copy the outermost labels to the margin."""
        board = self.board
        board[0], board[-1] = board[1], board[-2]
        board[:, 0], board[:, -1] = board[:, 1], board[:, -2]

    def compressed(self, labels: Indices) -> RGBPixels:
        """Return the compressed picture of labels: (H, W, 3)."""
        return self.compression.apply(self.packed.take(labels, mode="clip"))  # nothing is clipped; it spares checks

    def cores(self) -> NDArray[np.intp]:
        """Return the number of pixels of each unproven class that have its label on six of eight sides or more.

        The blends along a border are lines of one or two pixels, which have no such pixels.
        """
        unproven = ~self.proven & (self.counts() > 0)
        if not unproven.any():
            return np.zeros(len(self.colors), np.intp)
        rows, columns = np.nonzero(np.resize(unproven, 256).take(self.labels, mode="clip"))
        places = (rows + 1) * self.stride + columns + 1
        flat = self.board.ravel()
        labels = flat[places]
        equal = np.zeros(len(places), np.uint8)
        for offset in self.neighbors:
            equal += flat[places + offset] == labels
        return np.bincount(labels[equal >= 6], minlength=len(self.colors))

    def rarity(self, cores: NDArray[np.intp] | NDArray[np.float64]) -> Floats:
        """Return the cost of a pixel of each class, given the cores that support it."""
        cost = _RARE * np.clip(1 - np.log10(cores + 1) / 2.5, 0, 1)
        return np.where(self.proven, 0, cost).astype(np.float32)


@dataclass
class Residual:
    """What the compressed picture of the labels leaves unexplained, in the blocks that have something unexplained.

    Chroma is averaged over cells of 2 x 2 pixels, since JPEG (4:2:0) stores no more.

    Attributes:
        rows: (N,) block rows.
        columns: (N,) block columns.
        places: (N, 8, 8) positions of the pixels on the flattened board.
        luma: (N, 8, 8) unexplained luma.
        chroma: (N, 4, 4, 2) unexplained chroma.
    """

    rows: Positions
    columns: Positions
    places: Positions
    luma: Floats
    chroma: Floats

    def squares(self) -> Floats:
        """Return the squared length of the residual: (N, 8, 8)."""
        return np.asarray(self.luma**2 + np.repeat(np.repeat((self.chroma**2).sum(3), 2, 1), 2, 2))


def to_ycc(rgb: NDArray[np.uint8] | Floats) -> Floats:
    """Convert (..., 3) colours, or differences of colours, to luma and chroma without offset."""
    return np.asarray(rgb.astype(np.float32) @ _YCC.T)


def blocks(picture: NDArray[Value], side: int) -> NDArray[Value]:
    """Return a view of (H, W, ...) pixels as blocks: (H / side, W / side, side, side, ...)."""
    height, width, *rest = picture.shape
    return picture.reshape(height // side, side, width // side, side, *rest).swapaxes(1, 2)


def find_residual(scene: Scene) -> Residual:
    """Compare the compressed picture of the labels with the observed map."""
    observed, compressed = scene.observed, scene.compressed(scene.labels)
    height, width = scene.labels.shape
    difference = np.maximum(observed, compressed) - np.minimum(observed, compressed)
    worst = difference.reshape(height // BLOCK, BLOCK, -1).max(1).reshape(height // BLOCK, width // BLOCK, -1).max(2)
    unexplained = np.pad(worst > _UNEXPLAINED, 1)
    unexplained = unexplained[:-2] | unexplained[1:-1] | unexplained[2:]
    unexplained = unexplained[:, :-2] | unexplained[:, 1:-1] | unexplained[:, 2:]
    rows, columns = np.nonzero(unexplained if scene.focus is None else unexplained & scene.focus)
    signed = np.subtract(
        blocks(observed, BLOCK)[rows, columns], blocks(compressed, BLOCK)[rows, columns], dtype=np.float32
    )
    ycc = to_ycc(signed)
    cells = ycc[..., 1:].reshape(len(rows), 4, 2, 4, 2, 2)
    chroma: Floats = (
        cells[:, :, 0, :, 0] + cells[:, :, 0, :, 1] + cells[:, :, 1, :, 0] + cells[:, :, 1, :, 1]
    ) / np.float32(4)
    first = (rows * BLOCK + 1) * scene.stride + columns * BLOCK + 1
    places = first[:, None, None] + np.arange(BLOCK)[:, None] * scene.stride + np.arange(BLOCK)
    return Residual(rows, columns, places, ycc[..., 0].copy(), chroma)
