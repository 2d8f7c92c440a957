"""Rooms of the toy world: walls, things on the walls, and furniture that does not overlap."""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from segkit.toy.world.camera import Camera
from segkit.toy.world.furniture import BUILDERS, WOODS, shaded, tinted
from segkit.toy.world.shapes import Color, Face, Thing, disc, place, quad, shadow, surface

FURNITURE = {
    "bedroom": ("bed", "cabinet", "lamp", "chair"),
    "living room": ("sofa", "table", "lamp", "cabinet", "person"),
    "dining room": ("table", "chair", "chair", "cabinet", "person", "lamp"),
}
"""Furniture by kind of room; the first piece is always placed if it fits."""

_WIDTHS = {"windowpane": (0.9, 1.7), "door": (0.85, 1.0), "painting": (0.7, 1.2)}  # ranges in metres
_HEIGHTS = {"windowpane": (1.0, 1.3), "door": (1.95, 2.1), "painting": (0.6, 0.95)}
_BOTTOMS = {"windowpane": (0.85, 1.0), "painting": (1.25, 1.4)}


@dataclass
class _RoomLayout:
    """A room being furnished.

    Attributes:
        random: source of all random choices.
        left, right, back, height: x of the side walls, z of the back wall, y of the ceiling, in metres.
        things: placed so far.
        occupied: floor rectangles in use: lowest x and z, highest x and z.
        walls: intervals in use along each wall.
    """

    random: Generator
    left: float
    right: float
    back: float
    height: float
    things: list[Thing] = field(default_factory=list)
    occupied: list[tuple[float, float, float, float]] = field(default_factory=list)
    walls: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {"back": [], "left": [], "right": []})


def room(random: Generator) -> tuple[list[Thing], Camera]:
    """Return a furnished room and the camera in it."""
    width, back = float(random.uniform(3.0, 5.0)), float(random.uniform(3.2, 4.8))
    left = -width * float(random.uniform(0.38, 0.62))
    layout = _RoomLayout(random, left, left + width, back, float(random.uniform(2.4, 2.9)))
    kind = str(random.choice(list(FURNITURE)))
    _add_shell(layout)
    for thing in ("windowpane", "door", "painting", "painting"):
        if random.random() < 0.72:
            _add_wall_item(layout, thing)
    if random.random() < 0.45:
        _add_rug(layout)
    first, *others = FURNITURE[kind]
    _add_furniture(layout, first, float(random.uniform(0.25, 0.6)))
    for thing in others:
        if random.random() < 0.6:
            _add_furniture(layout, thing, 1.0)
    light = (float(random.uniform(-1, 1)), 1.2, -float(random.uniform(0.2, 1.2)))
    camera = Camera(
        eye=(0.0, float(random.uniform(1.25, 1.75)), 0.0),
        yaw=float(random.uniform(-0.45, 0.45)),
        focal=float(random.uniform(0.62, 0.95)),
        centre=(0.5, float(random.uniform(0.36, 0.5))),
        light=light,
        contrast=float(random.uniform(0.25, 0.5)),
    )
    return layout.things, camera


def _add_shell(layout: _RoomLayout) -> None:
    """Add floor (boards or tiles), ceiling and three walls with skirting boards."""
    random, x0, x1, z1, h = layout.random, layout.left, layout.right, layout.back, layout.height
    z0 = -1.5
    width, depth = (x1 - x0, 0, 0), (0, 0, z1 - z0)
    floor = tinted(random, ((158, 118, 78), (128, 96, 70), (150, 145, 140), (176, 150, 118)))
    seams = []
    step, across = float(random.uniform(0.25, 0.6)), random.random() < 0.4
    for offset in np.arange(step, x1 - x0, step):
        seams.append(Face(quad((x0 + offset, 0, z0), (0.025, 0, 0), depth), shaded(floor, 0.8)))
    for offset in np.arange(step, z1 - z0, step) if across else ():
        seams.append(Face(quad((x0, 0, z0 + offset), width, (0, 0, 0.025)), shaded(floor, 0.8)))
    wall = tinted(random, ((228, 216, 192), (192, 208, 218), (200, 214, 192), (222, 198, 192), (205, 203, 200)))
    skirting, strip = shaded(wall, 0.75), (0, 0.09, 0)
    up = (0, h, 0)
    left, right = shaded(wall, float(random.uniform(0.8, 0.97))), shaded(wall, float(random.uniform(0.8, 0.97)))
    walls = (
        (quad((x0, 0, z1), width, up), wall, quad((x0, 0, z1), width, strip)),
        (quad((x0, 0, z0), depth, up), left, quad((x0, 0, z0), depth, strip)),
        (quad((x1, 0, z0), depth, up), right, quad((x1, 0, z0), depth, strip)),
    )
    ceiling = tinted(random, ((243, 243, 241),), 6)
    layout.things += [
        surface("floor", quad((x0, 0, z0), width, depth), floor, *seams, ground=True),
        surface("ceiling", quad((x0, h, z0), width, depth), ceiling, ground=True),
        *(surface("wall", points, tint, Face(base, skirting), ground=True) for points, tint, base in walls),
    ]


