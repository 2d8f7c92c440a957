"""A bounded local copy of shards that lie elsewhere: what was read once is read from the disk from then on.

The copy of a shard is a sparse file in which members have the same place as in the shard; what was never fetched is a
hole. Members are verified by their SHA-256 whenever they are read, so that the copy needs no record of what it holds,
and neither locks nor flushes: a hole, a member that a kill or another process left half-written, or one that the disk
damaged has another hash, and is fetched again. Processes that write the same member write the same bytes. A copy is
named by the hash of its shard, so that several runs, and several datasets, may share a folder.
"""

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from segkit import storage
from segkit.dataset.formats.shards import Shard
from segkit.errors import StorageError, UsageError
from segkit.remote import Location
from segkit.words import data_size
from trainer.data.members import Member

BLOCK = 1 << 20
"""Bytes of a shard that are fetched by one request, at most, when neighbours are fetched ahead."""

GAP = 1 << 16
"""Bytes between two members that are fetched with them, because one request costs more."""

FULL, EMPTIED = 7 / 8, 3 / 4
"""Shares of the limit: above the first, the copies used least recently are deleted until the second is reached. Eight
processes that each notice late stay within the limit."""

_LOOKED = 64  # a process looks at the size of all copies whenever it has added this part of the limit
_STREAM = 16 << 20
_TOUCHED = 30.0  # seconds between two notes that a copy is in use
_LOCKS = 256


