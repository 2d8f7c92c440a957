"""Furniture of the toy world, built around the origin, facing the viewer (towards negative z)."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from segkit.toy.world.shapes import Color, Face, Part, box, disc, quad

WOODS = ((150, 100, 60), (110, 72, 45), (185, 140, 90), (90, 62, 48))


def tinted(random: Generator, choices: tuple[Color, ...], spread: float = 14) -> Color:
    """Choose one of the colours and vary it slightly."""
    base = np.asarray(choices[int(random.integers(len(choices)))], float) + random.uniform(-spread, spread)
    red, green, blue = (base + random.uniform(-spread / 2, spread / 2, 3)).clip(8, 250).tolist()
    return red, green, blue


def shaded(base: Color, factor: float) -> Color:
    """Return a colour with its brightness multiplied by a factor."""
    red, green, blue = (min(255.0, channel * factor) for channel in base)
    return red, green, blue


def _front(x0: float, y0: float, x1: float, y1: float, z: float, tint: Color) -> Face:
    """Return a rectangle at depth z that faces the viewer."""
    return Face(quad((x0, y0, z), (x1 - x0, 0, 0), (0, y1 - y0, 0)), tint, (0, 0, -1))


def bed(random: Generator) -> tuple[list[Part], float, float]:
    """A bed with its head end at the back: frame, mattress with a blanket, pillows."""
    width, depth = float(random.uniform(1.2, 1.8)), 2.0
    wood = tinted(random, WOODS)
    blanket = tinted(random, ((60, 80, 165), (165, 45, 60), (95, 140, 170), (130, 60, 120), (210, 120, 130)))
    sheet = tinted(random, ((238, 236, 230),), 6)
    w, d, h = width / 2, depth / 2, float(random.uniform(0.42, 0.58))
    parts = [
        box((-w, 0, -d), (w, 0.22, d), wood),
        box((-w, 0.22, -d), (w, h, 0.35 * d), blanket),
        box((-w, 0.22, 0.35 * d), (w, h, d - 0.08), sheet),
        box((-w, 0.22, d - 0.08), (w, float(random.uniform(0.9, 1.15)), d), shaded(wood, 0.9)),
    ]
    for side in (-1, 1):
        x = side * w / 2
        parts.append(box((x - 0.3 * w, h, 0.5 * d), (x + 0.3 * w, h + 0.13, 0.85 * d), (245, 243, 240)))
    return parts, width, depth


def sofa(random: Generator) -> tuple[list[Part], float, float]:
    """A sofa: seat, back and arms, often with cushions."""
    width, depth = float(random.uniform(1.6, 2.3)), 0.9
    cloth = tinted(random, ((85, 105, 85), (125, 85, 60), (95, 100, 112), (60, 95, 105), (150, 130, 95)))
    w, d, seat, back, arm = width / 2, depth / 2, 0.42, float(random.uniform(0.8, 0.95)), 0.2
    gap = shaded(cloth, 0.7)
    parts = [
        box((-w + arm, 0, -d), (w - arm, seat, d - 0.25), cloth, _front(-0.02, 0.1, 0.02, seat, -d, gap)),
        box((-w + arm, 0, d - 0.25), (w - arm, back, d), shaded(cloth, 0.95)),
        box((-w, 0, -d), (-w + arm, 0.62, d), shaded(cloth, 1.06)),
        box((w - arm, 0, -d), (w, 0.62, d), shaded(cloth, 1.06)),
    ]
    for place in (-0.5, 0.0, 0.5):
        if random.random() < 0.35:
            tint = tinted(random, ((200, 170, 80), (170, 80, 70), (220, 215, 205)))
            x = place * (width - 2 * arm)
            parts.append(box((x - 0.17, seat, d - 0.4), (x + 0.17, seat + 0.34, d - 0.25), tint))
    return parts, width, depth


def table(random: Generator) -> tuple[list[Part], float, float]:
    """A table: a top on four legs, high or low, sometimes with an object on it."""
    width, depth = float(random.uniform(0.9, 1.7)), float(random.uniform(0.7, 1.0))
    wood, h = tinted(random, ((205, 150, 85), (170, 110, 55), (225, 185, 125))), float(random.uniform(0.5, 0.78))
    w, d, leg = width / 2, depth / 2, 0.13
    parts = [
        box((x - leg / 2, 0, z - leg / 2), (x + leg / 2, h - 0.09, z + leg / 2), shaded(wood, 0.85))
        for x in (-w + leg, w - leg)
        for z in (-d + leg, d - leg)
    ]
    parts.append(box((-w, h - 0.09, -d), (w, h, d), wood))
    if random.random() < 0.5:
        x, tint = float(random.uniform(-0.5, 0.3)) * w, tinted(random, ((150, 50, 50), (60, 90, 140), (230, 225, 215)))
        parts.append(box((x, h, -0.1), (x + 0.3, h + 0.07, 0.12), tint))
    return parts, width, depth


def chair(random: Generator) -> tuple[list[Part], float, float]:
    """A chair: a seat on four legs with a high back behind it."""
    tint = tinted(random, ((190, 60, 45), (45, 45, 52), (60, 120, 100), (225, 220, 210)))
    w, seat, top, leg = 0.3, 0.46, float(random.uniform(0.95, 1.1)), 0.12
    parts = [
        box((x - leg / 2, 0, z - leg / 2), (x + leg / 2, seat - 0.07, z + leg / 2), shaded(tint, 0.8))
        for x in (-w + leg / 2, w - leg / 2)
        for z in (-w + leg / 2, w - leg / 2)
    ]
    parts.append(box((-w, seat - 0.07, -w), (w, seat, w - 0.06), tint))
    parts.append(box((-w, seat - 0.07, w - 0.06), (w, top, w), shaded(tint, 0.92)))
    return parts, 2 * w, 2 * w


def cabinet(random: Generator) -> tuple[list[Part], float, float]:
    """A cabinet with two doors, low or tall."""
    width, depth = float(random.uniform(0.8, 1.4)), float(random.uniform(0.42, 0.6))
    high = float(random.choice((random.uniform(0.75, 1.0), random.uniform(1.6, 2.1))))
    wood = tinted(random, ((122, 78, 52), (92, 60, 42), (150, 105, 72)))
    w, d, dark = width / 2, depth / 2, shaded(wood, 0.6)
    doors = [
        _front(-w + 0.05, 0.1, -0.02, high - 0.06, -d, shaded(wood, 1.15)),
        _front(0.02, 0.1, w - 0.05, high - 0.06, -d, shaded(wood, 1.15)),
        _front(-0.09, 0.45 * high, -0.05, 0.6 * high, -d, dark),
        _front(0.05, 0.45 * high, 0.09, 0.6 * high, -d, dark),
    ]
    return [box((-w, 0, -d), (w, high, d), wood, *doors)], width, depth


def lamp(random: Generator) -> tuple[list[Part], float, float]:
    """A floor lamp: foot, pole and bright shade."""
    h, r = float(random.uniform(1.35, 1.75)), float(random.uniform(0.25, 0.33))
    glow = tinted(random, ((255, 232, 150), (255, 214, 120), (250, 240, 190)), 6)
    pole = tinted(random, ((55, 52, 50), (160, 130, 70)))
    parts = [
        box((-0.17, 0, -0.17), (0.17, 0.06, 0.17), pole),
        box((-0.055, 0.06, -0.055), (0.055, h - 0.48, 0.055), pole),
        box((-r, h - 0.48, -r), (r, h, r), glow),
    ]
    return parts, 2 * r, 2 * r


def person(random: Generator) -> tuple[list[Part], float, float]:
    """A standing person: legs, body, arms, head."""
    h = float(random.uniform(1.55, 1.85))
    skin = tinted(random, ((224, 172, 140), (160, 110, 80), (95, 66, 50)), 8)
    top = tinted(random, ((230, 60, 50), (40, 90, 190), (245, 200, 50), (240, 240, 240), (120, 50, 130)))
    trousers = tinted(random, ((40, 45, 70), (60, 55, 50), (120, 110, 95)))
    hair = tinted(random, ((40, 28, 22), (120, 80, 40), (200, 190, 180)), 8)
    step = float(random.uniform(0.02, 0.07))
    parts = [
        box((-0.17, 0, -0.1), (-step / 2, 0.48 * h, 0.1), trousers),
        box((step / 2, 0, -0.1), (0.17, 0.48 * h, 0.1), trousers),
        box((-0.21, 0.48 * h, -0.13), (0.21, 0.84 * h, 0.13), top),
        box((-0.31, 0.46 * h, -0.09), (-0.21, 0.83 * h, 0.09), shaded(top, 0.85)),
        box((0.21, 0.46 * h, -0.09), (0.31, 0.83 * h, 0.09), shaded(top, 0.85)),
        Part(
            (
                disc((0, 0.93 * h, 0.01), (0.14, 0, 0), (0, 0.085 * h, 0), hair),
                disc((0, 0.91 * h, -0.01), (0.12, 0, 0), (0, 0.07 * h, 0), skin),
            )
        ),
    ]
    return parts, 0.62, 0.3


Builder = Callable[[Generator], tuple[list[Part], float, float]]
"""Draws random proportions and colours; returns the parts, the width (x) and the depth (z) in metres."""

BUILDERS: dict[str, Builder] = {
    "bed": bed,
    "sofa": sofa,
    "table": table,
    "chair": chair,
    "cabinet": cabinet,
    "lamp": lamp,
    "person": person,
}
