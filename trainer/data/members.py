"""Where the bytes of a picture are: in a file of its own, or in a shard. What reads pictures need not know which."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

from PIL import Image

from segkit import maps, photos, storage
from segkit.errors import DatasetError


class Store(Protocol):
    """Shards that members are read from; see shards.LocalShards and shard_cache.CachedShards."""

    @property
    def is_remote(self) -> bool:
        """Whether reading takes so long that it is worthwhile to fetch members ahead of need."""
        ...

    def read(self, member: "Member") -> bytes:
        """Return the bytes of a member, verified by its hash; see Member.read_bytes."""
        ...

    def fetch(self, members: "Sequence[Member]") -> None:
        """Bring members near, where that is possible, so that `read` returns them at once."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """A picture in a shard. It has those properties of a Path that are used of pictures.

    Attributes:
        store: reads it.
        shard: name of the shard.
        start, size: its first byte in the shard, and its number of bytes.
        sha256: of its bytes.
        file: its path in the dataset that was exported, with "/" between folders.
    """

    store: Store
    shard: str
    start: int
    size: int
    sha256: str
    file: str

    def __str__(self) -> str:
        return f"{self.store}/{self.shard}, {self.name}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders and name in the dataset."""
        return tuple(self.file.split("/"))

    @property
    def name(self) -> str:
        """Name of the file in the dataset."""
        return self.parts[-1]

    @property
    def stem(self) -> str:
        """Name without its suffix."""
        return self.name.rpartition(".")[0]

    def read_bytes(self) -> bytes:
        """Return its bytes.

        Raises:
            DatasetError: the shard is missing, cut short, unavailable, or was changed.
        """
        return self.store.read(self)

    def verified(self, data: bytes) -> bytes:
        """Return the bytes that were read for this member.

        Raises:
            DatasetError: they are others than those that were recorded.
        """
        if len(data) < self.size:
            raise DatasetError(f"{self.store}/{self.shard} was cut short: it ends within {self.name}. {COPY_AGAIN}")
        if storage.sha256(data) != self.sha256:
            raise DatasetError(f"{self}: was changed after it was exported: its hash differs. {COPY_AGAIN}")
        return data


COPY_AGAIN = "Copy the shard again, or export the dataset again."

Source = Path | Member
"""A file, or a member of a shard."""


def read_photo(source: Source, sha256: str = "") -> bytes:
    """Return the bytes of a photo.

    Args:
        source: the photo.
        sha256: hash that a file must have; "" accepts any. A member is compared with its own.

    Raises:
        PhotoError: the file cannot be read.
        DatasetError: it has another hash, or its shard is unavailable.
    """
    if isinstance(source, Member):
        return source.read_bytes()
    data = photos.read(source)
    if sha256 and storage.sha256(data) != sha256:
        raise DatasetError(f"{source}: was changed after it was checked. Run the same command again, with check=full.")
    return data


def open_map(source: Source, sha256: str = "") -> Image.Image:
    """Open a control map and load its pixels, upright.

    Args:
        source: the map.
        sha256: as for `read_photo`.

    Raises:
        MapError: it is missing, has another hash or cannot be decoded; the message begins with a verb, to follow the
            name.
        DatasetError: its shard is unavailable, or was changed.
    """
    if isinstance(source, Member):
        return maps.decode(BytesIO(source.read_bytes()))
    return maps.read(source, sha256)