class CachedShards:
    """Reads members of remote shards by range, and keeps what it has read.

    Args:
        location: where the shards are.
        shards: of the index.
        folder: of the copies, which several processes may use; None keeps none.
        limit: bytes that the copies in the folder may take together.
    """

    is_remote = True

    def __init__(self, location: Location, shards: Sequence[Shard], folder: Path | None, limit: int) -> None:
        self._location, self._shards = location, {shard.name: shard for shard in shards}
        self._folder, self._limit = folder if limit else None, limit
        # One for each part of the shards, so that a member which is being fetched ahead is not fetched again.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._added = limit  # looks at the copies of earlier runs with the first write
        self._touched: dict[str, float] = {}

    def __reduce__(self) -> tuple[object, ...]:  # locks cannot be pickled; other processes get their own
        return type(self), (self._location, tuple(self._shards.values()), self._folder, self._limit)

    def __str__(self) -> str:
        return str(self._location)

    def read(self, member: Member) -> bytes:
        """Return the bytes of a member, verified by its hash.

        Raises:
            DatasetError: the member has changed, or the shard is shorter.
            SegkitError: the location does not answer; see remote.Location.
        """
        with self._lock_of(member):
            data = self._held(member)
            if data is None:
                data = member.verified(self._location.read_range(member.shard, member.start, member.size))
                self._save(member.shard, member.start, data)
        return data

    def index(self, shard: Shard) -> bytes:
        """Return a shard's index; a copy of it is kept.

        Raises:
            SegkitError: as `read`.
        """
        path = self._folder / f"{shard.index_sha256}.jsonl" if self._folder else None
        if path:
            with suppress(OSError):
                data = path.read_bytes()
                if storage.sha256(data) == shard.index_sha256:
                    return data
        data = self._location.read(shard.index_name, shard.index_bytes)
        if path and self._has_room(len(data)):
            with suppress(StorageError):
                storage.write(path, data)
        return data

    def fetch(self, members: Sequence[Member]) -> None:
        """Copy those members that are missing; neighbours with one request.

        Raises:
            SegkitError: as `read`.
        """
        if not self._folder:
            return
        for span in _spans([member for member in dict.fromkeys(members) if not self._is_begun(member)]):
            with self._lock_of(span[0]):
                if all(map(self._is_begun, span)):  # by another thread, which held the lock
                    continue
                start, end = span[0].start, span[-1].start + span[-1].size
                data = self._location.read_range(span[0].shard, start, end - start)
                for member in span:
                    offset = member.start - start
                    member.verified(data[offset : offset + member.size])
                self._save(span[0].shard, start, data)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a whole shard, which is read, and kept.

        Raises:
            SegkitError: as `read`.
        """
        digest, size = hashlib.sha256(), self._shards[name].bytes
        for start in range(0, size, _STREAM):
            data = self._location.read_range(name, start, min(_STREAM, size - start))
            digest.update(data)
            self._save(name, start, data)
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(shard.bytes for shard in self._shards.values())

    def copied_to(self, folder: Path | None) -> "CachedShards":
        """Return the same shards with their copies in another folder."""
        return CachedShards(self._location, tuple(self._shards.values()), folder, self._limit)

    def held(self) -> int:
        """Return the bytes that copies of these shards take on the disk."""
        return sum(_disk_bytes(path) for path in map(self._path, self._shards) if path)

    def require_space(self) -> None:
        """Refuse a cache that will not fit on the disk.

        Raises:
            UsageError: less space is free than the copies may take.
        """
        wanted = min(self._limit, self.size)
        if self._folder and (needed := wanted - self.held()) > (free := storage.free_space(self._folder)):
            raise UsageError(
                f"The copies of the shards may take {data_size(needed)} more, and {data_size(free)} are free at "
                f"{self._folder}. Use a smaller shard_cache, or another cache_dir."
            )

    def _path(self, name: str) -> Path | None:
        return self._folder / f"{self._shards[name].sha256}.tar" if self._folder else None

    def _lock_of(self, member: Member) -> threading.Lock:
        return self._locks[hash((member.shard, member.start // BLOCK)) % _LOCKS]

    def _held(self, member: Member) -> bytes | None:
        """Return a member from the copy; None if that does not hold it."""
        data = self._copied(member.shard, member.start, member.size)
        if storage.sha256(data) != member.sha256:
            return None
        self._touch(member.shard)
        return data

    def _is_begun(self, member: Member) -> bool:
        """Return whether the copy seems to hold a member: photos and maps begin with other bytes than zeros."""
        return bool(self._copied(member.shard, member.start, 4).strip(b"\0"))

    def _copied(self, name: str, start: int, size: int) -> bytes:
        path = self._path(name)
        if path:
            with suppress(OSError), path.open("rb", buffering=0) as file:
                file.seek(start)
                return file.read(size)
        return b""

    def _touch(self, name: str) -> None:
        """Note that a copy is in use, by its time."""
        path, now = self._path(name), time.monotonic()
        if path and now - self._touched.get(name, -_TOUCHED) >= _TOUCHED:
            self._touched[name] = now
            with suppress(OSError):
                os.utime(path)

    def _save(self, name: str, start: int, data: bytes) -> None:
        """Write bytes to their place in the copy. A disk that is full costs speed only."""
        path = self._path(name)
        if not path or not self._has_room(len(data)):
            return
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(path, flags, 0o666), "wb", buffering=0) as file:
                file.seek(start)
                file.write(data)

    def _has_room(self, size: int) -> bool:
        """Return whether bytes may be added to the copies, after deleting others if it is time to look."""
        if size > self._limit // 2:
            return False
        self._added += size
        if self._added >= self._limit // _LOOKED:
            self._added = 0
            self._make_room(size)
        return True

    def _make_room(self, size: int) -> None:
        """Delete the copies used least recently, if bytes would not fit otherwise; two processes may at a time."""
        files = [*self._folder.glob("*.tar"), *self._folder.glob("*.jsonl")] if self._folder else []
        copies = sorted((_modified(path), path) for path in files)
        total = size + sum(_disk_bytes(path) for _, path in copies)
        if total <= FULL * self._limit:
            return
        for _, path in copies:
            if total <= EMPTIED * self._limit:
                return
            total -= _disk_bytes(path)
            with suppress(OSError):  # Windows does not delete a file that is being read
                path.unlink()


def _spans(members: Sequence[Member]) -> list[list[Member]]:
    """Divide members into those that are fetched together: neighbours in one block of a shard."""
    spans: list[list[Member]] = []
    for member in sorted(members, key=lambda member: (member.shard, member.start)):
        last = spans[-1][-1] if spans else None
        is_near = last and (last.shard, last.start // BLOCK) == (member.shard, member.start // BLOCK)
        if last and is_near and member.start - last.start - last.size <= GAP:
            spans[-1].append(member)
        else:
            spans.append([member])
    return spans


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _disk_bytes(path: Path) -> int:
    """Return what a sparse file takes on the disk; 0 if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return 512 * status.st_blocks if hasattr(status, "st_blocks") else status.st_size
