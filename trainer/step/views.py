"""Random views of predicted pictures, so that a reward is not earned by patterns that one network sees in one view.

A network learns quickly what pleases a segmenter that it may look through: patterns that no other segmenter sees, and
that vanish when the picture moves or its colours change a little. So the segmenter never looks at the same view twice.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

WINDOW = 7 / 8
"""Sides of the window that the segmenter sees, as a share of the picture's; its own processor resizes it."""

GAIN, OFFSET, NOISE = 0.1, 0.05, 0.02
"""Largest change of a channel's contrast and of its brightness, and the standard deviation of noise; colours are 0 to
1."""


def random_views(pixels: Tensor, labels: Tensor, generators: Sequence[Generator]) -> tuple[Tensor, Tensor]:
    """Return a view of each picture, with its labels: a window, mirrored or not, in slightly other colours with noise.

    Args:
        pixels: (K, 3, H, W) float32, 0 to 1, with or without a gradient.
        labels: (K, H, W) uint8 class indices.
        generators: K random generators on the CPU.

    Returns:
        (K, 3, h, w) float32, 0 to 1, and (K, h, w); h and w are WINDOW times H and W. Labels keep their pixels.
    """
    height, width = (round(side * WINDOW) for side in pixels.shape[-2:])
    views, seen = [], []
    for picture, classes, generator in zip(pixels, labels, generators, strict=True):
        top, left = (
            _integer(side - window, generator)
            for side, window in zip(classes.shape, (height, width), strict=True)
        )  # fmt: skip
        window = slice(top, top + height), slice(left, left + width)
        mirrored = [-1] if _integer(1, generator) else []
        gain, offset = 1 + GAIN * _uniform(generator), OFFSET * _uniform(generator)
        noise = NOISE * torch.randn(3, height, width, generator=generator)
        gain, offset, noise = (values.to(pixels.device) for values in (gain, offset, noise))
        views.append((picture[:, *window] * gain + offset + noise).flip(mirrored).clamp(0, 1))
        seen.append(classes[*window].flip(mirrored))
    return torch.stack(views), torch.stack(seen)


def _integer(last: int, generator: Generator) -> int:
    """Return a random integer from 0 to `last`."""
    return int(torch.randint(last + 1, (), generator=generator))


def _uniform(generator: Generator) -> Tensor:
    """Return a random number from -1 to 1 for each channel, (3, 1, 1)."""
    return 2 * torch.rand(3, 1, 1, generator=generator) - 1
