"""How far label maps agree: pixels by true and found class, and the usual figures of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette

Confusion = NDArray[np.int64]
"""(256, 256) pixels by true and by found class."""


@dataclass(frozen=True)
class MapQuality:
    """How right maps are.

    Attributes:
        scenes: how many were looked at.
        accuracy: share of the pixels that have their true class.
        miou: mean over the classes that are truly there of intersection over union, over the pixels of all scenes.
        iou: by class.
    """

    scenes: int
    accuracy: float
    miou: float
    iou: dict[str, float]


def empty_confusion() -> Confusion:
    """Return a confusion in which nothing is counted yet."""
    return np.zeros((256, 256), np.int64)


def confusion(truth: Labels, found: Labels) -> Confusion:
    """Count pixels by true and found class; pixels whose truth is unlabelled are left out."""
    known = truth != UNLABELLED
    pairs = truth[known].astype(np.int64) * 256 + found[known]
    return np.bincount(pairs, minlength=1 << 16).reshape(256, 256)


def map_quality(counts: Confusion, scenes: int, palette: Palette) -> MapQuality:
    """Sum up a confusion over several scenes.

    Raises:
        ValueError: no pixel was counted.
    """
    if not counts.sum():
        raise ValueError("no pixel was compared")
    right, truly, found = np.diagonal(counts), counts.sum(1), counts.sum(0)
    present = np.flatnonzero(truly).tolist()
    iou = {palette[index].name: float(right[index] / (truly + found - right)[index]) for index in present}
    return MapQuality(scenes, float(right.sum() / counts.sum()), float(np.mean(list(iou.values()))), iou)
