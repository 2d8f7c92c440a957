"""Queues that stay in their order while a person works through them, with counts that follow the decisions."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segkit.dataset import Dataset
from segkit.dataset.triple import REVIEWS
from segkit.problem import Problem
from segkit.review import queue
from segkit.review.queue import Order, Ranking

KEPT = 3
"""Queues that are kept: one for each of a few tabs."""

LARGE = 40_000_000
"""Bytes of a manifest, some 20,000 triples, from which on a person does not wait for a ranking."""

PATIENCE = 1.0
"""Seconds after which the ranking of a large dataset is said to be on its way."""


@dataclass(frozen=True)
class Queue:
    """A ranking, with counts that change.

    Attributes:
        ranking: the triples in their order.
        counts: number of triples by review.
    """

    ranking: Ranking
    counts: dict[str, int]

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        """The keys as numbers, sorted: 8 bytes each."""
        return np.sort(self.ranking.numbers)

    def __contains__(self, key: str) -> bool:
        """Return whether the triple with a key is in the queue."""
        number = np.uint64(int(key, 16))
        place = int(np.searchsorted(self._keys, number))
        return place < len(self._keys) and bool(self._keys[place] == number)

    def count(self, before: str, after: str) -> None:
        """Count a decision on one of its triples."""
        self.counts[before] = self.counts.get(before, 0) - 1
        self.counts[after] = self.counts.get(after, 0) + 1


@dataclass(frozen=True)
class Waiting:
    """How far the ranking is that a queue waits for.

    Attributes:
        stage: what is counted: "bytes validated", "triples ranked" or "triples filtered"; "" before the first.
        done: how many are finished.
        total: how many there are.
    """

    stage: str = ""
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class _Job:
    """A ranking on its way.

    Attributes:
        ranking: its result.
        decided: the latest review of the triples that were decided on since it was ordered, by key.
    """

    ranking: Future[Ranking]
    decided: dict[str, str] = field(default_factory=dict)

    def queue(self) -> Queue:
        """Return the queue, with every decision counted once, whether the ranking has read it or not."""
        ranking = self.ranking.result()
        ranked = _queue(ranking)
        for key, after in self.decided.items():
            for place in np.flatnonzero(ranking.numbers == np.uint64(int(key, 16))).tolist():
                ranked.count(REVIEWS[ranking.reviews[place]], after)
        return ranked


def _queue(ranking: Ranking) -> Queue:
    return Queue(ranking, dict(ranking.counts))


class _StoppedError(Exception):
    """The review ends while a ranking is on its way."""


class Orders:
    """The queues of a dataset, ranked when they are first asked for: one after the other, in a thread.

    Args:
        dataset: the dataset.
        problems: returns what check has found so far.
    """

    def __init__(self, dataset: Dataset, problems: Callable[[], Sequence[Problem]] = tuple) -> None:
        self._dataset, self._problems = dataset, problems
        self._queues: dict[tuple[str, Order], Queue] = {}
        self._jobs: dict[tuple[str, Order], _Job] = {}
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "ranking")
        self._stopping = threading.Event()
        self._waiting = Waiting()
        self._unranked: Queue | None = None
        self._first: Queue | None = None

    def get(self, where: str, order: Order, fresh: bool = False) -> Queue | Waiting:
        """Return a queue; a fresh one is ranked again. In a large dataset, one may have to ask several times.

        Raises:
            UsageError, PaletteError: a condition is malformed.
        """
        name = where, order
        with self._lock:
            ranked = self._queues.pop(name, None)
            if ranked and not fresh:
                self._queues[name] = ranked  # as the latest
                return ranked
            job = self._jobs.get(name)  # two tabs that ask at once wait for one ranking
            if not job:
                job = self._jobs[name] = _Job(self._worker.submit(self._rank, where, order))
        if not wait([job.ranking], PATIENCE if self._is_large() else None).done:
            return self._waiting
        with self._lock:
            if self._jobs.get(name) is not job:  # another tab has fetched it
                return self._queues.get(name) or job.queue()
            del self._jobs[name]
            self._queues[name] = job.queue()
            while len(self._queues) > KEPT:
                del self._queues[next(iter(self._queues))]
            return self._queues[name]

    def unranked(self) -> Queue | None:
        """Return the triples in the order of the dataset, for as long as they are not ranked.

        Until the index is built, these are the first ones; None if the manifest is damaged there.
        """
        with self._lock:
            if not self._unranked and self._dataset.lists.has_index():
                self._unranked, self._first = _queue(queue.unranked(self._dataset)), None
            elif not self._unranked and not self._first and (ranking := queue.first(self._dataset)):
                self._first = _queue(ranking)
            return self._unranked or self._first

    def note(self, key: str, before: str, after: str) -> None:
        """Count a decision in every queue that has the triple."""
        if before == after:
            return
        with self._lock:
            for job in self._jobs.values():
                job.decided[key] = after
            for ranked in self._queues.values():
                if key in ranked:
                    ranked.count(before, after)

    def stop(self) -> None:
        """End the ranking that is on its way."""
        self._stopping.set()
        self._worker.shutdown(cancel_futures=True)

    def _is_large(self) -> bool:
        manifest = self._dataset.manifest
        return manifest.exists() and manifest.stat().st_size >= LARGE

    def _rank(self, where: str, order: Order) -> Ranking:
        problems, self._waiting = self._problems(), Waiting()
        return queue.rank(self._dataset, where=where, order=order, problems=problems, progress=self._report)

    def _report(self, stage: str, done: int, total: int, note: str = "") -> None:
        if self._stopping.is_set():
            raise _StoppedError
        self._waiting = Waiting(stage, done, total)
