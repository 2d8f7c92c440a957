"""How often the 95 % intervals of mIoU hold its expectation, simulated; see benchmarks/RESULTS.md.

python benchmarks/intervals.py
"""

import numpy as np

from segkit.maps import metrics
from segkit.maps.bootstrap import Bootstrap
from segkit.maps.metrics import ClassCounts

CLASSES, SETS, EXPECTATION = 40, 1000, 2000
"""Classes, sets of maps with an interval each, and sets whose mean mIoU is taken for the expectation."""


def draw(rng: np.random.Generator, maps: int) -> ClassCounts:
    """Return counts (M, 3, C) of maps in which the k-th class occurs with probability 1.5 / k and IoU falls with k."""
    frequency, quality = np.minimum(1, 1.5 / np.arange(1, CLASSES + 1)), np.linspace(0.9, 0.2, CLASSES)
    shape = (maps, CLASSES)
    true = (rng.random(shape) < frequency) * rng.gamma(1, 100, shape)
    hit = np.clip(quality + rng.normal(0, 0.2, shape) + rng.normal(0, 0.1, (maps, 1)), 0, 1)
    return np.stack([true * hit, true, true * hit + (true > 0) * rng.gamma(1, 10, shape)], axis=1)


def main() -> None:
    """Print the share of intervals that hold the expectation, segkit's and plain percentiles."""
    for maps in (12, 32, 64, 128):
        rng = np.random.default_rng(0)
        expectation = np.mean([metrics.mean_iou(draw(rng, maps).sum(0)) for _ in range(EXPECTATION)])
        held = plain = 0
        for number in range(SETS):
            bootstrap = Bootstrap(maps, number)
            values = bootstrap.values(metrics.mean_iou, draw(np.random.default_rng(1000 + number), maps)[None])
            interval = bootstrap.estimate(values)
            low, high = np.percentile(values[1:], (2.5, 97.5))
            held += bool(interval.low <= expectation <= interval.high)
            plain += bool(low <= expectation <= high)
        print(f"{maps:4} maps: {held / SETS:.1%}, plain percentiles {plain / SETS:.1%}")


if __name__ == "__main__":
    main()
