"""The photos and control maps of a dataset, checked once: those that have not changed since are not read again."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import json

from segkit import storage, threads
from segkit.dataset import locking, stamps
from segkit.dataset.dataset import Dataset
from segkit.dataset.stamps import Stamps
from segkit.dataset.triple import Triple
from segkit.problem import Problem
from segkit.progress import NOTICE, Progress
from segkit.settings import Check

_RULES = "1"
"""Changes when the rules for files become stricter, so that all files are checked again."""

Examine = Callable[[Sequence[Triple]], Iterable[list[Problem]]]
"""Reads the files of triples, and yields what is wrong with those of each, in order."""


def problems(
    dataset: Dataset,
    triples: Iterable[Triple],
    total: int,
    examine: Examine,
    check: Check,
    progress: Progress,
) -> Iterator[Problem]:
    """Yield what is wrong with the files of triples, in the order of the triples.

    A triple without a problem is remembered, in the dataset's cache, for later calls with "fast".

    Args:
        dataset: the dataset.
        triples: its triples; they may come as a stream.
        total: their number.
        examine: reads the files of triples.
        check: "full" reads all files; "fast" those that are new, or have another size or time than when they were
            checked last; "none" reads none.
        progress: called with ("triples", done, total).
    """
    if check == "none":
        return
    done = 0
    with stamps.of_pictures(dataset.hidden, reread=check == "full") as known, threads.pool() as pool:
        for chunk in stamps.chunks(triples):
            files = _Files(dataset, chunk, pool)
            changed = files.changed(known)
            if unchanged := len(chunk) - len(changed):
                done += unchanged
                progress("triples", done, total)
            results = examine([chunk[place] for place in changed])
            for place, wrong in zip(changed, results, strict=True):
                yield from wrong
                if not wrong:
                    files.remember(place, known)
                done += 1
                progress("triples", done, total)
    if known.unsaved:
        note = f"Checked files cannot be remembered, so the next check reads them again. {known.unsaved}"
        progress(NOTICE, 0, 0, note)


class _Files:
    """The files of some triples, a photo and a map each: their status, and what they are checked against.

    Args:
        dataset: the dataset.
        triples: the triples.
        pool: asks for the status of the files.
    """

    def __init__(self, dataset: Dataset, triples: list[Triple], pool: ThreadPoolExecutor) -> None:
        self._began = time.time_ns()
        names = [name for triple in triples for name in (triple.file_name, triple.conditioning_image_file_name)]
        self._statuses = stamps.statuses([f"{dataset.folder}/{name}" for name in names], pool)
        self._names = [name.encode() for name in names]
        self._digests = [sha256 for triple in triples for sha256 in (triple.photo_sha256, triple.map_sha256)]
        palette = dataset.info.palette.hash
        self._facts = [fact for triple in triples for fact in [_facts(triple, palette)] * 2]

    def changed(self, known: Stamps) -> list[int]:
        """Return the places of the triples of which a file, or what it is checked against, is new or has changed."""
        recorded = zip(known.digests(self._names, self._statuses, self._facts), self._digests, strict=True)
        good = [bool(digest) and digest == expected for digest, expected in recorded]
        return [place for place in range(len(good) // 2) if not (good[2 * place] and good[2 * place + 1])]

    def remember(self, place: int, known: Stamps) -> None:
        """Remember the two files of a triple that were examined without a problem."""
        for file in (2 * place, 2 * place + 1):
            if status := self._statuses[file]:
                known.remember(self._names[file], status, self._digests[file], self._began, self._facts[file])


def _facts(triple: Triple, palette: str) -> int:
    classes = [(share.name, share.share) for share in triple.classes]
    # whether a map with few labels is warned of depends on the review
    facts = (_RULES, triple.width, triple.height, classes, triple.review == "open", palette)
    return stamps.hash64(json.encode(facts))


def settled(dataset: Dataset, orphans: list[Problem]) -> Iterator[Problem]:
    """Yield the files that belong to no triple, without pictures that a build has stored since the manifest was read.

    A build stores the pictures of a unit before its record. While one is running, no picture is an orphan for certain.

    Args:
        dataset: the dataset.
        orphans: problems whose places are names of files.
    """
    names = {problem.place for problem in orphans}
    if names:
        for path in (*dataset.parts(), dataset.manifest, dataset.lists.left_out):  # a fold moves parts into the others
            for record in dataset.read(path, lambda file, number, reason: None):
                if isinstance(record, Triple):
                    names -= {record.file_name, record.conditioning_image_file_name}
    is_written = bool(names) and bool(locking.writer(dataset.folder))
    for problem in orphans:
        if problem.place in names and not (is_written and problem.place.startswith(("images/", "maps/"))):
            yield problem


def changed_maps(dataset: Dataset, rehash: bool = False) -> Iterator[Triple]:
    """Yield the triples whose control maps differ from their records; missing maps and old records are passed over.

    Args:
        dataset: the dataset.
        rehash: read all maps, also those that have not changed since they were read last.
    """
    with stamps.of_pictures(dataset.hidden, reread=rehash) as known, threads.pool() as pool:
        for chunk in stamps.chunks(triple for triple in dataset.triples() if triple.map_sha256):
            began = time.time_ns()
            names = [triple.conditioning_image_file_name for triple in chunk]
            keys, paths = [name.encode() for name in names], [f"{dataset.folder}/{name}" for name in names]
            statuses = stamps.statuses(paths, pool)
            digests = known.digests(keys, statuses)
            unread = [place for place, digest in enumerate(digests) if not digest and statuses[place]]
            for place, digest in zip(unread, pool.map(_sha256, [paths[place] for place in unread]), strict=True):
                digests[place] = digest
                if digest and (status := statuses[place]):
                    known.remember(keys[place], status, digest, began)
            for triple, digest in zip(chunk, digests, strict=True):
                if digest not in ("", triple.map_sha256):
                    yield triple


def _sha256(path: str) -> str:
    """Return the hash of a file; "" for what is not a file."""
    file = Path(path)
    return storage.sha256(file.read_bytes()) if file.is_file() else ""
