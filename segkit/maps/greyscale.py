"""Grey pictures: class indices stored as pixel values, colours converted to grey, masks, drawings and depth maps."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import painted
from segkit.maps.pixels import Packed
from segkit.palette import UNLABELLED, Palette

_SMALL = 0.001
"""Minimum share of the flat pixels for a grey value to count."""

_THIN = 0.4
"""Maximum share of the lines in a drawing."""

_BLOBS = 0.002
"""Maximum share of pixels where squares of 9 x 9 begin within the lines of a drawing."""

_BLURRED = 0.005
"""Share of pixels with values that nowhere fill a square of 3 x 3: blends between areas."""

_SHARP = 16
"""Most values of a mask or drawing without blur."""

_RINGING = 8
"""By how much JPEG and smooth filters change black and white."""

_LEVELS = 32.0
"""Effective number of values of a smooth picture: e to the power of their entropy."""

_SMOOTH = 0.7
"""Share of the steps between neighbours that are small in a smooth picture."""

_STEP = 3
"""Largest difference of values that is a small step."""

_LISTED = 8
"""Number of values that a message lists."""

_GREY = 0x010101


@dataclass(frozen=True)
class Grey:
    """What a grey picture is.

    Attributes:
        cause: "blank", "mask", "edges", "depth", "greyscale", "label-ids" or "unknown".
        evidence: what that is based on, as text.
        possible: other causes that the values allow.
    """

    cause: str
    evidence: str
    possible: tuple[str, ...] = ()


def identify(packed: Packed, palette: Palette) -> Grey | None:
    """Identify what a grey picture is; None for a picture with colours.

    Args:
        packed: (H, W) packed pixels.
        palette: the classes.
    """
    if (packed != (packed & 255) * np.uint32(_GREY)).any():
        return None
    values = (packed & 255).astype(np.uint8)
    return of_values(values, palette) or _areas(values, palette)


def of_values(values: NDArray[np.uint8], palette: Palette) -> Grey | None:
    """Identify blank pictures, masks, drawings and smooth pictures; None for values that form several areas.

    Args:
        values: (H, W) grey values, or those of the only channel that is not 0.
        palette: the classes.
    """
    counts = np.bincount(values.ravel(), minlength=256)
    present = np.flatnonzero(counts).tolist()
    if len(present) == 1 and present[0] in (0, 255):
        return Grey("blank", f"every pixel is {'white' if present[0] else 'black'}")
    if _is_smooth(values, counts):
        return Grey("depth", f"{len(present)} grey values that change gradually")
    levels = _leveled(values) if len(present) > _SHARP else values
    solid = _solid(levels, painted.SMALL)
    if solid and solid <= {0, 255}:
        ground = np.bincount(levels.ravel()).argmax()
        lines = float((levels != ground).mean())
        if (
            0 < lines <= _THIN
            and (levels != ground)[painted.constant(levels, painted.LARGE)].sum() < _BLOBS * levels.size
        ):
            color = "white" if ground else "black"
            return Grey("edges", f"lines on {lines:.1%} of a {color} ground, and no other area")
        if len(present) == 2 or solid == {0, 255}:
            return Grey("mask", "all its areas are black or white")
    if len(present) <= 2:
        classes = max(present) <= len(palette)
        plural = "values" if len(present) > 1 else "value"
        return Grey("mask", f"it has only the {plural} {_list(present)}", ("label-ids",) if classes else ())
    return None


def of_channel(values: NDArray[np.uint8], name: str, palette: Palette) -> Grey | None:
    """Identify what a picture is whose other channels are 0 everywhere; None if it may just be painted in such colours.

    Args:
        values: (H, W) the channel.
        name: of the channel.
        palette: the classes.
    """
    if kind := of_values(values, palette):
        return Grey(kind.cause, f"only the {name} channel is used, and {kind.evidence}", kind.possible)
    present = np.unique(values).tolist()
    if [value for value in present if value > len(palette) and value != UNLABELLED]:
        return None
    evidence = f"only the {name} channel is used, and each value could be a class: {_list(present)}"
    if present in (list(range(len(present))), list(range(1, len(present) + 1))):
        return Grey("panoptic-ids", f"{evidence}; they are consecutive, as numbers of segments are", ("label-ids",))
    return Grey("label-ids", evidence)


def _leveled(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return blurred values with nearly black ones as black and nearly white ones as white."""
    return np.where(values <= _RINGING, 0, np.where(values >= 255 - _RINGING, 255, values)).astype(np.uint8)


def _solid(values: NDArray[np.uint8], side: int) -> set[int]:
    """Return the values that fill a square of this side."""
    return set(np.unique(values[painted.constant(values, side)]).tolist())


def _is_smooth(values: NDArray[np.uint8], counts: NDArray[np.int64]) -> bool:
    shares = counts[counts > 0] / values.size
    if np.exp(-(shares * np.log(shares)).sum()) < _LEVELS:
        return False
    wide = values.astype(np.int16)
    steps = np.concatenate([np.abs(np.diff(wide, axis=axis)).ravel() for axis in (0, 1)])
    return bool((steps[steps > 0] <= _STEP).mean() >= _SMOOTH)


def _areas(values: NDArray[np.uint8], palette: Palette) -> Grey:
    """Distinguish class indices from colours that were converted to grey, by comparing likelihoods."""
    counts = np.bincount(values.ravel(), minlength=256)
    flat = np.bincount(values[painted.constant(values, 2)], minlength=256)
    greys = np.flatnonzero(flat >= max(1, _SMALL * flat.sum())) if flat.any() else np.flatnonzero(counts)
    lumas = _lumas(palette)
    shown = _list(greys.tolist())
    not_indices = [grey for grey in greys.tolist() if grey > len(palette) and grey != UNLABELLED]
    not_lumas = [grey for grey in greys.tolist() if not lumas[grey] and grey]
    if not_indices or (not not_lumas and _as_luma(greys, lumas) > _as_index(greys, len(palette))):
        number = f"{len(greys) - len(not_lumas)} of these {len(greys)}"
        return Grey("greyscale", f"all pixels are grey: {shown}; {number} are the grey of a colour of {palette.name}")
    blends = np.setdiff1d(np.flatnonzero(counts), sorted(_solid(values, painted.SMALL)))
    if min(values.shape) >= painted.LARGE and counts[blends].sum() > _BLURRED * values.size and len(blends) > _LISTED:
        return Grey("unknown", f"grey values such as class indices ({shown}), but blurred: {len(blends)} other values")
    return Grey("label-ids", f"all pixels are grey, and each value could be a class: {shown}")


def _list(values: list[int]) -> str:
    return ", ".join(map(str, values[:_LISTED])) + (" ..." if len(values) > _LISTED else "")


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
