"""Finding control maps, and opening them safely."""

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from segkit import photos, storage
from segkit.errors import MapError
from segkit.photos.quiet import quiet_pillow

FORMATS = ("PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG")
"""File formats in which control maps occur, lossy ones included."""


@dataclass(frozen=True)
class MapFile:
    """A map and the bytes of its file, which store more than its colours if it is JPEG."""

    image: Image.Image
    data: bytes


def find(target: Path, expected: str = "a control map such as map.png, or a folder of them") -> tuple[Path, list[Path]]:
    """Find control maps in a file or folder.

    Args:
        target: a picture, or a folder with pictures at any depth.
        expected: description of a valid target, for error messages.

    Returns:
        The folder that names are relative to, and the paths of the maps.

    Raises:
        MapError: the target is neither a picture nor a folder with pictures.
    """
    if target.is_dir():
        files = list(photos.find(target, follow_links=True))
        if not files:
            raise MapError(f"{target} contains no pictures. Expected {expected}.")
        return target, files
    if not target.is_file() or target.suffix.lower() not in photos.SUFFIXES:
        reason = "does not have the suffix of a picture" if target.exists() else "does not exist"
        raise MapError(f"{target} {reason}. Expected {expected}.")
    return target.parent, [target]


def read_file(path: Path) -> MapFile:
    """Open a map and load its pixels, upright, and keep its file.

    Raises:
        MapError: as `read`.
    """
    if not path.is_file():
        raise MapError("is not a file" if path.exists() else "does not exist")
    data = _bytes(path)
    return MapFile(decode(BytesIO(data)), data)


def read(path: Path, sha256: str = "") -> Image.Image:
    """Open a map and load its pixels, upright.

    Args:
        path: the map.
        sha256: hash that its bytes must have, in hex; "" accepts any.

    Raises:
        MapError: the path is not a file, has another hash, or cannot be decoded; the message begins with a verb, to
            follow a file name.
    """
    if not path.is_file():  # opening a named pipe would block
        raise MapError("is not a file" if path.exists() else "does not exist")
    if not sha256:
        return decode(path)
    data = _bytes(path)
    if storage.sha256(data) != sha256:
        raise MapError("was changed after it was checked")
    return decode(BytesIO(data))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MapError(f"cannot be read ({os.strerror(error.errno or 0)})") from None


def decode(source: Path | BinaryIO) -> Image.Image:
    """Decode a map from a path or an open file.

    Raises:
        MapError: it cannot be decoded; the message begins with a verb, to follow a file name.
    """
    try:
        with quiet_pillow(), Image.open(source, formats=FORMATS) as image:
            image.load()  # the context closes the file, which load() leaves open for an animation
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise MapError(f"does not open ({type(error).__name__}: {error})") from None
    return photos.upright(image)
