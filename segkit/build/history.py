"""What becomes of a photo, judged by what is known of those before it, in this run and in earlier ones."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segkit.dataset import Dataset, Rejection
from segkit.dataset.triple import Triple, key_of
from segkit.photos import PassedOver, Photo, near_duplicates

RECONSIDERED = frozenset({"unreadable", "too-small", "too-large", "identical"})
"""Reasons that other settings, restored permissions or a deleted original can lift. Every run checks such photos again,
which costs little."""


@dataclass(frozen=True)
class Candidate:
    """A new photo, to be segmented.

    Attributes:
        source: its path relative to the photo folder.
        sha256: hash of the file's bytes, in hex.
        photo: its pixels, upright sRGB, fitted to the stored size.
        phash: 64-bit perceptual hash.
        group: key of the first photo it resembles, or its own key. A group is never divided between splits.
        lost: the triple whose photo or map is missing in the dataset and is built again; None for a new photo.
    """

    source: str
    sha256: str
    photo: Photo
    phash: int
    group: str
    lost: Triple | None = None

    @property
    def key(self) -> str:
        """The triple's key."""
        return key_of(self.sha256)


@dataclass(frozen=True)
class Kept:
    """A photo that the dataset already has a triple for."""

    source: str


Arrival = Candidate | Kept | Rejection


@dataclass(frozen=True)
class Loaded:
    """The result of a worker thread, not yet compared with other photos.

    Attributes:
        source: the photo's path relative to the photo folder.
        sha256: hash of the file's bytes, in hex; "" if it could not be read.
        outcome: the decoded photo, its rejection, or None if the dataset already has its triple.
        hashes: perceptual hashes of the photo and of its mirror image.
    """

    source: str
    sha256: str
    outcome: Photo | Rejection | None
    hashes: tuple[int, int] = (0, 0)


