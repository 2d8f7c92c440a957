"""Ticks are round, enclose the values and can be read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.reports import axes


@pytest.mark.parametrize(
    ("lowest", "highest", "labels"),
    [
        (0.3, 0.7, ("0.2", "0.4", "0.6", "0.8")),
        (1.0, 2.98, ("1", "2", "3")),
        (-0.00013, 0.00042, ("-0.0002", "0.0000", "0.0002", "0.0004", "0.0006")),
        (0.1, 0.85, ("0.00", "0.25", "0.50", "0.75", "1.00")),
        (-3e-8, 3e-8, ("-4e-08", "-2e-08", "0", "2e-08", "4e-08")),
        (900, 4100, ("0", "2,000", "4,000", "6,000")),
    ],
)
def test_values_get_round_ticks(lowest: float, highest: float, labels: tuple[str, ...]) -> None:
    """Labels have no more decimals than they need."""
    assert axes.around(lowest, highest).labels == labels


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e6))
def test_ticks_enclose_the_range(lowest: float, span: float) -> None:
    """There are three to six of them, and no value lies outside."""
    highest = lowest + span
    if highest - lowest < 1e-9 * max(1, abs(lowest)):
        return
    values = axes.around(lowest, highest).values
    margin = 1e-6 * (highest - lowest)
    assert 2 <= len(values) <= 6
    assert values[0] <= lowest + margin
    assert values[-1] >= highest - margin


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_steps_get_whole_ticks_within_the_run(first: int, length: int) -> None:
    """At least one tick in a run of any length of two steps or more, none outside, all whole."""
    values = axes.within(first, first + length).values
    assert all(first <= value <= first + length and math.isclose(value, round(value)) for value in values)
    assert values
