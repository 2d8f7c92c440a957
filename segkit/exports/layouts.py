"""The layouts that a dataset is exported to: how each writes its files, and which names it uses."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from segkit.dataset.formats import coco_panoptic, fill50k, imagefolder, kohya, label_ids, parquet, shards
from segkit.dataset.formats.shards import Index, Sample, Shard
from segkit.dataset.formats.writing import Chunks, Content, Item
from segkit.exports.target import Stamp, Target
from segkit.settings import Kind

_FOLDERS = r"(?:val/|test/)?"
_KEY = "[0-9a-f]{16}"
_PHOTO = rf"{_KEY}\.(?:jpg|png)"
_SPLIT = "(?:train|val|test)"


@dataclass(frozen=True)
class Place:
    """Which shard is written, and where to.

    Attributes:
        target: where to.
        split: of its triples; "" for any.
        number: from 0, within the split.
        count: number of shards of the split.
    """

    target: Target
    split: str
    number: int
    count: int


WriteShard = Callable[[Place, Iterable[Item]], tuple[dict[str, Any], list[Stamp]]]
"""Writes a shard of some triples, and returns what the list of shards needs to know of it, and its files."""


def _no_files(item: Item, split: str) -> dict[str, bytes]:
    return {}


def _no_lists(content: Content) -> Iterator[tuple[str, Chunks]]:
    return iter(())


@dataclass(frozen=True)
class Layout:
    """A layout. Either each triple becomes files, or many triples become a shard.

    Attributes:
        names: pattern of all names of files that it writes, except those of the record.
        files: returns the files of a triple by name; its second argument is the split that was asked for, or "all".
        lists: yields the lists of all triples by name.
        annotation: returns what `lists` needs to know of a triple's pixels.
        shard: writes a shard of some triples and returns what `finish` needs to know of it.
        finish: called with the content of the export and what `shard` returned for each shard; writes the last file
            and returns what it is.
        by_split: whether a shard holds triples of one split only.
        shard_size: default size of a shard, in bytes.
        has_card: whether a dataset card is written.
        require: raises a UsageError if a package is missing.
    """

    names: re.Pattern[str]
    files: Callable[[Item, str], dict[str, bytes]] = _no_files
    lists: Callable[[Content], Iterator[tuple[str, Chunks]]] = _no_lists
    annotation: Callable[[Item], dict[str, Any]] | None = None
    shard: WriteShard | None = None
    finish: Callable[[Target, Content, list[dict[str, Any]]], Stamp] | None = None
    by_split: bool = False
    shard_size: int = 0
    has_card: bool = False
    require: Callable[[], None] = lambda: None


def write_tar(place: Place, items: Iterable[Item]) -> tuple[dict[str, Any], list[Stamp]]:
    """Write a tar shard and then its index; return its entry in index.json, and both files."""
    name = shards.shard_name(place.number)
    samples = []
    with place.target.writing(name) as file:
        for item in items:
            contents = shards.members(item.triple, item.photo, item.stored_map)
            data, members = shards.pack(item.key, contents, file.size)
            samples.append(Sample(item.triple, members))
            file.write(data)
        file.write(shards.END)
    tar = file.stamp(name)
    index = place.target.write(shards.index_name(name), shards.encode_samples(samples))
    shard = Shard(name, tar.size, tar.sha256, len(samples), index.sha256, index.size)
    return msgspec.to_builtins(shard), [tar, index]


def write_index(target: Target, content: Content, entries: list[dict[str, Any]]) -> Stamp:
    """Write index.json, which makes the shards complete."""
    index = Index(content.name, content.info, tuple(msgspec.convert(entries, list[Shard])))
    return target.write(shards.INDEX, shards.encode_index(index))


def write_parquet(place: Place, items: Iterable[Item]) -> tuple[dict[str, Any], list[Stamp]]:
    """Write a parquet shard; return its name and its number of rows, and the file."""
    name = parquet.shard_name(place.split, place.number, place.count)
    with place.target.writing(name) as file:
        rows = parquet.write(file, items)
    return {"name": name, "rows": rows}, [file.stamp(name)]


LAYOUTS: dict[Kind, Layout] = {
    "webdataset": Layout(
        re.compile(r"[0-9]{6,}\.(?:tar|index\.jsonl)|index\.json"),
        shard=write_tar, finish=write_index, shard_size=10**9,
    ),
    "imagefolder": Layout(
        re.compile(
            rf"README\.md|(?:train|validation|test)/(?:metadata\.jsonl|images/../{_PHOTO}|maps/../{_KEY}\.png)"
        ),
        imagefolder.files, imagefolder.lists, has_card=True,
    ),
    "parquet": Layout(
        re.compile(r"README\.md|data/(?:train|validation|test)-[0-9]{5,}-of-[0-9]{5,}\.parquet"),
        shard=write_parquet, by_split=True, shard_size=500 * 10**6, has_card=True, require=parquet.require_library,
    ),
    "fill50k": Layout(
        re.compile(rf"{_FOLDERS}(?:prompt\.json|target/{_PHOTO}|source/{_KEY}\.png)"), fill50k.files, fill50k.lists
    ),
    "kohya": Layout(
        re.compile(rf"{_FOLDERS}(?:dataset\.toml|img/{_KEY}\.(?:jpg|png|txt)|cond/{_KEY}\.png)"),
        kohya.files, kohya.lists,
    ),
    "coco-panoptic": Layout(
        re.compile(rf"{_SPLIT}/{_PHOTO}|annotations/panoptic_{_SPLIT}(?:\.json|/{_KEY}\.png)"),
        coco_panoptic.files, coco_panoptic.lists, coco_panoptic.annotation,
    ),
    "label-ids": Layout(
        re.compile(rf"images/{_SPLIT}/{_PHOTO}|labels/{_SPLIT}/{_KEY}\.png|classes\.(?:csv|txt)"),
        label_ids.files, label_ids.lists,
    ),
}  # fmt: skip
