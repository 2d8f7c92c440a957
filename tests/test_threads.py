"""Thread pools: left by an exception, and limited."""

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


def test_a_limit_holds_within_its_context() -> None:
    """Pools get at most so many threads, also those that are created in other threads; the inner limit counts."""
    with threads.limited(3), threads.pool(8) as pool:
        inside = pool.submit(lambda: [threads.at_most(number) for number in (None, 2, 8)]).result()
        with threads.limited(1):
            inner = threads.limit()
        assert (inside, inner, threads.limit()) == ([3, 2, 3], 1, 3)

    assert (threads.limit(), threads.at_most(8), threads.at_most(None)) == (None, 8, None)


def test_a_library_gets_its_threads_back() -> None:
    """However often the limit was applied, the number before it returns; without a limit nothing is changed."""
    number = [7]

    def change(new: int) -> None:
        number[0] = new

    threads.apply_to_library(lambda: number[0], change)
    before = number[0]
    with threads.limited(2):
        for _ in range(2):
            threads.apply_to_library(lambda: number[0], change)
        within = number[0]

    with threads.limited(1, libraries=4), threads.pool(8) as pool:
        threads.apply_to_library(lambda: number[0], change)
        apart = pool.submit(threads.limit).result(), number[0]

    assert (before, within, apart, number[0]) == (7, 2, (1, 4), 7)
