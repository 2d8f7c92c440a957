"""What is imported: folders, files and datasets opened as collections, and their photos as one sequence."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from threading import Lock

from PIL import Image

from segkit import photos
from segkit.build.arrival import printable
from segkit.dataset import Dataset, saving
from segkit.dataset import history as histories
from segkit.dataset.formats import (
    ade20k,
    coco_panoptic,
    imagefolder,
    kohya,
    label_ids,
    layouts,
    pairs,
    parquet,
    shards,
    webdataset,
)
from segkit.dataset.formats.items import Collection, File, Item, of_listing, require_items
from segkit.dataset.formats.listing import split_of
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, PhotoError, UsageError
from segkit.imports import exported, sharded
from segkit.photos import Limits, near_duplicates
from segkit.photos.near_duplicates import Grey
from segkit.photos.stored import decode_grey, encode_photo

EXPECTED = (
    "a dataset of segkit or its shards, ADE20K (images/training, annotations/training), COCO panoptic "
    "(annotations/panoptic_*.json), Parquet files, WebDataset shards (.tar), fill50k's prompt.json, an imagefolder's "
    "metadata, or kohya's img/ and cond/"
)

_READING = Lock()
"""Datasets are read by several threads."""


def open_all(sources: Sequence[Path], folders: tuple[Path, Path] | None = None) -> list[Collection]:
    """Open everything that is to be imported, in order.

    Args:
        sources: folders or files in any layout.
        folders: a folder of photos and one of maps; None without them.

    Raises:
        UsageError: there is nothing to import, or a source is passed twice.
        DatasetError: a source has no layout that segkit reads, is damaged or empty.
    """
    if not sources and folders is None:
        raise UsageError(f"nothing to import. Pass one or more sources: {EXPECTED}; or photos and maps.")
    resolved = [path.resolve() for path in sources]
    if len(set(resolved)) < len(resolved):
        raise UsageError("a source is passed twice. Pass each once.")
    collections = [require_items(_open(path)) for path in sources]
    if folders:
        collections.append(require_items(pairs.read(*folders)))
    return _named(collections)


def _open(path: Path) -> Collection:
    if not path.exists():
        raise DatasetError(f"{path} does not exist. Expected {EXPECTED}.")
    if (path / ".segkit" / "dataset.toml").is_file():
        return _dataset(path)
    if (path / shards.INDEX).is_file():
        return sharded.read(path)
    for layout in (webdataset, coco_panoptic, ade20k, label_ids, parquet):
        if layout.detect(path):
            return exported.restored(layout.read(path))
    return exported.restored(_listed(path))


def _listed(path: Path) -> Collection:
    """Read one of the layouts that training reads, too, and the same in its folders named after splits."""
    parts = [(path, ""), *((path / place, split) for place, split in _splits(path))] if path.is_dir() else [(path, "")]
    if len(parts) == 1 or layouts.detect(path) == "imagefolder":  # which knows folders of splits itself
        return _part(path, "")
    main = layouts.detect(path)
    collections = [_part(place, split or "train") for place, split in parts if split or main]
    items = [
        replace(item, source=(folder.relative_to(path) / item.source).as_posix())
        for (folder, _), collection in zip([part for part in parts if part[1] or main], collections, strict=True)
        for item in collection.items
    ]
    notes = tuple(note for collection in collections for note in collection.notes)
    return Collection(collections[0].layout, path, items, notes)


def _splits(path: Path) -> list[tuple[str, str]]:
    """Return the folders that are named after splits and have a layout of their own, with the split."""
    named = ((place.name, split_of(place.name)) for place in sorted(path.iterdir()) if place.is_dir())
    return [(name, split) for name, split in named if split and layouts.detect(path / name) in ("fill50k", "kohya")]


def _part(path: Path, split: str) -> Collection:
    if layouts.detect(path) == "kohya":  # whose own reader refuses all for one photo without a map
        photos_folder, maps_folder = (path / name for name in kohya.FOLDERS)
        collection = pairs.read(photos_folder, maps_folder, layout="kohya")
    elif layouts.detect(path) == "imagefolder" and exported.is_export(path):
        collection = of_listing(path, imagefolder.read(path, keep_rejected=True, lenient=True))
    else:
        collection = of_listing(path, layouts.read(path, lenient=True, expected=EXPECTED))
    items = [replace(item, split=split) for item in collection.items] if split else collection.items
    return replace(collection, place=path, items=items)


def _dataset(path: Path) -> Collection:
    dataset, items = Dataset.open(path), []
    edited = frozenset(histories.all_keys(path))
    for triple in dataset.triples():
        if triple.review == "rejected" and not triple.within(path).has_files:
            continue  # removed with its files
        photo, control_map = (File(path / name) for name in (triple.file_name, triple.conditioning_image_file_name))
        record = partial(_record, dataset, triple.key, triple.key in edited)
        items.append(Item(triple.source, photo, control_map, split=triple.split, record=record, key=triple.key))
    return Collection("segkit", path, items, info=dataset.info)


def _record(dataset: Dataset, key: str, edited: bool) -> Triple:
    with _READING:
        triple = dataset.get([key])[0]
        return saving.as_saved(dataset, triple) if edited else triple


def _named(collections: list[Collection]) -> list[Collection]:
    """Begin the sources of foreign data with the name of its folder, which is unique, so that none meet by chance."""
    labels: list[str] = []
    for collection in collections:
        place = collection.place.resolve()
        label, parents = place.name, list(place.parents)
        while label in labels and parents and parents[0].name:
            label = f"{parents.pop(0).name}/{label}"
        labels.append(label)
    named = []
    for label, collection in zip(labels, collections, strict=True):
        items = [
            item
            if item.record or item.source.startswith(f"{label}/")
            else replace(item, source=printable(f"{label}/{item.source}"))
            for item in collection.items
        ]
        named.append(replace(collection, items=items))
    return named


class Photos:
    """All photos of some collections, by position; see build.lookalikes.Sources.

    Args:
        collections: in order.
        limits: how photos are opened.
        photo_format: of the dataset: "jpg" or "png".
    """

    def __init__(self, collections: Sequence[Collection], limits: Limits, photo_format: str) -> None:
        self.collections, self.limits = collections, limits
        self._format = photo_format
        self._ends = list(accumulate(len(collection.items) for collection in collections))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def number(self, position: int) -> int:
        """Return the place of the collection that a photo is from."""
        return bisect_right(self._ends, position)

    def collection(self, position: int) -> Collection:
        """Return the collection that a photo is from."""
        return self.collections[self.number(position)]

    def item(self, position: int) -> Item:
        """Return a photo with its map and prompt."""
        number = self.number(position)
        return self.collections[number].items[position - (self._ends[number - 1] if number else 0)]

    def name(self, position: int) -> str:
        """Return the name that the photo's triple records."""
        return self.item(position).source

    def new(self, position: int) -> Grey | None:
        """Return the photo's grey copy as it is compared with stored ones; None if it cannot be read."""
        data = self._data(position)
        if data is None or self.item(position).record:
            return _grey(data)
        image = self._image(data)
        return near_duplicates.grey_copy(image) if image else None

    def to_be_stored(self, position: int) -> Grey | None:
        """Return the grey copy as it will be read from the dataset; None if the photo cannot be read."""
        data = self._data(position)
        if data is None or self.item(position).record:
            return _grey(data)
        image = self._image(data)
        return decode_grey(encode_photo(image, self._format)) if image else None

    def _image(self, data: bytes) -> Image.Image | None:
        try:
            return photos.open_photo(data, self.limits).image
        except PhotoError:
            return None

    def _data(self, position: int) -> bytes | None:
        photo = self.item(position).photo
        try:
            return photo.read() if photo else None
        except OSError:
            return None


def _grey(data: bytes | None) -> Grey | None:
    try:
        return decode_grey(data) if data else None
    except Exception:  # Pillow raises exceptions of any type on damaged files
        return None
