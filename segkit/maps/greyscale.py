"""Grey maps: class indices stored as pixel values, or colours converted to grey."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import pixels
from segkit.maps.pixels import Packed
from segkit.palette import UNLABELLED, Palette

_SMALL = 0.001
"""Minimum share of the flat pixels for a grey value to count."""


def identify(colors: Packed, counts: NDArray[np.int64], palette: Palette) -> tuple[str, str] | None:
    """Distinguish class indices from colours that were converted to grey, by comparing likelihoods.

    Args:
        colors: packed colours of the flat areas.
        counts: number of pixels of each.
        palette: the classes.

    Returns:
        "label-ids" or "greyscale", and the evidence; None for a map with colours.
    """
    rgb = pixels.unpack(colors)
    if not len(rgb) or (rgb != rgb[:, :1]).any():
        return None
    greys = rgb[counts >= _SMALL * counts.sum(), 0].astype(int)
    lumas = _lumas(palette)
    shown = ", ".join(map(str, greys[:8].tolist())) + (" ..." if len(greys) > 8 else "")
    not_indices = [grey for grey in greys.tolist() if grey > len(palette) and grey != UNLABELLED]
    not_lumas = [grey for grey in greys.tolist() if not lumas[grey] and grey]
    if not_indices or (not not_lumas and _as_luma(greys, lumas) > _as_index(greys, len(palette))):
        return (
            "greyscale",
            f"all pixels are grey: {shown}; {len(greys) - len(not_lumas)} of these {len(greys)} are "
            + (f"the grey of a colour of {palette.name}"),
        )
    return "label-ids", f"all pixels are grey, and each value could be a class: {shown}"


@lru_cache(maxsize=4)
def _lumas(palette: Palette) -> NDArray[np.int64]:
    """Return the number of classes that convert to each grey value: (256,)."""
    colors = Image.fromarray(np.array([[swatch.rgb for swatch in palette]], np.uint8))
    return np.bincount(np.asarray(colors.convert("L")).ravel(), minlength=256)


def _as_luma(greys: NDArray[np.int64], lumas: NDArray[np.int64]) -> float:
    """Return the log likelihood of grey values as lumas of random classes, black excepted."""
    return float(np.log(np.maximum(lumas[greys[greys > 0]], 1e-9) / lumas.sum()).sum())


def _as_index(greys: NDArray[np.int64], classes: int) -> float:
    """Return the log likelihood of grey values as class indices.

    Classes of ADE20K are sorted by frequency, which roughly follows 1 / (index + 3).
    """
    weights = 1 / (np.arange(classes + 1) + 3)
    known = greys[(greys > 0) & (greys <= classes)]
    return float(np.log(weights[known] / weights.sum()).sum())