def _add_wall_item(layout: _RoomLayout, name: str) -> None:
    """Add a window, door or painting to a wall, unless it would overlap another one."""
    random = layout.random
    wall = str(random.choice(("back", "back", "left", "right")))
    low, high = (layout.left, layout.right) if wall == "back" else (1.6, layout.back)
    curtained = name == "windowpane" and random.random() < 0.5
    width = float(random.uniform(*_WIDTHS[name]))
    reach = width + (1.1 if curtained else 0.1)  # including the curtains beside it
    if high - low < reach + 0.1:
        return
    start = float(random.uniform(low + 0.05, high - reach - 0.05))
    if any(start < end and begin < start + reach for begin, end in layout.walls[wall]):
        return
    layout.walls[wall].append((start, start + reach))
    middle = start + reach / 2
    bottom = 0.0 if name == "door" else float(random.uniform(*_BOTTOMS[name]))
    height = float(random.uniform(*_HEIGHTS[name]))
    rectangle = _Wall(layout, wall)
    outline = (middle - width / 2, bottom, width, height)
    layout.things.append({"windowpane": _window, "door": _door, "painting": _painting}[name](rectangle, *outline))
    if curtained:
        _add_curtains(rectangle, *outline)


@dataclass(frozen=True)
class _Wall:
    """Places rectangles on a wall: `start` is measured along it (from x or z), `bottom` from the floor."""

    layout: _RoomLayout
    name: str

    def __call__(self, start: float, bottom: float, width: float, height: float, off: float = 0.02) -> np.ndarray:
        up = (0, height, 0)
        if self.name == "back":
            return quad((start, bottom, self.layout.back - off), (width, 0, 0), up)
        x = self.layout.left + off if self.name == "left" else self.layout.right - off
        return quad((x, bottom, start), (0, 0, width), up)


def _window(wall: _Wall, x: float, y: float, w: float, h: float) -> Thing:
    random = wall.layout.random
    frame = tinted(random, ((240, 240, 236), (110, 80, 55)), 8)
    sky = tinted(random, ((150, 195, 240), (190, 215, 240), (120, 165, 215)))
    glass = Face(wall(x + 0.07, y + 0.07, w - 0.14, h - 0.14), sky)
    below = Face(wall(x + 0.07, y + 0.07, w - 0.14, (h - 0.14) * float(random.uniform(0.1, 0.4))), shaded(sky, 0.85))
    bars = [Face(wall(x + w / 2 - 0.03, y, 0.06, h), frame)]
    if random.random() < 0.5:
        bars.append(Face(wall(x, y + 0.55 * h, w, 0.05), frame))
    return surface("windowpane", wall(x, y, w, h), frame, glass, below, *bars)


def _door(wall: _Wall, x: float, y: float, w: float, h: float) -> Thing:
    random = wall.layout.random
    wood = tinted(random, ((135, 82, 48), (70, 100, 90), (96, 60, 42), (165, 110, 65)))
    panels = [Face(wall(x + 0.15, y + p * h, w - 0.3, 0.34 * h), shaded(wood, 0.82)) for p in (0.08, 0.54)]
    return surface("door", wall(x, y, w, h), wood, *panels, Face(wall(x + w - 0.12, 0.95, 0.07, 0.07), (225, 195, 90)))


def _painting(wall: _Wall, x: float, y: float, w: float, h: float) -> Thing:
    random = wall.layout.random
    frame = tinted(random, ((45, 38, 35), (190, 150, 70), *WOODS[:1]))
    paints = ((40, 110, 120), (215, 120, 50), (90, 50, 110), (200, 60, 60), (60, 140, 80))
    tints = [tinted(random, paints) for _ in range(3)]
    inner = (x + 0.06, y + 0.06, w - 0.12, h - 0.12)
    cut = float(random.uniform(0.3, 0.7))
    flat = wall(inner[0], inner[1], inner[2], inner[3] * cut)
    corners = wall(*inner)
    centre = corners.mean(0)
    spot = disc(centre, (corners[1] - corners[0]) * 0.2, (corners[3] - corners[0]) * 0.2, tints[2])
    return surface("painting", wall(x, y, w, h), frame, Face(corners, tints[0]), Face(flat, tints[1]), spot)


