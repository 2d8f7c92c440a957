"""A thread pool that is left by an exception."""

import threading

import pytest

from segkit import threads


def test_an_exception_drops_the_queue() -> None:
    """After Ctrl-C only the work that had begun is finished."""
    started, release = threading.Event(), threading.Event()
    done: list[int] = []

    def work(number: int) -> None:
        started.set()
        release.wait()
        done.append(number)

    def interrupted() -> None:
        with threads.pool(1) as pool:
            for number in range(100):
                pool.submit(work, number)
            started.wait()
            threading.Timer(0.05, release.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == [0]


def test_without_an_exception_all_work_is_done() -> None:
    """Leaving the block waits for the results."""
    with threads.pool(2) as pool:
        results = pool.map(lambda number: number + 1, range(10))
    assert list(results) == list(range(1, 11))
