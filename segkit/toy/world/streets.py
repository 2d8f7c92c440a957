"""Streets of the toy world: a road that leads away, with houses, trees, cars and people."""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from segkit.toy.world.camera import Camera
from segkit.toy.world.furniture import person, shaded, tinted
from segkit.toy.world.shapes import Face, Part, Thing, box, disc, place, quad, shadow, surface

FAR = 120.0
"""Depth of the ground in metres."""

KINDS = {
    "city street": (0.45, "lots", "lots", 0.25),
    "country road": (0.3, "grass", "grass", 0.7),
    "waterfront": (0.25, "water", "lots", 0.7),
}
"""Kinds of streets: probability, what lies left and right of the road, probability of mountains."""


@dataclass
class _StreetLayout:
    """A street being built.

    Attributes:
        random: source of all random choices.
        half_width: half the width of the road, in metres.
        sidewalk: width of the sidewalks, 0 for none.
        sides: what lies beyond, left and right: "lots", "grass" or "water".
        things: placed so far.
        occupied: ground rectangles in use: lowest x and z, highest x and z.
    """

    random: Generator
    half_width: float
    sidewalk: float
    sides: tuple[str, str]
    things: list[Thing] = field(default_factory=list)
    occupied: list[tuple[float, float, float, float]] = field(default_factory=list)


def street(random: Generator) -> tuple[list[Thing], Camera]:
    """Return a street and the camera on it."""
    kind = str(random.choice(list(KINDS), p=[chance for chance, *_ in KINDS.values()]))
    _, left, right, mountains = KINDS[kind]
    walk = 0.0 if kind == "country road" else float(random.uniform(1.6, 2.6))
    if kind == "country road" and random.random() < 0.3:
        left = "water"
    sides = (left, right) if random.random() < 0.5 else (right, left)
    layout = _StreetLayout(random, float(random.uniform(2.6, 4.2)), walk, sides)
    _add_ground(layout, random.random() < mountains)
    for side, lies in zip((-1, 1), sides, strict=True):
        if lies == "lots":
            _add_houses(layout, side, float(random.uniform(0.55, 0.95)))
        elif lies == "grass" and random.random() < 0.4:
            _add_houses(layout, side, 0.18)
        if lies != "water":
            _add_trees(layout, side, int(random.integers(0, 3 if lies == "lots" else 5)))
    for _ in range(int(random.integers(0, 4))):
        _add_car(layout)
    for _ in range(int(random.integers(0, 4))):
        _add_pedestrian(layout)
    camera = Camera(
        eye=(float(random.uniform(-0.7, 0.7)) * layout.half_width, float(random.uniform(1.6, 3.2)), 0.0),
        yaw=float(random.uniform(-0.3, 0.3)),
        focal=float(random.uniform(0.7, 1.05)),
        centre=(0.5, float(random.uniform(0.38, 0.56))),
        light=(float(random.choice((-1, 1))) * float(random.uniform(0.4, 1.2)), 1.0, -float(random.uniform(0.1, 1))),
        contrast=float(random.uniform(0.3, 0.6)),
    )
    return layout.things, camera


def _add_ground(layout: _StreetLayout, mountains: bool) -> None:
    """Add sky, mountains and the strips of ground: grass or water, sidewalks, road with markings."""
    random, half, walk = layout.random, layout.half_width, layout.sidewalk
    sky = tinted(random, ((120, 175, 235), (165, 200, 235), (200, 205, 215), (235, 190, 150)))
    layout.things.append(surface("sky", quad((-20000, -60, 300), (40000, 0, 0), (0, 4000, 0)), sky, ground=True))
    if mountains:
        layout.things.append(_mountains(random))
    z0, depth = -2.0, (0, 0, FAR + 2)
    green = tinted(random, ((95, 150, 60), (125, 160, 70), (80, 135, 65)))
    blue = tinted(random, ((50, 105, 150), (45, 125, 140), (85, 130, 165)))
    paving = tinted(random, ((196, 186, 172), (182, 178, 180), (205, 190, 165)))
    asphalt = tinted(random, ((82, 84, 90), (98, 98, 100), (70, 72, 78)))
    for side, lies in zip((-1, 1), layout.sides, strict=True):
        width = (side * 3000, 0, 0)
        name, tint = ("water", blue) if lies == "water" else ("grass", green)
        if lies == "lots" and random.random() < 0.4:
            name, tint = "sidewalk", shaded(paving, 0.92)
        ground = surface(name, quad((side * (half + walk), -0.02, z0), width, depth), tint, ground=True)
        layout.things.append(ground)
    if walk:
        for side in (-1, 1):
            seams = [
                Face(quad((side * half, 0, z), (side * walk, 0, 0), (0, 0, 0.07)), shaded(paving, 0.85))
                for z in np.arange(1, 30, 1.4)
            ]
            strip = quad((side * half, 0, z0), (side * walk, 0, 0), depth)
            layout.things.append(surface("sidewalk", strip, paving, *seams, ground=True))
    dash, white = float(random.uniform(1.5, 3)), (225, 225, 215)
    marks = [Face(quad((-0.08, 0, z), (0.16, 0, 0), (0, 0, dash)), white) for z in np.arange(0, 60, 2 * dash)]
    road = surface("road", quad((-half, 0, z0), (2 * half, 0, 0), depth), asphalt, *marks, ground=True)
    layout.things.append(road)


