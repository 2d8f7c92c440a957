"""Turns a flat drawing into a photo: texture, shadows, uneven light, lens blur and sensor noise."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from PIL.Image import Resampling

from segkit.toy.world.camera import Drawing

TEXTURE: dict[str, tuple[float, float]] = {
    "sky": (13, 0),
    "mountain": (10, 7),
    "grass": (9, 14),
    "tree": (8, 15),
    "road": (5, 6),
    "sidewalk": (5, 5),
    "building": (5, 4),
    "water": (4, 11),
    "wall": (4, 2),
    "ceiling": (3, 1),
    "floor": (6, 4),
    "rug": (3, 8),
    "bed": (4, 4),
    "sofa": (4, 5),
    "curtain": (3, 4),
}
"""Brightness variation of a class in grey levels: of large patches and of fine grain."""

_DEFAULT_TEXTURE = (3.0, 2.0)


def develop(drawing: Drawing, names: list[str], random: Generator) -> Image.Image:
    """Render the photo of a drawing.

    Args:
        drawing: the scene.
        names: class of each thing.
        random: source of texture, light and camera noise.

    Returns:
        RGB image of the drawing's size.
    """
    width, height = drawing.colors.size
    lens_blur = ImageFilter.GaussianBlur(float(random.uniform(0.35, 0.6)) * _blur_scale(width, height))
    pixels = np.asarray(drawing.colors.filter(lens_blur), np.float32)
    light = _light(random, width, height)
    light *= np.asarray(drawing.shade, np.float32) / 255
    amounts = np.zeros((256, 2), np.float32)
    amounts[: len(names)] = [TEXTURE.get(name, _DEFAULT_TEXTURE) for name in names]
    patches, grains = (
        amounts[:, column][drawing.thing_ids] * _noise(random, width, height, cells)
        for column, cells in ((0, 7), (1, 90))
    )
    tint = random.uniform(0.93, 1.07, 3).astype(np.float32)
    pixels = (pixels + (patches + grains)[..., None]) * light[..., None] * tint
    pixels += _sensor_noise(random, height, width)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _blur_scale(width: int, height: int) -> float:
    """Return the factor of the lens blur, which grows with the resolution; at least 1."""
    return max(1.0, float(np.sqrt(width * height)) / 400)


def _light(random: Generator, width: int, height: int) -> NDArray[np.float32]:
    """Return the illumination: exposure, a linear gradient and vignetting, (H, W)."""
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    exposure, along, down, corner = random.uniform((0.82, -0.14, -0.08, 0.0), (1.1, 0.14, 0.08, 0.09))
    illumination: NDArray[np.float32] = np.float32(exposure) * (1 + np.float32(along) * x + np.float32(down) * y)
    illumination -= np.float32(corner) * (x * x + y * y)
    return illumination


def _noise(random: Generator, width: int, height: int, cells: int) -> NDArray[np.float32]:
    """Return smooth zero-mean noise with `cells` bumps along the longer side, (H, W)."""
    longer = max(width, height)
    grid = (max(2, round(height / longer * cells)), max(2, round(width / longer * cells)))
    coarse = Image.fromarray(random.normal(0, 1, grid).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Resampling.BILINEAR), np.float32)


def _sensor_noise(random: Generator, height: int, width: int) -> NDArray[np.float32]:
    """Return sensor noise, stronger in luminance than in chroma, (H, W, 3)."""
    strength = np.float32(random.uniform(1.0, 4.0))
    grey = random.standard_normal((height, width, 1), np.float32) * strength
    return grey + random.standard_normal((height, width, 3), np.float32) * (strength / 2)
