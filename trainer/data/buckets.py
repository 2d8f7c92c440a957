"""Aspect-ratio buckets: the size that a photo and its map are cropped to, and which photos form a batch."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

STEP = 64
"""Sides are multiples of 64 pixels: the VAE downsamples by 8 and the UNet by another 8."""

Size = tuple[int, int]
"""Width and height in pixels."""


def sizes(resolution: int) -> list[Size]:
    """Return all buckets of at most resolution^2 pixels, each as high as its width allows, none longer than 2:1."""
    buckets = []
    for width in range(STEP, 2 * resolution + 1, STEP):
        height = resolution * resolution // width // STEP * STEP
        if height >= STEP and max(width, height) <= 2 * min(width, height):
            buckets.append((width, height))
    return buckets or [(resolution, resolution)]


@lru_cache(maxsize=16_384)  # photos have few sizes, and there may be a million of them
def fit(width: int, height: int, resolution: int) -> Size:
    """Return the bucket whose aspect ratio is nearest to a photo's on a log scale; of two, the one with more pixels."""
    aspect = np.log(width / height)
    return min(sizes(resolution), key=lambda size: (abs(np.log(size[0] / size[1]) - aspect), -size[0] * size[1]))


class BatchOrder:
    """The order of photos: which photos are in which batch.

    The order is a function of the seed and the batch's number only, without state that a resumed run would have to
    restore.

    Args:
        buckets: the bucket of each photo.
        batch: photos in a batch, over all processes.
        seed: seed of the shuffling.
        weights: relative frequency of each photo; None shows all equally often.
    """

    def __init__(
        self, buckets: Sequence[Size], batch: int, seed: int, weights: NDArray[np.float64] | None = None
    ) -> None:
        self._weights = weights
        self._groups = [np.flatnonzero([size == bucket for bucket in buckets]) for size in sorted(set(buckets))]
        self._batch, self._seed = batch, seed
        self.batches = sum(-(-len(group) // batch) for group in self._groups)
        """Batches in one epoch.

        Each photo is in one, or in two where a bucket's last batch is filled up. With weights, a photo may be in
        several or in none.
        """
        # two, because batches of the next epoch are read ahead
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, number: int) -> list[int]:
        """Return the indices of a batch's photos, all of one bucket; batches are counted from 0 over all epochs."""
        epoch, index = divmod(number, self.batches)
        return self._epoch(epoch)[index]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng([self._seed, epoch])
        batches: list[list[int]] = []
        for group in self._groups:
            number = -(-len(group) // self._batch) * self._batch
            if self._weights is None:
                filled = np.resize(random.permutation(group), number)  # repeats the first photos to fill the last batch
            else:
                filled = random.permutation(group[_systematic(self._weights[group], number, random.random())])
            batches += filled.reshape(-1, self._batch).tolist()
        return [batches[index] for index in random.permutation(len(batches))]


def _systematic(weights: NDArray[np.float64], number: int, start: float) -> NDArray[np.intp]:
    """Draw indices in proportion to weights, each as often as its expected count, rounded up or down.

    Systematic sampling (Madow 1949): equal strides through the cumulative weights from one random start.

    Args:
        weights: positive weights.
        number: how many indices to draw.
        start: the random start, 0 to 1.
    """
    cumulative = np.cumsum(weights) / weights.sum() * number
    return np.minimum(np.searchsorted(cumulative, start + np.arange(number), side="right"), len(weights) - 1)
