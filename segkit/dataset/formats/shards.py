"""Shards: a dataset in tar files, with an index that locates every member of every triple.

A folder of shards holds `000000.tar`, `000001.tar` and so on; beside each its `000000.index.jsonl`, one line a triple;
and `index.json`, which is written last, so that a folder without it is unfinished. The shards alone are valid for
WebDataset; with the index, any member can be read by its range, from a disk or over a network, and is verified first.

The members of a triple follow each other in this order: `KEY.jpg` or `KEY.png` (the stored photo, unchanged),
`KEY.hint.png` (the stored control map, unchanged), `KEY.txt` (the prompt, UTF-8), `KEY.json` (the triple's line of
metadata.jsonl).
"""

import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from segkit import rows, schema, storage
from segkit.dataset import info as common
from segkit.dataset import lines
from segkit.dataset.info import Info
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, PaletteError

INDEX = "index.json"
"""Name of the list of shards."""

FORMAT = "segkit-shards"
VERSION = 1
"""Version of the layout. A higher one was written by a newer segkit."""

PHOTOS = ("jpg", "png")
"""Member extensions of a photo, of which a triple has one."""

MAP, PROMPT, RECORD = "hint.png", "txt", "json"
"""Member extensions of the control map, the prompt and the triple's line."""

END = bytes(2 * tarfile.BLOCKSIZE)
"""The end of a shard."""

_NAME_BYTES = 100
_MAX_BYTES = 8**11 - 1
_OWNER = b"0000644\0" + 2 * b"0000000\0"
"""Mode, user and group in a header."""

_REST = b"\0" + b"00000000000\0" + b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
"""What follows the size in a header, without the checksum: time, type, link, magic, owners, devices, prefix."""

_CHECKSUM = 148
"""Where the checksum belongs."""

_NAME = re.compile(r"[0-9]{6,}\.tar")
_Count = Annotated[int, Meta(ge=0)]
_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Shard(Struct, frozen=True, forbid_unknown_fields=True):
    """A tar file and its index.

    Attributes:
        name: such as "000000.tar".
        bytes: size of the tar file.
        sha256: of the tar file.
        triples: how many it holds.
        index_bytes, index_sha256: size and hash of the file called `index_name`.
    """

    name: str
    bytes: _Count
    sha256: _Sha256
    triples: _Count
    index_sha256: _Sha256
    index_bytes: _Count

    @property
    def index_name(self) -> str:
        """Name of the shard's index, such as "000000.index.jsonl"."""
        return index_name(self.name)


class Index(Struct, frozen=True):
    """The content of index.json.

    Attributes:
        name: of the dataset.
        info: what all triples share: the palette with its colours, the models and the settings.
        shards: in order; the triples of a dataset keep their order over all shards.
    """

    name: str
    info: Info
    shards: tuple[Shard, ...]

    @property
    def triples(self) -> int:
        """How many triples all shards hold."""
        return sum(shard.triples for shard in self.shards)


class Sample(Struct, frozen=True):
    """A triple in a shard: a line of the shard's index.

    Attributes:
        triple: its record; its files are the members.
        members: offset of the first byte and size in bytes of each member's content in the tar file, by extension.
    """

    triple: Triple
    members: dict[str, tuple[int, int]]

    @property
    def key(self) -> str:
        """The triple's key."""
        return self.triple.key

    @property
    def photo(self) -> str:
        """Extension of the photo: "jpg" or "png"."""
        return photo_extension(self.triple)


class _IndexFile(Struct, forbid_unknown_fields=True):
    format: str
    version: int
    name: str
    dataset: dict[str, Any]
    triples: _Count
    shards: list[Shard]


class _SampleLine(Struct, forbid_unknown_fields=True):
    key: str
    members: dict[str, tuple[_Count, _Count]]
    record: msgspec.Raw


_LINES = msgspec.json.Decoder(_SampleLine)
_ENCODER = msgspec.json.Encoder()


def shard_name(number: int) -> str:
    """Return the name of a shard; they are numbered from 0."""
    return f"{number:06}.tar"


def index_name(shard: str) -> str:
    """Return the name of a shard's index: "000000.index.jsonl" for "000000.tar"."""
    return f"{shard.removesuffix('.tar')}.index.jsonl"


def photo_extension(triple: Triple) -> str:
    """Return the member extension of a triple's photo: "jpg" or "png"."""
    return PurePosixPath(triple.file_name).suffix[1:]


def members(triple: Triple, photo: bytes, control_map: bytes) -> dict[str, bytes]:
    """Return the members of a triple by extension, in their order.

    Args:
        triple: the record.
        photo: the stored photo's bytes.
        control_map: the stored control map's bytes.
    """
    return {
        photo_extension(triple): photo,
        MAP: control_map,
        PROMPT: triple.text.encode(),
        RECORD: lines.encode(triple),
    }


