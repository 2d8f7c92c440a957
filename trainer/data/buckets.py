"""Aspect-ratio buckets: which size a photo and its map are cropped to, and which photos make a batch together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STEP = 64
"""Sides are multiples of it: three halvings of the UNet and eight pixels to a latent."""

Size = tuple[int, int]
"""Width and height in pixels."""


def sizes(resolution: int) -> list[Size]:
    """Return the sizes of at most resolution^2 pixels, each as high as its width allows, none longer than 2:1."""
    found = []
    for width in range(STEP, 2 * resolution + 1, STEP):
        height = resolution * resolution // width // STEP * STEP
        if height >= STEP and max(width, height) <= 2 * min(width, height):
            found.append((width, height))
    return found or [(resolution, resolution)]


def fit(width: int, height: int, resolution: int) -> Size:
    """Return the bucket nearest in aspect ratio to a photo; of two, the one with more pixels."""
    aspect = np.log(width / height)
    return min(sizes(resolution), key=lambda size: (abs(np.log(size[0] / size[1]) - aspect), -size[0] * size[1]))


class BatchOrder:
    """Which photos stand in which batch: a function of the seed and the place, so that a resumed run goes on exactly.

    Args:
        buckets: the size of each photo.
        batch: photos in a batch, over all processes.
        seed: of the shuffling.
        weights: how often to see each photo, in proportion; None for all alike.
    """

    def __init__(
        self, buckets: Sequence[Size], batch: int, seed: int, weights: NDArray[np.float64] | None = None
    ) -> None:
        self._weights = weights
        self._groups = [np.flatnonzero([size == bucket for bucket in buckets]) for size in sorted(set(buckets))]
        self._batch, self._seed = batch, seed
        self.batches = sum(-(-len(group) // batch) for group in self._groups)
        """Batches in one epoch: each photo stands in one, and some twice where a bucket's last batch is filled up.

        With weights, some stand in several, and some in none.
        """
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def __getitem__(self, number: int) -> list[int]:
        """Return the photos of the batch of this number, counted from 0 over all epochs; all of one size."""
        epoch, place = divmod(number, self.batches)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._shuffled(epoch))
        return self._epoch[1][place]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng([self._seed, epoch])
        found: list[list[int]] = []
        for group in self._groups:
            number = -(-len(group) // self._batch) * self._batch
            if self._weights is None:
                whole = np.resize(random.permutation(group), number)  # begins anew at its end
            else:
                whole = random.permutation(group[_systematic(self._weights[group], number, random.random())])
            found += whole.reshape(-1, self._batch).tolist()
        return [found[place] for place in random.permutation(len(found))]


def _systematic(weights: NDArray[np.float64], number: int, start: float) -> NDArray[np.intp]:
    """Draw a number of places in proportion to weights, each as often as its share says, rounded up or down.

    Systematic sampling (Madow 1949): one random start, from 0 to 1, and equal strides.
    """
    reached = np.cumsum(weights) / weights.sum() * number
    return np.minimum(np.searchsorted(reached, start + np.arange(number), side="right"), len(weights) - 1)
