"""Maps as class indices: images/SPLIT/NAME.jpg and labels/SPLIT/NAME.png, with the names of the classes.

The layout of most libraries for semantic segmentation: greyscale PNGs whose values are the indices, 255 where
unlabelled. Without classes.csv, the maps themselves must tell whether indices count from 0 or from 1.
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from segkit.dataset.formats import pairs
from segkit.dataset.formats.items import Collection
from segkit.dataset.formats.writing import Chunks, Content, Item, png
from segkit.palette import Palette, extend
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


def files(item: Item, split: str) -> dict[str, bytes]:
    """Return the files of a triple by name: its photo, and its map in one channel."""
    return {
        f"images/{item.triple.split}/{item.key}{item.suffix}": item.photo,
        f"labels/{item.triple.split}/{item.key}.png": png(Image.fromarray(item.labels)),
    }


def lists(content: Content) -> Iterator[tuple[str, Chunks]]:
    """Yield classes.csv, a palette table that segkit reads, and classes.txt, the names in the order of the indices."""
    yield "classes.csv", [extend.encode(content.info.palette)]
    yield "classes.txt", [f"{swatch.name}\n".encode() for swatch in content.info.palette]
