"""Queues that stay in their order while a person works through them, with counts that follow the decisions."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segkit.dataset import Dataset
from segkit.problem import Problem
from segkit.review import queue
from segkit.review.queue import Order, Ranking

KEPT = 3
"""Queues that are kept: one for each of a few tabs."""


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


class Orders:
    """The queues of a dataset, ranked when they are first asked for.

    Args:
        dataset: the dataset.
        problems: returns what check has found so far.
    """

    def __init__(self, dataset: Dataset, problems: Callable[[], Sequence[Problem]] = tuple) -> None:
        self._dataset, self._problems = dataset, problems
        self._queues: dict[tuple[str, str], Queue] = {}
        self._lock = threading.Lock()

    def get(self, where: str, order: Order, fresh: bool = False) -> Queue:
        """Return a queue; a fresh one is ranked again.

        Raises:
            UsageError, PaletteError: a condition is malformed.
        """
        with self._lock:  # two tabs that ask at once wait for one ranking
            ranked = self._queues.pop((where, order), None)
            if ranked is None or fresh:
                ranking = queue.rank(self._dataset, where=where, order=order, problems=self._problems())
                ranked = Queue(ranking, dict(ranking.counts))
            self._queues[where, order] = ranked
            while len(self._queues) > KEPT:
                del self._queues[next(iter(self._queues))]
            return ranked

    def note(self, key: str, before: str, after: str) -> None:
        """Count a decision in every queue that has the triple."""
        if before == after:
            return
        with self._lock:
            for ranked in self._queues.values():
                if key in ranked:
                    ranked.counts[before] = ranked.counts.get(before, 0) - 1
                    ranked.counts[after] = ranked.counts.get(after, 0) + 1
