"""Ticks of a chart's axes: round values, labelled so that people can read them."""

import math
from dataclasses import dataclass

_MANTISSAS = (1.0, 2.0, 2.5, 5.0, 10.0)
_INTERVALS = 3
"""Intervals between ticks that an axis has at least."""

_MOST_DECIMALS = 5
"""Smaller values are written as powers of ten."""


@dataclass(frozen=True)
class Ticks:
    """Round values at equal distances.

    Attributes:
        values: ascending.
        labels: of the values, with as many decimals as their distance needs.
    """

    values: tuple[float, ...]
    labels: tuple[str, ...]


def around(lowest: float, highest: float) -> Ticks:
    """Return 3 to 6 ticks whose first and last enclose a range of values; `lowest` must be less than `highest`."""
    step = _step((highest - lowest) / _INTERVALS)
    return _ticks(math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9), step)


def within(first: int, last: int) -> Ticks:
    """Return ticks at whole numbers within a range, both ends included."""
    step = max(1.0, _step((last - first) / _INTERVALS)) if last > first else 1.0
    step = 5.0 if step == 2.5 else step
    return _ticks(math.ceil(first / step), math.floor(last / step), step)


def _step(smallest: float) -> float:
    """Return the smallest round number that is not less than a number."""
    magnitude = 10.0 ** math.floor(math.log10(smallest))
    return next(factor * magnitude for factor in _MANTISSAS if factor * magnitude >= smallest * (1 - 1e-9))


def _ticks(first: int, last: int, step: float) -> Ticks:
    decimals = next(places for places in range(20) if math.isclose(round(step, places), step, rel_tol=1e-6))
    values = tuple(place * step for place in range(first, last + 1))
    is_tiny = decimals > _MOST_DECIMALS and max(map(abs, values)) < 10.0**-_MOST_DECIMALS * 10
    return Ticks(values, tuple(f"{value + 0.0:.2g}" if is_tiny else f"{value:,.{decimals}f}" for value in values))
