"""Buckets fit the photos' shapes, and every epoch's batches are of one bucket and reproducible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data import buckets
from trainer.data.buckets import BatchOrder


@pytest.mark.parametrize(
    ("resolution", "expected"), [(64, [(64, 64)]), (192, [(128, 256), (192, 192), (256, 128)]), (32, [(32, 32)])]
)
def test_all_buckets_of_a_resolution_are_listed(resolution: int, expected: list[tuple[int, int]]) -> None:
    """None is longer than 2:1; a resolution below a step has only its square."""
    assert buckets.sizes(resolution) == expected


@pytest.mark.parametrize(
    ("photo", "bucket"), [((100, 100), (192, 192)), ((1000, 10), (256, 128)), ((10, 1000), (128, 256))]
)
def test_extreme_shapes_get_the_most_extreme_bucket(photo: tuple[int, int], bucket: tuple[int, int]) -> None:
    """A square photo gets the square, a panorama the bucket of 2:1."""
    assert buckets.fit(*photo, 192) == bucket


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    """An equal seed gives an equal order; another seed, or the next epoch, gives another."""
    photos = [(64, 64)] * 40
    first, again, other = (BatchOrder(photos, 4, seed) for seed in (1, 1, 2))

    epochs = [[first[10 * epoch + index] for index in range(10)] for epoch in range(2)]

    assert epochs[0] == [again[index] for index in range(10)]
    assert epochs[0] != epochs[1]
    assert epochs[0] != [other[index] for index in range(10)]


@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(1, 16).map(lambda steps: steps * 64))
def test_buckets_are_multiples_of_64_and_near_in_shape(width: int, height: int, resolution: int) -> None:
    """A bucket has at most resolution^2 pixels, and no other is nearer to the photo's aspect ratio."""
    fitted = buckets.fit(width, height, resolution)
    assert fitted[0] % 64 == fitted[1] % 64 == 0
    assert fitted[0] * fitted[1] <= resolution**2

    def distance(size: tuple[int, int]) -> float:
        return float(abs(np.log(size[0] / size[1]) - np.log(width / height)))

    assert distance(fitted) <= min(map(distance, buckets.sizes(resolution))) + 1e-12


@given(st.lists(st.sampled_from([(64, 64), (64, 128), (128, 64)]), min_size=1, max_size=30), st.integers(1, 5))
def test_every_photo_is_in_every_epoch(photo_sizes: list[tuple[int, int]], batch: int) -> None:
    """Batches have one size, every epoch contains every photo, and an epoch's order does not depend on earlier ones."""
    order = buckets.BatchOrder(photo_sizes, batch, seed=1)
    epochs = [[order[epoch * order.batches + index] for index in range(order.batches)] for epoch in range(2)]
    fresh = buckets.BatchOrder(photo_sizes, batch, seed=1)
    for epoch in epochs:
        assert all(len(photos) == batch and len({photo_sizes[photo] for photo in photos}) == 1 for photos in epoch)
        assert {photo for photos in epoch for photo in photos} == set(range(len(photo_sizes)))
    assert fresh[order.batches] == epochs[1][0]  # without shuffling the first epoch


@given(st.lists(st.floats(1, 100), min_size=1, max_size=40), st.integers(1, 7), st.integers(0, 99))
def test_photos_are_sampled_by_weight(weights: list[float], batch: int, seed: int) -> None:
    """In each epoch a photo appears in proportion to its weight, rounded up or down."""
    order = BatchOrder([(64, 64)] * len(weights), batch, seed, np.array(weights))
    sampled = [place for number in range(order.batches) for place in order[number]]
    for place, weight in enumerate(weights):
        assert abs(sampled.count(place) - weight / sum(weights) * len(sampled)) < 1 + 1e-6
