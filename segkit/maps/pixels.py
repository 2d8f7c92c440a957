"""Pixels as single numbers, and tables that say something of every colour."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Packed = NDArray[np.uint32]
"""Colours as red + green * 2^8 + blue * 2^16, or NO_COLOUR."""

COLORS = 1 << 24
NO_COLOR = COLORS
"""Stands for a pixel that no 8-bit colour describes."""

_CHUNK = 1 << 18
"""Pixels that are looked up at once: numpy widens their 32-bit colours to 64-bit places, which should fit a cache."""

Value = TypeVar("Value", bound=np.generic)


def pack_image(image: Image.Image) -> Packed:
    """Return each pixel's colour, whatever its alpha: (H, W)."""
    if image.mode.startswith(("I", "F")):  # grey of 16 or 32 bits; Pillow's convert() would clip it to white
        with np.errstate(invalid="ignore"):
            grey, rest = np.divmod(np.asarray(image), 257)
        exact = (rest == 0) & (grey >= 0) & (grey <= 255)
        return np.where(exact, np.where(exact, grey, 0).astype(np.uint32) * 0x010101, np.uint32(NO_COLOR))
    rgba = np.asarray(image.convert("RGBA"))  # not RGB, which warns of transparency in a P image
    four: Packed = rgba.view("<u4")[..., 0]
    return four & np.uint32(0xFFFFFF)


def pack(colors: NDArray[np.uint8]) -> Packed:
    """Return (..., 3) colours as (...) numbers."""
    red, green, blue = (colors[..., channel].astype(np.uint32) for channel in range(3))
    return np.asarray(red | green << np.uint32(8) | blue << np.uint32(16))


def unpack(packed: Packed) -> NDArray[np.uint8]:
    """Return (...) numbers as (..., 3) colours."""
    return np.stack([packed & 255, packed >> 8 & 255, packed >> 16 & 255], axis=-1).astype(np.uint8)


def look_up(packed: Packed, values: NDArray[Value]) -> NDArray[Value]:
    """Take each pixel's value from a table of all colours, on all cores.

    Args:
        packed: the pixels, of any shape.
        values: by packed colour; the last one counts for NO_COLOUR.
    """
    flat = np.ascontiguousarray(packed).reshape(-1)
    found = np.empty(flat.shape, values.dtype)

    def part(start: int) -> None:
        np.take(values, flat[start : start + _CHUNK], out=found[start : start + _CHUNK], mode="clip")

    starts = range(0, len(flat), _CHUNK)
    if len(starts) < 2:
        for start in starts:
            part(start)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(part, starts))
    return found.reshape(packed.shape)
