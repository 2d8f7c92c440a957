"""The engine that works in this process: threads read photos, networks run in the caller's thread."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from segkit import threads
from segkit.build import arrival, remote_photos
from segkit.build.annotate import finish
from segkit.build.arrival import Loaded, Place
from segkit.build.engines import Job, Opening, Results
from segkit.build.engines.opening import load_photo
from segkit.build.remote_photos import RemotePhoto
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.build.units import Unit

Item = TypeVar("Item")
Result = TypeVar("Result")

PREFETCH = 24
"""Photos decoded ahead: enough to keep a network busy, at the cost of some tens of megabytes."""

WORKERS = max(4, min(16, os.cpu_count() or 1))
"""Threads that decode photos: one a core, of which each needs up to 100 MB; some wait for the disk."""


def read(places: Iterable[Place | Loaded], opening: Opening) -> Iterator[Loaded]:
    """Read photos in threads, and yield the results in order; see engines.Read."""

    def submit(place: Place | Loaded) -> Future[Loaded]:
        if isinstance(place, Loaded):
            return _done(place)
        return (remote if isinstance(place, RemotePhoto) else local).submit(_load, place, opening)

    with threads.pool(WORKERS) as local, threads.pool(remote_photos.WORKERS) as remote:  # threads start when needed
        yield from _ahead(submit, places)


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Work on items in threads, and yield the results in order, at most PREFETCH ahead."""
    with threads.pool(WORKERS) as pool:
        yield from _ahead(lambda item: pool.submit(work, item), items)


def _ahead(submit: Callable[[Item], Future[Result]], items: Iterable[Item]) -> Iterator[Result]:
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(submit(item))
        if len(pending) > PREFETCH:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _done(loaded: Loaded) -> Future[Loaded]:
    future: Future[Loaded] = Future()
    future.set_result(loaded)
    return future


def _load(place: Place, opening: Opening) -> Loaded:
    def is_decided(source: str, sha256: str) -> bool:
        return opening.history.verdict(source, sha256) is not None

    limits = opening.limits
    return load_photo(lambda: arrival.read(place, limits.max_bytes), opening.name(place), limits, is_decided)


class Inline:
    """Reads photos and runs networks in this process; an Engine."""

    notes: Sequence[str] = ()
    capacity = None

    def __init__(self, settings: BuildSettings, load: Callable[[BuildSettings], Networks]) -> None:
        self._settings, self._load = settings, load

    @cached_property
    def _networks(self) -> Networks:
        return self._load(self._settings)

    read = staticmethod(read)

    def networks(self) -> Networks:
        """Load the networks, if they are not loaded yet, and return them."""
        return self._networks

    def finish(self, units: Iterable[Unit], job: Job) -> Iterator[tuple[Unit, Iterable[Results]]]:
        """Turn the photos of units into triples, each unit when its results are asked for."""
        for unit in units:
            yield unit, self._finish(unit, job)

    def _finish(self, unit: Unit, job: Job) -> Iterator[Results]:
        if unit.candidates:
            networks = replace(self._networks, palette=job.palette)
            yield from finish(unit.candidates, networks, job.settings, job.style)
