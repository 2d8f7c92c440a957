"""Training of the toy SegFormer, which judges drawn pictures and never makes a map or gives a reward.

It sees small photos first, which are cheap, and then those of the size that its processor scales to.

It shares nothing with the toy segmenter: neither architecture nor seed nor training scenes. It sees small and blurred
photos too, because the pictures that it judges have 64 pixels a side and went through a VAE.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit.toy.learn import lessons
from segkit.toy.learn.course import Course, Report, optimize
from segkit.toy.learn.lessons import Lesson

FIRST = 500_000
"""Number of the first training scene: beyond those of all other toy networks."""

SEED = 1000
"""Added to the seed of the other networks."""

SIZES = ((128, 128), (160, 120), (128, 128), (120, 160))
"""Widths and heights of the training scenes, cycled through; the processor scales all to one square."""

COARSE = 64
"""Side of the photos in the first course, in pixels."""

SHRUNK = (0.5, (40, 96))
"""Share of the photos that are first shrunk, and the range of sides to which they are shrunk."""


def train_coarsely(
    network: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report
) -> None:
    """Train a SegFormer in place to classify the pixels of small photos.

    Args:
        network: the model and its processor (networks.segformer).
        samples: the training samples.
        course: number of steps, batch size and learning rate.
        device: a torch device.
        report: called with the loss after every step.
    """
    _train(network, samples, course, (device, COARSE), report)


def train_finely(
    network: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report
) -> None:
    """Train it on photos of the processor's size, and leave it in evaluation mode; arguments as for train_coarsely."""
    _train(network, samples, course, (device, network[1].size["height"]), report)
    network[0].eval()


def _train(
    network: Sequence[Any], samples: Sequence[Lesson], course: Course, place: tuple[str, int], report: Report
) -> None:
    """Train on a device with photos of one side; `place` is both."""
    from torch.nn import functional

    (model, processor), (device, side) = network, place
    model.to(device).train()
    class_weights = lessons.class_weights(samples).to(device)
    batches = lessons.batches(samples, course.batch, course.seed, mixed=True)
    random = np.random.default_rng(course.seed)

    def loss() -> Any:
        photos, targets = _batch(processor, next(batches), side, random)
        logits = model(photos.to(device)).logits  # (B, classes, h, w), at half of the photos' size
        # At full size, as argmax sees them: the network learns where between two of its pixels a border runs.
        logits = functional.interpolate(logits, targets.shape[1:], mode="bilinear", align_corners=False)
        return functional.cross_entropy(logits, targets.to(device), weight=class_weights)

    optimize(course, model.parameters(), loss, report)


def _batch(processor: Any, samples: Sequence[Lesson], side: int, random: np.random.Generator) -> tuple[Any, Any]:
    """Return the photos as the network receives them, and positions in world.CLASSES: (B, 3, H, W) and (B, H, W)."""
    import torch

    photos = [_shrunk(sample.photo, random) for sample in samples]
    inputs = processor(images=photos, size={"height": side, "width": side}, return_tensors="pt")
    maps = [Image.fromarray(sample.labels).resize((side, side), Resampling.NEAREST) for sample in samples]
    places = lessons.class_places()[np.stack([np.asarray(labels) for labels in maps])]
    return inputs["pixel_values"], torch.from_numpy(places)


def _shrunk(photo: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return a photo as it is, or shrunk."""
    share, (least, most) = SHRUNK
    side = int(random.integers(least, most, endpoint=True))
    if random.random() >= share:
        return photo
    return photo.resize((side, side * photo.height // photo.width), Resampling.LANCZOS)
