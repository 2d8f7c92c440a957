"""What the toy networks learn from: scenes of many sizes, rendered once, drawn in seeded batches."""

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
"""Width and height in pixels: square ones half of the time."""


@dataclass(frozen=True)
class Lesson:
    """A photo and the truth about it."""

    photo: Image.Image
    labels: Labels
    sentence: str

    def mirrored(self) -> "Lesson":
        """Return the lesson as a mirror shows it, its words too."""
        labels = np.ascontiguousarray(self.labels[:, ::-1])
        return Lesson(ImageOps.mirror(self.photo), labels, grammar.mirrored(self.sentence))


Sizes = Sequence[tuple[int, int]]
"""Widths and heights in pixels, of one lesson after another."""


def lesson(number: int, sizes: Sizes = SIZES) -> Lesson:
    """Render one lesson. Numbers from 0; none of the scenes is used for anything but training."""
    size = sizes[number % len(sizes)]
    scene = world.scene(world.TRAINING + number, size)
    return Lesson(scene.photo, scene.labels, scene.sentence)


def render(number: int, sizes: Sizes = SIZES) -> list[Lesson]:
    """Render lessons 0 to number - 1, on all cores."""
    workers = min(os.cpu_count() or 1, 16)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(lesson, sizes=sizes), range(number), chunksize=50))


def batches(lessons: Sequence[Lesson], size: int, seed: int, *, mixed: bool = False) -> Iterator[list[Lesson]]:
    """Draw batches without end, each lesson once before any comes again, half of them mirrored.

    Args:
        lessons: to draw from.
        size: lessons a batch.
        seed: of the order and of the mirror.
        mixed: put photos of different sizes into one batch; else those of one shape only.

    Raises:
        ValueError: no batch can be filled.
    """
    shapes: dict[float, list[Lesson]] = {}
    for each in lessons:
        shape = 0.0 if mixed else each.photo.width / each.photo.height
        shapes.setdefault(shape, []).append(each)
    if not any(len(group) >= size for group in shapes.values()):
        raise ValueError(f"{len(lessons)} lessons do not fill a batch of {size}")
    random = np.random.default_rng(seed)
    while True:
        drawn = []
        for group in shapes.values():
            order = random.permutation(len(group))
            drawn += [[group[place] for place in order[at : at + size]] for at in range(0, len(group) - size + 1, size)]
        for place in random.permutation(len(drawn)):
            yield [each.mirrored() if random.random() < 0.5 else each for each in drawn[place]]


@cache
def places() -> NDArray[np.int64]:
    """Return the place in world.CLASSES by palette index, -1 for classes that are not in the world: (256,)."""
    found = np.full(256, -1)
    ade = Palette.load("ade20k")
    found[[ade.find(name).index for name in world.CLASSES]] = np.arange(len(world.CLASSES))
    return found


def rarity(lessons: Sequence[Lesson]) -> "Tensor":
    """Return a weight for each of world.CLASSES: higher the fewer pixels it has, 1 for the mean pixel."""
    import torch

    counts = np.zeros(256)
    for each in lessons:
        counts += np.bincount(each.labels.ravel(), minlength=256)
    known = places()
    shares = torch.zeros(len(world.CLASSES))
    shares[known[known >= 0]] = torch.from_numpy(counts[known >= 0] / counts.sum()).float()
    weights = shares.clamp(min=1e-4).rsqrt()
    return weights / (weights * shares).sum()
