"""Accuracy figures of maps and captions."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.learn import measure
from segkit.toy.world import Scene, grammar

ADE = Palette.load("ade20k")


def test_a_perfect_segmenter_has_miou_1() -> None:
    """The ground truth itself has mIoU 1, also with an incomplete last batch."""
    truths = {world.scene(seed).photo.tobytes(): world.scene(seed).labels for seed in range(10)}

    def segment(photos: Sequence[Image.Image]) -> list[Segmentation]:
        maps = [truths[photo.tobytes()] for photo in photos]
        return [Segmentation(labels, np.ones(labels.shape, np.float32)) for labels in maps]

    quality = measure.segmenter(segment, range(10), (128, 128), ADE)

    assert (quality.scenes, quality.accuracy, quality.miou) == (10, 1.0, 1.0)


def test_caption_figures() -> None:
    """Precision refers to the picture, recall to the true sentence; truthful counts captions that invent nothing."""
    scene = next(scene for scene in map(world.scene, range(99)) if {"bed", "windowpane"} <= named(scene))
    things = len(named(scene))

    quality = measure.caption_quality([scene] * 2, ["a bed under a window", "a bed and a car"])

    assert quality.precision == 3 / 4
    assert quality.recall == 3 / (2 * things)
    assert quality.truthful == 0.5


def named(scene: Scene) -> set[str]:
    """Return the classes that the true sentence mentions."""
    return grammar.mentioned(scene.sentence)
