"""The toy world's camera: things in space become a photo, and the thing that each pixel shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from segkit.toy.world.shapes import Face, Part, Points, Thing

NEAR = 0.05
"""Metres before the eye where faces are cut off."""


NOTHING = 255
"""Stands in a drawing for no thing at all; a place that is closed all around leaves none."""


@dataclass(frozen=True)
class Camera:
    """Where the viewer stands and looks, and how the light falls.

    Attributes:
        eye: position in metres.
        yaw: radians to the right.
        focal: focal length, as a multiple of the square root of the picture's area.
        centre: where the horizon's middle lies, as shares of width and height.
        light: where the light comes from; faces turned to it are brighter.
        contrast: how much darker the others are, 0 to 1.
    """

    eye: tuple[float, float, float]
    yaw: float
    focal: float
    centre: tuple[float, float]
    light: tuple[float, float, float]
    contrast: float

    def turn(self, points: Points) -> Points:
        """Return points as the viewer sees them: to the right, up, away. Shape (N, 3)."""
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        turned: Points = (points - self.eye) @ np.array(((cosine, 0, sine), (0, 1, 0), (-sine, 0, cosine)))
        return turned

    def project(self, seen: Points, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the pixels of points before the viewer: (N, 3) -> (N, 2)."""
        width, height = size
        scale = self.focal * np.sqrt(width * height) / seen[:, 2]
        return np.stack((width * self.centre[0] + seen[:, 0] * scale, height * self.centre[1] - seen[:, 1] * scale), 1)

    def brightness(self, face: Face) -> float:
        """Return by what the face's colour is multiplied."""
        if face.normal is None:
            return 1.0
        turned = float(np.dot(face.normal, self.light)) / float(np.linalg.norm(self.light))
        return 1 - self.contrast * (1 - turned) / 2


@dataclass(frozen=True)
class Drawing:
    """A scene as drawn, before light, lens and sensor.

    Attributes:
        colors: RGB.
        shown: (H, W) uint8, which thing each pixel shows, as its place in the list.
        shade: mode L, 255 where no shadow falls.
    """

    colors: Image.Image
    shown: NDArray[np.uint8]
    shade: Image.Image


def draw(things: Sequence[Thing], camera: Camera, size: tuple[int, int]) -> Drawing:
    """Draw things from the back to the front.

    Args:
        things: at most NOTHING; flat ones are drawn first, in their order, the others by what hides what.
        camera: the viewer.
        size: width and height in pixels.
    """
    colors, shown, shade = Image.new("RGB", size), Image.new("L", size, NOTHING), Image.new("L", size, 255)
    on_colors, on_shown, on_shade = ImageDraw.Draw(colors), ImageDraw.Draw(shown), ImageDraw.Draw(shade)
    eye = np.asarray(camera.eye)
    drawn = list(_in_order(things, eye))
    for number, face, seen in _visible(drawn, camera, eye):
        corners = camera.project(seen, size).ravel().tolist()
        if face.shadow:
            on_shade.polygon(corners, fill=int(255 * (1 - face.shadow)))
            continue
        brightness = camera.brightness(face)
        red, green, blue = (min(255, max(0, round(channel * brightness))) for channel in face.color)
        on_colors.polygon(corners, fill=(red, green, blue))
        on_shown.polygon(corners, fill=number)
        on_shade.polygon(corners, fill=255)
    shade = shade.filter(ImageFilter.GaussianBlur(0.012 * min(size)))
    return Drawing(colors, np.asarray(shown), shade)


def _in_order(things: Sequence[Thing], eye: NDArray[np.float64]) -> Iterator[tuple[int, Part]]:
    for number, thing in enumerate(things):
        if thing.flat:
            yield from ((number, part) for part in thing.parts)
    yield from ((number, Part(thing.cast)) for number, thing in enumerate(things) if thing.cast)
    standing = [(number, part) for number, thing in enumerate(things) if not thing.flat for part in thing.parts]
    for place in order([part.bounds for _, part in standing], eye):
        yield standing[place]


def order(bounds: Sequence[Points], eye: NDArray[np.float64]) -> list[int]:
    """Return in which order upright boxes are drawn, so that near ones hide far ones.

    A box cannot be hidden by another if a plane between them has the eye on its own side; if none has, the farther one
    is drawn first.

    Args:
        bounds: lowest and highest corner of each box, (2, 3).
        eye: the viewer's position.
    """
    if not bounds:
        return []
    low, high = np.stack(bounds).transpose(1, 0, 2)  # (N, 3) each
    gap_below = high[:, None] <= low[None] + 1e-6  # (N, N, 3): box a ends before box b begins
    eye_below = eye < (high[:, None] + low[None]) / 2
    safe = (gap_below & eye_below) | (gap_below & ~eye_below).transpose(1, 0, 2)  # the eye is on a's side of a plane
    hides = ~safe.any(2).T  # hides[a, b]: a may hide b, since b is not safe from a
    before = hides.T & ~hides  # before[b, a]: b is drawn before a
    distance = np.linalg.norm((low + high) / 2 - eye, axis=1)
    waiting, result = set(range(len(bounds))), []
    blockers = before.sum(0)  # how many are to be drawn before each
    while waiting:
        free = [place for place in waiting if blockers[place] == 0] or list(waiting)  # a circle: the farthest
        chosen = max(free, key=lambda place: (distance[place], place))
        waiting.remove(chosen)
        blockers -= before[chosen]
        result.append(chosen)
    return result


def _visible(
    drawn: Sequence[tuple[int, Part]], camera: Camera, eye: NDArray[np.float64]
) -> Iterator[tuple[int, Face, Points]]:
    """Yield the faces that look at the viewer, as seen, cut off right before the eye."""
    faces = [(number, face) for number, part in drawn for face in part.faces]
    ends = np.cumsum([len(face.points) for _, face in faces])
    seen = camera.turn(np.concatenate([face.points for _, face in faces]))
    for (number, face), end in zip(faces, ends.tolist(), strict=True):
        points = seen[end - len(face.points) : end]
        if face.normal is not None and np.dot(face.points[0] - eye, face.normal) >= 0:
            continue
        nearest = points[:, 2].min()
        if nearest < NEAR:
            points = _cut(points)
        if len(points) >= 3:
            yield number, face, points


def _cut(points: Points) -> Points:
    """Cut off the part of a polygon that lies nearer than NEAR."""
    kept = []
    for here, there in zip(points, np.roll(points, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            kept.append(here + (there - here) * (NEAR - here[2]) / (there[2] - here[2]))
    return np.array(kept).reshape(-1, 3)
