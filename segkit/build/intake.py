"""Have the photos of a run read, except those that are known, and judged one by one in a stable order."""

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from segkit import threads
from segkit.build import arrival, remote_photos, vanished
from segkit.build.arrival import Arrival, Kept, Loaded, Place, source_name
from segkit.build.engines import Opening, Read, inline
from segkit.build.engines.opening import load_photo
from segkit.build.history import History
from segkit.build.lookalikes import Sources
from segkit.build.remote_photos import RemotePhoto
from segkit.dataset import stamps
from segkit.dataset.stamps import Stamps, Status
from segkit.photos import Limits
from segkit.photos.quiet import quiet_pillow


@dataclass(frozen=True)
class Intake:
    """The photos of a run, and how they are read.

    Attributes:
        folder: the photo folder.
        paths: the photos in it.
        limits: size limits of photos, and the size to fit them to.
        known: stamps of the photos; None to read all.
        read: reads them; see engines.Read.
        sources: the same photos, as they are compared with others; None to read them again for that.
    """

    folder: Path
    paths: Sequence[Place]
    limits: Limits
    known: Stamps | None = None
    read: Read = inline.read
    sources: Sources | None = None

    def announce(self, history: History) -> None:
        """Announce all photos; see History.expect."""
        if self.sources is None:
            history.expect(self.folder, self.paths, self.limits)
        else:
            history.expect_sources(self.sources, self.limits)


def arrivals(
    intake: Intake, history: History, surveyed: Iterator[Loaded | None] | None = None, compares: bool = True
) -> Iterator[Arrival]:
    """Yield the decision about each photo, in the order of the paths, while the following ones are decoded.

    Args:
        intake: the photos.
        history: earlier decisions; updated with those about these photos.
        surveyed: for each path what is known already, or None. Without a survey, the first of near-duplicates is
            accepted.
        compares: whether near-duplicates are looked for at all.
    """
    intake.announce(history)
    with quiet_pillow():
        for loaded in load_all(intake, history, surveyed):
            yield history.judge(loaded, compared=surveyed is not None or not compares)


def load_all(intake: Intake, history: History, surveyed: Iterator[Loaded | None] | None = None) -> Iterator[Loaded]:
    """Have photos read and decoded, except those that are surveyed; see `arrivals` for the arguments.

    A photo whose stamp is known and that an earlier run has decided about is not read. All others are read, and their
    stamps remembered.

    Raises:
        LocationError: the folder of photos, or a part of it, is gone.
    """
    reader = _Reader(intake, history)
    opening = Opening(intake.limits, partial(source_name, folder=intake.folder), history)
    with threads.pool(remote_photos.WORKERS) as pool:
        places = reader.undecided(surveyed, pool)
        for position, loaded in enumerate(intake.read(places, opening)):
            decided = reader.decided(loaded)
            vanished.require_rest(decided.outcome, position, intake.paths, intake.folder)
            yield replace(decided, position=position)


@dataclass(frozen=True, slots=True)
class _Request:
    """A photo that is to be read, and its status before that; see Stamps.remember."""

    place: Place
    name: bytes = b""
    status: Status = None
    began: int = 0


class _Reader:
    """Finds out which photos must be read, and what is known of their content once they are."""

    def __init__(self, intake: Intake, history: History) -> None:
        self._intake, self._history = intake, history
        self._prefix = os.path.join(intake.folder, "")  # noqa: PTH118 - with the separator at its end
        self._requests: deque[_Request | None] = deque()  # in the order of the paths; None for what is decided

    def undecided(self, surveyed: Iterator[Loaded | None] | None, pool: ThreadPoolExecutor) -> Iterator[Place | Loaded]:
        """Yield each path that must be read, and in the place of the others the decision about them."""
        paths, known = self._intake.paths, self._intake.known
        if surveyed is not None or known is None:
            for path in paths:
                yield self._request(next(surveyed) if surveyed else None, _Request(path))
            return
        for chunk in stamps.chunks(paths):
            began, names = time.time_ns(), [*map(self._name, chunk)]
            statuses = _statuses(chunk, pool)
            rows = zip(chunk, names, statuses, known.digests(names, statuses), strict=True)
            for path, name, status, digest in rows:
                decision = self._decision(source_name(path, self._intake.folder), digest) if digest else None
                yield self._request(decision, _Request(path, name, status, began))

    def decided(self, loaded: Loaded) -> Loaded:
        """Return the next photo with the decision about it, if an earlier run took one, and remember its stamp."""
        request = self._requests.popleft()
        if request is None:
            return loaded
        if self._intake.known and request.status and loaded.sha256:
            self._intake.known.remember(request.name, request.status, loaded.sha256, request.began)
        if loaded.outcome is not None:
            return loaded
        return self._decision(loaded.source, loaded.sha256) or self._load(request.place)

    def _request(self, decision: Loaded | None, request: _Request) -> Place | Loaded:
        self._requests.append(None if decision else request)
        return decision or request.place

    def _decision(self, source: str, digest: str) -> Loaded | None:
        verdict = self._history.verdict(source, digest)
        return Loaded(source, digest, None if isinstance(verdict, Kept) else verdict) if verdict else None

    def _load(self, place: Place) -> Loaded:
        """Read a photo here that a worker took for a known one: it compares only the first digits of hashes."""
        limits = self._intake.limits
        source = source_name(place, self._intake.folder)
        return load_photo(lambda: arrival.read(place, limits.max_bytes), source, limits, lambda *_: False)

    def _name(self, path: Place) -> bytes:
        """Return a name that no two photos share, unlike their source: the path within the folder, which may move."""
        if isinstance(path, RemotePhoto):
            return f"{path.place} {path.start}".encode("utf-8", "surrogateescape")
        return os.fsencode(str(path).removeprefix(self._prefix))


def _statuses(paths: Sequence[Place], pool: ThreadPoolExecutor) -> list[Status]:
    if isinstance(paths[0], RemotePhoto):
        return [*pool.map(arrival.status, paths)]
    return stamps.statuses([*map(str, paths)], pool)
