"""COCO panoptic: a JSON file that lists photos, areas and categories, and a PNG for each photo, drawn by persons.

    annotations/panoptic_train2017.json      annotations/panoptic_train2017/000000000009.png
    train2017/000000000009.jpg

The value of a pixel, red + 256 * green + 65,536 * blue, is the number of its segment; 0 is unlabelled. Pictures may
also lie in images/train2017, and maps in panoptic_train2017 beside the photos, as detectron2 expects them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from segkit import schema
from segkit.dataset.formats.items import Collection, File, Item, Segment
from segkit.dataset.formats.listing import file_in, split_of
from segkit.errors import DatasetError
from segkit.words import quote

_LIST = re.compile(r"panoptic[_-](?P<name>.+)\.json", re.IGNORECASE)
_YEAR = re.compile(r"[-_]?\d+$")


class _Image(Struct):
    id: int
    file_name: str


class _Segment(Struct):
    id: int
    category_id: int


class _Annotation(Struct):
    image_id: int
    file_name: str
    segments_info: list[_Segment]


class _Category(Struct):
    id: int
    name: str


class _Json(Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def detect(folder: Path) -> bool:
    """Return whether a folder holds a list of panoptic maps, in itself or in annotations/."""
    return bool(_lists(folder))


def read(folder: Path) -> Collection:
    """Read all lists of a folder: panoptic_train2017.json, panoptic_val2017.json or the like.

    Raises:
        DatasetError: a list is damaged, names files outside the folder, its maps are still zipped, or two lists number
            their categories differently.
    """
    items: list[Item] = []
    categories: dict[int, str] = {}
    for path in _lists(folder):
        content = _read(path)
        for category in content.categories:
            if categories.setdefault(category.id, category.name) != category.name:
                first = categories[category.id]
                raise DatasetError(f"{path}: category {category.id} is {category.name}, in an earlier list {first}.")
        items += _items(folder, path, content)
    return Collection("coco-panoptic", folder, items, by_person=True, categories=tuple(categories.items()))


def _lists(folder: Path) -> list[Path]:
    places = (folder, folder / "annotations")
    return sorted(
        path for place in places if place.is_dir() for path in place.glob("*.json") if _LIST.fullmatch(path.name)
    )


def _read(path: Path) -> _Json:
    try:
        content: Any = json.loads(path.read_bytes())
        return schema.convert(content, _Json)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path}: cannot be read ({error}). Expected COCO panoptic's images, annotations and categories."
        ) from None


def _items(folder: Path, path: Path, content: _Json) -> Iterator[Item]:
    match = _LIST.fullmatch(path.name)
    name = match["name"] if match else path.stem
    photos = _folder([folder / name, folder / "images" / name, folder / "images", folder], content.images)
    maps = _folder([path.with_suffix(""), folder / path.stem, path.parent, folder], content.annotations)
    if content.annotations and maps is None:
        archive = path.with_suffix(".zip")
        hint = f"Unpack {archive}." if archive.exists() else f"Expected {quote(path.with_suffix(''))}."
        raise DatasetError(f"{path}: its maps, such as {content.annotations[0].file_name}, are missing. {hint}")
    split = split_of(_YEAR.sub("", name)) or ""
    by_image = {annotation.image_id: annotation for annotation in content.annotations}
    known = {image.id for image in content.images}
    if unknown := next((annotation for annotation in content.annotations if annotation.image_id not in known), None):
        raise DatasetError(f"{path}: {unknown.file_name} belongs to image {unknown.image_id}, which is not listed.")
    for image in content.images:
        photo = file_in(photos or folder / name, image.file_name, str(path))
        annotation, control_map, segments = by_image.get(image.id), None, None
        if annotation and maps:
            control_map = File(file_in(maps, annotation.file_name, str(path)))
            segments = tuple(Segment(segment.id, segment.category_id) for segment in annotation.segments_info)
        yield Item(photo.relative_to(folder).as_posix(), File(photo), control_map, "", split, segments)


def _folder(places: list[Path], listed: "list[_Image] | list[_Annotation]") -> Path | None:
    """Return the first place that holds one of the first listed files; None if none does."""
    names = [entry.file_name for entry in listed[:100]]
    return next((place for place in places if any((place / name).is_file() for name in names)), None)
