"""Simple rooms and streets, rendered from a seed: photos for the demo and the tests."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]


def render(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Render a room (even seeds) or a street (odd seeds).

    Args:
        seed: equal seeds give equal pictures.
        size: width and height in pixels.

    Returns:
        An RGB picture with shading and camera noise.
    """
    random = np.random.default_rng(seed)
    canvas = Image.new("RGB", size)
    draw = ImageDraw.Draw(canvas)
    (_street if seed % 2 else _room)(draw, random, *size)
    canvas = canvas.filter(ImageFilter.GaussianBlur(0.6))
    pixels = np.asarray(canvas, np.float32)
    height, width = pixels.shape[:2]
    light = np.linspace(random.uniform(0.6, 1.1), random.uniform(0.6, 1.1), width, dtype=np.float32)[None, :, None]
    noise = random.normal(0, random.uniform(2, 5), (height, width, 1)).astype(np.float32)
    return Image.fromarray((pixels * light + noise).clip(0, 255).astype(np.uint8))


def _colour(random: np.random.Generator, low: int = 40, high: int = 230) -> tuple[int, int, int]:
    red, green, blue = random.integers(low, high, 3).tolist()
    return red, green, blue


def _room(draw: ImageDraw.ImageDraw, random: np.random.Generator, width: int, height: int) -> None:
    left, right = sorted(random.uniform(0.05, 0.95, 2) * width)
    right = max(right, left + 0.25 * width)
    top, bottom = random.uniform(0.05, 0.3) * height, random.uniform(0.5, 0.8) * height
    draw.rectangle((0, 0, width, height), _colour(random, 120))
    draw.polygon(((0, 0), (width, 0), (right, top), (left, top)), _colour(random, 190, 250))
    draw.polygon(((0, height), (width, height), (right, bottom), (left, bottom)), _colour(random, 60, 160))
    draw.rectangle((left, top, right, bottom), _colour(random, 110))
    for _ in range(random.integers(2, 5)):  # pictures and windows on the wall
        x, y = random.uniform(left, right), random.uniform(top, bottom)
        draw.rectangle(
            (x, y, x + random.uniform(0.05, 0.2) * width, y + random.uniform(0.05, 0.2) * height), _colour(random)
        )
    for _ in range(random.integers(3, 7)):  # boxes on the floor: beds, tables, cupboards
        x, y = random.uniform(-0.1, 0.9) * width, random.uniform(bottom, height)
        _box(draw, random, (x, y), random.uniform(0.1, 0.4) * width, random.uniform(0.1, 0.4) * height)


def _street(draw: ImageDraw.ImageDraw, random: np.random.Generator, width: int, height: int) -> None:
    horizon, vanishing = random.uniform(0.3, 0.6) * height, random.uniform(0.1, 0.9) * width
    draw.rectangle((0, 0, width, horizon), _colour(random, 130, 255))
    draw.rectangle((0, horizon, width, height), _colour(random, 60, 150))
    draw.polygon(
        ((random.uniform(-0.3, 0.4) * width, height), (random.uniform(0.6, 1.3) * width, height), (vanishing, horizon)),
        _colour(random, 70, 120),
    )
    for _ in range(random.integers(4, 10)):  # houses
        x = random.uniform(-0.1, 1) * width
        _box(draw, random, (x, horizon + 4), random.uniform(0.08, 0.3) * width, random.uniform(0.1, 0.9) * horizon)
    for _ in range(random.integers(2, 7)):  # trees
        x, y, r = random.uniform(0, width), random.uniform(0.6, 1.2) * horizon, random.uniform(0.04, 0.14) * width
        draw.rectangle((x - r / 8, y, x + r / 8, y + 1.5 * r), (90, 60, 40))
        draw.ellipse((x - r, y - r, x + r, y + r), (int(random.integers(20, 90)), int(random.integers(90, 170)), 40))


def _box(draw: ImageDraw.ImageDraw, random: np.random.Generator, foot: Point, width: float, height: float) -> None:
    x, y = foot
    side, lift = 0.3 * width, 0.15 * height
    colour = _colour(random)
    darker = tuple(int(channel * 0.7) for channel in colour)
    draw.rectangle((x, y - height, x + width, y), colour)
    draw.polygon(
        ((x + width, y - height), (x + width + side, y - height - lift), (x + width + side, y - lift), (x + width, y)),
        darker,
    )
