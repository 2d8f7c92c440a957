"""Streets of the toy world: a road between two sides, and things that do not overlap."""

from itertools import pairwise

import numpy as np
import pytest

from segkit.toy import world
from segkit.toy.world import streets
from segkit.toy.world.camera import Camera
from segkit.toy.world.shapes import Thing

Street = tuple[list[Thing], Camera]


@pytest.fixture(scope="module")
def scenes() -> list[Street]:
    """Eighty streets."""
    return [streets.street(np.random.default_rng(seed)) for seed in range(80)]


def bounds(thing: Thing) -> np.ndarray:
    """Return the lowest and the highest corner, (2, 3)."""
    corners = np.concatenate([part.bounds for part in thing.parts])
    return np.stack((corners.min(0), corners.max(0)))


def named(things: list[Thing], name: str) -> list[Thing]:
    """Return the things of a class."""
    return [thing for thing in things if thing.name == name]


def test_every_street_has_a_sky_and_a_road(scenes: list[Street]) -> None:
    """The camera stands on the road, and the ground reaches from behind it to the horizon."""
    for things, camera in scenes:
        [sky], [road] = named(things, "sky"), named(things, "road")
        low, high = bounds(road)
        assert things[0] is sky
        assert low[0] < camera.eye[0] < high[0]
        assert low[2] < camera.eye[2] < high[2] == streets.FAR
        assert bounds(sky)[0][2] > high[2]
        assert all(thing.name in world.CLASSES for thing in things)


def test_the_ground_has_no_gaps(scenes: list[Street]) -> None:
    """Grass, water, sidewalks and road cover the ground beside one another, from left to right."""
    for things, _ in scenes:
        strips = [bounds(thing) for thing in things if thing.ground and thing.name != "sky"]
        spans = sorted((low[0], high[0]) for low, high in strips)
        assert len(spans) in (3, 5)  # without or with sidewalks
        assert all(end == pytest.approx(start) for (_, end), (start, _) in pairwise(spans))
        assert spans[-1][1] - spans[0][0] > 6000


def test_houses_stand_beside_the_road(scenes: list[Street]) -> None:
    """Buildings leave road and sidewalks free, and do not intersect one another."""
    number = 0
    for things, _ in scenes:
        low, high = bounds(named(things, "road")[0])
        houses = [bounds(house) for house in named(things, "building")]
        number += len(houses)
        for place, one in enumerate(houses):
            assert one[1][0] <= low[0] + 1e-9 or one[0][0] >= high[0] - 1e-9
            for other in houses[place + 1 :]:
                overlap = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
                assert (overlap[[0, 2]] <= 1e-9).any()
    assert number > 100


def test_cars_are_on_the_road_and_apart(scenes: list[Street]) -> None:
    """Lengthways cars fit onto the road, and no two cars share their ground."""
    number = 0
    for things, _ in scenes:
        low, high = bounds(named(things, "road")[0])
        cars = [bounds(car) for car in named(things, "car")]
        number += len(cars)
        for place, one in enumerate(cars):
            assert low[0] < one.mean(0)[0] < high[0]
            if one[1][0] - one[0][0] < 2:
                assert low[0] - 1e-9 <= one[0][0]
                assert one[1][0] <= high[0] + 1e-9
            for other in cars[place + 1 :]:
                overlap = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
                assert (overlap[[0, 2]] <= 1e-9).any()
    assert number > 60


def test_all_kinds_of_streets_occur(scenes: list[Street]) -> None:
    """Water, grass, mountains, trees and people appear in some streets and not in others; chances add up to 1."""
    for name in ("water", "grass", "mountain", "tree", "person", "car", "sidewalk"):
        assert 5 < sum(bool(named(things, name)) for things, _ in scenes) < 80, name
    assert sum(chance for chance, *_ in streets.KINDS.values()) == pytest.approx(1)
