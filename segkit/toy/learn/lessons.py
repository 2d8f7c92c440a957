"""Training data of the toy networks: rendered scenes in many sizes, drawn in seeded batches."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from segkit.maps.codec import Labels
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.world import grammar

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (
    *((128, 128), (256, 256), (160, 160), (128, 128), (192, 192), (256, 256)),
    *((160, 120), (256, 192), (120, 160), (192, 256), (240, 160), (160, 240)),
)
"""Widths and heights in pixels, cycled through; half of them are square."""


@dataclass(frozen=True)
class Lesson:
    """A training sample: a photo with its label map and its true sentence."""

    photo: Image.Image
    labels: Labels
    sentence: str

    def mirrored(self) -> "Lesson":
        """Return the sample mirrored horizontally, with left and right swapped in the sentence."""
        labels = np.ascontiguousarray(self.labels[:, ::-1])
        return Lesson(ImageOps.mirror(self.photo), labels, grammar.mirrored(self.sentence))


Sizes = Sequence[tuple[int, int]]
"""Widths and heights in pixels, assigned to samples in turn."""


def lesson(number: int, sizes: Sizes = SIZES) -> Lesson:
    """Render one sample, numbered from 0. Its scene is used for nothing but training."""
    size = sizes[number % len(sizes)]
    scene = world.scene(world.TRAINING + number, size)
    return Lesson(scene.photo, scene.labels, scene.sentence)


def render(number: int, sizes: Sizes = SIZES, first: int = 0) -> list[Lesson]:
    """Render samples first to first + number - 1 on all cores (at most 16)."""
    workers = min(os.cpu_count() or 1, 16)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(lesson, sizes=sizes), range(first, first + number), chunksize=50))


def batches(samples: Sequence[Lesson], size: int, seed: int, *, mixed: bool = False) -> Iterator[list[Lesson]]:
    """Yield shuffled batches, epoch after epoch, without end; each sample is mirrored with probability 1/2.

    Args:
        samples: the training set.
        size: samples per batch.
        seed: seed for the order and the mirroring.
        mixed: allow photos of different aspect ratios in a batch; otherwise batches have one aspect ratio each.

    Raises:
        ValueError: there are too few samples for a batch.
    """
    groups: dict[float, list[Lesson]] = {}
    for sample in samples:
        aspect = 0.0 if mixed else sample.photo.width / sample.photo.height
        groups.setdefault(aspect, []).append(sample)
    if not any(len(group) >= size for group in groups.values()):
        raise ValueError(f"{len(samples)} samples do not fill a batch of {size}")
    random = np.random.default_rng(seed)
    while True:
        epoch = []
        for group in groups.values():
            order = random.permutation(len(group))
            epoch += [
                [group[i] for i in order[start : start + size]] for start in range(0, len(group) - size + 1, size)
            ]
        for place in random.permutation(len(epoch)):
            yield [sample.mirrored() if random.random() < 0.5 else sample for sample in epoch[place]]


@cache
def class_places() -> NDArray[np.int64]:
    """Return a lookup table from palette index to position in world.CLASSES, -1 for other classes: (256,)."""
    places = np.full(256, -1)
    ade = Palette.load("ade20k")
    places[[ade.find(name).index for name in world.CLASSES]] = np.arange(len(world.CLASSES))
    return places


def class_weights(samples: Sequence[Lesson]) -> "Tensor":
    """Return loss weights for world.CLASSES: inverse square roots of pixel frequencies, with mean 1 over all pixels."""
    import torch

    counts = np.zeros(256)
    for sample in samples:
        counts += np.bincount(sample.labels.ravel(), minlength=256)
    places = class_places()
    shares = torch.zeros(len(world.CLASSES))
    shares[places[places >= 0]] = torch.from_numpy(counts[places >= 0] / counts.sum()).float()
    weights = shares.clamp(min=1e-4).rsqrt()
    return weights / (weights * shares).sum()
