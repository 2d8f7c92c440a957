"""A thread pool that does not outlive an error."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def pool(workers: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Yield a thread pool whose queue is dropped if the block is left by an exception, such as Ctrl-C.

    A plain ThreadPoolExecutor would first finish everything in its queue: thousands of photos.

    Args:
        workers: number of threads; None leaves it to Python.
    """
    with ThreadPoolExecutor(workers) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
