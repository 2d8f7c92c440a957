"""Strokes: what a person paints, as runs of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segkit.errors import UsageError
from segkit.maps import strokes
from segkit.maps.codec import Labels
from segkit.maps.strokes import Stroke
from segkit.palette import Palette

MAPS = array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 7, 255]))] * 2)
)


@given(MAPS)
def test_the_difference_of_two_maps_turns_one_into_the_other(pair: tuple[Labels, Labels]) -> None:
    """It is valid, and touches exactly the pixels that differ."""
    before, after = pair
    difference = strokes.difference(before, after)
    labels, touched = before.copy(), np.zeros(before.shape, bool)

    strokes.require_valid(difference, before.size, Palette.load("ade20k"))
    strokes.apply(difference, labels, touched)

    assert np.array_equal(labels, after)
    assert np.array_equal(touched, before != after)


@given(arrays(bool, st.integers(0, 20)))
def test_runs_name_every_pixel_of_a_mask_once(mask: np.ndarray) -> None:
    """Read back, they give the positions in order."""
    assert np.array_equal(strokes.positions(strokes.runs(mask)), np.flatnonzero(mask))


def test_later_strokes_lie_on_earlier_ones() -> None:
    """Strokes of one edit may overlap."""
    labels, touched = np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool)

    strokes.apply([Stroke(3, ((0, 4),)), Stroke(9, ((2, 1), (5, 1)))], labels, touched)

    assert labels.tolist() == [[3, 3, 9], [3, 0, 9]]
    assert touched.tolist() == [[True, True, True], [True, False, True]]


@pytest.mark.parametrize(
    ("stroke", "message"),
    [
        (Stroke(150, ((0, 1),)), "label 150 is not a class of ade20k. Expected 0 to 149, or 255"),
        (Stroke(-1, ((0, 1),)), "label -1 is not a class"),
        (Stroke(0, ((5, 2),)), "within the 6 pixels of the map"),
        (Stroke(0, ((2, 1), (0, 1))), "not sorted and disjoint"),
        (Stroke(0, ((0, 2), (1, 1))), "not sorted and disjoint"),
        (Stroke(0, ((-1, 2),)), "not sorted and disjoint"),
        (Stroke(0, ((0, 0),)), "not sorted and disjoint"),
    ],
)
def test_an_invalid_stroke_is_refused(stroke: Stroke, message: str) -> None:
    """A class that does not exist, or pixels outside the map or in disorder."""
    with pytest.raises(UsageError, match=message):
        strokes.require_valid([stroke], 6, Palette.load("ade20k"))
