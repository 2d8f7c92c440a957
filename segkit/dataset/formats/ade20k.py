"""ADE20K as released for scene parsing, ADEChallengeData2016: class indices drawn by persons.

    images/training/ADE_train_00000001.jpg          annotations/training/ADE_train_00000001.png
    images/validation/ADE_val_00000001.jpg          annotations/validation/ADE_val_00000001.png

Pixel values are 1 to 150 in the order of the palette; 0 is "other objects", which is unlabelled. The full release has
the maps beside the photos, as NAME_seg.png, with other classes; it is refused.
"""

from itertools import islice
from pathlib import Path

from segkit.dataset.formats import kohya
from segkit.dataset.formats.items import Collection, File, Item
from segkit.dataset.formats.listing import split_of
from segkit.errors import DatasetError
from segkit.palette import Palette

FIRST_ID = 1
"""Value of the first class, wall."""

_PHOTOS, _MAPS = "images", "annotations"


def detect(folder: Path) -> bool:
    """Return whether a folder is the release, complete or with some of its splits."""
    return bool(_splits(folder)) or _is_full(folder)


def read(folder: Path) -> Collection:
    """Read the release. Photos without annotations, such as those of the test set, are items without a map.

    Raises:
        DatasetError: it is the full release, or two pictures share a name.
    """
    if _is_full(folder):
        raise DatasetError(
            f"{folder} is ADE20K's full release, whose 3,688 classes are not the 150 of the palette. Expected "
            "ADEChallengeData2016, with images/training and annotations/training."
        )
    items: list[Item] = []
    for split in _splits(folder):
        maps = kohya.pictures(folder / _MAPS / split)
        for name, photo in kohya.pictures(folder / _PHOTOS / split).items():
            file = maps.pop(name, None)
            source = photo.relative_to(folder).as_posix()
            items.append(Item(source, File(photo), File(file) if file else None, split=split_of(split) or ""))
        items += [Item(file.relative_to(folder).as_posix(), None, File(file)) for file in maps.values()]
    palette = Palette.load("ade20k")
    return Collection("ade20k", folder, items, by_person=True, first_id=FIRST_ID, palette=palette)


def _splits(folder: Path) -> list[str]:
    """Return the names of the folders that hold a split's photos and maps."""
    names = (folder / _MAPS).iterdir() if (folder / _MAPS).is_dir() else ()
    return sorted(place.name for place in names if split_of(place.name) and (folder / _PHOTOS / place.name).is_dir())


def _is_full(folder: Path) -> bool:
    """Return whether a folder is the full release: images/ADE/training/SCENE/ADE_train_00000001_seg.png."""
    places = [folder / "images" / "ADE" / "training", folder / "images" / "training"]
    return any(place.is_dir() and any(islice(place.rglob("ADE_*_seg.png"), 1)) for place in places)
