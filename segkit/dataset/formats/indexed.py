"""Photos in images/ and maps of class indices in labels/, with the classes in classes.csv or classes.txt.

Both folders may hold train/, val/ and test/. Indices count from 0, and 255 is unlabelled, if there is a list of
classes; without one, the maps themselves must tell.
"""

from pathlib import Path

from segkit.dataset.formats import pairs
from segkit.dataset.formats.items import Collection
from segkit.palette import Palette
from segkit.photos import SUFFIXES

_PHOTOS, _MAPS, _CLASSES = "images", "labels", "classes.csv"


def detect(folder: Path) -> bool:
    """Return whether a folder has this layout: images/, and pictures, not texts, in labels/."""
    maps = folder / _MAPS
    if not ((folder / _PHOTOS).is_dir() and maps.is_dir()):
        return False
    return any(path.suffix.lower() in SUFFIXES for pattern in ("*.*", "*/*.*") for path in maps.glob(pattern))


def read(folder: Path) -> Collection:
    """Match photos and maps by name.

    Raises:
        PaletteError: classes.csv is not a valid palette.
        DatasetError: two photos or two maps share a name.
    """
    pictures = pairs.read(folder / _PHOTOS, folder / _MAPS)
    table = folder / _CLASSES
    palette = Palette.load(table) if table.is_file() else None
    first = 0 if palette else None
    return Collection("label-ids", folder, pictures.items, pictures.notes, first_id=first, palette=palette)
