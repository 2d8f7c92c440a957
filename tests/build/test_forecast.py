"""The time that a build takes, computed from what a few photos took."""

import pytest

from segkit.build import forecast
from segkit.build.engines import Capacity
from segkit.build.forecast import Trial


def seconds(trial: Trial) -> float | None:
    """Forecast a build of a million photos, nine tenths of which become triples."""
    return forecast.seconds(trial, 1_000_000, 900_000, reading=40_000, reading_cpu=120_000)


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        (None, 900_000),  # the networks, beside which threads read
        (Capacity(8, 1, 64, 8, 0), 900_000 / 8),  # the networks of eight workers
        (Capacity(512, 64, 64, 512, 0), 120_000 / 64),  # too few cores for so many GPUs
        (Capacity(2000, 250, 16_000, 2000, 0), 1000),  # photos are judged one by one
        (Capacity(64, 1, 64, 0, 0), (900_000 + 120_000) / 64),  # without GPUs the same cores do everything
    ],
)
def test_the_slowest_part_decides(capacity: Capacity | None, expected: float) -> None:
    """Networks, reading, or judging."""
    assert seconds(Trial(1.0, capacity=capacity)) == expected


def test_without_networks_the_time_is_unknown() -> None:
    """Reading alone says nothing."""
    assert seconds(Trial(None, reason="no weights")) is None
