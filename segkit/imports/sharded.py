"""Shards of segkit, listed with their records; a shard that was damaged is read as far as it is intact."""

import hashlib
from functools import partial
from pathlib import Path

from segkit import storage
from segkit.dataset import lines
from segkit.dataset.formats import shards
from segkit.dataset.formats.items import Collection, File, Item
from segkit.dataset.formats.shards import Sample, Shard
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.words import count, listed


def read(path: Path) -> Collection:
    """List the triples of shards. Of a shard with another hash, damaged triples are named, and left out when read.

    Raises:
        DatasetError: index.json or a shard's index is damaged, or a file is missing or has another size.
    """
    where = path / shards.INDEX
    index = shards.decode_index(where.read_bytes(), str(where))
    items, notes = list[Item](), list[str]()
    for shard in index.shards:
        file, list_path = path / shard.name, path / shard.index_name
        _require_file(file, shard.bytes)
        _require_file(list_path, shard.index_bytes)
        samples = shards.decode_samples(list_path.read_bytes(), shard, str(list_path))
        damaged = _damaged(file, shard, samples)
        if damaged is not None:
            notes.append(_note(file, damaged))
        wrong = {sample.key for sample in damaged or ()}
        items += [_item(file, sample, sample.key in wrong) for sample in samples]
    return Collection("segkit", path, items, tuple(notes), info=index.info)


def _require_file(path: Path, size: int) -> None:
    if not path.is_file():
        raise DatasetError(f"{path} is missing; {shards.INDEX} lists it. Copy it again.")
    if (actual := path.stat().st_size) != size:
        raise DatasetError(f"{path} has {actual:,} bytes; {shards.INDEX} says {size:,}. Copy it again.")


def _damaged(path: Path, shard: Shard, samples: list[Sample]) -> list[Sample] | None:
    """Return the samples whose photo, map or record is not what was exported; None if the shard has its hash."""
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256:
            return None
    return [sample for sample in samples if not _is_intact(path, sample)]


def _is_intact(path: Path, sample: Sample) -> bool:
    triple = sample.triple
    photo, control_map, record = (
        _member(path, sample, extension).read() for extension in (sample.photo, shards.MAP, shards.RECORD)
    )
    try:
        is_record = lines.decode(record) == triple
    except DatasetError:
        return False
    return is_record and all(
        not sha256 or storage.sha256(data) == sha256
        for data, sha256 in ((photo, triple.photo_sha256), (control_map, triple.map_sha256))
    )


def _note(path: Path, damaged: list[Sample]) -> str:
    said = f"{path} was changed after it was exported: its SHA-256 is not that in {shards.INDEX}."
    if not damaged:
        return f"{said} All its photos, maps and records are intact. Copy it again before training from it."
    sources = listed([sample.triple.source for sample in damaged])
    return f"{said} Left out of it: {count(len(damaged), 'damaged triple')} ({sources}). Copy it again, and import it."


def _item(path: Path, sample: Sample, is_damaged: bool) -> Item:
    photo, control_map, record = (
        _member(path, sample, extension) for extension in (sample.photo, shards.MAP, shards.RECORD)
    )
    triple = sample.triple
    read_record = partial(_refused, path) if is_damaged else partial(_line, record)
    return Item(triple.source, photo, control_map, split=triple.split, record=read_record, key=triple.key)


def _member(path: Path, sample: Sample, extension: str) -> File:
    return File(path, *sample.members[extension], f"{sample.key}.{extension}")


def _line(record: File) -> Triple:
    return lines.decode(record.read())


def _refused(path: Path) -> Triple:
    raise DatasetError(f"{path.name} was changed: its SHA-256 is not that in {shards.INDEX}")
