"""Near duplicates: photos whose perceptual hashes, or those of their mirror images, differ in a few bits."""

import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Resampling

HAMMING = 10
"""Of 64 bits. Unrelated photos differ in about 32; scaled, recompressed or retouched copies in fewer than 10."""


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


class DuplicateIndex:
    """Perceptual hashes by key, searchable by Hamming distance."""

    def __init__(self) -> None:
        self._hashes = np.empty(1024, np.uint64)  # doubled when full; only the first len(_keys) are valid
        self._keys: list[str] = []

    def add(self, key: str, value: int) -> None:
        """Add a photo by its hash."""
        if len(self._keys) == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[len(self._keys)] = value
        self._keys.append(key)

    def find(self, *values: int) -> list[str]:
        """Return the keys of photos within HAMMING bits of any of the hashes, in order of insertion."""
        known = self._hashes[: len(self._keys)]
        hits = [np.bitwise_count(known ^ np.uint64(value)) <= HAMMING for value in values]
        return [self._keys[position] for position in np.flatnonzero(np.logical_or.reduce(hits))]


def hashes(image: Image.Image) -> tuple[int, int]:
    """Return the perceptual hashes of a picture and of its mirror image."""
    return perceptual_hash(image), perceptual_hash(ImageOps.mirror(image))
