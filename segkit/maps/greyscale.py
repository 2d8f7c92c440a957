"""Grey maps: class indices as pixels, or colours turned to grey."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import pixels
from segkit.maps.pixels import Packed
from segkit.palette import UNLABELLED, Palette

_SMALL = 0.001
"""Share of the flat pixels from which a grey counts."""


def identify(colors: Packed, counts: NDArray[np.int64], palette: Palette) -> tuple[str, str] | None:
    """Tell class indices from colours that were turned to grey.

    Args:
        colors: those of the flat areas.
        counts: how many pixels have each.
        palette: the classes.

    Returns:
        "label-ids" or "greyscale" and what tells so; None for a map with colours.
    """
    parts = pixels.unpack(colors)
    if not len(parts) or (parts != parts[:, :1]).any():
        return None
    greys = parts[counts >= _SMALL * counts.sum(), 0].astype(int)
    lumas = _lumas(palette)
    shown = ", ".join(map(str, greys[:8].tolist())) + (" ..." if len(greys) > 8 else "")
    no_index = [grey for grey in greys.tolist() if grey > len(palette) and grey != UNLABELLED]
    no_luma = [grey for grey in greys.tolist() if not lumas[grey] and grey]
    if no_index or (not no_luma and _as_luma(greys, lumas) > _as_index(greys, len(palette))):
        return "greyscale", f"all pixels are grey: {shown}; {len(greys) - len(no_luma)} of these {len(greys)} are " + (
            f"the grey of a colour of {palette.name}"
        )
    return "label-ids", f"all pixels are grey, and each value could be a class: {shown}"


@lru_cache(maxsize=4)
def _lumas(palette: Palette) -> NDArray[np.int64]:
    """Return how many classes become each grey: (256,)."""
    colors = Image.fromarray(np.array([[swatch.rgb for swatch in palette]], np.uint8))
    return np.bincount(np.asarray(colors.convert("L")).ravel(), minlength=256)


def _as_luma(greys: NDArray[np.int64], lumas: NDArray[np.int64]) -> float:
    """Return the log likelihood of greys, drawn from the classes' lumas (black apart)."""
    return float(np.log(np.maximum(lumas[greys[greys > 0]], 1e-9) / lumas.sum()).sum())


def _as_index(greys: NDArray[np.int64], classes: int) -> float:
    """Return the log likelihood of greys as class indices: those of ADE20K come about as often as 1 / (index + 3)."""
    chances = 1 / (np.arange(classes + 1) + 3)
    known = greys[(greys > 0) & (greys <= classes)]
    return float(np.log(chances[known] / chances.sum()).sum())
