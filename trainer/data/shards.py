"""A dataset in shards, opened: its index, validated, and its pictures as members that are read by their range."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit import remote
from segkit.dataset.formats import shards as layout
from segkit.dataset.formats.shards import Index, Sample, Shard
from segkit.errors import DatasetError
from segkit.remote import Location
from trainer.data import ahead
from trainer.data.members import COPY_AGAIN, Member, Source
from trainer.data.shard_cache import CachedShards
from trainer.settings import TrainSettings

_STREAM = 16 << 20
_INDICES = 4  # indices that are read ahead: 2 MB per thousand triples


Data = Path | str
"""Training data: a folder, or the URL of shards."""


def of_text(text: str) -> Data:
    """Return the training data that somebody named."""
    return text if remote.is_url(text) else Path(text)


@dataclass(frozen=True)
class Cache:
    """Where copies of remote shards are kept.

    Attributes:
        folder: the folder, which need not exist; None keeps none.
        limit: bytes that they may take.
    """

    folder: Path | None = None
    limit: int = 0

    @classmethod
    def of(cls, settings: TrainSettings, run: Path) -> "Cache":
        """Return where a training keeps them."""
        return cls(settings.caches(run) / "shards", settings.shard_cache_bytes)

    @property
    def stamps(self) -> Path | None:
        """File that remembers which shards on a disk were checked."""
        return self.folder / "checked.stamps" if self.folder else None


NO_CACHE = Cache()


@dataclass(frozen=True)
class LocalShards:
    """Reads members of shards in a folder.

    Attributes:
        folder: the folder.
    """

    folder: Path
    is_remote = False

    def __str__(self) -> str:
        return str(self.folder)

    def read(self, member: Member) -> bytes:
        """Return the bytes of a member, verified by its hash.

        Raises:
            DatasetError: the shard is missing, cut short, or was changed.
        """
        try:
            # opened for each member: a shard that was replaced meanwhile is noticed, and no limit on open files met
            with (self.folder / member.shard).open("rb", buffering=0) as file:
                file.seek(member.start)
                return member.verified(file.read(member.size))
        except OSError as error:
            raise _unreadable(self.folder / member.shard, error) from None

    def index(self, shard: Shard) -> bytes:
        """Return a shard's index.

        Raises:
            DatasetError: it is missing.
        """
        try:
            return (self.folder / shard.index_name).read_bytes()
        except OSError as error:
            raise _unreadable(self.folder / shard.index_name, error) from None

    def fetch(self, members: Sequence[Member]) -> None:
        """Do nothing: the members are on the disk."""

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a whole shard.

        Raises:
            DatasetError: the shard cannot be read.
        """
        digest = hashlib.sha256()
        try:
            with (self.folder / name).open("rb", buffering=0) as file:
                while data := file.read(_STREAM):
                    digest.update(data)
        except OSError as error:
            raise _unreadable(self.folder / name, error) from None
        return digest.hexdigest()


@dataclass(frozen=True)
class Shards:
    """A dataset in shards.

    Attributes:
        location: the folder or URL.
        index: its index.json.
        store: reads its members.
    """

    location: Location
    index: Index
    store: LocalShards | CachedShards

    def __str__(self) -> str:
        return str(self.location)

    def samples(self) -> Iterator[tuple[Shard, list[Sample]]]:
        """Yield each shard with its samples, in order.

        Raises:
            DatasetError: a shard's index is missing, is not the one that index.json names, or is damaged.
        """
        # decoded here, one at a time: samples take several times the memory of their lines
        for shard, data in zip(
            self.index.shards, ahead.mapped(self.store.index, self.index.shards, _INDICES), strict=True
        ):
            yield shard, layout.decode_samples(data, shard, f"{self}/{shard.index_name}")

    def pictures(self, shard: Shard, sample: Sample) -> tuple[Source, Source]:
        """Return the photo and the control map of a sample.

        Raises:
            DatasetError: the record lacks a hash, so that the pictures could not be verified.
        """
        triple = sample.triple
        if not (triple.photo_sha256 and triple.map_sha256):
            raise DatasetError(
                f"{self}/{shard.name}: the record of {sample.key} has no hashes, so its pictures cannot be verified. "
                "Run segkit build-dataset again with the same photos, and export the dataset again."
            )
        return (
            Member(self.store, shard.name, *sample.members[sample.photo], triple.photo_sha256, triple.file_name),
            Member(
                self.store, shard.name, *sample.members[layout.MAP], triple.map_sha256,
                triple.conditioning_image_file_name,
            ),
        )  # fmt: skip


def find(dataset: Data) -> Location | None:
    """Return where shards are: a URL, or a folder with their index; None for another folder."""
    location = remote.location(dataset)
    return location if not location.is_local or location.exists(layout.INDEX) else None


def open_shards(location: Location, cache: Cache = NO_CACHE) -> Shards:
    """Open a dataset in shards.

    Args:
        location: the folder or URL.
        cache: where copies are kept of what is read from a URL.

    Raises:
        DatasetError: index.json is missing or damaged, or was written by a newer segkit.
        UsageError: the copies will not fit on the disk.
    """
    index = layout.decode_index(location.read(layout.INDEX), str(location / layout.INDEX))
    if location.is_local:
        return Shards(location, index, LocalShards(Path(location.root)))
    store = CachedShards(location, index.shards, cache.folder, cache.limit)
    store.require_space()
    return Shards(location, index, store)


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(f"{path}: cannot be read ({error.strerror}). {COPY_AGAIN}")
