"""Rooms of the toy world: furniture stands inside the walls and does not overlap."""

import numpy as np
import pytest

from segkit.toy import world
from segkit.toy.world import furniture, rooms
from segkit.toy.world.camera import Camera
from segkit.toy.world.shapes import Thing

Room = tuple[list[Thing], Camera]


@pytest.fixture(scope="module")
def furnished() -> list[Room]:
    """Sixty rooms."""
    return [rooms.room(np.random.default_rng(seed)) for seed in range(60)]


def bounds(thing: Thing) -> np.ndarray:
    """Return the lowest and the highest corner, (2, 3)."""
    corners = np.concatenate([part.bounds for part in thing.parts])
    return np.stack((corners.min(0), corners.max(0)))


def named(things: list[Thing], name: str) -> list[Thing]:
    """Return the things of a class."""
    return [thing for thing in things if thing.name == name]


def test_a_room_has_floor_ceiling_and_three_walls(furnished: list[Room]) -> None:
    """They belong to the setting, and the camera stands between floor and ceiling, inside the walls."""
    for things, camera in furnished:
        assert [thing.name for thing in things[:5]] == ["floor", "ceiling", "wall", "wall", "wall"]
        assert all(thing.ground for thing in things[:5])
        assert not any(thing.ground for thing in things[5:])
        low, high = bounds(things[0])
        assert low[0] < camera.eye[0] < high[0]
        assert low[2] < camera.eye[2] < high[2]
        assert 0 < camera.eye[1] < bounds(things[1])[0][1]


def test_everything_is_inside_the_walls(furnished: list[Room]) -> None:
    """No piece of furniture, window, painting or rug sticks out of the room, and all classes are known."""
    for things, _ in furnished:
        (x0, _, _), (x1, _, z1) = bounds(things[0])
        top = bounds(things[1])[1][1]
        for thing in things[5:]:
            low, high = bounds(thing)
            assert x0 <= low[0] + 1e-9, thing.name
            assert high[0] <= x1 + 1e-9, thing.name
            assert high[2] <= z1 + 1e-9, thing.name
            assert -1e-9 <= low[1] < high[1] + 1e-9 <= top, thing.name
            assert thing.name in world.CLASSES


def test_furniture_does_not_overlap(furnished: list[Room]) -> None:
    """Pieces keep a distance on the floor, and each casts one shadow."""
    pieces = 0
    for things, _ in furnished:
        standing = [thing for thing in things if thing.name in furniture.BUILDERS]
        pieces += len(standing)
        for place, one in enumerate(map(bounds, standing)):
            assert len(standing[place].shadows) == 1
            for other in map(bounds, standing[place + 1 :]):
                gap = np.maximum(one[0], other[0]) - np.minimum(one[1], other[1])
                assert max(gap[0], gap[2]) > 0.05
    assert pieces > 100


def test_things_on_a_wall_do_not_overlap(furnished: list[Room]) -> None:
    """Windows, doors and paintings on one wall are beside one another; doors reach the floor."""
    hung = 0
    for things, _ in furnished:
        items = [bounds(thing) for name in ("windowpane", "door", "painting") for thing in named(things, name)]
        hung += len(items)
        for place, one in enumerate(items):
            for other in items[place + 1 :]:
                overlap = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
                assert not (overlap[[0, 2]] >= -1e-9).all()
        assert all(bounds(door)[0][1] == 0 for door in named(things, "door"))
    assert hung > 60


def test_rooms_have_the_furniture_of_their_kind(furnished: list[Room]) -> None:
    """The pieces of a room belong to one of the kinds, and each kind occurs."""
    kinds = [set(pieces) for pieces in rooms.FURNITURE.values()]
    seen = [{thing.name for thing in things if thing.name in furniture.BUILDERS} for things, _ in furnished]

    assert all(any(pieces <= kind for kind in kinds) for pieces in seen)
    assert {first for first, *_ in rooms.FURNITURE.values()} <= set().union(*seen)
