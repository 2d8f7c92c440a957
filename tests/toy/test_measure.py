"""Figures of maps and captions."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from segkit import palette
from segkit.models.segment import Segmentation
from segkit.toy import grammar, measure, world
from segkit.toy.world import Scene

ADE = palette.load("ade20k")


def labels(*rows: list[int]) -> np.ndarray:
    """Return a small label map."""
    return np.array(rows, np.uint8)


def test_figures_of_a_map_that_is_half_right() -> None:
    """Accuracy counts pixels; mIoU is the mean over the classes that are truly there, not over those invented."""
    counts = measure.confusion(labels([0, 0, 1, 1]), labels([0, 0, 1, 2]))

    quality = measure.map_quality(counts, 1, ADE)

    assert quality.accuracy == 0.75
    assert quality.iou == {"wall": 1.0, "building": 0.5}
    assert quality.miou == 0.75


def test_pixels_without_a_truth_are_left_out() -> None:
    """Unlabelled truth is no error; an unlabelled finding is."""
    counts = measure.confusion(labels([255, 3, 3]), labels([0, 3, 255]))

    assert measure.map_quality(counts, 1, ADE).accuracy == 0.5


def test_nothing_compared_is_an_error() -> None:
    """No figure is made of no pixel."""
    with pytest.raises(ValueError, match="no pixel"):
        measure.map_quality(np.zeros((256, 256), np.int64), 0, ADE)


def test_a_segmenter_that_knows_the_truth_gets_full_marks() -> None:
    """The truth itself has mIoU 1, over batches that do not come out even."""
    truths = {world.scene(seed).photo.tobytes(): world.scene(seed).labels for seed in range(10)}

    def segment(photos: Sequence[Image.Image]) -> list[Segmentation]:
        found = [truths[photo.tobytes()] for photo in photos]
        return [Segmentation(each, np.ones(each.shape, np.float32)) for each in found]

    quality = measure.segmenter(segment, range(10), (128, 128), ADE)

    assert (quality.scenes, quality.accuracy, quality.miou) == (10, 1.0, 1.0)


def test_figures_of_captions() -> None:
    """Precision asks what is there, recall what was to be said, truthful counts captions without an invention."""
    scene = next(scene for scene in map(world.scene, range(99)) if {"bed", "windowpane"} <= named(scene))
    things = len(named(scene))

    quality = measure.caption_quality([scene] * 2, ["a bed under a window", "a bed and a car"])

    assert quality.precision == 3 / 4
    assert quality.recall == 3 / (2 * things)
    assert quality.truthful == 0.5


def named(scene: Scene) -> set[str]:
    """Return the classes that the true sentence names."""
    return grammar.mentioned(scene.sentence)
