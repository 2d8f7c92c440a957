"""Maps as class indices: images/SPLIT/NAME.jpg and labels/SPLIT/NAME.png, with the names of the classes.

The layout of most libraries for semantic segmentation: greyscale PNGs whose values are the indices, 255 where
unlabelled.
"""

from collections.abc import Iterator

from PIL import Image

from segkit.dataset.formats.writing import Chunks, Content, Item, png
from segkit.palette import extend


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
