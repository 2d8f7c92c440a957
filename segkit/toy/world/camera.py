"""The camera of the toy world: projects things in space to colours, a thing index per pixel, and shadows.

Hidden surfaces are removed by the painter's algorithm: things are drawn from back to front (see `draw_order`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from segkit.toy.world.shapes import Face, Part, Points, Thing

NEAR = 0.05
"""Distance of the near clipping plane, in metres."""

EMPTY = 255
"""Thing index of pixels that show no thing; an enclosed scene has no such pixels."""


@dataclass(frozen=True)
class Camera:
    """The viewpoint and the light.

    Attributes:
        eye: position in metres.
        yaw: rotation to the right in radians.
        focal: focal length as a multiple of the square root of the picture's area.
        centre: principal point as fractions of width and height; the horizon passes through it.
        light: direction towards the light; faces turned to it are brighter.
        contrast: darkening of faces turned away from the light, 0 to 1.
    """

    eye: tuple[float, float, float]
    yaw: float
    focal: float
    centre: tuple[float, float]
    light: tuple[float, float, float]
    contrast: float

    def to_camera(self, points: Points) -> Points:
        """Convert world coordinates to camera coordinates (right, up, forward), (N, 3) -> (N, 3)."""
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        rotated: Points = (points - self.eye) @ np.array(((cosine, 0, sine), (0, 1, 0), (-sine, 0, cosine)))
        return rotated

    def project(self, points: Points, size: tuple[int, int]) -> NDArray[np.float64]:
        """Project camera coordinates with positive depth to pixel coordinates, (N, 3) -> (N, 2)."""
        width, height = size
        scale = self.focal * np.sqrt(width * height) / points[:, 2]
        return np.stack(
            (width * self.centre[0] + points[:, 0] * scale, height * self.centre[1] - points[:, 1] * scale), 1
        )

    def brightness(self, face: Face) -> float:
        """Return the factor for a face's colour (Lambert shading softened by `contrast`)."""
        if face.normal is None:
            return 1.0
        cosine = float(np.dot(face.normal, self.light)) / float(np.linalg.norm(self.light))
        return 1 - self.contrast * (1 - cosine) / 2


@dataclass(frozen=True)
class Drawing:
    """A scene as drawn, before light, lens and sensor.

    Attributes:
        colors: RGB.
        thing_ids: (H, W) uint8, index of the thing that each pixel shows.
        shade: mode L, 255 outside shadows.
    """

    colors: Image.Image
    thing_ids: NDArray[np.uint8]
    shade: Image.Image


def draw(things: Sequence[Thing], camera: Camera, size: tuple[int, int]) -> Drawing:
    """Draw things from back to front.

    Args:
        things: at most 255. Flat ones are drawn first, in the given order, the others in `draw_order`.
        camera: the viewpoint.
        size: width and height in pixels.
    """
    colors, thing_ids, shade = Image.new("RGB", size), Image.new("L", size, EMPTY), Image.new("L", size, 255)
    on_colors, on_ids, on_shade = ImageDraw.Draw(colors), ImageDraw.Draw(thing_ids), ImageDraw.Draw(shade)
    eye = np.asarray(camera.eye)
    parts = list(_back_to_front(things, eye))
    for number, face, points in _visible_faces(parts, camera, eye):
        corners = camera.project(points, size).ravel().tolist()
        if face.shadow:
            on_shade.polygon(corners, fill=int(255 * (1 - face.shadow)))
            continue
        brightness = camera.brightness(face)
        red, green, blue = (min(255, max(0, round(channel * brightness))) for channel in face.color)
        on_colors.polygon(corners, fill=(red, green, blue))
        on_ids.polygon(corners, fill=number)
        on_shade.polygon(corners, fill=255)
    shade = shade.filter(ImageFilter.GaussianBlur(0.012 * min(size)))
    return Drawing(colors, np.asarray(thing_ids), shade)


def _back_to_front(things: Sequence[Thing], eye: NDArray[np.float64]) -> Iterator[tuple[int, Part]]:
    for number, thing in enumerate(things):
        if thing.flat:
            yield from ((number, part) for part in thing.parts)
    yield from ((number, Part(thing.shadows)) for number, thing in enumerate(things) if thing.shadows)
    standing = [(number, part) for number, thing in enumerate(things) if not thing.flat for part in thing.parts]
    for index in draw_order([part.bounds for _, part in standing], eye):
        yield standing[index]


def draw_order(bounds: Sequence[Points], eye: NDArray[np.float64]) -> list[int]:
    """Return the order in which to draw axis-aligned boxes so that near ones hide far ones.

    Box a cannot be hidden by box b if an axis-aligned plane separates them and the eye is on a's side of it. All boxes
    that a may hide are drawn before a; ties and cycles are resolved by distance, farthest first.

    Args:
        bounds: lowest and highest corner of each box, (2, 3).
        eye: the viewer's position.
    """
    if not bounds:
        return []
    low, high = np.stack(bounds).transpose(1, 0, 2)  # (N, 3) each
    gap_below = high[:, None] <= low[None] + 1e-6  # (N, N, 3): box a ends before box b begins on this axis
    eye_below = eye < (high[:, None] + low[None]) / 2
    # a is safe from b if the eye is on a's side of a plane that separates them
    safe = (gap_below & eye_below) | (gap_below & ~eye_below).transpose(1, 0, 2)
    hides = ~safe.any(2).T  # hides[a, b]: a may hide b, since b is not safe from a
    before = hides.T & ~hides  # before[b, a]: b is drawn before a
    distance = np.linalg.norm((low + high) / 2 - eye, axis=1)
    remaining, result = set(range(len(bounds))), []
    blockers = before.sum(0)  # number of boxes that must be drawn before each box
    while remaining:
        free = [index for index in remaining if blockers[index] == 0] or list(remaining)  # all blocked: a cycle
        chosen = max(free, key=lambda index: (distance[index], index))
        remaining.remove(chosen)
        blockers -= before[chosen]
        result.append(chosen)
    return result


def _visible_faces(
    parts: Sequence[tuple[int, Part]], camera: Camera, eye: NDArray[np.float64]
) -> Iterator[tuple[int, Face, Points]]:
    """Yield (thing index, face, camera coordinates) of the front faces, clipped at the near plane."""
    faces = [(number, face) for number, part in parts for face in part.faces]
    ends = np.cumsum([len(face.points) for _, face in faces])
    coordinates = camera.to_camera(np.concatenate([face.points for _, face in faces]))
    for (number, face), end in zip(faces, ends.tolist(), strict=True):
        points = coordinates[end - len(face.points) : end]
        if face.normal is not None and np.dot(face.points[0] - eye, face.normal) >= 0:
            continue
        nearest = points[:, 2].min()
        if nearest < NEAR:
            points = _clip(points)
        if len(points) >= 3:
            yield number, face, points


def _clip(points: Points) -> Points:
    """Clip a polygon at the near plane (Sutherland-Hodgman for one plane)."""
    clipped = []
    for here, there in zip(points, np.roll(points, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            clipped.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            clipped.append(here + (there - here) * (NEAR - here[2]) / (there[2] - here[2]))
    return np.array(clipped).reshape(-1, 3)