def _add_curtains(wall: _Wall, x: float, y: float, w: float, h: float) -> None:
    """Add a pair of folded curtains beside a window, as one thing."""
    random = wall.layout.random
    cloth = tinted(random, ((165, 50, 60), (60, 90, 130), (205, 175, 110), (110, 70, 120), (70, 120, 95)))
    bottom = 0.08 if random.random() < 0.6 else y - 0.15
    faces = []
    for start in (x - 0.5, x + w):
        faces.append(Face(wall(start, bottom, 0.5, y + h + 0.1 - bottom, 0.05), cloth))
        for fold in (0.1, 0.26, 0.42):
            faces.append(Face(wall(start + fold, bottom, 0.05, y + h + 0.1 - bottom, 0.05), shaded(cloth, 0.75)))
    wall.layout.things.append(surface("curtain", faces[0].points, cloth, *faces[1:]))


def _add_rug(layout: _RoomLayout) -> None:
    random = layout.random
    width, depth = float(random.uniform(1.4, 2.4)), float(random.uniform(1.2, 2.0))
    x = float(random.uniform(layout.left + 0.2, max(layout.left + 0.2, layout.right - width - 0.2)))
    z = float(random.uniform(1.5, max(1.5, layout.back - depth - 0.2)))
    border = tinted(random, ((150, 40, 50), (40, 60, 120), (190, 120, 60), (80, 40, 90)))
    tint: Color = tinted(random, ((200, 80, 80), (90, 110, 180), (220, 190, 140), (140, 90, 150)))
    inner = Face(quad((x + 0.15, 0.01, z + 0.15), (width - 0.3, 0, 0), (0, 0, depth - 0.3)), tint)
    spot = disc((x + width / 2, 0.01, z + depth / 2), (width / 5, 0, 0), (0, 0, depth / 5), border)
    layout.things.append(surface("rug", quad((x, 0.01, z), (width, 0, 0), (0, 0, depth)), border, inner, spot))


def _add_furniture(layout: _RoomLayout, name: str, centred: float) -> None:
    """Add a piece of furniture at a free position; give up after 12 attempts."""
    random = layout.random
    parts, width, depth = BUILDERS[name](random)
    for _ in range(12):
        x, z, quarters = _random_position(layout, name, width, depth, centred)
        w, d = (width, depth) if quarters % 2 == 0 else (depth, width)
        low, high = (x - w / 2, z - d / 2), (x + w / 2, z + d / 2)
        near = 2.2 if name in ("person", "lamp") else 1.35  # tall things close to the camera would hide the room
        fits = layout.left < low[0] and high[0] < layout.right and near < low[1] and high[1] < layout.back
        clear = all(
            high[0] + 0.08 < x0 or x1 < low[0] - 0.08 or high[1] + 0.08 < z0 or z1 < low[1] - 0.08
            for x0, z0, x1, z1 in layout.occupied
        )
        if fits and clear:
            layout.occupied.append((*low, *high))
            layout.things.append(Thing(name, place(parts, (x, z), quarters), shadows=(shadow(low, high),)))
            return


def _random_position(
    layout: _RoomLayout, name: str, width: float, depth: float, centred: float
) -> tuple[float, float, int]:
    """Draw x, z and quarter turns that suit a piece: against a wall or free-standing."""
    random, gap = layout.random, 0.06
    x = float(random.uniform(layout.left + width / 2, max(layout.left + width / 2, layout.right - width / 2)))
    if name in ("bed", "sofa", "cabinet"):
        wall = str(random.choice(("back", "left", "right"), p=(0.5, 0.25, 0.25)))
        if wall == "back":
            middle = (layout.left + layout.right) / 2
            return x + (middle - x) * (1 - centred), layout.back - depth / 2 - gap, 0
        z = float(random.uniform(1.4 + width / 2, max(1.4 + width / 2, layout.back - width / 2)))
        side = layout.left + depth / 2 + gap if wall == "left" else layout.right - depth / 2 - gap
        return side, z, 3 if wall == "left" else 1
    z = float(random.uniform(1.7, layout.back - depth / 2 - 0.1))
    return x, z, int(random.integers(4)) if name == "chair" else int(random.integers(2)) if name == "table" else 0
