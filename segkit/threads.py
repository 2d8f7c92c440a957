"""Thread pools: one that does not outlive an error, and a common limit on the number of threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

_limits: list[tuple[int, int, ExitStack]] = []
"""The current limits, of pools and of libraries, last, and what restores the libraries that they were applied to. Of
the process, because pools are also created in threads, which context variables do not reach."""


@contextmanager
def limited(number: int, libraries: int | None = None) -> Iterator[None]:
    """Limit each kind of threads to a number within the context.

    Args:
        number: the most threads of a pool.
        libraries: those of libraries such as PyTorch, whose results may depend on them; None: as many.
    """
    with ExitStack() as undo:
        _limits.append((number, libraries or number, undo))
        try:
            yield
        finally:
            _limits.pop()


def limit() -> int | None:
    """Return the most threads that a pool may have; None if nobody set a limit."""
    return _limits[-1][0] if _limits else None


def at_most(number: int | None) -> int | None:
    """Return a number of threads, or the limit if that is lower; None leaves it to Python."""
    if not _limits:
        return number
    return min(number or _limits[-1][0], _limits[-1][0])


def apply_to_library(current: Callable[[], int], change: Callable[[int], None]) -> None:
    """Apply the limit, if there is one, to the threads of a library until the limit ends.

    Args:
        current: returns the library's number of threads.
        change: sets it.
    """
    if not _limits:
        return
    _, number, undo = _limits[-1]
    undo.callback(change, current())
    change(number)


@contextmanager
def pool(workers: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Yield a thread pool whose queue is dropped if the block is left by an exception, such as Ctrl-C.

    A plain ThreadPoolExecutor would first finish everything in its queue: thousands of photos.

    Args:
        workers: number of threads, if no lower limit is set; None leaves it to Python.
    """
    with ThreadPoolExecutor(at_most(workers)) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
