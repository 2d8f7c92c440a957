"""What long work says off a terminal: a line when a step begins, one a minute, and one when it ends.

As text for people, `14:03:10 photos 3,200 of 8,000, 41.2/s, 1 min 57 s left`, or as JSON Lines for machines; see
docs/automation.md.
"""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal

from segkit.progress import NOTICE, STOPPING
from segkit.words import duration, timestamp

Format = Literal["auto", "text", "json"]
"""How progress is shown; auto: bars on a terminal, lines of text elsewhere."""

INTERVAL = 60.0
"""Seconds between two lines of one step."""

_WINDOW = 10
"""Lines over which a rate is measured: long enough to be steady, short enough to forget a fast start."""


def event(name: str, moment: datetime | None = None, **values: Any) -> str:
    """Return an event as one line of JSON, beginning with its time (by default now) and its name."""
    return json.dumps({"time": timestamp(moment), "event": name, **values}, default=str)


@dataclass
class _Step:
    """The counts of one step, and when they were reported.

    Attributes:
        began: seconds, on the clock of the lines.
        first: how many were done in the first report.
        samples: time and number done at the last lines, the oldest first.
        written: number done and total of the last line.
    """

    began: float
    first: int
    done: int
    total: int
    note: str = ""
    written: tuple[int, int] | None = None
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def rate(self, now: float) -> float | None:
        """Return how many were done per second: lately, or at the end throughout; None if that is unknown."""
        began, first = (self.began, self.first) if self.is_complete or not self.samples else self.samples[0]
        return (self.done - first) / (now - began) if now > began and self.done > first else None

    @property
    def is_complete(self) -> bool:
        """Whether everything is done."""
        return self.done >= self.total


class LogLines:
    """A progress callback (see segkit.progress) that writes lines.

    Args:
        write: called with each line, from any thread but never from two at once.
        as_json: write JSON Lines instead of text.
        clock: seconds that pass, from any start.
        now: the time of day.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        as_json: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._write, self._as_json, self._clock, self._now = write, as_json, clock, now
        self._steps: dict[str, _Step] = {}
        self._current = ""
        self._last_line = 0.0
        self._lock = Lock()  # a stop is reported by a thread of its own

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Note what is done, and write a line if one is due."""
        with self._lock:
            if stage in (NOTICE, STOPPING):
                self._say(stage, note)
                return
            now = self._clock()
            is_new = stage not in self._steps
            if is_new:  # otherwise steps that alternate would have a line each time
                self._write_pending(now)
            self._current = stage
            step = self._steps.setdefault(stage, _Step(now, done, done, total))
            step.done, step.total, step.note = done, total, note
            if is_new or step.is_complete or now - self._last_line >= INTERVAL:
                self._write_pending(now)

    def beat(self) -> None:
        """Write a line if none was written for a minute and the step is unfinished: one item may take longer."""
        with self._lock:
            now, step = self._clock(), self._steps.get(self._current)
            if step and not step.is_complete and now - self._last_line >= INTERVAL:
                self._write_counts(step, now)

    def close(self) -> None:
        """Write how far the last step came, whether it is complete or was stopped."""
        with self._lock:
            self._write_pending(self._clock())

    def _say(self, stage: str, note: str) -> None:
        if self._as_json:
            self._write(event(stage, self._now(), message=note))
        else:  # the acknowledgement of a stop looks like that of segkit.interrupts
            self._write(f"{self._time()} {note}" if stage == NOTICE else note)

    def _time(self) -> str:
        return f"{self._now().astimezone():%H:%M:%S}"

    def _write_pending(self, now: float) -> None:
        """Write the current step's counts unless its last line has them."""
        step = self._steps.get(self._current)
        if step and step.written != (step.done, step.total):
            self._write_counts(step, now)

    def _write_counts(self, step: _Step, now: float) -> None:
        self._write(self._as_event(step, now) if self._as_json else self._as_text(step, now))
        step.written, self._last_line = (step.done, step.total), now
        step.samples.append((now, step.done))

    def _as_event(self, step: _Step, now: float) -> str:
        rate = step.rate(now)
        left = 0.0 if step.is_complete else (step.total - step.done) / rate if rate else None
        values = {
            "step": self._current,
            "done": step.done,
            "total": step.total,
            "rate": None if rate is None else float(f"{rate:.4g}"),
            "left_s": None if left is None else round(left, 1),
            "elapsed_s": round(now - step.began, 1),
        }
        return event("progress", self._now(), **values | ({"note": step.note} if step.note else {}))

    def _as_text(self, step: _Step, now: float) -> str:
        rate = step.rate(now)
        parts = [f"{self._time()} {self._current} {step.done:,} of {step.total:,}"]
        if rate:
            parts.append(_per_time(rate))
            spent, left = now - step.began, (step.total - step.done) / rate
            parts.append(f"{duration(spent)} in all" if step.is_complete else f"{duration(left)} left")
        return ", ".join(parts) + (f" ({step.note})" if step.note else "")


def _per_time(rate: float) -> str:
    """Return a rate per second, or per minute if less than one is done in ten seconds."""
    if rate < 0.1:
        return f"{rate * 60:.2g}/min"
    return f"{rate:,.1f}/s" if rate >= 10 else f"{rate:.2f}/s"
