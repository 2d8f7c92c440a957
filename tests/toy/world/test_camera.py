"""The toy world's camera: near things hide far ones, wherever they stand."""

import numpy as np
import pytest

from segkit.toy.world.camera import Camera, draw, order
from segkit.toy.world.shapes import Thing, box

SIDE = 96


def camera(yaw: float, height: float) -> Camera:
    """Return a viewer at the origin."""
    return Camera((0.0, height, 0.0), yaw, 0.8, (0.5, 0.5), (0.3, 1.0, -1.0), 0.4)


def boxes_in_a_grid(random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return upright boxes that do not reach into one another, some of them on others, in front of the viewer."""
    found = []
    for column in range(5):
        for row in range(4):
            for storey in range(2):
                if random.random() < 0.5:
                    low = np.array((column * 2 - 5, storey * 1.2, row * 2 + 2)) + random.uniform(0, 0.5, 3)
                    found.append((low, low + random.uniform((0.3, 0.2, 0.3), (1.4, 0.65, 1.4))))
    return found


def nearest_box(boxes: list[tuple[np.ndarray, np.ndarray]], viewer: Camera) -> np.ndarray:
    """Find by ray casting which box each pixel shows, -1 for none: (H, W)."""
    middle = (np.arange(SIDE) + 0.5 - SIDE / 2) / (viewer.focal * SIDE)
    x, y = np.meshgrid(middle, -middle)
    sine, cosine = np.sin(viewer.yaw), np.cos(viewer.yaw)
    rays = np.stack((x * cosine + sine, y, cosine - x * sine), -1)
    best, shown = np.full((SIDE, SIDE), np.inf), np.full((SIDE, SIDE), -1)
    for number, (low, high) in enumerate(boxes):
        with np.errstate(divide="ignore"):
            one, two = (low - viewer.eye) / rays, (high - viewer.eye) / rays
        enters, leaves = np.minimum(one, two).max(-1), np.maximum(one, two).min(-1)
        hit = (enters < leaves) & (leaves > 0) & (enters < best)
        best[hit], shown[hit] = enters[hit], number
    return shown


@pytest.mark.parametrize("seed", range(25))
def test_boxes_hide_one_another_as_rays_say(seed: int) -> None:
    """Drawn boxes show what ray casting shows, but for pixels at their edges."""
    random = np.random.default_rng(seed)
    boxes = boxes_in_a_grid(random)
    viewer = camera(float(random.uniform(-0.5, 0.5)), float(random.uniform(0.5, 3)))
    things = [Thing("box", (box(low.tolist(), high.tolist(), (9, 9, 9)),)) for low, high in boxes]

    shown = draw(things, viewer, (SIDE, SIDE)).shown.astype(int)

    truth = nearest_box(boxes, viewer)
    shown[shown == 255] = -1
    edges = np.zeros_like(truth, bool)
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)):
        edges |= np.roll(truth, step, (0, 1)) != truth
    assert (truth >= 0).mean() > 0.05
    assert (shown == truth)[~edges].mean() > 0.999


def test_the_order_is_of_all_boxes_even_in_a_circle() -> None:
    """Boxes that overlap have no right order, but each is drawn once, the farthest first."""
    bounds = [np.array(((-1, 0, z), (1, 1, z + 3)), float) for z in (2, 4, 3)]

    assert order(bounds, np.array((0.0, 0.5, 0.0))) == [1, 2, 0]


def test_a_floor_below_the_viewer_is_cut_off_not_turned_over() -> None:
    """A surface that reaches behind the eye fills the picture's lower half and nothing of the upper."""
    floor = Thing("floor", (box((-9, -0.1, -9), (9, 0, 30), (9, 9, 9)),))

    shown = draw([floor], camera(0.3, 1.5), (SIDE, SIDE)).shown

    assert (shown[: SIDE // 2] == 255).all()
    assert (shown[3 * SIDE // 4 :] == 0).all()
