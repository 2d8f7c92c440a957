"""Geometry of the toy world: faces in space, parts made of faces, things made of parts.

Coordinates are in metres: x to the right, y up from the ground, z away from the viewer. All parts are axis-aligned, so
occlusion can be decided exactly (see camera.draw_order).
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
        points: corners in order.
        color: colour before shading.
        normal: outward direction; back faces are not drawn. None: visible from both sides and unshaded.
        shadow: 0 for a face of a thing; up to 1 for a shadow, which darkens what is drawn so far without changing its
            class.
    """

    points: Points
    color: Color
    normal: tuple[float, float, float] | None = None
    shadow: float = 0.0


@dataclass(frozen=True)
class Part:
    """Faces inside an axis-aligned box, drawn in the given order. The boxes of a scene's parts do not intersect."""

    faces: tuple[Face, ...]

    @cached_property
    def bounds(self) -> Points:
        """The lowest and the highest corner, (2, 3)."""
        points = np.concatenate([face.points for face in self.faces])
        return np.stack((points.min(0), points.max(0)))


@dataclass(frozen=True)
class Thing:
    """An object of one class: every pixel of its parts has that class.

    Attributes:
        name: ADE20K class.
        parts: its parts.
        shadows: the shadows that it casts on the ground.
        flat: it lies on another surface (a rug, a window); flat things are drawn first, in the order of the scene.
        ground: it belongs to the setting itself and stays in the scene however few of its pixels are visible.
    """

    name: str
    parts: tuple[Part, ...]
    shadows: tuple[Face, ...] = ()
    flat: bool = False
    ground: bool = False


def quad(origin: Vector, right: Vector, up: Vector) -> Points:
    """Return the corners of a parallelogram."""
    o, r, u = np.asarray(origin, float), np.asarray(right, float), np.asarray(up, float)
    return np.stack((o, o + r, o + r + u, o + u))


def surface(name: str, points: Points, color: Color, *details: Face, ground: bool = False) -> Thing:
    """Return a flat thing made of one polygon with details painted on it."""
    return Thing(name, (Part((Face(points, color), *details)),), flat=True, ground=ground)


def box(low: Sequence[float], high: Sequence[float], color: Color, *details: Face) -> Part:
    """Return an axis-aligned box from its lowest to its highest corner; details are painted on its faces."""
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
    """Return an ellipse, as a polygon, from its centre and its two semi-axes."""
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    points = (
        np.asarray(centre, float) + np.cos(angles) * np.asarray(across, float) + np.sin(angles) * np.asarray(up, float)
    )
    return Face(points, color)


def shadow(low: Sequence[float], high: Sequence[float], strength: float = 0.35) -> Face:
    """Return the shadow of a thing that stands between two (x, z) corners: an ellipse on the ground around it."""
    (x0, z0), (x1, z1) = low, high
    centre, half = ((x0 + x1) / 2, 0.001, (z0 + z1) / 2), ((x1 - x0) * 0.62, 0, 0)
    ellipse = disc(centre, half, (0, 0, (z1 - z0) * 0.62), (0, 0, 0), 20)
    return replace(ellipse, shadow=strength)


def place(parts: Iterable[Part], position: tuple[float, float], quarters: int = 0) -> tuple[Part, ...]:
    """Rotate parts around the y axis by quarter turns, then translate them.

    Args:
        parts: built around the origin, facing the viewer (towards negative z).
        position: x and z to which the origin is moved.
        quarters: 0 faces the viewer, 1 left, 2 away, 3 right.
    """
    sine, cosine = ((0, 1), (1, 0), (0, -1), (-1, 0))[quarters % 4]
    rotation = np.array(((cosine, 0, -sine), (0, 1, 0), (sine, 0, cosine)), float)
    offset = np.array((position[0], 0, position[1]))

    def moved(face: Face) -> Face:
        normal = face.normal and tuple(float(value) for value in np.asarray(face.normal, float) @ rotation)
        return replace(face, points=face.points @ rotation + offset, normal=normal)  # type: ignore[arg-type]

    return tuple(Part(tuple(moved(face) for face in part.faces)) for part in parts)
