"""The engine that works on a Ray cluster: on all GPUs or cores of a machine, or of many."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import chain

from segkit.build import arrival
from segkit.build.annotate import Encoded
from segkit.build.arrival import Loaded, Place
from segkit.build.engines import Capacity, Job, Opening, Results
from segkit.build.engines.crew import Crew, absolute, gathered
from segkit.build.engines.isolation import STRIKES
from segkit.build.engines.pool import Kind
from segkit.build.engines.worker import Identity, Request, Task, Worker
from segkit.build.settings import BuildSettings
from segkit.build.supply import limits
from segkit.build.tools import Networks
from segkit.build.units import Unit
from segkit.dataset import Rejection
from segkit.errors import PhotoError
from segkit.photos import GONE
from segkit.storage import sha256

CHUNK = 16
"""Photos that a worker reads at a time."""

PASSED_ON = 1024
"""Most photos, known ones included, that are passed on together."""

Chunk = list[Place | Loaded]
"""Photos that are to be read, with those between them that are known."""


class RayEngine:
    """Reads photos and runs networks in the workers of a cluster; an Engine.

    Args:
        crew: the workers.
        settings: of the build.
    """

    def __init__(self, crew: Crew, settings: BuildSettings) -> None:
        self._crew, self._limits = crew, limits(settings)

    @property
    def notes(self) -> Sequence[str]:
        """How many workers there were, and who read the photos."""
        return self._crew.notes

    @property
    def capacity(self) -> Capacity:
        """The workers and their machines; this starts them."""
        return self._crew.capacity

    def read(self, places: Iterable[Place | Loaded], opening: Opening) -> Iterator[Loaded]:
        """Have photos read by workers; see engines.Read. They come without pixels."""
        for chunk, results in self._read(_chunks(places), opening):
            loaded = iter(sorted(results, key=lambda one: one.position))
            for place in chunk:
                yield place if isinstance(place, Loaded) else next(loaded)

    def _read(self, chunks: Iterator[Chunk], opening: Opening) -> Iterator[tuple[Chunk, Sequence[Loaded]]]:
        for chunk in chunks:
            if not all(isinstance(place, Loaded) for place in chunk):
                works = ((chunk, _requests(chunk, opening)) for chunk in chain([chunk], chunks))
                yield from self._crew.pool.run(works, self._reading(opening))
                return
            yield chunk, ()  # no cluster is started for a build that has nothing to do

    def _reading(self, opening: Opening) -> Kind[Request, Loaded]:
        ray = self._crew.cluster.ray
        limits, known = ray.put(opening.limits), ray.put(opening.history.known_bits())
        return Kind(
            send=lambda worker, requests: worker.read.remote(requests, limits, known),
            fill=self._crew.filled,
            crashed=self._crashed_reading,
            is_unseen=lambda loaded: _is_unseen(loaded.outcome),
        )

    @cached_property
    def _identity(self) -> Identity:
        identity: Identity = self._crew.pool.call("identify")
        return identity

    def networks(self) -> Identity:
        """Have a worker load the networks, and return what identifies them."""
        return self._identity

    def finish(self, units: Iterable[Unit], job: Job) -> Iterator[tuple[Unit, Iterable[Results]]]:
        """Have workers turn the photos of units into triples; yields the units in order."""
        units = iter(units)
        for unit in units:
            if unit.candidates:
                works = ((unit, _of_unit(unit, job.paths)) for unit in chain([unit], units))
                for done, results in self._crew.pool.run(works, self._finishing(job)):
                    yield done, (results,)
                return
            yield unit, ()

    def _finishing(self, job: Job) -> Kind[Request, Encoded | Rejection]:
        task = Task(job.palette, job.settings, job.style, self._limits, self.networks().identities)
        reference = self._crew.cluster.ray.put(task)
        return Kind(
            send=lambda worker, requests: worker.finish.remote(requests, reference),
            fill=self._crew.filled,
            crashed=_crashed_finishing,
            is_unseen=_is_unseen,
        )

    def _crashed_reading(self, request: Request) -> Loaded:
        try:
            digest = sha256(arrival.read(request.place, self._limits.max_bytes))
        except PhotoError:  # it is gone by now
            digest = ""
        return Loaded(request.source, digest, _crash(request.source, digest), position=request.position)


def _crashed_finishing(request: Request) -> Encoded | Rejection:
    assert request.candidate
    return _crash(request.source, request.candidate.sha256)


def _crash(source: str, digest: str) -> Rejection:
    return Rejection(source, digest, "crashed-worker", f"{STRIKES} workers in a row died of it, when it was alone")


def _is_unseen(result: object) -> bool:
    return isinstance(result, Rejection) and result.reason in ("unreadable", GONE)


def _chunks(places: Iterable[Place | Loaded]) -> Iterator[Chunk]:
    """Divide photos into lists of which each has at most CHUNK that are to be read."""
    chunk: Chunk = []
    unread = 0
    for place in places:
        chunk.append(place)
        unread += not isinstance(place, Loaded)
        if unread == CHUNK or len(chunk) == PASSED_ON:
            yield chunk
            chunk, unread = [], 0
    if chunk:
        yield chunk


def _requests(chunk: Chunk, opening: Opening) -> list[Request]:
    unread = [place for place in chunk if not isinstance(place, Loaded)]
    return [Request(absolute(place), opening.name(place), position=position) for position, place in enumerate(unread)]


def _of_unit(unit: Unit, paths: Sequence[Place]) -> list[Request]:
    return [
        Request(absolute(paths[candidate.position]), candidate.source, candidate=replace(candidate, lost=None))
        for candidate in unit.candidates
    ]


@contextmanager
def opened(
    settings: BuildSettings, load: Callable[[BuildSettings], Networks], paths: Sequence[Place]
) -> Iterator[RayEngine]:
    """Yield the engine; the cluster is connected to when there is work for it, and left at the end."""
    with gathered(Worker, settings, load, paths, limits(settings).max_bytes) as crew:
        yield RayEngine(crew, settings)
