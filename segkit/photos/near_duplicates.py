"""Which photos show the same: a perceptual hash, compared by Hamming distance, mirrored too."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.Image import Resampling

HAMMING = 10
"""Of 64 bits. Unrelated photos differ in about 32; copies that were scaled, recompressed or retouched in under 10."""


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit pHash: signs, against their median, of the 8x8 lowest frequencies of a 32x32 grey copy.

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010 (DCT hash).
    """
    grey = np.asarray(image.convert("L").resize((32, 32), Resampling.LANCZOS), np.float64)
    low = (_cosines() @ grey @ _cosines().T).ravel().round(3)  # else rounding noise decides on flat or symmetric photos
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes())


@cache
def _cosines() -> NDArray[np.float64]:
    """Return the 8 lowest rows of the 32-point DCT-II, (8, 32)."""
    place = np.arange(32) + 0.5
    return np.cos(np.pi / 32 * np.arange(8)[:, None] * place)


class DuplicateIndex:
    """The hashes seen so far; finds those that a picture resembles."""

    def __init__(self) -> None:
        self._hashes = np.empty(1024, np.uint64)
        self._keys: list[str] = []

    def add(self, key: str, value: int) -> None:
        """Remember a photo's hash under its key."""
        if len(self._keys) == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[len(self._keys)] = value
        self._keys.append(key)

    def find(self, *values: int) -> list[str]:
        """Return the keys of the photos within HAMMING bits of any of the hashes, in the order they came."""
        known = self._hashes[: len(self._keys)]
        hits = [np.bitwise_count(known ^ np.uint64(value)) <= HAMMING for value in values]
        return [self._keys[place] for place in np.flatnonzero(np.logical_or.reduce(hits))]


def hashes(image: Image.Image) -> tuple[int, int]:
    """Return the perceptual hashes of a picture and of its mirror image."""
    return perceptual_hash(image), perceptual_hash(ImageOps.mirror(image))
