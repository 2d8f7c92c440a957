"""Pixels packed into integers, and look-up tables over all colours."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit import threads

Packed = NDArray[np.uint32]
"""Colours as red + green * 2^8 + blue * 2^16, or NO_COLOR."""

COLORS = 1 << 24
NO_COLOR = COLORS
"""Marks a pixel that 8 bits a channel cannot represent."""

_CHUNK = 1 << 18
"""Pixels that are looked up at once: NumPy widens their 32-bit values to 64-bit indices, which should fit a cache."""

_FEW = 6
"""Values up to which each is searched for by itself."""

_SAMPLED = 8
"""Distance, in pixels, of those that show most values of a picture."""

Value = TypeVar("Value", bound=np.generic)


def pack_image(image: Image.Image, indices: bool = False) -> Packed:
    """Return the packed colour of each pixel: (H, W). Fully transparent pixels are black, that is, unlabelled.

    Grey of 16 or 32 bits is divided by 257; values without an exact 8-bit equivalent become NO_COLOR.

    Args:
        image: the picture.
        indices: take such grey as it is if no value exceeds 255. These are class indices, never colours: as a colour,
            index 120 would be ADE20K's wall.
    """
    if image.mode.startswith(("I", "F")):  # Pillow's convert() would clip these to white
        values = np.asarray(image)
        with np.errstate(invalid="ignore"):
            grey, rest = np.divmod(values, 1 if indices and values.max(initial=0) <= 255 else 257)
        exact = (rest == 0) & (grey >= 0) & (grey <= 255)
        return np.where(exact, np.where(exact, grey, 0).astype(np.uint32) * 0x010101, np.uint32(NO_COLOR))
    if image.mode == "RGB" and not image.has_transparency_data:
        words: Packed = np.frombuffer(image.tobytes("raw", "RGBX"), "<u4").reshape(image.height, image.width)
        return np.asarray(words & np.uint32(0xFFFFFF))
    rgba = np.asarray(image.convert("RGBA"))  # converting to RGB warns about transparency in mode P
    words = rgba.view("<u4")[..., 0]
    colors: Packed = words & np.uint32(0xFFFFFF)
    if image.has_transparency_data:
        colors[words >> np.uint32(24) == 0] = 0
    return colors


def transparent(image: Image.Image) -> int:
    """Return the number of fully transparent pixels, which `pack_image` reads as black."""
    return image.convert("RGBA").getchannel("A").histogram()[0] if image.has_transparency_data else 0


def pack(colors: NDArray[np.uint8]) -> Packed:
    """Pack (..., 3) colours into (...) integers."""
    red, green, blue = (colors[..., channel].astype(np.uint32) for channel in range(3))
    return np.asarray(red | green << np.uint32(8) | blue << np.uint32(16))


def unpack(packed: Packed) -> NDArray[np.uint8]:
    """Unpack (...) integers into (..., 3) colours."""
    words = np.ascontiguousarray(packed).astype("<u4", copy=False)
    return np.ascontiguousarray(words.view(np.uint8).reshape(*packed.shape, 4)[..., :3])


def translate(values: NDArray[np.uint8], table: NDArray[Value]) -> NDArray[Value]:
    """Look up a value of 8 bits for each value of 8 bits; fancy indexing would widen each to 64 bits first.

    Args:
        values: of any shape.
        table: (256,) uint8 or bool.

    Returns:
        Values in the shape of the first; read-only.
    """
    return np.frombuffer(values.tobytes().translate(table.tobytes()), table.dtype).reshape(values.shape)


def histogram(values: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    """Return the number of pixels of each of the 256 values in (H, W), where a mask of the same shape is True.

    bincount takes ten times as long.
    """
    chosen = None if mask is None else Image.fromarray(mask.view(np.uint8))
    return np.array(Image.fromarray(values).histogram(chosen))


def present(
    values: NDArray[np.uint8], mask: NDArray[np.bool_], among: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Return which of the 256 values occur in (H, W) where a mask of the same shape is True: (256,).

    A few pixels show most values, and the others are searched for what is missing: counting all takes three times as
    long.

    Args:
        values: of any pixels.
        mask: of the same shape.
        among: (256,) values of which no others occur there; None if unknown.
    """
    occurs = np.zeros(256, bool)
    sampled = mask[::_SAMPLED, ::_SAMPLED]
    occurs[values[::_SAMPLED, ::_SAMPLED][sampled]] = True
    missing = ~occurs if among is None else among & ~occurs
    if missing.sum() <= _FEW:
        for value in np.flatnonzero(missing).tolist():
            occurs[value] = bool(((values == value) & mask).any())
        return occurs
    others = translate(values, missing) & mask
    if others.any():
        occurs[values[others]] = True
    return occurs


def look_up(packed: Packed, values: NDArray[Value]) -> NDArray[Value]:
    """Look up a value for each pixel in a table of all colours, on all cores.

    Args:
        packed: packed pixels of any shape.
        values: table indexed by packed colour. Indices are clipped: the last entry also serves NO_COLOR.

    Returns:
        Values in the shape of the pixels.
    """
    flat = np.ascontiguousarray(packed).reshape(-1)
    result = np.empty(flat.shape, values.dtype)

    def look_up_chunk(start: int) -> None:  # np.take releases the GIL
        np.take(values, flat[start : start + _CHUNK], out=result[start : start + _CHUNK], mode="clip")

    starts = range(0, len(flat), _CHUNK)
    if len(starts) < 2:
        for start in starts:
            look_up_chunk(start)
    else:
        with ThreadPoolExecutor(threads.at_most(os.cpu_count())) as pool:
            list(pool.map(look_up_chunk, starts))
    return result.reshape(packed.shape)
