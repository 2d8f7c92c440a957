"""Read and decode photos in threads, and have them judged one by one in a stable order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from segkit import photos, storage
from segkit.build.arrival import Arrival, Kept, Loaded, source_name
from segkit.build.history import History
from segkit.dataset import Rejection
from segkit.errors import PhotoError
from segkit.photos import Limits, near_duplicates
from segkit.photos.quiet import quiet_pillow

PREFETCH = 24
"""Photos decoded ahead: enough to keep a network busy, at the cost of some tens of megabytes."""

WORKERS = 4


def arrivals(
    folder: Path,
    paths: Sequence[Path],
    limits: Limits,
    history: History,
    surveyed: Iterator[Loaded | None] | None = None,
) -> Iterator[Arrival]:
    """Yield the decision about each photo, in the order of the paths, while threads decode the following ones.

    Args:
        folder: the photo folder.
        paths: the photos in it.
        limits: size limits of photos, and the size to fit them to.
        history: earlier decisions; updated with those about these photos.
        surveyed: for each path what is known already, or None. Without a survey, the first of near-duplicates is
            accepted.
    """
    history.expect(folder, paths, limits)
    with quiet_pillow():
        for loaded in load_all(folder, paths, limits, history, surveyed):
            yield history.judge(loaded, compared=surveyed is not None)


def load_all(
    folder: Path, paths: Sequence[Path], limits: Limits, history: History, known: Iterator[Loaded | None] | None = None
) -> Iterator[Loaded]:
    """Read and decode photos in threads, except those that are known; see `arrivals` for the arguments."""

    def load(position: int, path: Path) -> Loaded:
        loaded = _load(path, source_name(path, folder), limits, history)
        return replace(loaded, position=position)

    yield from _prefetch(load, paths, known)


def _prefetch(
    load: Callable[[int, Path], Loaded], paths: Sequence[Path], known: Iterator[Loaded | None] | None
) -> Iterator[Loaded]:
    """Load paths in threads, and yield the results in the order of the paths, at most PREFETCH ahead."""
    with ThreadPoolExecutor(WORKERS, "intake") as pool:
        pending: deque[Future[Loaded]] = deque()
        try:
            for position, path in enumerate(paths):
                result = next(known) if known else None
                pending.append(_done(result) if result else pool.submit(load, position, path))
                if len(pending) > PREFETCH:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # the consumer stopped early: do not decode the remaining photos
            for future in pending:
                future.cancel()


def _done(result: Loaded) -> Future[Loaded]:
    future: Future[Loaded] = Future()
    future.set_result(result)
    return future


def _load(path: Path, source: str, limits: Limits, history: History) -> Loaded:
    digest = ""
    try:
        data = photos.read(path, limits.max_bytes)
        digest = storage.sha256(data)
        verdict = history.verdict(source, digest)
        if verdict:
            return Loaded(source, digest, None if isinstance(verdict, Kept) else verdict)
        photo = photos.open_photo(data, limits)
        phash, grey = near_duplicates.perceptual_hash(photo.image), near_duplicates.grey_copy(photo.image)
        return Loaded(source, digest, photo, phash, grey)
    except PhotoError as error:
        return Loaded(source, digest, Rejection(source, digest, error.reason, str(error)))
