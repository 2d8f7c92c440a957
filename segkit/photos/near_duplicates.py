"""Near-duplicates by perceptual hash: which photos may show the same picture, also mirrored or cropped a little.

A hash only proposes candidates: of a million unrelated photos, thousands have hashes that agree by chance. Whether two
photos are the same picture is decided on grey copies of their pixels; see same_picture.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

SIDE = 64
"""Width and height of a grey copy in pixels."""

CROP = 0.05
"""Share of a side that a cropped copy may lack at each end and is still found reliably."""

Grey = NDArray[np.uint8]
"""A grey copy: (SIDE, SIDE)."""

_MIRROR = 0x5555_5555_5555_5555
"""The bits of the odd horizontal frequencies, whose coefficients change their sign in the mirror image."""


@dataclass(frozen=True)
class View:
    """A window of a photo, to be compared with all of another one.

    Attributes:
        rows, columns: where the window begins and ends, as shares of the photo's height and width. It reaches beyond
            the photo where that is taken for a crop of the other one.
        mirrored: whether the window is mirrored.
    """

    rows: tuple[float, float]
    columns: tuple[float, float]
    mirrored: bool


def _windows(start: float, end: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the windows (rows, columns) that move the given ends: none, one or both of each side."""
    sides = [(0.0, 1.0), (start, 1.0), (0.0, end), (start, end)]
    return [(rows, columns) for rows, columns in product(sides, sides)]


def _views() -> tuple[View, ...]:
    cropped = _windows(CROP, 1 - CROP)
    extended = _windows(-CROP / (1 - CROP), 1 + CROP / (1 - CROP))
    windows = dict.fromkeys(cropped + extended)
    return tuple(View(*window, mirrored) for mirrored in (False, True) for window in windows)


VIEWS = _views()
"""The windows of a new photo that are compared with a known one: a copy may be a crop of it, or it of the copy."""


WHOLE = [place for place, view in enumerate(VIEWS) if view.rows == view.columns == (0.0, 1.0)]
"""The positions in VIEWS of the photo itself and its mirror image."""


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit pHash: the 8 x 8 lowest DCT coefficients of a 32 x 32 grey copy, thresholded at their median.

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010 (DCT hash). The median
    excludes the DC coefficient.
    """
    from scipy import fft  # imported here because it takes 0.3 s, which runs without new photos need not pay

    grey = np.asarray(image.convert("L").resize((32, 32), Resampling.LANCZOS), np.float64)
    low = fft.dctn(grey)[:8, :8].ravel() / 4  # SciPy's DCT-II carries a factor of 2 per axis
    low = low.round(3)  # on flat or symmetric photos the signs of rounding errors would decide otherwise
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes())


def mirrored(value: int) -> int:
    """Return the hash of a photo's mirror image, which is exact but for a few bits near the median."""
    return value ^ _MIRROR


def grey_copy(image: Image.Image) -> Grey:
    """Return a photo scaled to SIDE x SIDE grey pixels, whatever its sides' ratio."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Resampling.BILINEAR))


def coefficients(grey: Grey) -> NDArray[np.float32]:
    """Return what the bits of the hashes of all VIEWS are the signs of: DCT coefficients above their median.

    Args:
        grey: copy of a photo.

    Returns:
        (len(VIEWS), 64) in grey levels. A bit whose value is near 0 may differ in a copy, others hardly do.
    """
    rows, columns, pairs = _transforms()
    half = len(pairs[0])
    every = (rows @ grey.astype(np.float32)) @ columns.T
    blocks = every.reshape(len(rows) // 8, 8, len(columns) // 8, 8)[pairs[0], :, pairs[1]]
    low = np.concatenate([blocks, blocks * np.tile(np.array([1, -1], np.float32), 4)]).reshape(2 * half, 64)
    low = low.round(2)  # as in perceptual_hash
    result: NDArray[np.float32] = low - np.median(low[:, 1:], axis=1, keepdims=True)
    return result


@cache
def _transforms() -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the matrices (8 * windows, SIDE) of rows and columns, and which of them each unmirrored view combines.

    Resampling a window and the DCT are linear and separable: a view's coefficients are a product of three matrices.
    """
    from scipy import fft

    views = [view for view in VIEWS if not view.mirrored]
    sides = list(dict.fromkeys(side for view in views for side in (view.rows, view.columns)))
    lowest = fft.dct(np.eye(32), axis=0)[:8] / 2
    matrix = np.concatenate([lowest @ _area_sampler(*side, 32) for side in sides]).astype(np.float32)
    pairs = [(sides.index(view.rows), sides.index(view.columns)) for view in views]
    return matrix, matrix, (np.array([row for row, _ in pairs]), np.array([column for _, column in pairs]))


def _area_sampler(start: float, end: float, size: int) -> NDArray[np.float64]:
    """Return the matrix (size, SIDE) that averages the pixels of a window; its edge continues outside the photo."""
    fine = 8 * size
    places = np.clip((start + (end - start) * (np.arange(fine) + 0.5) / fine) * SIDE - 0.5, 0, SIDE - 1)
    left = np.minimum(places.astype(np.intp), SIDE - 2)
    matrix = np.zeros((size, SIDE))
    targets = np.arange(fine) // 8
    np.add.at(matrix, (targets, left), (1 - places + left) / 8)
    np.add.at(matrix, (targets, left + 1), (places - left) / 8)
    return matrix
