"""Agreement of label maps: confusion matrix, pixel accuracy and mIoU."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette

Confusion = NDArray[np.int64]
"""(256, 256) number of pixels by true and predicted class."""


@dataclass(frozen=True)
class MapQuality:
    """Quality of predicted maps.

    Attributes:
        scenes: number of scenes compared.
        accuracy: share of pixels with the true class, 0 to 1.
        miou: mean intersection over union of the classes present in the truth, over the pixels of all scenes, 0 to 1.
        iou: intersection over union by class name.
    """

    scenes: int
    accuracy: float
    miou: float
    iou: dict[str, float]


def empty_confusion() -> Confusion:
    """Return a confusion matrix of zeros."""
    return np.zeros((256, 256), np.int64)


def confusion(truth: Labels, predicted: Labels) -> Confusion:
    """Count pixels by true and predicted class, except where the truth is unlabelled."""
    known = truth != UNLABELLED
    pairs = truth[known].astype(np.int64) * 256 + predicted[known]
    return np.bincount(pairs, minlength=1 << 16).reshape(256, 256)


def map_quality(counts: Confusion, scenes: int, palette: Palette) -> MapQuality:
    """Compute accuracy and IoU from a confusion matrix.

    Args:
        counts: confusion matrix, summed over scenes.
        scenes: number of scenes.
        palette: the classes.

    Raises:
        ValueError: the matrix is all zeros.
    """
    if not counts.sum():
        raise ValueError("no pixel was compared")
    correct, true, predicted = np.diagonal(counts), counts.sum(1), counts.sum(0)
    present = np.flatnonzero(true).tolist()
    iou = {palette[index].name: float(correct[index] / (true + predicted - correct)[index]) for index in present}
    return MapQuality(scenes, float(correct.sum() / counts.sum()), float(np.mean(list(iou.values()))), iou)
