"""How certain scores of few maps are: bootstrap intervals over maps (Efron 1979), also of paired differences.

Percentiles are moved by the bias of the resamples: a resample lacks some of the rare classes, which are drawn worst, so
that its mIoU is on average higher than that of all maps, and a value may lie near the low end of plain percentiles, or
outside. Moved ones cover about as often (benchmarks/intervals.py): 86, 89, 89 and 92 % with 12, 32, 64 and 128 maps and
many rare classes, so both are somewhat narrow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.maps.metrics import ClassCounts

RESAMPLES = 1000
"""Resamples of an interval."""

CONFIDENCE = 0.95

Statistic = Callable[[ClassCounts], NDArray[np.float64]]
"""Maps counts (..., 3, C) to values (...,) or (..., C); see the functions of metrics."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: of all maps.
        low, high: ends of the 95 % interval. With a single map, which says nothing
            about others, the whole range of the value.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Difference:
    """A paired difference of two contenders: same maps, prompts and noise.

    Attributes:
        first, second: their names.
        metrics: first minus second, by the name of the metric.
    """

    first: str
    second: str
    metrics: Mapping[str, Estimate]


class Bootstrap:
    """Resamples of a set of maps, the same for every statistic, so that differences are paired.

    Args:
        maps: number of maps, M.
        seed: of the resamples.

    Attributes:
        times: (R, M), how many times each map is in each resample.
    """

    def __init__(self, maps: int, seed: int = 0) -> None:
        self._maps = maps
        shares = np.full(maps, 1 / maps)
        self.times = np.random.default_rng(seed).multinomial(maps, shares, RESAMPLES).astype(np.float64)  # (R, M)

    def values(self, statistic: Statistic, counts: ClassCounts) -> NDArray[np.float64]:
        """Return a statistic of all maps and of each resample, the mean over drawings, (1 + R,) or (1 + R, C).

        Args:
            statistic: a function of counts summed over maps.
            counts: (S, M, 3, C) of each drawing of each map: S pictures of a map are S drawings.
        """
        sums = [np.concatenate([one.sum(0)[None], np.tensordot(self.times, one, 1)]) for one in counts]
        mean: NDArray[np.float64] = np.mean([statistic(drawing) for drawing in sums], axis=0)
        return mean

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of values of single maps (M,), of all maps and of each resample, (1 + R,)."""
        return np.concatenate([[values.mean()], self.times @ values / self._maps])

    def estimate(self, values: NDArray[np.float64], lowest: float = 0.0, highest: float = 1.0) -> Estimate:
        """Return a value with its interval.

        Args:
            values: (1 + R,), as `values` returns them, or a difference of two of those. NaN, of resamples without the
                class in question, is left out.
            lowest: least possible value.
            highest: greatest possible value.
        """
        if self._maps < 2:
            return Estimate(float(values[0]), lowest, highest)
        value, tail = float(values[0]), 50 * (1 - CONFIDENCE)
        bias = np.nanmean(values[1:]) - value
        low, high = np.clip(np.nanpercentile(values[1:], (tail, 100 - tail)) - bias, lowest, highest)
        return Estimate(value, float(low), float(high))
