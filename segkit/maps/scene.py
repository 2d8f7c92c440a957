"""The state of a repair by synthesis: the labels, and the map that they should explain."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segkit.maps import pixels, recompress, solid
from segkit.maps.coded import Coded
from segkit.maps.layout import layout
from segkit.maps.pixels import Packed
from segkit.maps.recompress import Compression, RGBPixels

Indices = NDArray[np.uint8]
Floats = NDArray[np.float32]
Positions = NDArray[np.intp]

YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
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
        coded: the stored samples, if the map is a JPEG file.
    """

    observed: RGBPixels
    board: Indices
    fixed: NDArray[np.bool_]
    colors: RGBPixels
    compression: Compression
    coded: Coded | None = None

    def __post_init__(self) -> None:
        self.layout = layout(self.compression)
        self.ycc = np.round(to_ycc(self.colors))  # as libjpeg does
        self.packed: Packed = np.resize(pixels.pack(self.colors), 256)
        self.proven = pixels.present(self.labels, self.fixed)[: len(self.colors)]
        self.fixed_board = np.pad(self.fixed, 1)  # padded once: rounds look up a few of its pixels
        self.fixed = self.fixed_board[1:-1, 1:-1]
        self._counted = self.board.copy()
        self._counts = pixels.histogram(self.labels.copy())
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

    @cached_property
    def numbers(self) -> NDArray[np.int32]:
        """A number for each place on the flattened board, -1; whoever sets some of them sets them back."""
        return np.full(self.board.size, -1, np.int32)

    def places(self, mask: NDArray[np.bool_]) -> Positions:
        """Return the positions on the flattened board of the pixels of an (H, W) mask: (N,)."""
        inside = np.flatnonzero(mask)  # nonzero() of two dimensions takes several times as long
        return np.asarray(inside + inside // mask.shape[1] * (self.stride - mask.shape[1]) + self.stride + 1)

    def adopt(self, coded: Coded) -> None:
        """Compare with stored samples from now on, instead of decoded colours."""
        self.coded, self.compression = coded, coded.compression
        self.layout = layout(self.compression)

    def counts(self) -> NDArray[np.intp]:
        """Return the number of pixels of each class; only those that changed since the last call are counted."""
        # Four pixels at a time: the sides of the board are even.
        words = np.flatnonzero(self.board.ravel().view(np.uint32) != self._counted.ravel().view(np.uint32))
        if len(words):
            places = (4 * words[:, None] + np.arange(4)).ravel()
            rows, columns = places // self.stride, places % self.stride
            inside = places[(rows % (len(self.board) - 1) > 0) & (columns % (self.stride - 1) > 0)]
            before, after = self._counted.ravel()[inside], self.board.ravel()[inside]
            self._counts = self._counts + np.bincount(after, minlength=256) - np.bincount(before, minlength=256)
            self._counted.ravel()[places] = self.board.ravel()[places]
        return self._counts[: len(self.colors)].copy()

    def established(self) -> NDArray[np.bool_]:
        """Return the classes beyond doubt: (classes,). What is left of a false solid square proves nothing."""
        return np.asarray(self.proven & (self.counts() >= solid.SOLID**2))

    def repeat_edges(self) -> None:
        """Copy the outermost labels to the margin."""
        board = self.board
        board[0], board[-1] = board[1], board[-2]
        board[:, 0], board[:, -1] = board[:, 1], board[:, -2]

    def encoded(self, labels: Indices) -> bytes:
        """Return labels, (H, W), painted and compressed."""
        return self.compression.encode(self.packed.take(labels, mode="clip"))  # nothing is clipped; it spares checks

    def compressed(self, labels: Indices, mode: str = "RGB") -> RGBPixels:
        """Return the compressed picture of labels, in RGB or YCbCr: (H, W, 3)."""
        return recompress.decode(self.encoded(labels), mode)

    def cores(self) -> NDArray[np.intp]:
        """Return the number of pixels of each unproven class that have its label on six of eight sides or more.

        The blends along a border are lines of one or two pixels, which have no such pixels.
        """
        unproven = ~self.proven & (self.counts() > 0)
        if not unproven.any():
            return np.zeros(len(self.colors), np.intp)
        places = self.places(pixels.translate(self.labels, np.resize(unproven, 256)))
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


def to_ycc(rgb: NDArray[np.uint8] | NDArray[np.int16]) -> Floats:
    """Convert (..., 3) colours, or differences of colours, to luma and chroma without offset."""
    return np.asarray(rgb.astype(np.float32) @ YCC.T)
