"""Processes wait for each other outside of collectives, and notice one that failed or was lost."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from segkit.errors import DatasetError, TrainingError
from trainer.step import meeting


def together(*works: Callable[[], object]) -> list[BaseException | None]:
    """Let each work in a meeting of its own thread, and return how each ended."""
    store = HashStore()

    def attend(rank: int) -> None:
        with meeting.meet(store, rank, len(works)):
            works[rank]()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.exception() for future in [pool.submit(attend, rank) for rank in range(len(works))]]


def test_all_wait_for_the_slowest() -> None:
    """Nobody leaves before the last has ended its work."""
    begun, ended, store = threading.Event(), threading.Event(), HashStore()

    def quick() -> bool:
        with meeting.meet(store, 1, 2):
            begun.set()
        return ended.is_set()

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(quick)
        with meeting.meet(store, 0, 2):
            assert begun.wait(60)
            with pytest.raises(TimeoutError):
                answer.result(0.05)
            ended.set()
        assert answer.result(60)


@pytest.mark.parametrize(
    ("error", "words"), [(DatasetError("a.png was changed"), "a.png was changed"), (KeyError("x"), "KeyError('x')")]
)
def test_a_failure_ends_all_and_is_named(error: Exception, words: str) -> None:
    """The process that failed raises its own error, the others say which failed and why."""

    def fail() -> None:
        raise error

    first, second, third = together(fail, lambda: None, lambda: None)

    assert first is error
    assert [(type(other), str(other)) for other in (second, third)] == [
        (TrainingError, f"Process 0 failed: {words}")
    ] * 2


@pytest.mark.parametrize("sign", ["", "7"])
def test_a_process_that_was_lost_is_noticed(monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    """One that never came, and one whose signs of life have stopped."""
    for name in ("PATIENCE", "_ABSENT", "BEAT"):
        monkeypatch.setattr(meeting, name, 0.1)
    store = HashStore()
    if sign:
        store.set("alive/1", sign)

    with pytest.raises(TrainingError, match="Process 1 has given no sign of life"), meeting.meet(store, 0, 2):
        pass


def test_slow_work_with_signs_of_life_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work may take longer than the patience with a process that is silent."""
    monkeypatch.setattr(meeting, "PATIENCE", 2.0)
    monkeypatch.setattr(meeting, "_ABSENT", 2.0)
    monkeypatch.setattr(meeting, "BEAT", 0.02)

    assert together(lambda: threading.Event().wait(2.3), lambda: None) == [None, None]


def test_a_stop_is_heard_by_all() -> None:
    """Of two that work, the one that received no signal learns of the other's, even if that one waits already."""
    store, received = HashStore(), threading.Event()

    def work() -> bool:
        with meeting.meet(store, 0, 2) as should_stop:
            heard = should_stop()
            received.set()
            while not should_stop():
                time.sleep(0.001)
            return heard

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(work)
        with meeting.meet(store, 1, 2, received.is_set) as should_stop:
            assert not should_stop() or received.is_set()
        assert answer.result(60) is False


def test_one_process_needs_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do several that found each other without an address."""
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    for world_size in (1, 2):
        with meeting.meeting(0, world_size):
            pass
