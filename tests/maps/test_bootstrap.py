"""Intervals over maps."""

import numpy as np
import pytest

from segkit.maps import metrics
from segkit.maps.bootstrap import Bootstrap, Estimate


def halves(shares: list[float]) -> np.ndarray:
    """Return counts (1, M, 3, 2) of maps of 100 pixels whose first class is predicted for a share of the pixels."""
    rows = [[[100 * share, 0], [100, 0], [100 * share, 100 - 100 * share]] for share in shares]
    return np.array([rows])


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    """Of 95 % intervals from 40 maps, about 95 % contain the accuracy of the population that the maps are from."""
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        bootstrap = Bootstrap(40, seed)
        values = bootstrap.values(metrics.pixel_accuracy, halves(rng.beta(2, 2, 40).tolist()))
        interval = bootstrap.estimate(values)
        covered += interval.low <= 0.5 <= interval.high

    assert 0.89 <= covered / 200 <= 0.985


def test_intervals_are_reproducible_and_enclose_their_value() -> None:
    """Equal seeds give equal intervals; other seeds give others."""
    counts = halves([0.2, 0.5, 0.9, 0.4])

    first, again, other = (
        Bootstrap(4, seed).estimate(Bootstrap(4, seed).values(metrics.mean_iou, counts)) for seed in (1, 1, 2)
    )

    assert first == again != other
    assert first.low < first.value == 0.5 < first.high
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 (0.250 to 0.750)"


def test_paired_differences_are_narrower() -> None:
    """Maps differ far more among each other than two pictures of a map: only the paired interval excludes zero."""
    easy = np.random.default_rng(0).uniform(0.1, 0.8, 30)
    bootstrap = Bootstrap(30)
    better, worse = (bootstrap.values(metrics.pixel_accuracy, halves((easy + shift).tolist())) for shift in (0.05, 0.0))

    difference = bootstrap.estimate(better - worse, lowest=-1.0)

    assert difference.value == pytest.approx(0.05)
    assert difference.low == pytest.approx(difference.high) == pytest.approx(0.05)
    assert bootstrap.estimate(worse).high > bootstrap.estimate(better).low


def test_scores_of_several_drawings_are_averaged() -> None:
    """Each drawing of all maps has a score; their mean is the value, not the score of all pixels together."""
    counts = np.concatenate([halves([1.0, 1.0]), halves([0.5, 0.5])])
    counts[1, :, :, 1] = 0

    values = Bootstrap(2).values(metrics.mean_iou, counts)

    assert values[0] == pytest.approx((1.0 + 0.5) / 2)


def test_one_map_says_nothing_about_others() -> None:
    """The interval is the whole range."""
    bootstrap = Bootstrap(1)
    values = bootstrap.values(metrics.pixel_accuracy, halves([0.5]))

    assert bootstrap.estimate(values) == Estimate(0.5, 0.0, 1.0)
    assert bootstrap.estimate(values - values, lowest=-1.0) == Estimate(0.0, -1.0, 1.0)
