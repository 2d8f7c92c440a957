"""Photos on their way in: read and decoded ahead in threads, judged one after the other in a stable order."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from segkit import photos, storage
from segkit.dataset import Dataset, Rejection
from segkit.dataset.triple import key_of
from segkit.errors import PhotoError
from segkit.photos import Limits, Photo, near_duplicates

AHEAD = 24
"""Photos decoded before they are needed: enough to keep a network busy, some tens of megabytes."""

WORKERS = 4

RECONSIDERED = frozenset({"unreadable", "too-small", "too-large", "identical"})
"""Rejections that settings, the system or a deleted original may have lifted: looked at again on every run, which costs
little."""


@dataclass(frozen=True)
class Candidate:
    """A photo to be segmented: its source relative to the photo folder, key, pixels, perceptual hash and group."""

    source: str
    sha256: str
    photo: Photo
    phash: int
    group: str

    @property
    def key(self) -> str:
        """The triple's key."""
        return key_of(self.sha256)


@dataclass(frozen=True)
class Kept:
    """A photo whose triple the dataset has already."""

    source: str


Arrival = Candidate | Kept | Rejection


@dataclass(frozen=True)
class Loaded:
    """A photo as a thread hands it over: not yet compared with the others."""

    source: str
    sha256: str
    outcome: Photo | Rejection | None  # None: the dataset has its triple
    hashes: tuple[int, int] = (0, 0)


class Memory:
    """What a dataset knows of the photos that it has seen.

    Args:
        dataset: None for one that is not there yet.
        keep_duplicates: near-duplicates come in, in the group of the first.
        retry: forget all rejections.
    """

    def __init__(self, dataset: Dataset | None, keep_duplicates: bool = False, retry: bool = False) -> None:
        self._likeness = near_duplicates.DuplicateIndex()
        self._groups: dict[str, str] = {}
        self._digests: dict[str, str] = {}  # SHA-256 to the source of its triple
        self._owners: dict[str, str] = {}  # of several photos with the same bytes, the one that is no copy
        self._judged: set[str] = set()
        self._keep = keep_duplicates
        self._seen: dict[str, Rejection | None] = {}
        self.rejections: dict[tuple[str, str], Rejection] = {}
        for triple in dataset.triples() if dataset else ():
            self._digests[triple.sha256] = triple.source
            self._remember(triple.key, int(triple.phash, 16), triple.group)
        lifted = RECONSIDERED | ({"near-duplicate"} if keep_duplicates else set())
        for rejection in dataset.rejections() if dataset else ():
            self.rejections[rejection.source, rejection.sha256] = rejection
        self._settled = {} if retry else {k: r for k, r in self.rejections.items() if r.reason not in lifted}

    def expect(self, sources: Collection[str]) -> None:
        """Tell what this run will see: a triple's own source is no copy, wherever it comes in the order."""
        self._owners = {digest: source for digest, source in self._digests.items() if source in sources}

    def verdict(self, source: str, sha256: str) -> Kept | Rejection | None:
        """Return what was decided about a photo in an earlier run; None for a new one."""
        return Kept(source) if sha256 in self._digests else self._settled.get((source, sha256))

    def judge(self, loaded: Loaded) -> Arrival:
        """Decide about the next photo in order: copies and near-duplicates of earlier ones are left out."""
        arrival = self._judge(loaded)
        self._seen[loaded.source] = arrival if isinstance(arrival, Rejection) else None
        return arrival

    def still_rejected(self, rejection: Rejection) -> bool:
        """Tell whether an earlier rejection stands: this run said the same of the photo, or did not see it.

        That of a folder which could not be listed falls when this run saw anything in it.
        """
        if rejection.reason == "unreadable" and any(source.startswith(rejection.source + "/") for source in self._seen):
            return False
        return self._seen.get(rejection.source, rejection) == rejection

    def _judge(self, loaded: Loaded) -> Arrival:
        source, digest = loaded.source, loaded.sha256
        if digest:
            owner = self._owners.setdefault(digest, source)
            if owner != source or digest in self._judged:  # two names may be shown alike: see source_name
                return Rejection(source, digest, "identical", f"the same bytes as {owner}")
            self._judged.add(digest)
        if loaded.outcome is None:
            return Kept(source)
        if isinstance(loaded.outcome, Rejection):
            return loaded.outcome
        key = key_of(digest)
        alike = self._likeness.find(*loaded.hashes)
        groups = list(dict.fromkeys(self._groups.get(like, like) for like in alike))
        if len(groups) > 1 or (groups and not self._keep):  # between two groups it would tie two splits together
            return Rejection(source, digest, "near-duplicate", f"looks like the photo with key {' and '.join(groups)}")
        group = groups[0] if groups else key
        self._remember(key, loaded.hashes[0], group)
        return Candidate(source, digest, loaded.outcome, loaded.hashes[0], group)

    def _remember(self, key: str, phash: int, group: str) -> None:
        self._likeness.add(key, phash)
        if group != key:
            self._groups[key] = group


def arrivals(folder: Path, paths: Sequence[Path], limits: Limits, memory: Memory) -> Iterator[Arrival]:
    """Yield what becomes of each photo, in the order of the paths; later ones are decoded meanwhile."""

    def load(path: Path) -> Loaded:
        return _load(path, source_name(path, folder), limits, memory)

    warnings.filterwarnings("ignore", module=r"PIL\.")  # they name no photo; what matters ends as a rejection
    memory.expect({source_name(path, folder) for path in paths})
    for loaded in _ahead(load, paths):
        yield memory.judge(loaded)


def source_name(path: Path, folder: Path) -> str:
    """Return a photo's path relative to its folder, with `/`; bytes that are no UTF-8 are shown as escapes."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


def _ahead(load: Callable[[Path], Loaded], paths: Sequence[Path]) -> Iterator[Loaded]:
    with ThreadPoolExecutor(WORKERS, "intake") as pool:
        waiting: deque[Future[Loaded]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(load, path))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _load(path: Path, source: str, limits: Limits, memory: Memory) -> Loaded:
    digest = ""
    try:
        data = photos.read(path, limits.max_bytes)
        digest = storage.sha256(data)
        verdict = memory.verdict(source, digest)
        if verdict:
            return Loaded(source, digest, None if isinstance(verdict, Kept) else verdict)
        photo = photos.open_photo(data, limits)
        return Loaded(source, digest, photo, near_duplicates.hashes(photo.image))
    except PhotoError as error:
        return Loaded(source, digest, Rejection(source, digest, error.reason, str(error)))
