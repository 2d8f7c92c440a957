"""What check finds about the triples of a dataset, looked for in the background while a person works."""

import threading
from collections.abc import Mapping, Sequence

from segkit.dataset import Dataset, checks
from segkit.dataset.doubt import by_key
from segkit.problem import Problem
from segkit.settings import Check

MANY = 20_000
"""Triples from which on only the records are checked: reading all files would slow the page down for minutes."""

PATIENCE = 3.0
"""Seconds that a person waits for a check before the page goes on without it."""


class Findings:
    """Problems by the key of their triple.

    Args:
        dataset: the dataset.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._problems: Mapping[str, Sequence[Problem]] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start to check, unless that was done already."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._check, name="check", daemon=True)
                self._thread.start()

    def again(self) -> None:
        """Check again what has changed, once the check that is running is done."""
        with self._lock:
            if self.is_complete:
                self._thread = None
        self.begin()
        self.wait(PATIENCE)

    @property
    def is_complete(self) -> bool:
        """Whether everything was checked."""
        return self._thread is not None and not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until everything was checked, but no longer than that."""
        if self._thread:
            self._thread.join(seconds)

    def _check(self) -> None:
        files: Check = "fast" if len(self._dataset.lists.index()) <= MANY else "none"
        try:
            report = checks.check(Dataset.open(self._dataset.folder), scope=checks.Scope(files, strays=False))
        except Exception:  # the review goes on without; `segkit check` says what is wrong
            return
        self._problems = by_key(report.problems)

    def of(self, key: str) -> Sequence[Problem]:
        """Return what was found about a triple so far."""
        return self._problems.get(key, ())

    def all(self) -> list[Problem]:
        """Return what was found so far."""
        return [problem for problems in self._problems.values() for problem in problems]

    def keys(self) -> list[str]:
        """Return the keys of the triples about which something was found."""
        return [place for place in self._problems if len(place) == 16 and not set(place) - set("0123456789abcdef")]
