"""The engine that works on a Ray cluster: on all GPUs or cores of a machine, or of many."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from segkit.build import arrival
from segkit.build.annotate import Encoded
from segkit.build.arrival import Loaded, Place
from segkit.build.engines import Job, Opening, Results
from segkit.build.engines.cluster import Cluster, connected
from segkit.build.engines.isolation import STRIKES
from segkit.build.engines.pool import DEPTH, Kind, Pool
from segkit.build.engines.worker import Identity, Request, Task, Worker, stat_of
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.build.units import Unit
from segkit.dataset import Rejection
from segkit.errors import PhotoError, UsageError
from segkit.photos import Limits
from segkit.storage import sha256
from segkit.words import count, data_size

CHUNK = 16
"""Photos that a worker reads at a time."""

PASSED_ON = 1024
"""Most photos, known ones included, that are passed on together."""

PROBES = 8
"""Photos that each worker looks for, to find out whether it sees what this process sees."""

Chunk = list[Place | Loaded]
"""Photos that are to be read, with those between them that are known."""


@dataclass(frozen=True)
class Share:
    """What each worker gets.

    Attributes:
        workers: how many there are.
        cpus: threads of each; on a machine with fewer cores than workers they share one.
        gpus: of each; a fraction shares one.
    """

    workers: int
    cpus: float
    gpus: float


class RayEngine:
    """Reads photos and runs networks in the workers of a cluster; an Engine.

    Args:
        settings: of the build.
        load: loads the networks, in the workers.
        paths: the photos of the run.
        cluster: connects to the cluster, when it is needed.
    """

    def __init__(
        self,
        settings: BuildSettings,
        load: Callable[[BuildSettings], Networks],
        paths: Sequence[Place],
        cluster: Callable[[], Cluster],
    ) -> None:
        self._settings, self._load, self._paths, self._connect = _everywhere(settings), load, paths, cluster
        self._limits = Limits(settings.min_size, settings.max_megapixels, settings.size)
        self._sent_bytes, self._sent_seconds = 0, 0.0

    @cached_property
    def _cluster(self) -> Cluster:
        return self._connect()

    @cached_property
    def _share(self) -> Share:
        return share(self._settings, self._cluster)

    @cached_property
    def _pool(self) -> Pool:
        ray, portion = self._cluster.ray, self._share
        settings = self._settings if portion.gpus else replace(self._settings, device="cpu")
        sampled = self._paths[:: -(-len(self._paths) // PROBES)]
        probes = [(_absolute(place), stat_of(place)) for place in sampled]
        actor = ray.remote(Worker).options(
            num_cpus=min(1.0, portion.cpus),  # Ray need not find several cores in one machine
            num_gpus=portion.gpus,
            max_restarts=0,
            max_task_retries=0,  # a lost unit is sent again from here, where its deaths are counted
            max_concurrency=2 * DEPTH + 1,
            scheduling_strategy="SPREAD",
        )

        def start() -> tuple[Any, Any]:
            worker = actor.remote(settings, self._load, max(1, int(portion.cpus)))
            return worker, worker.introduce.remote(probes)

        return Pool(ray, start, portion.workers)

    @property
    def notes(self) -> Sequence[str]:
        """How many workers there were, and who read the photos."""
        if "_pool" not in self.__dict__:
            return ()
        pool = self._pool
        note = f"Ray: {count(self._share.workers, 'worker')} on {count(len(pool.hosts), 'machine')}. "
        if self._sent_bytes:
            rate = data_size(round(self._sent_bytes / self._sent_seconds))
            note += f"Photos were read here and sent to them: {data_size(self._sent_bytes)}, {rate} a second."
        else:
            note += "They read the photos themselves."
        if pool.deaths:
            note += f" Died and replaced: {count(pool.deaths, 'worker')}."
        return (note,)

    def close(self) -> None:
        """End the workers, if any were started."""
        if "_pool" in self.__dict__:
            self._pool.close()

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
                yield from self._pool.run(works, self._reading(opening))
                return
            yield chunk, ()  # no cluster is started for a build that has nothing to do

    def _reading(self, opening: Opening) -> Kind[Loaded]:
        ray = self._cluster.ray
        limits, known = ray.put(opening.limits), ray.put(opening.history.known_bits())
        return Kind(
            send=lambda worker, requests: worker.read.remote(requests, limits, known),
            fill=self._filled,
            crashed=self._crashed_reading,
            is_unseen=lambda loaded: _is_unseen(loaded.outcome),
        )

    @cached_property
    def _identity(self) -> Identity:
        identity: Identity = self._pool.call("identify")
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
                for done, results in self._pool.run(works, self._finishing(job)):
                    yield done, (results,)
                return
            yield unit, ()

    def _finishing(self, job: Job) -> Kind[Encoded | Rejection]:
        task = Task(job.palette, job.settings, job.style, self._limits, self.networks().identities)
        reference = self._cluster.ray.put(task)
        return Kind(
            send=lambda worker, requests: worker.finish.remote(requests, reference),
            fill=self._filled,
            crashed=_crashed_finishing,
            is_unseen=_is_unseen,
        )

    def _filled(self, requests: Sequence[Request]) -> Sequence[Request]:
        """Return requests with the bytes of the photos, which this process reads."""
        began, filled = time.monotonic(), []
        for request in requests:
            try:
                data = arrival.read(request.place, self._limits.max_bytes)
                filled.append(replace(request, data=data))
                self._sent_bytes += len(data)
            except PhotoError as error:
                filled.append(replace(request, fault=error))
        self._sent_seconds += time.monotonic() - began
        return filled

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
    return isinstance(result, Rejection) and result.reason == "unreadable"


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
    return [Request(_absolute(place), opening.name(place), position=position) for position, place in enumerate(unread)]


def _of_unit(unit: Unit, paths: Sequence[Place]) -> list[Request]:
    return [
        Request(_absolute(paths[candidate.position]), candidate.source, candidate=replace(candidate, lost=None))
        for candidate in unit.candidates
    ]


def _absolute(place: Place) -> Place:
    """Return a place that does not depend on the current folder of a process."""
    return place.absolute() if isinstance(place, Path) else place


def _everywhere(settings: BuildSettings) -> BuildSettings:
    """Return settings whose paths do not depend on the current folder of a process."""
    names = ("segmenter", "captioner", "tokenizer", "palette")
    paths = {name: Path(getattr(settings, name)) for name in names if getattr(settings, name)}
    absolute: dict[str, Any] = {name: str(path.absolute()) for name, path in paths.items() if path.exists()}
    return replace(settings, **absolute)


def share(settings: BuildSettings, cluster: Cluster) -> Share:
    """Return what each worker gets.

    Raises:
        UsageError: the cluster has fewer GPUs than the settings ask for, or the device is one GPU among several.
    """
    if settings.device.startswith("cuda:"):
        raise UsageError(f"device={settings.device}: Ray chooses the GPU of each worker. Use device=auto or cuda.")
    if settings.gpus_per_worker == "auto":
        gpus = 1.0 if cluster.gpus and settings.device != "cpu" else 0.0
    else:
        gpus = float(settings.gpus_per_worker)
    if settings.workers == "auto":
        number = int(cluster.gpus // gpus) if gpus else int(cluster.cpus)
    else:
        number = int(settings.workers)
    number = max(1, number)
    if number * gpus > cluster.gpus:
        raise UsageError(
            f"workers={number} with gpus_per_worker={gpus:g} need {count(math.ceil(number * gpus), 'GPU')}; the Ray "
            f"cluster has {cluster.gpus:g}. Use fewer workers, or gpus_per_worker=0 for CPUs."
        )
    per_worker = cluster.cpus / number
    return Share(number, math.floor(per_worker) if per_worker >= 1 else math.floor(per_worker * 100) / 100, gpus)


@contextmanager
def opened(
    settings: BuildSettings, load: Callable[[BuildSettings], Networks], paths: Sequence[Place]
) -> Iterator[RayEngine]:
    """Yield the engine; the cluster is connected to when there is work for it, and left at the end."""
    with ExitStack() as stack:
        engine = RayEngine(settings, load, paths, lambda: stack.enter_context(connected(settings.ray_address)))
        try:
            yield engine
        finally:
            engine.close()
