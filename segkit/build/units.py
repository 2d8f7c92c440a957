"""Units: the photos that are segmented and recorded together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from segkit.build.arrival import Arrival, Candidate
from segkit.build.history import History
from segkit.build.vanished import is_gone
from segkit.dataset import Rejection
from segkit.progress import Progress

UNIT = 32
"""Photos recorded together: the most work that a kill can lose."""


@dataclass
class Unit:
    """New photos and rejections that are recorded together."""

    candidates: list[Candidate] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


class Tally(Protocol):
    """Counts what becomes of photos."""

    def count(self, arrival: Arrival) -> None:
        """Count a photo that is no new one."""

    def report(self, progress: Progress) -> None:
        """Report how many have been counted."""


def units(
    arrivals: Iterable[Arrival], history: History, outcome: Tally, progress: Progress, size: int = 0
) -> Iterator[Unit]:
    """Group new photos and new rejections into units, in order. Everything but new photos is counted here.

    Kept photos do not occupy a place in a unit, so a resumed run forms the same units as an uninterrupted one.

    Args:
        arrivals: the decision about each photo.
        history: knows earlier rejections.
        outcome: counts.
        progress: see segkit.progress.
        size: of a unit; 0 for UNIT.
    """
    size = size or UNIT
    unit = Unit()
    for arrival in arrivals:
        if isinstance(arrival, Candidate):
            unit.candidates.append(arrival)  # counted once it is finished
        else:
            outcome.count(arrival)
            outcome.report(progress)
        if isinstance(arrival, Rejection) and not (is_gone(arrival) or history.knows(arrival)):
            unit.rejections.append(arrival)
        if len(unit.candidates) + len(unit.rejections) == size:
            yield unit
            unit = Unit()
    yield unit
