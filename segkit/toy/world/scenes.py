"""The toy world: rooms and streets rendered from a seed, where every pixel's class is known and every word is true."""

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
"""The ADE20K classes that there are."""

SIDES = (96, 1024)
"""Shortest and longest side of a photo, in pixels."""

TRAINING = 1_000_000
"""The shipped networks are trained on scenes from this seed on; those below are new to them."""

_SPECK = 0.012
"""A thing of which less is seen, as a share of the pixels, is taken out of the scene."""


@dataclass(frozen=True)
class Scene:
    """A rendered photo and the truth about it.

    Attributes:
        photo: RGB.
        labels: (H, W) uint8 indices of the ADE20K palette; every pixel has a class.
        sentence: names what is seen, and nothing else.
        seen: each thing, and each part of the place itself, as the photo shows it.
    """

    photo: Image.Image
    labels: Labels
    sentence: str
    seen: tuple[grammar.Seen, ...]

    @property
    def outdoors(self) -> bool:
        """Whether it is a street; else it is a room."""
        return any(each.name == "road" for each in self.seen)


def scene(seed: int, size: tuple[int, int] = (128, 128)) -> Scene:
    """Render a room or a street. Equal arguments give equal scenes; another size shows the same place.

    Args:
        seed: from 0.
        size: width and height in pixels, each from 96 to 1024.

    Raises:
        UsageError: a size that is too small or too large.
    """
    if not SIDES[0] <= min(size) <= max(size) <= SIDES[1]:
        raise UsageError(f"toy scene of {size[0]}x{size[1]}: expected sides from {SIDES[0]} to {SIDES[1]} pixels.")
    places, film, words = (np.random.default_rng((seed, part)) for part in range(3))
    things, viewer = (room if places.random() < 0.5 else street)(places)
    drawing = camera.draw(things, viewer, size)
    kept = _without_specks(things, drawing)
    if len(kept) < len(things):
        things, drawing = kept, camera.draw(kept, viewer, size)
    names = [thing.name for thing in things]
    indices = np.full(256, UNLABELLED, np.uint8)
    indices[: len(names)] = [_index(name) for name in names]
    seen = _seen(names, drawing)
    photo = light.develop(drawing, names, film)
    return Scene(photo, indices[drawing.shown], grammar.describe(seen, words), seen)


def write_variants(folder: Path, seed: int, size: tuple[int, int] = (512, 384)) -> dict[str, Path]:
    """Write one photo as people have it twice and thrice.

    Returns:
        The files: "original" (a JPEG), "copy" (the same bytes), "turned" (stored on its side, with the EXIF orientation
        that turns it back), "grey", "cropped" (by a twentieth on each side) and "mirrored".

    Raises:
        StorageError: the disk is full.
    """
    photo = scene(seed, size).photo
    width, height = photo.size
    orientation = Image.Exif()
    orientation[ExifTags.Base.Orientation] = 6  # to be turned to the right
    cut = (width // 20, height // 20, width - width // 20, height - height // 20)
    encoded = {
        "original": jpeg(photo),
        "copy": jpeg(photo),
        "turned": jpeg(photo.transpose(Transpose.ROTATE_90), orientation),
        "grey": jpeg(photo.convert("L")),
        "cropped": jpeg(photo.crop(cut)),
        "mirrored": jpeg(ImageOps.mirror(photo)),
    }
    paths = {name: folder / f"{name}.jpg" for name in encoded}
    for name, data in encoded.items():
        storage.write(paths[name], data)
    return paths


def jpeg(image: Image.Image, exif: Image.Exif | None = None) -> bytes:
    """Return a photo as a camera would store it."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=92, exif=exif or Image.Exif())
    return buffer.getvalue()


@cache
def _index(name: str) -> int:
    return Palette.load("ade20k").find(name).index


def _without_specks(things: Sequence[Thing], drawing: camera.Drawing) -> list[Thing]:
    pixels = np.bincount(drawing.shown.ravel(), minlength=len(things))
    least = _SPECK * drawing.shown.size
    return [thing for thing, number in zip(things, pixels.tolist(), strict=True) if thing.ground or number >= least]


def _seen(names: Sequence[str], drawing: camera.Drawing) -> tuple[grammar.Seen, ...]:
    height, width = drawing.shown.shape
    found = []
    for number, name in enumerate(names):
        rows, columns = np.nonzero(drawing.shown == number)
        if rows.size:
            x, y = (columns + 0.5) / width, (rows + 0.5) / height
            share = rows.size / drawing.shown.size
            found.append(grammar.Seen(name, share, float(x.mean()), float(y.mean()), float(x.min()), float(x.max())))
    return tuple(found)