def pack(key: str, contents: Mapping[str, bytes], offset: int) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Return the part of a tar file that holds the members of a triple, and where each content lies.

    The bytes depend on the contents alone: no time, owner or permissions of this machine are stored.

    Args:
        key: of the triple.
        contents: content by extension; see `members`.
        offset: where the part will begin in the tar file.
    """
    blocks, places = [], {}
    for extension, content in contents.items():
        padding = -len(content) % tarfile.BLOCKSIZE
        blocks += [header(f"{key}.{extension}", len(content)), content, bytes(padding)]
        places[extension] = (offset + tarfile.BLOCKSIZE, len(content))
        offset += tarfile.BLOCKSIZE + len(content) + padding
    return b"".join(blocks), places


def header(name: str, size: int) -> bytes:
    """Return the USTAR header of a file: no time and owner, mode 0644. tarfile's own takes five times as long.

    Raises:
        ValueError: the file is larger than such a header can say.
    """
    if len(name) > _NAME_BYTES or size > _MAX_BYTES:
        raise ValueError(f"{name} has {size:,} bytes; a member of a shard has at most {_MAX_BYTES:,}")
    header = b"%b%b%011o%b" % (name.encode().ljust(_NAME_BYTES, b"\0"), _OWNER, size, _REST)
    checksum = sum(header) + 8 * ord(" ")
    return b"%b%06o\0 %b" % (header[:_CHECKSUM], checksum, header[_CHECKSUM:])


def encode_index(index: Index) -> bytes:
    """Return index.json."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": index.name,
        "dataset": common.to_dict(index.info),
        "triples": index.triples,
        "shards": msgspec.to_builtins(index.shards),
    }
    return msgspec.json.format(_ENCODER.encode(content), indent=1) + b"\n"


def decode_index(data: bytes, where: str) -> Index:
    """Validate and read index.json.

    Args:
        data: its content.
        where: its path or URL, for error messages.

    Raises:
        DatasetError: it is not an index of shards, is damaged, or was written by a newer segkit.
    """
    try:
        content = rows.json_object(data)
        if content.get("format") != FORMAT:
            raise DatasetError(f"{where} is not an index of shards. Create them with: segkit export --to webdataset")
        if isinstance(content.get("version"), int) and content["version"] > VERSION:
            version = content["version"]
            raise DatasetError(f"{where} has version {version}; this segkit reads up to {VERSION}. Update segkit.")
        file = schema.convert(content, _IndexFile)
        index = Index(file.name, common.from_dict(file.dataset), tuple(file.shards))
        _require_sound(index, file.triples)
    except (ValueError, PaletteError) as error:
        raise DatasetError(f"{where} is damaged: {error}. Export the dataset again.") from None
    return index


def _require_sound(index: Index, triples: int) -> None:
    """Raise a ValueError for names that could leave the folder or occur twice, or numbers that do not add up."""
    names = [shard.name for shard in index.shards]
    if wrong := next((name for name in names if not _NAME.fullmatch(name)), None):
        raise ValueError(f"a shard is called {wrong!r}, expected a name such as {shard_name(0)}")
    if len(set(names)) < len(names):
        raise ValueError("a shard is listed twice")
    if index.triples != triples:
        raise ValueError(f"its shards hold {index.triples:,} triples, expected {triples:,}")


def encode_samples(samples: Iterable[Sample]) -> bytes:
    """Return a shard's index."""
    return b"".join(map(_encode_sample, samples))


def _encode_sample(sample: Sample) -> bytes:
    places = msgspec.json.format(_ENCODER.encode(sample.members), indent=0)
    record = lines.encode(sample.triple).rstrip(b"\n")
    return b'{"key": "%b", "members": %b, "record": %b}\n' % (sample.key.encode(), places, record)


def decode_samples(data: bytes, shard: Shard, where: str) -> list[Sample]:
    """Verify and read a shard's index.

    Args:
        data: its content.
        shard: the entry of the shard in index.json.
        where: path or URL of the shard's index, for error messages.

    Raises:
        DatasetError: it is not the file that index.json names, or is damaged.
    """
    if len(data) != shard.index_bytes or storage.sha256(data) != shard.index_sha256:
        raise DatasetError(f"{where} is not the index that {INDEX} names: its hash differs. Copy it again.")
    samples = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            samples.append(_decode_sample(line, shard))
        except (ValueError, DatasetError) as error:
            raise DatasetError(f"{where}, line {number} is damaged: {error}. Export the dataset again.") from None
    if len(samples) != shard.triples:
        raise DatasetError(f"{where} lists {len(samples):,} triples; expected {shard.triples:,}. Copy it again.")
    return samples


def _decode_sample(data: bytes, shard: Shard) -> Sample:
    try:
        line = _LINES.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    sample = Sample(lines.decode(bytes(line.record)), line.members)
    if line.key != sample.key:
        raise ValueError(f"key is {line.key!r}, but its record's is {sample.key!r}")
    expected = [sample.photo, MAP, PROMPT, RECORD]
    if list(line.members) != expected:
        raise ValueError(f"the members are {', '.join(line.members)}; expected {', '.join(expected)}")
    if any(offset + size > shard.bytes for offset, size in line.members.values()):
        raise ValueError(f"a member lies beyond the end of {shard.name}")
    return sample
