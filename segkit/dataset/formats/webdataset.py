"""Control maps in WebDataset shards: tar files whose members KEY.EXTENSION form one sample for each key."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segkit import photos
from segkit.dataset.formats.listing import MAP_WORDS, leaves_folder
from segkit.errors import MapError

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
    control_maps = [member for sample in samples.values() for member in _maps_of_sample(sample)]
    if not control_maps:
        extensions = sorted({extension for sample in samples.values() for extension, _ in sample})
        raise MapError(
            f"{shard} contains no control maps: its members have the extensions {', '.join(extensions[:8]) or 'none'}. "
            "Expected names such as KEY.hint.png, KEY.seg.png or KEY.png."
        )
    return control_maps


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
