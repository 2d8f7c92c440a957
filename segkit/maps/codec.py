"""Control maps: painted from class indices, read back to class indices, never approximated."""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import pixels
from segkit.palette import UNLABELLED, Palette

Labels = NDArray[np.uint8]
"""(H, W) class indices; 255 = unlabelled."""

_ROWS = 512
"""Rows of a map that are looked up at once."""


@dataclass(frozen=True)
class ClassShare:
    """One class of a map: its share of all pixels, 0 to 1, and the segmenter's mean confidence on them, 0 to 1."""

    name: str
    share: float
    confidence: float


def paint(labels: Labels, palette: Palette) -> Image.Image:
    """Make the control map: an indexed picture whose pixel values are the labels and whose palette is the classes'.

    Args:
        labels: (H, W) uint8, each below len(palette) or 255.
        palette: the colours; unlabelled pixels are black.

    Returns:
        Mode P. Converted to RGB by any reader, every pixel has exactly its class's colour.

    Raises:
        ValueError: a label that is no class.
    """
    wrong = (labels >= len(palette)) & (labels != UNLABELLED)
    if wrong.any():
        raise ValueError(f"label {labels[wrong][0]} is no class of {palette.name}, which has {len(palette)}")
    image = Image.fromarray(labels)
    image.putpalette(palette.bytes)
    return image


def encode(labels: Labels, palette: Palette) -> bytes:
    """Return the control map as the bytes of an indexed PNG."""
    buffer = BytesIO()
    paint(labels, palette).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def is_exact(image: Image.Image, palette: Palette) -> bool:
    """Tell whether a picture is a control map as segkit writes it: indexed, with just this palette embedded."""
    return image.mode == "P" and bytes(image.getpalette() or ()).ljust(768, b"\0") == palette.bytes


def read(image: Image.Image, palette: Palette) -> tuple[Labels, int]:
    """Look up the class of every pixel, exactly.

    Args:
        image: any picture. One that is_exact is read by index; of others the RGB colour counts, whatever the alpha.
            A channel of more than 8 bits counts where 8 bits can say the same (65535 is 255), else as off the palette.
        palette: the classes.

    Returns:
        (H, W) uint8 class indices, 255 where the colour is not in the palette, and the number of pixels off the
        palette: neither a class nor black. Classes that share a colour give the lowest index (ADE: road, not
        skyscraper).
    """
    if is_exact(image, palette):
        labels = np.asarray(image)
        if int((labels + np.uint8(1)).max(initial=0)) <= len(palette):  # 255 becomes 0
            return labels, 0
        wrong = (labels >= len(palette)) & (labels != UNLABELLED)
        return np.where(wrong, np.uint8(UNLABELLED), labels), int(wrong.sum())
    labels = np.empty((image.height, image.width), np.uint8)
    off = 0
    for top in range(0, image.height, _ROWS):  # the lookup needs 16 bytes a pixel
        packed = pixels.pack_image(image.crop((0, top, image.width, min(top + _ROWS, image.height))))
        found = pixels.look_up(packed, _table(palette))
        labels[top : top + _ROWS] = found
        off += int(((found == UNLABELLED) & (packed != 0)).sum())
    return labels, off


@lru_cache(maxsize=4)
def _table(palette: Palette) -> NDArray[np.uint8]:
    """Return the class of each packed colour (16 MiB), 255 where there is none."""
    table = np.full(pixels.COLORS + 1, UNLABELLED, np.uint8)
    for (red, green, blue), index in palette.by_color.items():
        table[red | green << 8 | blue << 16] = index
    return table


def count(labels: Labels) -> list[int]:
    """Return the number of pixels of each of the 256 labels."""
    return Image.fromarray(labels).histogram()


def summarize(
    labels: Labels, confidence: NDArray[np.float32], palette: Palette, min_confidence: float = 0.0
) -> tuple[Labels, tuple[ClassShare, ...]]:
    """Make unsure pixels unlabelled and tell which classes remain.

    Args:
        labels: (H, W) uint8.
        confidence: (H, W) float32, 0 to 1.
        palette: the classes.
        min_confidence: pixels below become unlabelled; 0 keeps all.

    Returns:
        The labels, and per class its share of all pixels and mean confidence, largest share first.
    """
    if min_confidence > 0:
        labels = np.where(confidence < min_confidence, np.uint8(UNLABELLED), labels)
    pixels = np.bincount(labels.ravel(), minlength=256)
    sums = np.bincount(labels.ravel(), weights=confidence.ravel(), minlength=256)
    present = sorted(np.flatnonzero(pixels[: len(palette)]).tolist(), key=lambda index: (-pixels[index], index))
    return labels, tuple(
        ClassShare(
            palette[index].name,
            round(float(pixels[index] / labels.size), 4),
            round(float(sums[index] / pixels[index]), 4),
        )
        for index in present
    )
