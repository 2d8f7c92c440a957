"""Read and decode photos in threads, and have them judged one by one in a stable order."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from segkit import photos, storage, threads
from segkit.build import arrival, remote_photos
from segkit.build.arrival import Arrival, Kept, Loaded, Place, source_name
from segkit.build.history import History
from segkit.build.remote_photos import RemotePhoto, RemotePhotos
from segkit.dataset import Rejection, stamps
from segkit.dataset.stamps import Stamps, Status
from segkit.errors import PhotoError
from segkit.photos import Limits, near_duplicates
from segkit.photos.quiet import quiet_pillow

Result = TypeVar("Result")

PREFETCH = 24
"""Photos decoded ahead: enough to keep a network busy, at the cost of some tens of megabytes."""

WORKERS = 4


def arrivals(
    folder: Path,
    paths: Sequence[Place],
    limits: Limits,
    history: History,
    surveyed: Iterator[Loaded | None] | None = None,
    known: Stamps | None = None,
) -> Iterator[Arrival]:
    """Yield the decision about each photo, in the order of the paths, while threads decode the following ones.

    Args:
        folder: the photo folder.
        paths: the photos in it.
        limits: size limits of photos, and the size to fit them to.
        history: earlier decisions; updated with those about these photos.
        surveyed: for each path what is known already, or None. Without a survey, the first of near-duplicates is
            accepted.
        known: stamps of the photos; see `load_all`.
    """
    history.expect(folder, paths, limits)
    with quiet_pillow():
        for loaded in load_all(folder, paths, limits, history, surveyed, known):
            yield history.judge(loaded, compared=surveyed is not None)


def load_all(
    folder: Path,
    paths: Sequence[Place],
    limits: Limits,
    history: History,
    surveyed: Iterator[Loaded | None] | None = None,
    known: Stamps | None = None,
) -> Iterator[Loaded]:
    """Read and decode photos in threads, except those that are surveyed; see `arrivals` for the arguments.

    A photo whose stamp is known and that an earlier run has decided about is not read. All others are read, and their
    stamps remembered.
    """
    reader = _Reader(folder, limits, history, known)
    with threads.pool(remote_photos.WORKERS if isinstance(paths, RemotePhotos) else WORKERS) as pool:
        for position, loaded in enumerate(_prefetch(reader, reader.decided(paths, surveyed, pool), pool)):
            yield replace(loaded, position=position)


def _prefetch(
    reader: "_Reader", decided: Iterable[tuple[Place, Loaded | None]], pool: ThreadPoolExecutor
) -> Iterator[Loaded]:
    """Load what is not decided in threads, and yield all results in order, at most PREFETCH ahead."""
    pending: deque[Future[Loaded]] = deque()
    try:
        for path, result in decided:
            pending.append(_done(result) if result else pool.submit(reader.load, path))
            if len(pending) > PREFETCH:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        reader.remember()


def in_order(read: Callable[[int], Result], positions: Sequence[int]) -> Iterator[Result]:
    """Read photos in threads, and yield the results in order, at most PREFETCH ahead.

    Args:
        read: reads the photo at a position.
        positions: of the photos.
    """
    pending: deque[Future[Result]] = deque()
    with threads.pool(WORKERS) as pool:
        for position in positions:
            pending.append(pool.submit(read, position))
            if len(pending) > PREFETCH:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _done(result: Loaded) -> Future[Loaded]:
    future: Future[Loaded] = Future()
    future.set_result(result)
    return future


class _Reader:
    """Reads photos, unless their stamps say that an earlier run has decided about the same bytes."""

    def __init__(self, folder: Path, limits: Limits, history: History, known: Stamps | None) -> None:
        self._folder, self._limits, self._history, self._known = folder, limits, history, known
        self._prefix = os.path.join(folder, "")  # noqa: PTH118 - with the separator at its end
        self._read: deque[tuple[bytes, os.stat_result, str, int]] = deque()  # filled by threads

    def decided(
        self, paths: Sequence[Place], surveyed: Iterator[Loaded | None] | None, pool: ThreadPoolExecutor
    ) -> Iterator[tuple[Place, Loaded | None]]:
        """Yield each path with the decision about it, None for a photo that must be read."""
        if surveyed is not None or self._known is None:
            for path in paths:
                yield path, next(surveyed) if surveyed else None
            return
        for chunk in stamps.chunks(paths):
            self.remember()
            digests = self._known.digests([*map(self._name, chunk)], _statuses(chunk, pool))
            for path, digest in zip(chunk, digests, strict=True):
                yield path, self._decision(source_name(path, self._folder), digest) if digest else None

    def load(self, path: Place) -> Loaded:
        """Read a photo, and decode it if no earlier run has decided about it."""
        source, digest = source_name(path, self._folder), ""
        began, status = time.time_ns(), _status(path) if self._known else None
        try:
            data = arrival.read(path, self._limits.max_bytes)
            digest = storage.sha256(data)
            if status:
                self._read.append((self._name(path), status, digest, began))
            if decision := self._decision(source, digest):
                return decision
            photo = photos.open_photo(data, self._limits)
            phash, grey = near_duplicates.perceptual_hash(photo.image), near_duplicates.grey_copy(photo.image)
            return Loaded(source, digest, photo, phash, grey)
        except PhotoError as error:
            return Loaded(source, digest, Rejection(source, digest, error.reason, str(error)))

    def remember(self) -> None:
        """Remember the stamps of the photos that were read."""
        while self._known and self._read:
            self._known.remember(*self._read.popleft())

    def _decision(self, source: str, digest: str) -> Loaded | None:
        verdict = self._history.verdict(source, digest)
        return Loaded(source, digest, None if isinstance(verdict, Kept) else verdict) if verdict else None

    def _name(self, path: Place) -> bytes:
        """Return a name that no two photos share, unlike their source: the path within the folder, which may move."""
        if isinstance(path, RemotePhoto):
            return f"{path.place} {path.start}".encode("utf-8", "surrogateescape")
        return os.fsencode(str(path).removeprefix(self._prefix))


def _status(path: Place) -> Status:
    return path.status() if isinstance(path, RemotePhoto) else stamps.status(str(path))


def _statuses(paths: Sequence[Place], pool: ThreadPoolExecutor) -> list[Status]:
    if isinstance(paths[0], RemotePhoto):
        return [*pool.map(_status, paths)]
    return stamps.statuses([*map(str, paths)], pool)
