"""Renders rooms and streets from a seed, with the class of every pixel and a true sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.Image import Transpose

from segkit import storage
from segkit.errors import UsageError
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette
from segkit.toy.world import camera, grammar, light
from segkit.toy.world.rooms import room
from segkit.toy.world.shapes import Thing
from segkit.toy.world.streets import street

CLASSES = (
    *("wall", "floor", "ceiling", "windowpane", "door", "bed", "table", "chair", "painting", "lamp", "sofa"),
    *("cabinet", "rug", "curtain", "person", "sky", "building", "tree", "road", "grass", "mountain", "car"),
    *("water", "sidewalk"),
)
"""The ADE20K classes of the toy world."""

SIDES = (96, 1024)
"""Minimum and maximum side of a photo, in pixels."""

TRAINING = 1_000_000
"""Seed of the first training scene of the shipped networks; scenes with lower seeds are held out."""

_MIN_SHARE = 0.012
"""Things that cover a smaller share of the pixels are removed from the scene."""


@dataclass(frozen=True)
class Scene:
    """A rendered photo with its ground truth.

    Attributes:
        photo: RGB.
        labels: (H, W) uint8 indices of the ADE20K palette; every pixel has a class.
        sentence: describes the photo and mentions nothing that is not in it.
        things: the visible things, including the setting itself (walls, ground).
    """

    photo: Image.Image
    labels: Labels
    sentence: str
    things: tuple[grammar.VisibleThing, ...]

    @property
    def outdoors(self) -> bool:
        """Whether the scene is a street rather than a room."""
        return any(thing.name == "road" for thing in self.things)


def scene(seed: int, size: tuple[int, int] = (128, 128)) -> Scene:
    """Render a room or a street. Equal arguments give equal scenes; other sizes show the same place.

    Args:
        seed: 0 or more.
        size: width and height in pixels, 96 to 1024 each.

    Raises:
        UsageError: the size is out of range.
    """
    if not SIDES[0] <= min(size) <= max(size) <= SIDES[1]:
        raise UsageError(
            f"Toy scene of {size[0]}x{size[1]} pixels: expected sides from {SIDES[0]} to {SIDES[1]} pixels."
        )
    # Independent generators, so that a change of the texture or the wording leaves the geometry of all seeds alone.
    geometry, texture, wording = (np.random.default_rng((seed, stream)) for stream in range(3))
    things, viewer = (room if geometry.random() < 0.5 else street)(geometry)
    drawing = camera.draw(things, viewer, size)
    large = _without_specks(things, drawing)
    if len(large) < len(things):
        things, drawing = large, camera.draw(large, viewer, size)
    names = [thing.name for thing in things]
    indices = np.full(256, UNLABELLED, np.uint8)
    indices[: len(names)] = [_index(name) for name in names]
    visible = _visible_things(names, drawing)
    photo = light.develop(drawing, names, texture)
    return Scene(photo, indices[drawing.thing_ids], grammar.describe(visible, wording), visible)


def write_variants(folder: Path, seed: int, size: tuple[int, int] = (512, 384)) -> dict[str, Path]:
    """Write a photo and variants of it as they occur in real collections, as JPEG files.

    Returns:
        The paths by variant: "original", "copy" (the same bytes), "turned" (stored sideways, with the EXIF orientation
        that corrects it), "grey", "cropped" (by a twentieth on each side) and "mirrored".

    Raises:
        StorageError: the disk is full.
    """
    photo = scene(seed, size).photo
    width, height = photo.size
    orientation = Image.Exif()
    orientation[ExifTags.Base.Orientation] = 6  # display after a rotation by 90 degrees clockwise
    box = (width // 20, height // 20, width - width // 20, height - height // 20)
    encoded = {
        "original": jpeg(photo),
        "copy": jpeg(photo),
        "turned": jpeg(photo.transpose(Transpose.ROTATE_90), orientation),
        "grey": jpeg(photo.convert("L")),
        "cropped": jpeg(photo.crop(box)),
        "mirrored": jpeg(ImageOps.mirror(photo)),
    }
    paths = {name: folder / f"{name}.jpg" for name in encoded}
    for name, data in encoded.items():
        storage.write(paths[name], data)
    return paths


def jpeg(image: Image.Image, exif: Image.Exif | None = None) -> bytes:
    """Encode a photo as JPEG, as a camera would."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=92, exif=exif or Image.Exif())
    return buffer.getvalue()


@cache
def _index(name: str) -> int:
    return Palette.load("ade20k").find(name).index


def _without_specks(things: Sequence[Thing], drawing: camera.Drawing) -> list[Thing]:
    pixels = np.bincount(drawing.thing_ids.ravel(), minlength=len(things))
    minimum = _MIN_SHARE * drawing.thing_ids.size
    return [thing for thing, number in zip(things, pixels.tolist(), strict=True) if thing.ground or number >= minimum]


def _visible_things(names: Sequence[str], drawing: camera.Drawing) -> tuple[grammar.VisibleThing, ...]:
    height, width = drawing.thing_ids.shape
    things = []
    for number, name in enumerate(names):
        rows, columns = np.nonzero(drawing.thing_ids == number)
        if rows.size:
            x, y = (columns + 0.5) / width, (rows + 0.5) / height
            share = rows.size / drawing.thing_ids.size
            things.append(
                grammar.VisibleThing(name, share, float(x.mean()), float(y.mean()), float(x.min()), float(x.max()))
            )
    return tuple(things)
