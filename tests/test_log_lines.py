"""Progress as lines: when they are written, what they say, and that machines can read them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from segkit import log_lines
from segkit.log_lines import LogLines
from segkit.progress import NOTICE, STOPPING

START = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


class Clock:
    """Time that passes when it is told to; it writes lines into a list."""

    def __init__(self, as_json: bool = False) -> None:
        self.seconds = 0.0
        self.lines: list[str] = []
        self.report = LogLines(self.lines.append, as_json, lambda: self.seconds, lambda: START + self.passed)

    @property
    def passed(self) -> timedelta:
        """What has passed since the start."""
        return timedelta(seconds=self.seconds)

    def work(self, stage: str, per_second: float, first: int, last: int, total: int, note: str = "") -> None:
        """Report each number from first to last; the first is done at once."""
        for done in range(first, last + 1):
            self.report(stage, done, total, note)
            self.seconds += (1 / per_second) if done < last else 0

    def texts(self) -> list[str]:
        """The lines without the time of day."""
        return [line.partition(" ")[2] for line in self.lines]

    def events(self) -> list[dict[str, Any]]:
        """The lines, decoded."""
        return [json.loads(line) for line in self.lines]


def test_a_line_a_minute_with_rate_and_time_left() -> None:
    """A step has a line when it begins, one each minute, and one when it is complete."""
    clock = Clock()

    clock.work("photos", 32, 1, 8000, 8000)
    clock.report.close()

    assert clock.texts() == [
        "photos 1 of 8,000",
        "photos 1,921 of 8,000, 32.0/s, 3 min 10 s left",
        "photos 3,841 of 8,000, 32.0/s, 2 min 10 s left",
        "photos 5,761 of 8,000, 32.0/s, 1 min 10 s left",
        "photos 7,681 of 8,000, 32.0/s, 10 s left",
        "photos 8,000 of 8,000, 32.0/s, 4 min 10 s in all",
    ]
    assert [line[:8] for line in clock.lines[:2]] == [
        f"{(START + timedelta(seconds=passed)).astimezone():%H:%M:%S}" for passed in (0, 60)
    ]


def test_the_rate_is_that_of_the_last_minutes() -> None:
    """Photos that were done before pass in no time; they do not promise that the others will."""
    clock = Clock()

    clock.work("photos", 1000, 1, 5000, 10_000)
    clock.work("photos", 2, 5001, 7000, 10_000)

    assert clock.texts()[-1].startswith("photos 6,9")
    assert "2.00/s" in clock.texts()[-1]


def test_work_that_stalls_is_seen() -> None:
    """A minute without a report has a line too, whose rate falls; not before, and not once the step is complete."""
    clock = Clock()

    clock.work("photos", 1, 1, 31, 61)
    clock.seconds += 29
    clock.report.beat()
    clock.seconds += 31
    clock.report.beat()
    clock.report("photos", 61, 61)
    clock.seconds += 100
    clock.report.beat()

    assert clock.texts() == [
        "photos 1 of 61",
        "photos 31 of 61, 0.33/s, 1 min 30 s left",
        "photos 61 of 61, 0.67/s, 1 min 30 s in all",
    ]


def test_a_stop_ends_with_how_far_the_work_came() -> None:
    """Closing writes what no line has said yet, and nothing twice."""
    clock = Clock()

    clock.work("photos", 10, 1, 100, 1000)
    clock.report.close()
    clock.report.close()

    assert clock.texts() == ["photos 1 of 1,000", "photos 100 of 1,000, 10.0/s, 1 min 30 s left"]


def test_steps_that_alternate_have_no_line_each_time() -> None:
    """Only a new step has one at once; the one before it is written as far as it came."""
    clock = Clock()

    clock.work("maps", 1, 1, 3, 9)
    for done in range(4, 8):
        clock.work("pictures", 1, done, done, 9)
        clock.work("maps", 1, done, done, 9)
    clock.report.close()

    assert clock.texts() == [
        "maps 1 of 9",
        "maps 3 of 9, 1.00/s, 6 s left",
        "pictures 4 of 9",
        "maps 7 of 9, 3.00/s, 1 s left",
    ]


def test_an_empty_step_and_an_unknown_rate() -> None:
    """Nothing to do is one line, and a note follows in brackets."""
    clock = Clock()

    clock.report("photos", 0, 0)
    clock.report("steps", 3, 9, "loss 0.5")

    assert clock.texts() == ["photos 0 of 0", "steps 3 of 9 (loss 0.5)"]


def test_slow_work_is_counted_by_the_minute() -> None:
    """Less than one in ten seconds would be 0.0 a second."""
    clock = Clock()

    clock.work("pictures", 0.05, 1, 5, 10)

    assert clock.texts()[-1] == "pictures 4 of 10, 3/min, 2 min 0 s left"


def test_notices_and_stops_are_lines_at_once() -> None:
    """A notice has the time; the acknowledgement of a stop is as segkit.interrupts writes it."""
    clock = Clock()

    clock.report(NOTICE, 0, 0, "a guess")
    clock.report(STOPPING, 0, 0, "Stopping ...")

    assert [clock.texts()[0], clock.lines[1]] == ["a guess", "Stopping ..."]


def test_machines_read_events() -> None:
    """Each line is an object with time, event and the same numbers; what is unknown is null."""
    clock = Clock(as_json=True)

    clock.work("steps", 0.5, 1, 61, 91, "loss 0.5")
    clock.report(NOTICE, 0, 0, "a guess")

    first, second, *_, notice = clock.events()
    assert first == {
        "time": "2026-05-04T12:00:00.000Z", "event": "progress", "step": "steps", "done": 1, "total": 91,
        "rate": None, "left_s": None, "elapsed_s": 0.0, "note": "loss 0.5",
    }  # fmt: skip
    assert second == first | {
        "time": "2026-05-04T12:01:00.000Z", "done": 31, "rate": 0.5, "left_s": 120.0, "elapsed_s": 60.0,
    }  # fmt: skip
    assert notice == {"time": "2026-05-04T12:02:00.000Z", "event": "notice", "message": "a guess"}


@pytest.mark.parametrize("value", ["ä\n\x1b[31m", 1.5, None, ["a"], START])
def test_an_event_is_one_line(value: object) -> None:
    """Whatever its values are, it can be decoded, and holds no control character."""
    line = log_lines.event("error", message=value)

    assert line.isprintable()
    assert json.loads(line)["message"] == (str(value) if value is START else value)
