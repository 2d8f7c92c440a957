"""Control maps in WebDataset shards: tar files whose members KEY.EXTENSION form one sample for each key."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segkit import photos, rows
from segkit.dataset.formats.items import Collection, File, Item
from segkit.dataset.formats.listing import MAP_WORDS, leaves_folder, prompt, split_of
from segkit.errors import DatasetError, MapError

_PICTURE_SUFFIXES = tuple(photos.SUFFIXES)
_MAX_BYTES = 256 * 2**20  # a larger member of a shard cannot be a control map


@dataclass(frozen=True)
class Member:
    """A file in a shard.

    Attributes:
        name: its name in the shard.
        offset: first byte of its content in the shard.
        size: bytes of its content.
    """

    name: str
    offset: int
    size: int


def control_maps(shard: Path) -> list[Member]:
    """Return the control maps of a shard; nothing is unpacked.

    Raises:
        MapError: the shard is damaged or compressed, has an unsafe member, repeats a sample, or contains no control
            maps.
    """
    samples = _samples(shard)
    control_maps = [member for sample in samples.values() for member in _maps_of_sample(sample)]
    if not control_maps:
        extensions = sorted({extension for sample in samples.values() for extension, _ in sample})
        raise MapError(
            f"{shard} contains no control maps: its members have the extensions {', '.join(extensions[:8]) or 'none'}. "
            "Expected names such as KEY.hint.png, KEY.seg.png or KEY.png."
        )
    return control_maps


def _samples(shard: Path) -> dict[str, list[tuple[str, Member]]]:
    """Return the members of each sample, with their extensions, by key.

    Raises:
        MapError: as `control_maps`, except that control maps may be missing.
    """
    # WebDataset groups members into samples by the name up to the first dot; the rest is the member's extension.
    samples: dict[str, list[tuple[str, Member]]] = {}
    last = ""
    for member in _members(shard):
        stem, _, extension = PurePosixPath(member.name).name.partition(".")
        key = str(PurePosixPath(member.name).parent / stem)
        sample = samples.setdefault(key, [])
        # webdataset starts a new sample when the key changes, and overwrites or drops members that come twice
        if (sample and key != last) or extension.lower() in dict(sample):
            raise MapError(f"{shard}: the sample {key} occurs twice. Create the shard again with unique keys.")
        sample.append((extension.lower(), member))
        last = key
    return samples


def _members(shard: Path) -> Iterator[Member]:
    """Yield the regular files in a shard; folders are skipped."""
    try:
        with tarfile.open(shard, "r:") as file:
            for member in file:
                if member.isdir():
                    continue
                if not member.isreg():
                    message = f"{shard}: the member {member.name[:80]!r} is a link or a device."
                    raise MapError(f"{message} Create the shard again with files only.")
                if leaves_folder(member.name) or not member.name.isprintable() or member.size > _MAX_BYTES:
                    message = f"{shard}: the member {member.name[:80]!r} has an unsafe name or is over 256 MiB."
                    raise MapError(f"{message} Create the shard again without it.")
                yield Member(member.name, member.offset_data, member.size)
            _require_end(shard, file.offset)
    except (tarfile.TarError, OSError, ValueError) as error:
        message = f"{shard} is not a complete uncompressed tar file ({error})."
        raise MapError(f"{message} Decompress it or create it again.") from None


def _require_end(shard: Path, offset: int) -> None:
    """Check that nothing but zeros follows the last member: tarfile takes a damaged header for the end of the archive.

    Raises:
        MapError: the shard is cut short, has a damaged header, or consists of several archives.
    """
    with shard.open("rb") as file:
        file.seek(offset)
        if len(file.read(tarfile.BLOCKSIZE).rstrip(b"\0")) or file.tell() < offset + tarfile.BLOCKSIZE:
            message = f"{shard}: no valid header at byte {offset:,}, so what follows would be dropped."
            raise MapError(f"{message} Copy or create it again.")
        while block := file.read(2**20):
            if block.strip(b"\0"):
                message = f"{shard}: data follows the end of the archive, which readers drop (joined with cat?)."
                raise MapError(f"{message} Join shards with: tar --concatenate")


def _maps_of_sample(sample: list[tuple[str, Member]]) -> list[Member]:
    """Return the pictures whose extension names a map, such as "seg.png", else the only PNG."""
    pictures = [(extension, member) for extension, member in sample if f".{extension}".endswith(_PICTURE_SUFFIXES)]
    named = [member for extension, member in pictures if MAP_WORDS & set(re.split(r"[._-]", extension))]
    lossless = [member for extension, member in pictures if extension.endswith("png")]
    return named or (lossless if len(lossless) == 1 else [])


def detect(path: Path) -> bool:
    """Return whether a path is a shard, or a folder of shards or of folders of shards named after splits."""
    return bool(_shards(path))


def read(path: Path) -> Collection:
    """List the samples of a shard or of a folder of shards: photo, control map and prompt (.txt, .caption or .json).

    A sample without a photo or without a map is an item without it. Shards in a folder such as train/, or named
    train-000000.tar, belong to that split.

    Raises:
        DatasetError: a shard is damaged or compressed, has an unsafe member or repeats a sample.
    """
    items = []
    for shard in _shards(path):
        place = shard.name if shard == path else shard.relative_to(path).as_posix()
        try:
            samples = _samples(shard)
        except MapError as error:
            raise DatasetError(str(error)) from None
        split = split_of(shard.parent.name) if shard.parent != path and shard != path else None
        split = split or split_of(re.split(r"[-_.]", shard.name)[0]) or ""
        items += [_item(shard, f"{place}/{key}", sample, split) for key, sample in samples.items()]
    return Collection("webdataset", path, items)


def _shards(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.suffix.lower() == ".tar" and path.is_file() else []
    places = [path, *(place for place in sorted(path.iterdir()) if place.is_dir() and split_of(place.name))]
    return [shard for place in places for shard in sorted(place.glob("*.tar")) if not shard.name.startswith(".")]


def _item(shard: Path, source: str, sample: list[tuple[str, Member]], split: str) -> Item:
    maps = _maps_of_sample(sample) if len(sample) > 1 else []
    pictures = [pair for pair in sample if f".{pair[0]}".endswith(_PICTURE_SUFFIXES) and pair[1] not in maps]
    plain = [member for extension, member in pictures if "." not in extension] or [member for _, member in pictures]
    if len(maps) > 1 or len(plain) > 1:
        names = ", ".join(member.name for member in (maps if len(maps) > 1 else plain))
        raise DatasetError(
            f"{shard}: {source} has several pictures of one kind: {names}. Keep KEY.jpg and KEY.hint.png."
        )
    photo, control_map = (_file(shard, members[0]) if members else None for members in (plain, maps))
    return Item(source, photo, control_map, _text(shard, source, sample), split)


def _file(shard: Path, member: Member) -> File:
    return File(shard, member.offset, member.size, member.name)


def _text(shard: Path, source: str, sample: list[tuple[str, Member]]) -> str:
    """Return the prompt of a sample: that of its .txt or .caption, else a column of its .json."""
    files = {extension: _file(shard, member) for extension, member in sample}
    try:
        for extension in ("txt", "caption"):
            if extension in files:
                return files[extension].read().decode("utf-8-sig").strip()
        if "json" in files:
            return prompt(rows.json_object(files["json"].read()), f"{shard}, {source}.json")
    except ValueError as error:  # UnicodeDecodeError is one
        raise DatasetError(f"{shard}: the text of {source} cannot be read ({error}).") from None
    return ""
