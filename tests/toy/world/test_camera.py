"""The camera of the toy world: near things hide far ones from every viewpoint."""

import numpy as np
import pytest

from segkit.toy.world.camera import Camera, draw, draw_order
from segkit.toy.world.shapes import Thing, box

SIDE = 96


def camera(yaw: float, height: float) -> Camera:
    """Return a camera above the origin."""
    return Camera((0.0, height, 0.0), yaw, 0.8, (0.5, 0.5), (0.3, 1.0, -1.0), 0.4)


def boxes_in_a_grid(random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return disjoint axis-aligned boxes in front of the camera, some of them above others."""
    boxes = []
    for column in range(5):
        for row in range(4):
            for storey in range(2):
                if random.random() < 0.5:
                    low = np.array((column * 2 - 5, storey * 1.2, row * 2 + 2)) + random.uniform(0, 0.5, 3)
                    boxes.append((low, low + random.uniform((0.3, 0.2, 0.3), (1.4, 0.65, 1.4))))
    return boxes


def nearest_box(boxes: list[tuple[np.ndarray, np.ndarray]], viewer: Camera) -> np.ndarray:
    """Return the index of the box that each pixel shows, by ray casting; -1 for none: (H, W)."""
    offsets = (np.arange(SIDE) + 0.5 - SIDE / 2) / (viewer.focal * SIDE)
    x, y = np.meshgrid(offsets, -offsets)
    sine, cosine = np.sin(viewer.yaw), np.cos(viewer.yaw)
    rays = np.stack((x * cosine + sine, y, cosine - x * sine), -1)
    nearest, box_ids = np.full((SIDE, SIDE), np.inf), np.full((SIDE, SIDE), -1)
    for number, (low, high) in enumerate(boxes):
        with np.errstate(divide="ignore"):
            one, two = (low - viewer.eye) / rays, (high - viewer.eye) / rays
        enters, leaves = np.minimum(one, two).max(-1), np.maximum(one, two).min(-1)
        hit = (enters < leaves) & (leaves > 0) & (enters < nearest)
        nearest[hit], box_ids[hit] = enters[hit], number
    return box_ids


@pytest.mark.parametrize("seed", range(25))
def test_drawing_agrees_with_ray_casting(seed: int) -> None:
    """Drawn boxes match the result of ray casting except for pixels at edges."""
    random = np.random.default_rng(seed)
    boxes = boxes_in_a_grid(random)
    viewer = camera(float(random.uniform(-0.5, 0.5)), float(random.uniform(0.5, 3)))
    things = [Thing("box", (box(low.tolist(), high.tolist(), (9, 9, 9)),)) for low, high in boxes]

    drawn = draw(things, viewer, (SIDE, SIDE)).thing_ids.astype(int)

    truth = nearest_box(boxes, viewer)
    drawn[drawn == 255] = -1
    edges = np.zeros_like(truth, bool)
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)):
        edges |= np.roll(truth, step, (0, 1)) != truth
    assert (truth >= 0).mean() > 0.05
    assert (drawn == truth)[~edges].mean() > 0.999


def test_the_draw_order_contains_all_boxes_even_with_cycles() -> None:
    """Overlapping boxes have no correct order, but each is drawn once, the farthest first."""
    bounds = [np.array(((-1, 0, z), (1, 1, z + 3)), float) for z in (2, 4, 3)]

    assert draw_order(bounds, np.array((0.0, 0.5, 0.0))) == [1, 2, 0]


def test_a_floor_below_the_viewer_is_clipped() -> None:
    """A surface that extends behind the eye is clipped: it stays in the lower half of the picture."""
    floor = Thing("floor", (box((-9, -0.1, -9), (9, 0, 30), (9, 9, 9)),))

    drawn = draw([floor], camera(0.3, 1.5), (SIDE, SIDE)).thing_ids

    assert (drawn[: SIDE // 2] == 255).all()
    assert (drawn[3 * SIDE // 4 :] == 0).all()
