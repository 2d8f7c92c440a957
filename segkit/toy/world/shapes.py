"""What the toy world is built of: faces in space, parts made of faces, things made of parts.

Space is in metres: x to the right, y up from the ground, z away from the viewer. Rooms and streets are axis-aligned, so
that whatever hides what can be decided exactly (see camera.order).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Color = tuple[float, float, float]
"""Red, green, blue, 0 to 255."""

Points = NDArray[np.float64]
"""(N, 3) corners in metres."""


Vector = Sequence[float] | NDArray[np.float64]
"""x, y and z."""


@dataclass(frozen=True)
class Face:
    """A flat polygon of one colour.

    Attributes:
        points: its corners in order.
        color: before light and shade.
        normal: where it looks; faces that look away are not drawn. None: seen from both sides and evenly lit.
        shadow: 0 for a face of a thing; up to 1 for a shadow that darkens what was drawn before, and belongs to it.
    """

    points: Points
    color: Color
    normal: tuple[float, float, float] | None = None
    shadow: float = 0.0


@dataclass(frozen=True)
class Part:
    """Faces within one upright box, drawn in their order. No two parts of a scene reach into one another."""

    faces: tuple[Face, ...]

    @cached_property
    def bounds(self) -> Points:
        """The lowest and the highest corner, (2, 3)."""
        points = np.concatenate([face.points for face in self.faces])
        return np.stack((points.min(0), points.max(0)))


@dataclass(frozen=True)
class Thing:
    """Something with a name: every pixel of its parts is of that class.

    Attributes:
        name: its ADE20K class.
        parts: what it is made of.
        cast: the shadows that it throws on the ground.
        flat: it lies on what was drawn before (a rug, a window), so it is drawn first, in the order of the scene.
        ground: it belongs to the place itself and stays however little of it is seen.
    """

    name: str
    parts: tuple[Part, ...]
    cast: tuple[Face, ...] = ()
    flat: bool = False
    ground: bool = False


def quad(origin: Vector, right: Vector, up: Vector) -> Points:
    """Return the corners of a parallelogram."""
    o, r, u = np.asarray(origin, float), np.asarray(right, float), np.asarray(up, float)
    return np.stack((o, o + r, o + r + u, o + u))


def surface(name: str, points: Points, color: Color, *details: Face, ground: bool = False) -> Thing:
    """Return a flat thing of one polygon, with details painted on it."""
    return Thing(name, (Part((Face(points, color), *details)),), flat=True, ground=ground)


def box(low: Sequence[float], high: Sequence[float], color: Color, *details: Face) -> Part:
    """Return an upright box from its lowest to its highest corner; details are painted on its faces afterwards."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    width, height, depth = (x1 - x0, 0, 0), (0, y1 - y0, 0), (0, 0, z1 - z0)
    return Part(
        (
            Face(quad((x0, y0, z1), width, height), color, (0, 0, 1)),
            Face(quad((x0, y0, z0), depth, height), color, (-1, 0, 0)),
            Face(quad((x1, y0, z0), depth, height), color, (1, 0, 0)),
            Face(quad((x0, y1, z0), width, depth), color, (0, 1, 0)),
            Face(quad((x0, y0, z0), width, depth), color, (0, -1, 0)),
            Face(quad((x0, y0, z0), width, height), color, (0, 0, -1)),
            *details,
        )
    )


def disc(centre: Vector, across: Vector, up: Vector, color: Color, sides: int = 14) -> Face:
    """Return an ellipse with the given half axes."""
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    points = np.asarray(centre, float) + np.cos(turn) * np.asarray(across, float) + np.sin(turn) * np.asarray(up, float)
    return Face(points, color)


def shadow(low: Sequence[float], high: Sequence[float], strength: float = 0.35) -> Face:
    """Return the soft shadow that a thing between two (x, z) corners casts on the ground around it."""
    (x0, z0), (x1, z1) = low, high
    centre, half = ((x0 + x1) / 2, 0.001, (z0 + z1) / 2), ((x1 - x0) * 0.62, 0, 0)
    ellipse = disc(centre, half, (0, 0, (z1 - z0) * 0.62), (0, 0, 0), 20)
    return replace(ellipse, shadow=strength)


def place(parts: Iterable[Part], position: tuple[float, float], quarters: int = 0) -> tuple[Part, ...]:
    """Turn parts by quarter turns around the y axis and move them.

    Args:
        parts: built around the origin, looking at the viewer (towards negative z).
        position: x and z of the origin afterwards.
        quarters: 0 looks at the viewer, 1 to the left, 2 away, 3 to the right.
    """
    sine, cosine = ((0, 1), (1, 0), (0, -1), (-1, 0))[quarters % 4]
    turn = np.array(((cosine, 0, -sine), (0, 1, 0), (sine, 0, cosine)), float)
    offset = np.array((position[0], 0, position[1]))

    def moved(face: Face) -> Face:
        normal = face.normal and tuple(float(value) for value in np.asarray(face.normal, float) @ turn)
        return replace(face, points=face.points @ turn + offset, normal=normal)  # type: ignore[arg-type]

    return tuple(Part(tuple(moved(face) for face in part.faces)) for part in parts)
