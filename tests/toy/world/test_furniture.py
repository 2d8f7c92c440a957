"""Furniture of the toy world fits into the floor space that it declares."""

import numpy as np
import pytest

from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.world import furniture
from segkit.toy.world.shapes import Part

ADE = Palette.load("ade20k")


def bounds(parts: list[Part]) -> np.ndarray:
    """Return the lowest and the highest corner of all parts, (2, 3)."""
    corners = np.concatenate([part.bounds for part in parts])
    return np.stack((corners.min(0), corners.max(0)))


@pytest.mark.parametrize("name", furniture.BUILDERS)
def test_a_piece_stands_on_its_floor_space(name: str) -> None:
    """Whatever the proportions, it stands on the ground and fills the declared width and depth without leaving them."""
    for seed in range(40):
        parts, width, depth = furniture.BUILDERS[name](np.random.default_rng(seed))

        low, high = bounds(parts)
        assert low[1] == pytest.approx(0)
        assert 0.4 < high[1] < 2.2
        assert (low[[0, 2]] >= np.array((-width / 2, -depth / 2)) - 1e-9).all()
        assert (high[[0, 2]] <= np.array((width / 2, depth / 2)) + 1e-9).all()
        assert high[0] - low[0] == pytest.approx(width)


@pytest.mark.parametrize("name", sorted(furniture.BUILDERS.keys() - {"sofa"}))  # whose cushions sink into the arms
def test_the_boxes_of_a_piece_do_not_intersect(name: str) -> None:
    """Otherwise the order in which they hide one another would not be defined."""
    for seed in range(20):
        parts, _, _ = furniture.BUILDERS[name](np.random.default_rng(seed))

        boxes = [part.bounds for part in parts]
        for place, one in enumerate(boxes):
            for other in boxes[place + 1 :]:
                overlap = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
                assert (overlap <= 1e-9).any(), (name, seed)


@pytest.mark.parametrize("name", furniture.BUILDERS)
def test_pieces_depend_on_the_seed(name: str) -> None:
    """Equal seeds give equal pieces, others give other sizes or colours; the class belongs to the toy world."""
    first, again, other = ([face for part in furniture.BUILDERS[name](np.random.default_rng(seed))[0]
                            for face in part.faces] for seed in (1, 1, 2))  # fmt: skip

    assert all((a.points == b.points).all() and a.color == b.color for a, b in zip(first, again, strict=True))
    assert [face.color for face in first] != [face.color for face in other]
    assert name in world.CLASSES


def test_colours_stay_in_range() -> None:
    """Tints of black and white and shades beyond white remain colours."""
    random = np.random.default_rng(0)

    tints = np.array([furniture.tinted(random, ((0, 0, 0), (255, 255, 255))) for _ in range(200)])

    assert tints.min() >= 8
    assert tints.max() <= 250
    assert len(np.unique(tints, axis=0)) > 50
    assert furniture.shaded((200, 100, 0), 1.5) == (255, 150, 0)
    assert furniture.shaded((200, 100, 0), 0.5) == (100, 50, 0)
