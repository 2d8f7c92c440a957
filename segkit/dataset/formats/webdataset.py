"""Control maps in WebDataset shards: tar files whose members KEY.ENDING form one sample for each key."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segkit import photos
from segkit.dataset.formats.listing import MAP_WORDS, leaves
from segkit.errors import MapError

_MAX_BYTES = 256 * 2**20
"""Largest member that may be a map."""


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
        MapError: the shard is damaged or compressed, has an unsafe member, or holds no control maps.
    """
    samples: dict[str, list[tuple[str, Member]]] = {}
    for member in _members(shard):
        stem, _, ending = PurePosixPath(member.name).name.partition(".")
        samples.setdefault(str(PurePosixPath(member.name).parent / stem), []).append((ending.lower(), member))
    control_maps = [member for sample in samples.values() for member in _maps_among(sample)]
    if not control_maps:
        endings = sorted({ending for sample in samples.values() for ending, _ in sample})
        raise MapError(
            f"{shard} holds no control maps: its members end in {', '.join(endings[:8]) or 'nothing'}; "
            "expected names such as KEY.hint.png, KEY.seg.png or KEY.png."
        )
    return control_maps


def _members(shard: Path) -> Iterator[Member]:
    try:
        with tarfile.open(shard, "r:") as file:
            for member in file:
                if not member.isreg():
                    continue
                if leaves(member.name) or not member.name.isprintable() or member.size > _MAX_BYTES:
                    raise MapError(
                        f"{shard}: the member {member.name[:80]!r} has an unsafe name or is far too large. "
                        "Create the shard again."
                    )
                yield Member(member.name, member.offset_data, member.size)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise MapError(
            f"{shard}: not a complete tar file ({error}). Create the shard again; unpack a compressed one first."
        ) from None


def _maps_among(sample: list[tuple[str, Member]]) -> list[Member]:
    """Return the maps of one sample: pictures whose endings suggest a map, else its only PNG."""
    pictures = [(ending, member) for ending, member in sample if f".{ending}".endswith(tuple(photos.SUFFIXES))]
    named = [member for ending, member in pictures if MAP_WORDS & set(re.split(r"[._-]", ending))]
    lossless = [member for ending, member in pictures if ending.endswith("png")]
    return named or (lossless if len(lossless) == 1 else [])
