"""Figures of maps."""

import numpy as np
import pytest

from segkit.maps import metrics
from segkit.palette import Palette

ADE = Palette.load("ade20k")


def labels(*rows: list[int]) -> np.ndarray:
    """Return a small label map."""
    return np.array(rows, np.uint8)


def test_figures_of_a_map_that_is_half_right() -> None:
    """Accuracy counts pixels; mIoU is the mean over the classes that are truly there, not over those invented."""
    counts = metrics.confusion(labels([0, 0, 1, 1]), labels([0, 0, 1, 2]))

    quality = metrics.map_quality(counts, 1, ADE)

    assert quality.accuracy == 0.75
    assert quality.iou == {"wall": 1.0, "building": 0.5}
    assert quality.miou == 0.75


def test_pixels_without_a_truth_are_left_out() -> None:
    """Unlabelled truth is no error; an unlabelled finding is."""
    counts = metrics.confusion(labels([255, 3, 3]), labels([0, 3, 255]))

    assert metrics.map_quality(counts, 1, ADE).accuracy == 0.5


def test_nothing_compared_is_an_error() -> None:
    """No figure is made of no pixel."""
    with pytest.raises(ValueError, match="no pixel"):
        metrics.map_quality(np.zeros((256, 256), np.int64), 0, ADE)
