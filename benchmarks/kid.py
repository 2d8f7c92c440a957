"""How often the 95 % intervals of KID hold the true value, and how far the value is off, simulated.

python benchmarks/kid.py

Features are absolute values of normal ones, as Inception's are positive. A photo and the picture of its map are alike,
and pictures have another mean. See benchmarks/RESULTS.md.
"""

from math import inf

import numpy as np
from numpy.typing import NDArray

from segkit.maps.bootstrap import Bootstrap
from trainer.evaluate.quality import distances

WIDTH, SETS, LARGE = 32, 200, 3000
"""Features, sets of maps with an interval each, and maps whose KID is taken for the true value."""

Features = NDArray[np.float32]


def draw(rng: np.random.Generator, maps: int, likeness: float, shift: float) -> tuple[Features, Features]:
    """Return features of photos (M, D) and of their pictures (1, M, D); likeness is their correlation."""
    shared, one, other = rng.standard_normal((3, maps, WIDTH))
    photos, pictures = (np.sqrt(likeness) * shared + np.sqrt(1 - likeness) * noise for noise in (one, other))
    return np.abs(photos).astype(np.float32), np.abs(pictures + shift)[None].astype(np.float32)


def main() -> None:
    """Print coverage, the mean error, and the standard deviation of values, for each likeness and shift."""
    print("likeness, shift, maps: intervals that hold the true value; true value, mean error, standard deviation")
    for likeness, shift in ((0.0, 0.0), (0.0, 0.3), (0.3, 0.0), (0.3, 0.3)):
        true = distances.kid(*draw(np.random.default_rng(0), LARGE, 0, shift), Bootstrap(LARGE))[0]
        for maps in (12, 32, 128):
            values, held = [], 0
            for seed in range(SETS):
                bootstrap = Bootstrap(maps, seed)
                resampled = distances.kid(*draw(np.random.default_rng(1000 + seed), maps, likeness, shift), bootstrap)
                interval = bootstrap.estimate(resampled, -inf, inf)
                values.append(interval.value)
                held += interval.low <= true <= interval.high
            error, deviation = np.mean(values) - true, np.std(values)
            print(
                f"{likeness}, {shift}, {maps:4}: {held / SETS:.1%}; {true:.4f}, {error:+.4f}, {deviation:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
