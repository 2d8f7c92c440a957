"""Workers on a Ray cluster: work is sent to those that are ready, results come back in order, the dead are replaced."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from segkit import __version__
from segkit.build.engines.isolation import endure
from segkit.build.engines.worker import Introduction
from segkit.errors import EngineError, SegkitError

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = TypeVar("Key")

DEPTH = 2
"""Pieces of work of one kind that a worker has at a time: photos of the second are decoded during the first."""

PATIENCE = 600.0
"""Seconds without a single worker after which a build gives up."""

STARTS = 10
"""Workers in a row that may die before they have started."""

LOST = "The Ray cluster was lost ({}). Finished triples are kept; run the same command again."

WATCH = 1.0
"""Seconds after which new workers are looked for, while others work."""


@dataclass(eq=False)
class Seat:
    """A worker, or one that starts.

    Attributes:
        handle: Ray's actor.
        starting: what will be its introduction.
        introduction: who it is; None while it starts.
        working: references to the results of what it works on, with the kind of work.
    """

    handle: Any
    starting: Any
    introduction: Introduction | None = None
    working: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind(Generic[Item, Result]):
    """A kind of work.

    Attributes:
        send: starts it in a worker: called with Ray's actor and the items, it returns a reference to the results.
        fill: returns items, such as photos, as they are sent to a worker that does not see their files, with the bytes.
        crashed: returns the result for an item that kills workers.
        is_unseen: whether a result says that the worker could not read a file.
    """

    send: Callable[[Any, Sequence[Item]], Any]
    fill: Callable[[Sequence[Item]], Sequence[Item]]
    crashed: Callable[[Item], Result]
    is_unseen: Callable[[Result], bool]


class Pool:
    """Workers that are replaced when they die.

    Args:
        ray: the package, connected to a cluster.
        start: starts a worker, and returns Ray's actor and a reference to its introduction.
        number: of workers.
    """

    def __init__(self, ray: Any, start: Callable[[], tuple[Any, Any]], number: int) -> None:
        self._ray, self._start = ray, start
        self._failed_starts = 0
        self._lonely_since = time.monotonic()
        self._seats = [Seat(*start()) for _ in range(number)]
        self.hosts: set[str] = set()
        self.deaths = 0

    def close(self) -> None:
        """End all workers."""
        for seat in self._seats:
            with suppress(Exception):  # the cluster may be gone, and an error that is propagating must not be masked
                self._ray.kill(seat.handle)

    def any_seat(self) -> Seat:
        """Return a worker that is ready, after waiting for it."""
        while True:
            if ready := [seat for seat in self._seats if seat.introduction]:
                return min(ready, key=lambda seat: len(seat.working))
            self._look_for_new(WATCH)

    def call(self, name: str) -> Any:
        """Return the result of a method of any worker; if that dies, of another one."""
        while True:
            seat = self.any_seat()
            results = self.results(seat, getattr(seat.handle, name).remote())
            if results is not None:
                return results

    def run(
        self, works: Iterable[tuple[Key, Sequence[Item]]], kind: Kind[Item, Result]
    ) -> Iterator[tuple[Key, list[Result]]]:
        """Do pieces of work, and yield the results in order; bounded many are done ahead.

        Args:
            works: each with a key, which is returned with its results. One without items has no results.
            kind: how it is done.
        """
        lane: _Lane[Key, Item, Result] = _Lane(self, kind)
        return lane.run(works)

    def alone(self, items: Sequence[Item], kind: Kind[Item, Result], shipped: bool) -> list[Result] | None:
        """Do work in a worker that does nothing else meanwhile; None if it died."""
        seat = self._idle()
        results: list[Result] | None = self.results(seat, self.sent(seat, items, kind, shipped))
        return results

    def _idle(self) -> Seat:
        """Return a worker that is alive and does nothing: work sent to one whose node is lost has killed nobody."""
        while True:
            seat = self.any_seat()
            if seat.working:
                self._wait([*seat.working], len(seat.working), None)
                seat.working.clear()  # whoever sent it still has the references
            if self.results(seat, seat.handle.introduce.remote([])) is not None:
                return seat

    def sent(self, seat: Seat, items: Sequence[Item], kind: Kind[Item, Result], shipped: bool) -> Any:
        """Send work to a worker, and return a reference to the results."""
        assert seat.introduction
        if shipped or not seat.introduction.reads:
            items = kind.fill(items)
        reference = kind.send(seat.handle, items)
        seat.working[reference] = kind
        return reference

    def free(self, kind: Kind[Item, Result]) -> Seat | None:
        """Return the worker that has least to do; None if all have enough work of a kind."""
        loads = {seat: [*seat.working.values()].count(kind) for seat in self._seats if seat.introduction}
        ready = [seat for seat, load in loads.items() if load < DEPTH]
        return min(ready, key=lambda seat: len(seat.working), default=None)

    def wait(self, references: Sequence[Any]) -> None:
        """Wait for the first of the references whose results are here, or for a new worker, but not for long."""
        if references:
            self._wait(references, 1, WATCH)
        self._look_for_new(0.0 if references else WATCH)

    def done(self, references: Sequence[Any]) -> list[Any]:
        """Return those of the references whose results are here."""
        return self._wait(references, len(references), 0.0) if references else []

    @property
    def ahead(self) -> int:
        """Pieces of work of one kind that are under way, or done while an older one is not."""
        return DEPTH * len(self._seats) + DEPTH

    def results(self, seat: Seat, reference: Any) -> Any:
        """Return the results that a reference stands for; None if its worker died, which is then replaced.

        Raises:
            SegkitError: what the worker raised.
        """
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, SegkitError):
                raise error.cause from None
            raise EngineError(f"A worker failed: {_line(error.cause)}. With engine=inline, -v shows where.") from error
        except (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError, errors.OutOfMemoryError):
            self._replace(seat)
            return None
        except errors.RayError as error:
            raise EngineError(LOST.format(_line(error))) from error
        finally:
            seat.working.pop(reference, None)

    def _wait(self, references: Sequence[Any], number: int, seconds: float | None) -> list[Any]:
        """Return those of the references whose results are here, at the latest when time is up."""
        try:
            done, _ = self._ray.wait([*references], num_returns=number, timeout=seconds)
        except self._ray.exceptions.RayError as error:
            raise EngineError(LOST.format(_line(error))) from error
        return list(done)

    def _replace(self, seat: Seat) -> None:
        if seat in self._seats:
            self.deaths += 1
            self._ray.kill(seat.handle)
            self._seats[self._seats.index(seat)] = Seat(*self._start())

    def _look_for_new(self, seconds: float) -> None:
        """Note which workers have started, and wait so long for one if none has."""
        starting = {seat.starting: seat for seat in self._seats if seat.introduction is None}
        if starting:
            for reference in self._wait([*starting], 1, seconds):
                self._introduce(starting[reference])
        if any(seat.introduction for seat in self._seats):
            self._lonely_since = time.monotonic()
        elif time.monotonic() - self._lonely_since > PATIENCE:
            raise EngineError(
                f"No worker of the Ray cluster has started for {PATIENCE / 60:.0f} minutes. Finished triples are kept. "
                "Check with ray status that its nodes have the CPUs and GPUs that workers need, and run it again."
            )

    def _introduce(self, seat: Seat) -> None:
        introduction = self.results(seat, seat.starting)
        if introduction is None:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise EngineError(
                    f"{STARTS} workers in a row died while they started. Check that the nodes of the Ray cluster have "
                    "memory to spare, and the same versions of Python and segkit as this one."
                )
            return
        if introduction.version != __version__:
            raise EngineError(
                f"The worker on {introduction.host} has segkit {introduction.version}, this process {__version__}. "
                "Install the same version on every node of the Ray cluster."
            )
        self._failed_starts = 0
        seat.introduction = introduction
        self.hosts.add(introduction.host)


@dataclass(eq=False)
class _Work(Generic[Key, Item, Result]):
    """A piece of work, with its results once they are there."""

    key: Key
    items: Sequence[Item]
    results: list[Result] | None = None
    shipped: bool = False
    reference: Any = None
    seat: Seat | None = None


class _Lane(Generic[Key, Item, Result]):
    """Work of one kind on its way through the pool, oldest first."""

    def __init__(self, pool: Pool, kind: Kind[Item, Result]) -> None:
        self._pool, self._kind = pool, kind
        self._works: deque[_Work[Key, Item, Result]] = deque()

    def run(self, works: Iterable[tuple[Key, Sequence[Item]]]) -> Iterator[tuple[Key, list[Result]]]:
        """Do all work; see Pool.run."""
        for key, items in works:
            self._works.append(_Work(key, items, None if items else []))
            self._advance()
            while len(self._works) > self._pool.ahead or (self._works and self._works[0].results is not None):
                yield from self._oldest()
        while self._works:
            yield from self._oldest()

    def _oldest(self) -> Iterator[tuple[Key, list[Result]]]:
        """Yield the oldest work if it is done, else wait for any."""
        if (results := self._works[0].results) is not None:
            yield self._works.popleft().key, results
        else:
            self._pool.wait([work.reference for work in self._works if work.reference is not None])
            self._advance()

    def _advance(self) -> None:
        """Take in what is done, and send what no worker has yet."""
        under_way = {work.reference: work for work in self._works if work.reference is not None}
        for reference in self._pool.done([*under_way]):
            self._take(under_way[reference])
        for work in self._works:
            if work.results is None and work.reference is None:
                seat = self._pool.free(self._kind)
                if seat is None:
                    return
                work.seat, work.reference = seat, self._pool.sent(seat, work.items, self._kind, work.shipped)

    def _take(self, work: _Work[Key, Item, Result]) -> None:
        assert work.seat
        results = self._pool.results(work.seat, work.reference)
        work.reference = None
        if results is None:
            results = self._endured(work)
        if not work.shipped and any(map(self._kind.is_unseen, results)):
            work.shipped = True  # a worker may have lost sight of the photos: send them again, with their bytes
            return
        work.results = results

    def _endured(self, work: _Work[Key, Item, Result]) -> list[Result]:
        """Do work again that was under way when its worker died, alone: it may have killed it."""

        def attempt(items: Sequence[Item]) -> list[Result] | None:
            return self._pool.alone(items, self._kind, work.shipped)

        return endure(work.items, attempt, self._kind.crashed, attempts=2)


def _line(error: BaseException | None) -> str:
    text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
