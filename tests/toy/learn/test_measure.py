"""Figures of maps and captions."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.learn import measure
from segkit.toy.world import Scene, grammar

ADE = Palette.load("ade20k")


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
