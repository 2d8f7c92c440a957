"""How right maps and captions are, in a world where the truth is known."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.control import Labels
from segkit.models.caption import Captioner
from segkit.models.segment import Segmenter
from segkit.palette import UNLABELLED, Palette
from segkit.toy import grammar, world
from segkit.toy.world import Scene

BATCH = 8
"""Photos that are given to a network at a time."""

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


@dataclass(frozen=True)
class CaptionQuality:
    """How right captions are.

    Attributes:
        scenes: how many were looked at.
        precision: share of the classes that captions name which the picture holds.
        recall: share of the classes that the true sentences name which the captions name too.
        truthful: share of the captions that name nothing the picture lacks.
    """

    scenes: int
    precision: float
    recall: float
    truthful: float


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


def segmenter(segment: Segmenter, seeds: Iterable[int], size: tuple[int, int], palette: Palette) -> MapQuality:
    """Compare a segmenter's maps of scenes with the truth."""
    counts, number = np.zeros((256, 256), np.int64), 0
    for scenes in _batches(seeds, size):
        for scene, found in zip(scenes, segment([scene.photo for scene in scenes]), strict=True):
            counts += confusion(scene.labels, found.labels)
            number += 1
    return map_quality(counts, number, palette)


def captioner(caption: Captioner, seeds: Iterable[int], size: tuple[int, int]) -> CaptionQuality:
    """Compare a captioner's words about scenes with the truth."""
    truths: list[Scene] = []
    captions: list[str] = []
    for scenes in _batches(seeds, size):
        truths += scenes
        captions += caption([scene.photo for scene in scenes])
    return caption_quality(truths, captions)


def caption_quality(scenes: Sequence[Scene], captions: Sequence[str]) -> CaptionQuality:
    """Compare captions with what the scenes hold."""
    said = true = wanted = met = truthful = 0
    for scene, caption in zip(scenes, captions, strict=True):
        named, there = grammar.mentioned(caption), {each.name for each in scene.seen}
        should = grammar.mentioned(scene.sentence)
        said, true = said + len(named), true + len(named & there)
        wanted, met = wanted + len(should), met + len(named & should)
        truthful += named <= there
    return CaptionQuality(len(captions), true / max(1, said), met / max(1, wanted), truthful / len(captions))


def _batches(seeds: Iterable[int], size: tuple[int, int]) -> Iterator[list[Scene]]:
    batch = []
    for seed in seeds:
        batch.append(world.scene(seed, size))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
