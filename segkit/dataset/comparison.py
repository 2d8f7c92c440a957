"""What a new map changes: which classes become which, and whether any area does or only lines along borders."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps import painted
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette


@dataclass(frozen=True)
class Change:
    """Pixels that get another class.

    Attributes:
        old, new: names of the classes, or "unlabelled".
        pixels: how many.
    """

    old: str
    new: str
    pixels: int


def changes(before: Labels, after: Labels, palette: Palette) -> tuple[Change, ...]:
    """Return what differs between two maps of one size, (H, W) uint8, most pixels first."""
    differs = before != after
    pairs, numbers = np.unique(before[differs].astype(np.uint16) << 8 | after[differs], return_counts=True)
    ordered = sorted(zip(pairs.tolist(), numbers.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
    return tuple(Change(_name(pair >> 8, palette), _name(pair & 255, palette), number) for pair, number in ordered)


def has_area(pixels: NDArray[np.bool_]) -> bool:
    """Return whether pixels, (H, W), fill a square of painted.SMALL somewhere: lines along borders do not."""
    return bool((painted.constant(pixels.view(np.uint8), painted.SMALL) & pixels).any())


def _name(label: int, palette: Palette) -> str:
    return "unlabelled" if label == UNLABELLED else palette[label].name
