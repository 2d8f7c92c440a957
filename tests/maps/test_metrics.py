"""Quality of label maps."""

import numpy as np
import pytest

from segkit.maps import metrics
from segkit.palette import Palette

ADE = Palette.load("ade20k")


def labels(*rows: list[int]) -> np.ndarray:
    """Return a small label map."""
    return np.array(rows, np.uint8)


def test_accuracy_and_miou() -> None:
    """Accuracy counts pixels; mIoU averages over classes in the truth, without those that were only predicted."""
    counts = metrics.confusion(labels([0, 0, 1, 1]), labels([0, 0, 1, 2]))

    quality = metrics.map_quality(counts, 1, ADE)

    assert quality.accuracy == 0.75
    assert quality.iou == {"wall": 1.0, "building": 0.5}
    assert quality.miou == 0.75


def test_unlabelled_truth_is_ignored() -> None:
    """Pixels with unlabelled truth do not count; an unlabelled prediction is an error."""
    counts = metrics.confusion(labels([255, 3, 3]), labels([0, 3, 255]))

    assert metrics.map_quality(counts, 1, ADE).accuracy == 0.5


def test_an_empty_confusion_matrix_is_refused() -> None:
    """Without a pixel, accuracy and mIoU are undefined."""
    with pytest.raises(ValueError, match="no pixel"):
        metrics.map_quality(np.zeros((256, 256), np.int64), 0, ADE)
