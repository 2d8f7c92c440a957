"""COCO's panoptic layout: photos by split, PNGs of segment ids (R + 256 G + 65536 B), and a JSON file for each split.

    annotations/panoptic_train2017.json      annotations/panoptic_train2017/000000000009.png
    train2017/000000000009.jpg

Photos may also lie in images/train2017, and maps in panoptic_train2017 beside the photos, as detectron2 expects them.
Control maps tell classes apart, not instances: written, each class of a map becomes one segment, and no category is a
"thing"; read, the segments of a category become one class.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from PIL import Image

from segkit.dataset.formats import items
from segkit.dataset.formats.items import Collection, File, Segment
from segkit.dataset.formats.listing import file_in, split_of
from segkit.dataset.formats.writing import Chunks, Content, Item, png
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.maps import codec
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette
from segkit.palette.palette import shipped_folder
from segkit.palette.protocol import extends
from segkit.words import quote

_LIST = re.compile(r"panoptic[_-](?P<name>.+)\.json", re.IGNORECASE)
_YEAR = re.compile(r"[-_]?\d+$")


class _Image(Struct, gc=False):
    id: int
    file_name: str


class _Segment(Struct, gc=False):
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


_DECODER = msgspec.json.Decoder(_Json)


def detect(folder: Path) -> bool:
    """Return whether a folder holds a list of panoptic maps, in itself or in annotations/."""
    return bool(_lists(folder))


def read(folder: Path) -> Collection:
    """Read all lists of a folder: panoptic_train2017.json, panoptic_val2017.json or the like.

    Raises:
        DatasetError: a list is damaged, names files outside the folder, its maps are still zipped, or two lists number
            their categories differently.
    """
    listed: list[items.Item] = []
    categories: dict[int, str] = {}
    for path in _lists(folder):
        content = _read(path)
        for category in content.categories:
            if categories.setdefault(category.id, category.name) != category.name:
                first = categories[category.id]
                raise DatasetError(f"{path}: category {category.id} is {category.name}, in an earlier list {first}.")
        listed += _listed(folder, path, content)
    return Collection("coco-panoptic", folder, listed, by_person=True, categories=tuple(categories.items()))


def _lists(folder: Path) -> list[Path]:
    places = (folder, folder / "annotations")
    return sorted(
        path for place in places if place.is_dir() for path in place.glob("*.json") if _LIST.fullmatch(path.name)
    )


def _read(path: Path) -> _Json:
    try:
        return _DECODER.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise DatasetError(
            f"{path}: cannot be read ({error}). Expected COCO panoptic's images, annotations and categories."
        ) from None


def _listed(folder: Path, path: Path, content: _Json) -> Iterator[items.Item]:
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
        yield items.Item(photo.relative_to(folder).as_posix(), File(photo), control_map, "", split, segments)


def _folder(places: list[Path], listed: "list[_Image] | list[_Annotation]") -> Path | None:
    """Return the first place that holds one of the first listed files; None if none does."""
    names = [entry.file_name for entry in listed[:100]]
    return next((place for place in places if any((place / name).is_file() for name in names)), None)


def files(item: Item, split: str) -> dict[str, bytes]:
    """Return the files of a triple by name: its photo, and a PNG of segment ids; 0 is unlabelled."""
    ids = np.zeros(256, np.uint32)
    ids[: len(item.palette)] = category_ids(item.palette)
    channels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    return {
        f"{item.triple.split}/{item.key}{item.suffix}": item.photo,
        f"annotations/panoptic_{item.triple.split}/{item.key}.png": png(
            Image.fromarray(channels.take(item.labels, axis=0))
        ),
    }


def annotation(item: Item) -> dict[str, Any]:
    """Return the entry of a triple in `annotations`."""
    areas = codec.count(item.labels)[:UNLABELLED]
    segments = [
        {"id": category, "category_id": category, "area": area, "bbox": _box(item.labels, index), "iscrowd": 0}
        for index, (area, category) in enumerate(zip(areas, category_ids(item.palette), strict=False))
        if area
    ]
    return {"image_id": item.place + 1, "file_name": f"{item.key}.png", "segments_info": segments}


def _box(labels: Labels, index: int) -> list[int]:
    """Return left, top, width and height of the pixels of a class."""
    mask = labels == index
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def lists(content: Content) -> Iterator[tuple[str, Chunks]]:
    """Yield the JSON file of each split."""
    for split in content.splits:
        yield f"annotations/panoptic_{split}.json", _json(content, split)


def _json(content: Content, split: str) -> Chunks:
    """Yield the JSON file in pieces: a million annotations need not fit into memory."""
    info = {"description": content.name, "version": "1.0", "contributor": "segkit export"}
    yield b'{"info": %b, "licenses": [],\n"images": [' % json.dumps(info).encode()
    yield from _items(_image(triple, place) for place, triple in enumerate(content.records()) if triple.split == split)
    yield b'\n],\n"annotations": ['
    both = zip(content.records(), content.annotations(), strict=True)
    yield from _items(line for triple, line in both if triple.split == split)
    yield b'\n],\n"categories": ['
    yield from _items(json.dumps(category).encode() for category in categories(content.info.palette))
    yield b"\n]}\n"


def _items(items: Iterable[bytes]) -> Chunks:
    for number, item in enumerate(items):
        yield (b",\n" if number else b"\n") + item.rstrip(b"\n")


def _image(triple: Triple, place: int) -> bytes:
    name = f"{triple.key}.{triple.file_name.rpartition('.')[2]}"
    size = {"width": triple.width, "height": triple.height}
    return json.dumps({"id": place + 1, "file_name": name, **size}).encode()


def categories(palette: Palette) -> list[dict[str, Any]]:
    """Return the categories of a palette, in the order of its classes."""
    return [
        {"supercategory": swatch.name, "isthing": 0, "id": category, "name": swatch.name, "color": list(swatch.rgb)}
        for category, swatch in zip(category_ids(palette), palette, strict=True)
    ]


@cache
def category_ids(palette: Palette) -> tuple[int, ...]:
    """Return the category of each class: COCO's own ids for its classes, else numbers from 1.

    Classes added to COCO's follow its largest id.
    """
    coco = Palette.load("coco_panoptic")
    if not extends(palette, coco):
        return tuple(range(1, len(palette) + 1))
    with (shipped_folder() / "coco_panoptic.csv").open(encoding="utf-8", newline="") as file:
        ids = [int(row["coco_id"]) for row in csv.DictReader(file)]
    return (*ids, *range(max(ids) + 1, max(ids) + 1 + len(palette) - len(ids)))
