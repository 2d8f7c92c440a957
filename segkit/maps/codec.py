"""Painting label maps as control maps, and reading them back exactly."""

import zlib
from functools import lru_cache
from io import BytesIO
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import pixels
from segkit.palette import UNLABELLED, Palette

Labels = NDArray[np.uint8]
"""(H, W) class indices; 255 = unlabelled."""

_ROWS = 512
"""Rows that are looked up at once; the look-up takes 16 bytes a pixel."""


class ClassShare(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One class of a label map.

    Attributes:
        name: the primary name of the class.
        share: share of all pixels, 0 to 1.
        confidence: mean confidence of the segmenter on the pixels of the class, 0 to 1.
    """

    name: str
    share: Annotated[float, Meta(ge=0, le=1)]
    confidence: Annotated[float, Meta(ge=0, le=1)]


def paint(labels: Labels, palette: Palette) -> Image.Image:
    """Paint a label map: an indexed picture whose pixel values are the labels and whose palette has the class colours.

    Args:
        labels: (H, W) uint8, each below len(palette) or 255.
        palette: colours of the classes; unlabelled pixels are black.

    Returns:
        A picture of mode P. Converted to RGB, every pixel has exactly the colour of its class.

    Raises:
        ValueError: a label is neither a class nor 255.
    """
    if not _has_only_classes(labels, palette):
        wrong = labels[(labels >= len(palette)) & (labels != UNLABELLED)].min()
        raise ValueError(f"label {wrong} is not a class of {palette.name}, which has {len(palette)}")
    image = Image.fromarray(labels)
    image.putpalette(palette.bytes)
    return image


def _has_only_classes(labels: Labels, palette: Palette) -> bool:
    """Return whether each label is a class or 255; strips fit into the processor's cache."""
    strips = (labels[top : top + _ROWS] for top in range(0, len(labels), _ROWS))
    return all(int((strip + np.uint8(1)).max(initial=0)) <= len(palette) for strip in strips)  # 255 wraps to 0


def encode(labels: Labels, palette: Palette) -> bytes:
    """Encode a label map as an indexed PNG (see `paint`).

    Looking for runs of equal pixels only makes maps smaller than zlib's usual search at this level, in half the time.
    """
    buffer = BytesIO()
    paint(labels, palette).save(buffer, "PNG", compress_level=4, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def is_exact(image: Image.Image, palette: Palette) -> bool:
    """Report whether a picture is a control map as segkit writes it: indexed, with exactly this palette embedded.

    A map that was painted before classes were added to the palette is one, too: its colours are those of its classes.
    """
    if image.mode != "P" or image.has_transparency_data:
        return False
    embedded = bytes(image.getpalette() or ()).ljust(768, b"\0")
    if embedded == palette.bytes:
        return True
    known = len(embedded.rstrip(b"\0")) // 3 * 3  # the last class may have a colour that ends with 0
    classes = next((size for size in (known // 3, known // 3 + 1) if _is_beginning(embedded, palette, size)), 0)
    return classes > 0 and not any(image.histogram()[classes:UNLABELLED])


def _is_beginning(embedded: bytes, palette: Palette, size: int) -> bool:
    """Return whether an embedded palette has the first classes of a palette, and nothing else."""
    return size <= len(palette) and embedded == palette.bytes[: 3 * size].ljust(768, b"\0")


def read(image: Image.Image, palette: Palette) -> tuple[Labels, int]:
    """Read the class of every pixel without any approximation.

    Args:
        image: any picture. If it is_exact, pixel values are read; otherwise RGB colours are; transparent pixels are
            unlabelled. Values of more than 8 bits count only if 8 bits can represent them exactly (65535 is 255).
        palette: the classes.

    Returns:
        (H, W) uint8 class indices, 255 where the colour is not in the palette; and the number of pixels off the
        palette, which are neither a class nor black. A colour shared by several classes gives the lowest index (ADE20K:
        road, not skyscraper).
    """
    if is_exact(image, palette):
        labels = np.asarray(image)
        if _has_only_classes(labels, palette):
            return labels, 0
        wrong = (labels >= len(palette)) & (labels != UNLABELLED)
        return np.where(wrong, np.uint8(UNLABELLED), labels), int(wrong.sum())
    labels = np.empty((image.height, image.width), np.uint8)
    off = 0
    for top in range(0, image.height, _ROWS):
        packed = pixels.pack_image(image.crop((0, top, image.width, min(top + _ROWS, image.height))))
        strip = pixels.look_up(packed, _table(palette))
        labels[top : top + _ROWS] = strip
        off += int(((strip == UNLABELLED) & (packed != 0)).sum())
    return labels, off


@lru_cache(maxsize=4)
def _table(palette: Palette) -> NDArray[np.uint8]:
    """Return the class of each packed colour, 255 for none: (2^24 + 1,), 16 MiB."""
    table = np.full(pixels.COLORS + 1, UNLABELLED, np.uint8)
    for (red, green, blue), index in palette.by_color.items():
        table[red | green << 8 | blue << 16] = index
    return table


def count(labels: Labels) -> list[int]:
    """Return the number of pixels of each label, 0 to 255."""
    return Image.fromarray(labels).histogram()


def summarize(
    labels: Labels, confidence: NDArray[np.float32], palette: Palette, min_confidence: float = 0.0
) -> tuple[Labels, tuple[ClassShare, ...]]:
    """Mark pixels of low confidence as unlabelled, and summarise the remaining classes.

    Args:
        labels: (H, W) uint8 class indices.
        confidence: (H, W) float32, 0 to 1.
        palette: the classes.
        min_confidence: pixels below become unlabelled; 0 keeps all.

    Returns:
        The labels, and the classes that occur in them, largest share first.
    """
    if min_confidence > 0:
        labels = np.where(confidence < min_confidence, np.uint8(UNLABELLED), labels)
    sums = np.bincount(labels.ravel(), weights=confidence.ravel(), minlength=256)
    return labels, shares(np.array(count(labels), np.int64), np.asarray(sums, np.float64), palette)


def shares(counts: NDArray[np.int64], sums: NDArray[np.float64], palette: Palette) -> tuple[ClassShare, ...]:
    """Return the classes of a map, largest share first.

    Args:
        counts: (256,), numbers of pixels by label.
        sums: (256,), sums of their confidences.
        palette: the classes.
    """
    total = int(counts.sum())
    present = sorted(np.flatnonzero(counts[: len(palette)]).tolist(), key=lambda index: (-counts[index], index))
    return tuple(
        ClassShare(
            palette[index].name,
            round(float(counts[index] / total), 4),
            round(float(sums[index] / counts[index]), 4),
        )
        for index in present
    )
