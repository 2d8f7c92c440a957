"""Agreement of label maps: confusion matrices, IoU of classes and of their boundaries, pixel accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette

Confusion = NDArray[np.int64]
"""(256, 256) number of pixels by true and predicted class."""

BOUNDARY = 0.02
"""Width of the boundary that boundary IoU compares, as a share of a map's diagonal (Cheng et al. 2021)."""


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


@dataclass(frozen=True)
class PairCounts:
    """The confusion matrix of one map, sparse: of its 65,536 pairs of classes, few occur.

    Attributes:
        pairs: (K,) true class times 256 plus predicted class, ascending.
        pixels: (K,) number of pixels, at least 1.
    """

    pairs: NDArray[np.int64]
    pixels: NDArray[np.int64]


def count_pairs(truth: Labels, predicted: Labels) -> PairCounts:
    """Count pixels as `confusion` does."""
    return _sparse(confusion(truth, predicted))


def boundary_radius(height: int, width: int) -> int:
    """Return the width in pixels of the boundary that boundary IoU compares: 2 % of the diagonal, at least 1."""
    return max(1, round(BOUNDARY * float(np.hypot(height, width))))


def boundary(labels: Labels, radius: int) -> NDArray[np.bool_]:
    """Return which pixels of a map belong to the boundary of their class.

    As in the reference code of boundary IoU, these are the pixels that an erosion of their class's mask by a square
    removes; the edge of the picture erodes too.

    Args:
        labels: (H, W) class indices.
        radius: pixels within this distance of another class, along rows, columns or diagonals; at least 1.

    Returns:
        (H, W) true for boundary pixels.
    """
    outside = -1
    padded = np.pad(labels.astype(np.int16), radius, constant_values=outside)
    lowest, highest = (_windows(padded, 2 * radius + 1, extreme) for extreme in (np.minimum, np.maximum))
    edges: NDArray[np.bool_] = (lowest != labels) | (highest != labels)
    return edges


def _windows(values: NDArray[np.int16], width: int, extreme: Callable[..., NDArray[np.int16]]) -> NDArray[np.int16]:
    """Return the extreme of each square window of a picture, which shrinks by width - 1 on both axes."""
    for _ in range(2):
        reach = 1
        while 2 * reach <= width:  # windows of twice the size are the extreme of two neighbouring windows
            values = extreme(values[:-reach], values[reach:])
            reach *= 2
        if rest := width - reach:
            values = extreme(values[:-rest], values[rest:])
        values = values.T
    return values


def count_boundary_pairs(truth: Labels, predicted: Labels) -> PairCounts:
    """Count the pixels of boundaries by true and predicted class; class 255 stands for pixels in no boundary.

    Pixels that are unlabelled in the truth do not count, and both maps have a boundary towards them: the annotation
    ends there, not the thing.
    """
    known = truth != UNLABELLED
    radius = boundary_radius(*truth.shape)
    maps = [np.where(known, labels, np.uint8(UNLABELLED)) for labels in (truth, predicted)]
    edges = [np.where(boundary(labels, radius), labels, np.uint8(UNLABELLED)) for labels in maps]
    pairs = edges[0][known].astype(np.int64) * 256 + edges[1][known]
    counts = np.bincount(pairs, minlength=1 << 16)
    counts[-1] = 0  # in neither boundary
    return _sparse(counts)


def _sparse(counts: NDArray[np.int64]) -> PairCounts:
    pairs = np.flatnonzero(counts)
    return PairCounts(pairs, counts.ravel()[pairs])


def total(counts: Sequence[PairCounts]) -> Confusion:
    """Return the confusion matrix of several maps."""
    matrix = np.zeros(1 << 16, np.int64)
    for one in counts:
        matrix[one.pairs] += one.pixels
    return matrix.reshape(256, 256)


ClassCounts = NDArray[np.float64]
"""(..., 3, C) pixels of each class: where both maps have it, in the truth, and in the prediction."""


def class_counts(counts: Sequence[PairCounts], classes: int) -> ClassCounts:
    """Return the pixels of each class in M maps, (M, 3, C).

    Args:
        counts: of each map.
        classes: number of classes, C.
    """
    if not counts:
        return np.zeros((0, 3, classes))
    rows = np.repeat(np.arange(len(counts)), [len(one.pairs) for one in counts])
    pairs, pixels = (np.concatenate(part) for part in zip(*((one.pairs, one.pixels) for one in counts), strict=True))
    truth, predicted = np.divmod(pairs, 256)
    right = truth == predicted

    def by_class(which: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        flat = rows[chosen] * 256 + which[chosen]
        summed = np.bincount(flat, pixels[chosen], len(counts) * 256)
        return summed.astype(np.float64).reshape(-1, 256)[:, :classes]

    everything = np.ones_like(right)
    return np.stack([by_class(truth, right), by_class(truth, everything), by_class(predicted, everything)], axis=1)


def class_iou(counts: ClassCounts) -> NDArray[np.float64]:
    """Return the IoU of each class, (..., C); NaN for classes that are not in the truth."""
    both, true, predicted = np.moveaxis(counts, -2, 0)
    return _divided(both, true + predicted - both, true > 0)


def _divided(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], where: NDArray[np.bool_]
) -> NDArray[np.float64]:  # fmt: skip
    """Return a quotient; NaN elsewhere."""
    quotient: NDArray[np.float64] = np.divide(
        numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=where
    )
    return quotient


def mean_iou(counts: ClassCounts) -> NDArray[np.float64]:
    """Return the mean IoU of the classes in the truth, (...,); NaN where there are none."""
    present = counts[..., 1, :] > 0
    number = present.sum(-1)
    summed = np.where(present, np.nan_to_num(class_iou(counts)), 0).sum(-1)
    return _divided(summed, number, number > 0)


def pixel_accuracy(counts: ClassCounts) -> NDArray[np.float64]:
    """Return the share of pixels with the true class, (...,); NaN where there are none."""
    right, every = counts[..., 0, :].sum(-1), counts[..., 1, :].sum(-1)
    return _divided(right, every, every > 0)


def frequency_weighted_iou(counts: ClassCounts) -> NDArray[np.float64]:
    """Return the mean IoU of the classes, weighted by their pixels in the truth, (...,); NaN where there are none."""
    true = counts[..., 1, :]
    summed, every = (np.nan_to_num(class_iou(counts)) * true).sum(-1), true.sum(-1)
    return _divided(summed, every, every > 0)