class History:
    """Decides about photos from what is known of those seen before, in this run and in earlier ones.

    Worker threads call only `verdict`, which reads state that is fixed at construction. All other methods belong to the
    thread that consumes the photos.

    Args:
        dataset: the dataset of the earlier runs; None if there is none yet.
        keep_duplicates: admit near-duplicates, in the group of the first one.
        retry: ignore earlier rejections.

    Attributes:
        rejections: earlier rejections by source and SHA-256.
    """

    def __init__(self, dataset: Dataset | None, keep_duplicates: bool = False, retry: bool = False) -> None:
        self._duplicates = near_duplicates.DuplicateIndex()
        self._groups: dict[str, str] = {}  # key to group, where they differ
        self._digests: dict[str, str] = {}  # SHA-256 to the source of its triple
        self._originals: dict[str, str] = {}  # SHA-256 to the source that counts as the original among identical files
        self._judged: set[str] = set()  # SHA-256 of this run's originals
        self._present: dict[str, str] = {}  # SHA-256 to the first source with it in this run
        self._sizes: dict[str, tuple[int, int]] = {}  # key to the size of the source, of the dataset's triples
        self._keep_duplicates = keep_duplicates
        self._seen: dict[str, Rejection | None] = {}  # source to this run's rejection; None: not rejected
        self.rejections: dict[tuple[str, str], Rejection] = {}
        self._lost: dict[str, Triple] = {}  # SHA-256 to a triple without its files
        for triple in dataset.triples() if dataset else ():
            self._digests[triple.sha256] = triple.source
            self._sizes[triple.key] = triple.geometry.source_width, triple.geometry.source_height
            if not triple.has_files and triple.review != "rejected":  # whose files `segkit remove` may have deleted
                self._lost[triple.sha256] = triple
            self._remember(triple.key, int(triple.phash, 16), triple.group)
        reconsidered = RECONSIDERED | ({"near-duplicate"} if keep_duplicates else set())
        for rejection in dataset.rejections() if dataset else ():
            self.rejections[rejection.source, rejection.sha256] = rejection
        self._settled = {} if retry else {k: r for k, r in self.rejections.items() if r.reason not in reconsidered}

    def expect(self, sources: Collection[str]) -> None:
        """Announce all sources of this run, so that a triple's source counts as the original of its copies.

        Otherwise a copy that sorts before it would be taken for the original.
        """
        self._originals = {digest: source for digest, source in self._digests.items() if source in sources}

    def verdict(self, source: str, sha256: str) -> Kept | Rejection | None:
        """Return what an earlier run decided about a photo; None for a new one. Thread-safe."""
        if sha256 in self._lost:
            return None
        return Kept(source) if sha256 in self._digests else self._settled.get((source, sha256))

    def is_lost(self, sha256: str) -> bool:
        """Return whether a photo's triple has lost its files, so that they are written again."""
        return sha256 in self._lost

    def judge(self, loaded: Loaded) -> Arrival:
        """Decide about the next photo in order: copies and near-duplicates of earlier photos are rejected."""
        arrival = self._judge(loaded)
        self._seen[loaded.source] = arrival if isinstance(arrival, Rejection) else None
        return arrival

    def pass_over(self, folder: Path, passed: Iterable[PassedOver]) -> Iterator[Rejection]:
        """Yield the rejection of each file that the search passed over."""
        for item in passed:
            rejection = Rejection(source_name(item.path, folder), "", item.reason, printable(item.message))
            self._seen[rejection.source] = rejection
            yield rejection

    def still_rejected(self, rejection: Rejection) -> bool:
        """Return whether an earlier rejection is still valid: this run confirmed it, or did not see the photo."""
        # An unreadable folder is recorded as one rejection, which is void once this run saw a photo inside it.
        if rejection.reason == "unreadable" and any(source.startswith(rejection.source + "/") for source in self._seen):
            return False
        return self._seen.get(rejection.source, rejection) == rejection

    def renamed(self) -> dict[str, str]:
        """Return the new source of each triple whose photo this run found under another name only, by SHA-256."""
        renamed = {}
        for digest in self._digests.keys() & self._present.keys():
            old, new = self._digests[digest], self._present[digest]
            is_moved = digest not in self._judged  # its old name now belongs to another photo
            if old != new and (is_moved or old not in self._seen):
                renamed[digest] = new
        return renamed

    def admit(self, renamed: Iterable[str]) -> int:
        """Withdraw rejections of photos that were taken for copies of a file which has other content now.

        Args:
            renamed: SHA-256 of photos whose triples get a new source.

        Returns:
            How many photos were rejected as identical to a file that is no longer the same.
        """
        mistaken = [digest for digest in renamed if digest not in self._judged]
        self._seen.update(dict.fromkeys(self._present[digest] for digest in mistaken))
        return len(mistaken)

    def gone(self) -> set[str]:
        """Return the SHA-256 of each triple whose photo is gone: not found, and its file neither unread nor skipped."""
        unread = {source for source, rejection in self._seen.items() if rejection and not rejection.sha256}

        def is_unread(source: str) -> bool:
            return not unread.isdisjoint((source, *(str(folder) for folder in PurePosixPath(source).parents)))

        missing = self._digests.keys() - self._present.keys()
        return {digest for digest in missing if not is_unread(self._digests[digest])}

    def _judge(self, loaded: Loaded) -> Arrival:
        source, digest = loaded.source, loaded.sha256
        if digest:
            self._present.setdefault(digest, source)
            original = self._originals.setdefault(digest, source)
            if original != source or digest in self._judged:  # two file names can map to one source: see source_name
                return Rejection(source, digest, "identical", f"the same bytes as {original}")
            self._judged.add(digest)
        if loaded.outcome is None:
            return Kept(source)
        if isinstance(loaded.outcome, Rejection):
            return loaded.outcome
        if lost := self._lost.get(digest):
            return Candidate(source, digest, loaded.outcome, loaded.hashes[0], lost.group, lost)
        key = key_of(digest)
        similar = self.similar(loaded.hashes)
        groups = self._groups_of(similar)
        # A photo that resembles two groups is always rejected: it would merge them, although their splits may differ.
        if len(groups) > 1 or (groups and not self._keep_duplicates):
            geometry = loaded.outcome.geometry
            return self.near_duplicate(source, digest, similar, (geometry.source_width, geometry.source_height))
        group = groups[0] if groups else key
        self._remember(key, loaded.hashes[0], group)
        return Candidate(source, digest, loaded.outcome, loaded.hashes[0], group)

    def similar(self, hashes: tuple[int, int]) -> list[str]:
        """Return the keys of the accepted photos that a photo with these hashes looks like."""
        return self._duplicates.find(*hashes)

    def near_duplicate(self, source: str, digest: str, keys: Sequence[str], size: tuple[int, int]) -> Rejection:
        """Return the rejection of a photo that looks like others.

        Args:
            source: the photo's path relative to the photo folder.
            digest: SHA-256 of its bytes, in hex.
            keys: the photos that it looks like.
            size: its width and height in pixels.
        """
        message = f"looks like the photo with key {' and '.join(sorted(self._groups_of(keys)))}"
        sizes = [self._sizes.get(key, size) for key in keys]
        if not self._keep_duplicates and all(width * height < size[0] * size[1] for width, height in sizes):
            width, height = max(sizes, key=lambda stored: stored[0] * stored[1])
            # a triple may carry a person's prompt or decisions, so a build never replaces it
            message += f", which is smaller ({width}x{height}, this one {size[0]}x{size[1]}) but came first; "
            message += "keep_duplicates=True adds this one beside it"
        return Rejection(source, digest, "near-duplicate", message)

    def _groups_of(self, keys: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(self._groups.get(key, key) for key in keys))

    def _remember(self, key: str, phash: int, group: str) -> None:
        self._duplicates.add(key, phash)
        if group != key:
            self._groups[key] = group


def source_name(path: Path, folder: Path) -> str:
    r"""Return a photo's path relative to the photo folder, with "/" as separator.

    Bytes that are not UTF-8 become escapes such as "\xe9". Two file names can therefore yield the same source.
    """
    return printable(path.relative_to(folder).as_posix())


def printable(name: str) -> str:
    """Return a text that may hold file names, with bytes that are not UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