def _mountains(random: Generator) -> Thing:
    tint = tinted(random, ((120, 120, 150), (105, 100, 110), (130, 115, 100)))
    faces = []
    for _ in range(int(random.integers(2, 6))):
        x, high, wide = float(random.uniform(-170, 170)), float(random.uniform(25, 75)), float(random.uniform(60, 130))
        shade = float(random.uniform(0.85, 1.1))
        peak = np.array(((x - wide, -15, 250), (x + wide, -15, 250), (x + 4, high, 250)), float)
        faces.append(Face(peak, shaded(tint, shade)))
        faces.append(Face(np.array((peak[1], peak[2], (x - 0.1 * wide, -15, 250))), shaded(tint, 0.85 * shade)))
        if high > 45:
            top = peak[2] + (peak[:2] - peak[2]) * 0.25
            faces.append(Face(np.array((*top, peak[2])), (240, 242, 246)))
    return Thing("mountain", (Part(tuple(faces)),), flat=True)


def _reserve(layout: _StreetLayout, low: tuple[float, float], high: tuple[float, float]) -> bool:
    """Reserve a rectangle of ground; return whether it was free."""
    for x0, z0, x1, z1 in layout.occupied:
        if low[0] < x1 and x0 < high[0] and low[1] < z1 and z0 < high[1]:
            return False
    layout.occupied.append((*low, *high))
    return True


def _add_houses(layout: _StreetLayout, side: int, density: float) -> None:
    """Add a row of buildings along one side."""
    random = layout.random
    edge, z = layout.half_width + layout.sidewalk + float(random.uniform(0, 1.5)), float(random.uniform(3, 9))
    while z < 70:
        length, depth = float(random.uniform(5, 12)), float(random.uniform(6, 10))
        if random.random() < density:
            x0, x1 = sorted((side * edge, side * (edge + depth)))
            if _reserve(layout, (x0, z), (x1, z + length)):
                layout.things.append(_house(random, (x0, z), (x1, z + length), side))
        z += length + float(random.choice((0.0, 0.0, random.uniform(0.5, 3))))


def _house(random: Generator, low: tuple[float, float], high: tuple[float, float], side: int) -> Thing:
    (x0, z0), (x1, z1) = low, high
    storeys = int(random.integers(2, 6))
    storey = float(random.uniform(2.6, 3.2))
    wall = tinted(random, ((172, 96, 78), (214, 192, 150), (190, 150, 110), (160, 120, 120), (222, 214, 200)))
    glass = tinted(random, ((60, 75, 95), (90, 110, 130), (45, 50, 60)))
    top = storeys * storey + 0.5
    x, facing = (x1, (1.0, 0.0, 0.0)) if side < 0 else (x0, (-1.0, 0.0, 0.0))  # the facade towards the road
    details = []
    for floor in range(storeys):
        y = floor * storey + 0.8
        for z in np.arange(z0 + 0.7, z1 - 1.2, 2.1):
            details.append(Face(quad((x, y, z), (0, 0, 1.1), (0, 1.5, 0)), glass, facing))
        for across in np.arange(x0 + 0.7, x1 - 1.2, 2.1):
            details.append(Face(quad((across, y, z0), (1.1, 0, 0), (0, 1.5, 0)), glass, (0, 0, -1)))
    details.append(Face(quad((x, top - 0.4, z0), (0, 0, z1 - z0), (0, 0.4, 0)), shaded(wall, 0.7), facing))
    details.append(Face(quad((x0, top - 0.4, z0), (x1 - x0, 0, 0), (0, 0.4, 0)), shaded(wall, 0.7), (0, 0, -1)))
    return Thing("building", (box((x0, 0, z0), (x1, top, z1), wall, *details),))


