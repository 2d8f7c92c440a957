"""COCO's panoptic layout: photos by split, PNGs of segment ids (R + 256 G + 65536 B), and a JSON file for each split.

Control maps tell classes apart, not instances: each class of a map becomes one segment, and no category is a "thing".
"""

import csv
import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.dataset.formats.writing import Chunks, Content, Item, png
from segkit.dataset.triple import Triple
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette
from segkit.palette.palette import shipped_folder
from segkit.palette.protocol import extends


def files(item: Item, split: str) -> dict[str, bytes]:
    """Return the files of a triple by name: its photo, and a PNG of segment ids; 0 is unlabelled."""
    ids = np.zeros(256, np.uint32)
    ids[: len(item.palette)] = category_ids(item.palette)
    return {
        f"{item.triple.split}/{item.key}{item.suffix}": item.photo,
        f"annotations/panoptic_{item.triple.split}/{item.key}.png": png(_picture(ids[item.labels])),
    }


def _picture(ids: NDArray[np.uint32]) -> Image.Image:
    return Image.fromarray(np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8))


def annotation(item: Item) -> dict[str, Any]:
    """Return the entry of a triple in `annotations`."""
    ids = category_ids(item.palette)
    return {
        "image_id": item.place + 1,
        "file_name": f"{item.key}.png",
        "segments_info": [_segment(item.labels, index, ids[index]) for index in _present(item.labels)],
    }


def _present(labels: Labels) -> list[int]:
    return [index for index in np.unique(labels).tolist() if index != UNLABELLED]


def _segment(labels: Labels, index: int, category: int) -> dict[str, Any]:
    mask = labels == index
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
    return {"id": category, "category_id": category, "area": int(mask.sum()), "bbox": box, "iscrowd": 0}


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
