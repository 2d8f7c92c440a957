"""Photos of the toy world: light, texture and noise over a flat drawing."""

import numpy as np
import pytest
from PIL import Image

from segkit.toy import world
from segkit.toy.world import light
from segkit.toy.world.camera import Camera, Drawing, draw
from segkit.toy.world.shapes import quad, surface

SIZE = (120, 80)


def drawing(color: tuple[float, float, float], size: tuple[int, int] = SIZE) -> Drawing:
    """Return a drawing that one surface fills."""
    wall = surface("wall", quad((-99, -99, 5), (198, 0, 0), (0, 198, 0)), color)
    return draw([wall], Camera((0.0, 1.0, 0.0), 0.0, 0.8, (0.5, 0.5), (0.3, 1.0, -1.0), 0.4), size)


def pixels(image: Image.Image) -> np.ndarray:
    """Return the pixels as floats, (H, W, 3)."""
    return np.asarray(image, np.float32)


@pytest.mark.parametrize("size", [SIZE, (96, 300), (1, 1)])
def test_a_photo_has_the_size_of_its_drawing(size: tuple[int, int]) -> None:
    """Whatever the aspect, the photo is RGB."""
    photo = light.develop(drawing((128, 128, 128), size), ["wall"], np.random.default_rng(0))

    assert (photo.size, photo.mode) == (size, "RGB")


def test_equal_seeds_give_equal_photos() -> None:
    """Light and noise come from the generator alone."""
    flat = drawing((128, 128, 128))

    first, again, other = (light.develop(flat, ["wall"], np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_the_colour_of_a_surface_remains_recognisable(seed: int) -> None:
    """Exposure and tint change the mean colour by less than a third, and texture and noise leave no flat area."""
    flat = drawing((150, 100, 60))

    photo = pixels(light.develop(flat, ["wall"], np.random.default_rng(seed)))

    ratio = photo.mean((0, 1)) / pixels(flat.colors).mean((0, 1))
    assert ((ratio > 0.67) & (ratio < 1.33)).all()
    assert photo.std((0, 1)).min() > 1


def test_classes_differ_in_texture() -> None:
    """In the same light, grass varies more than a ceiling."""
    flat = drawing((128, 128, 128))

    spread = {
        name: np.mean([pixels(light.develop(flat, [name], np.random.default_rng(seed))).std() for seed in range(4)])
        for name in ("ceiling", "grass")
    }

    assert spread["grass"] > 1.3 * spread["ceiling"]


def test_textures_belong_to_classes_of_the_toy_world() -> None:
    """A misspelt class would silently get the default texture."""
    assert set(light.TEXTURE) <= set(world.CLASSES)
