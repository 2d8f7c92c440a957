"""Work done by threads ahead of the one who needs its results, in a known order and within bounds."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from segkit import threads
from segkit.errors import SegkitError
from trainer.data.members import Member, Source

Item = TypeVar("Item")
Result = TypeVar("Result")
Reached = Callable[[int], None]
"""Called with the number of the work that is about to be needed."""

THREADS = 8
"""Requests at a time: an answer of object storage takes 20 to 100 ms, and one stream does not fill a line."""

CHUNK = 16
"""Pictures that are fetched by one thread; neighbours in a shard are one request."""

CHUNKS = 2 * THREADS
"""Chunks that are fetched ahead: at 150 kB a photo, 40 MB."""


def mapped(function: Callable[[Item], Result], items: Iterable[Item], workers: int = THREADS) -> Iterator[Result]:
    """Yield the results for items in their order, `workers` of them computed ahead by threads."""
    with threads.pool(workers) as pool:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def working(work: Callable[[int], None], first: int, count: int) -> Iterator[Reached]:
    """Let threads do numbered pieces of work before they are needed.

    Errors are dropped: whoever needs the work meets them.

    Args:
        work: does a piece.
        first: number of the first piece.
        count: how many pieces are done ahead.

    Yields:
        To be called with the number of each piece that is about to be needed.
    """
    pool, submitted = ThreadPoolExecutor(threads.at_most(THREADS)), [first]

    def attempt(number: int) -> None:
        with suppress(SegkitError):
            work(number)

    def reached(number: int) -> None:
        end = number + 1 + count
        for piece in range(max(submitted[0], number), end):
            pool.submit(attempt, piece)
        submitted[0] = max(submitted[0], end)

    try:
        yield reached
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def fetching(sources: Sequence[Source]) -> Iterator[Reached]:
    """Fetch those of the pictures that are in remote shards before they are read one after another.

    Args:
        sources: the pictures, in the order of need.

    Yields:
        To be called with the place of each picture that is about to be read.
    """
    if not is_remote(sources):
        yield go_on_from
        return
    chunks = [sources[start : start + CHUNK] for start in range(0, len(sources), CHUNK)]

    def fetch(number: int) -> None:
        if number < len(chunks):
            fetch_all(chunks[number])

    with working(fetch, 0, CHUNKS) as reached:
        yield lambda place: reached(place // CHUNK)


def go_on_from(place: int) -> None:
    """Do nothing: pictures in files need not be fetched."""


def is_remote(sources: Iterable[Source]) -> bool:
    """Return whether pictures are in remote shards; all pictures of a training are in the same place."""
    first = next(iter(sources), None)
    return isinstance(first, Member) and first.store.is_remote


def fetch_all(sources: Iterable[Source]) -> None:
    """Fetch those of the pictures that are in shards."""
    members = [source for source in sources if isinstance(source, Member)]
    if members:
        members[0].store.fetch(members)