def _add_trees(layout: _StreetLayout, side: int, number: int) -> None:
    random = layout.random
    for _ in range(number):
        x = side * (layout.half_width + float(random.uniform(0.5, 1.4 if layout.sidewalk else 6)))
        z = float(random.uniform(5, 20))
        trunk, crown = float(random.uniform(1.3, 2.4)), float(random.uniform(1.1, 1.9))
        if not _reserve(layout, (x - 0.6, z - 0.6), (x + 0.6, z + 0.6)):
            continue
        green = tinted(random, ((45, 95, 40), (65, 115, 45), (50, 85, 60), (120, 120, 40)))
        bark = tinted(random, ((85, 62, 45), (105, 85, 65)))
        centre = np.array((0, trunk + 0.75 * crown, 0))
        balls = [disc(centre, (crown, 0, 0), (0, crown, 0), green, 18)]
        for _ in range(5):
            angle, far = random.uniform(0, 6.28), random.uniform(0.3, 0.75) * crown
            offset = np.array((np.cos(angle) * far, np.sin(angle) * far, 0))
            size, tint = float(random.uniform(0.35, 0.55)) * crown, shaded(green, float(random.uniform(0.8, 1.25)))
            balls.append(disc(centre + offset, (size, 0, 0), (0, size, 0), tint))
        stem = box((-0.18, 0, -0.18), (0.18, trunk, 0.18), bark)
        parts = place((stem, Part(tuple(balls))), (x, z))
        ground_shadow = shadow((x - crown, z - crown), (x + crown, z + crown), 0.3)
        layout.things.append(Thing("tree", parts, shadows=(ground_shadow,)))


def _add_car(layout: _StreetLayout) -> None:
    """Add a car on the road: oncoming, receding or, now and then, crossing."""
    random = layout.random
    length, width = float(random.uniform(3.6, 4.4)), float(random.uniform(1.7, 1.9))
    quarters = int(random.choice((0, 2, 1, 3), p=(0.4, 0.4, 0.1, 0.1)))
    w, d = (width, length) if quarters % 2 == 0 else (length, width)
    x = float(random.uniform(-1, 1)) * max(0.0, layout.half_width - w / 2)
    z = float(random.uniform(6, 14))
    low, high = (x - w / 2, z - d / 2), (x + w / 2, z + d / 2)
    if not _reserve(layout, low, high):
        return
    paint = tinted(random, ((200, 35, 40), (35, 70, 170), (240, 240, 240), (30, 32, 36), (235, 185, 40), (40, 130, 90)))
    parts = place(_car_parts(random, length, width, paint), (x, z), quarters)
    layout.things.append(Thing("car", parts, shadows=(shadow(low, high, 0.5),)))


def _car_parts(random: Generator, length: float, width: float, paint: tuple[float, float, float]) -> list[Part]:
    w, d, glass, dark = width / 2, length / 2, (52, 62, 75), (24, 24, 26)
    lamp = (250, 240, 190) if random.random() < 0.5 else (200, 30, 30)
    front = [Face(quad((x, 0.6, -d), (0.32, 0, 0), (0, 0.18, 0)), lamp, (0, 0, -1)) for x in (-w + 0.08, w - 0.4)]
    front.append(Face(quad((-0.5, 0.35, -d), (1, 0, 0), (0, 0.2, 0)), dark, (0, 0, -1)))
    wheels = []
    for x, facing in ((-w, (-1.0, 0.0, 0.0)), (w, (1.0, 0.0, 0.0))):
        for z in (-d + 0.75, d - 0.75):
            tyre = disc((x, 0.32, z), (0, 0, 0.36), (0, 0.32, 0), dark)
            wheels.append(Face(tyre.points, dark, facing))
    cabin = [
        Face(quad((-w + 0.2, 0.98, -d + 0.9), (width - 0.4, 0, 0), (0, 0.42, 0)), glass, (0, 0, -1)),
        Face(quad((-w + 0.2, 0.98, d - 0.6), (width - 0.4, 0, 0), (0, 0.42, 0)), glass, (0, 0, 1)),
        Face(quad((-w + 0.12, 0.98, -d + 1.1), (0, 0, length - 1.9), (0, 0.4, 0)), glass, (-1, 0, 0)),
        Face(quad((w - 0.12, 0.98, -d + 1.1), (0, 0, length - 1.9), (0, 0.4, 0)), glass, (1, 0, 0)),
    ]
    return [
        box((-w, 0.18, -d), (w, 0.92, d), paint, *front, *wheels),
        box((-w + 0.12, 0.92, -d + 0.9), (w - 0.12, 1.45, d - 0.6), shaded(paint, 0.95), *cabin),
    ]


def _add_pedestrian(layout: _StreetLayout) -> None:
    random = layout.random
    side = float(random.choice((-1, 1)))
    beside = layout.half_width + float(random.uniform(0.3, max(0.4, layout.sidewalk - 0.3)))
    x = (
        side * beside
        if layout.sidewalk and random.random() < 0.7
        else float(random.uniform(-0.8, 0.8)) * layout.half_width
    )
    z = float(random.uniform(2.8, 6.5))
    if _reserve(layout, (x - 0.35, z - 0.25), (x + 0.35, z + 0.25)):
        parts, _, _ = person(random)
        ground_shadow = shadow((x - 0.4, z - 0.3), (x + 0.4, z + 0.3))
        layout.things.append(Thing("person", place(parts, (x, z)), shadows=(ground_shadow,)))
