"""Control maps as files: found, and opened without trusting them."""

import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from segkit import photos
from segkit.errors import MapError

FORMATS = ("PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG")
"""What a control map may be saved as, well or badly."""


def find(target: Path, expected: str = "a control map such as map.png, or a folder of them") -> tuple[Path, list[Path]]:
    """Return the folder that names are relative to, and the maps: the file itself, or all pictures of a folder.

    Args:
        target: the file or folder.
        expected: what an error says a target may be.

    Raises:
        MapError: neither a picture nor a folder of pictures.
    """
    if target.is_dir():
        files = list(photos.find(target))
        if not files:
            raise MapError(f"{target} holds no control maps: no picture was found in it.")
        return target, files
    if not target.is_file() or target.suffix.lower() not in photos.SUFFIXES:
        found = "is no picture by its name" if target.exists() else "is not there"
        raise MapError(f"{target} {found}. Expected {expected}.")
    return target.parent, [target]


def read(path: Path) -> Image.Image:
    """Open a map and load its pixels.

    Raises:
        MapError: it is no file, or no picture that opens; the text begins with a verb.
    """
    if not path.is_file():  # opening a named pipe would block for ever
        raise MapError("is no file" if path.exists() else "is not there")
    return decode(path)


def decode(source: Path | BinaryIO) -> Image.Image:
    """Load the pixels of a map that is at hand.

    Raises:
        MapError: it is no picture that opens; the text begins with a verb.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(source, formats=FORMATS)
            image.load()
    except Exception as error:  # Pillow raises anything on damaged files
        raise MapError(f"does not open ({type(error).__name__}: {error})") from None
    return image
