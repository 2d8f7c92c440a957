"""Workers of one kind on a Ray cluster: how many there are, what each gets, and who reads the photos."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from segkit.build import arrival
from segkit.build.arrival import Place
from segkit.build.engines import Capacity
from segkit.build.engines.cluster import Cluster, connected
from segkit.build.engines.pool import DEPTH, Pool
from segkit.build.engines.worker import Member, Request, stat_of
from segkit.build.settings import EngineSettings, ModelSettings
from segkit.errors import PhotoError, UsageError
from segkit.models import device
from segkit.words import count, data_size

PROBES = 8
"""Photos that each worker looks for, to find out whether it sees what this process sees."""


@dataclass(frozen=True, kw_only=True)
class CrewSettings(ModelSettings, EngineSettings):
    """Where workers run, and how many; what all settings of work on a cluster have."""


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


class Crew:
    """Workers that are started when there is work for them.

    Args:
        kind: class of the workers.
        settings: of the work, with the fields of CrewSettings; paths must lead to the same files from every machine.
        load: loads what the workers need, in each of them; called with the settings.
        places: the photos of the work.
        connect: connects to the cluster.
        max_bytes: the largest file that is sent to workers.
    """

    def __init__(
        self,
        kind: type[Member],
        settings: Any,
        load: Callable[[Any], Any],
        places: Sequence[Place],
        connect: Callable[[], Cluster],
        max_bytes: float = math.inf,
    ) -> None:
        self._kind, self._load, self._places, self._connect = kind, load, places, connect
        self._settings, self._max_bytes = everywhere(settings), max_bytes
        self._sent_bytes, self._sent_seconds = 0, 0.0

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster, to which this connects when it is first needed."""
        return self._connect()

    @cached_property
    def _share(self) -> Share:
        return share(self._settings, self.cluster)

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self._share.workers

    @cached_property
    def pool(self) -> Pool:
        """The workers, which are started when they are first needed."""
        portion = self._share
        settings = self._settings if portion.gpus else replace(self._settings, device="cpu")
        sampled = self._places[:: max(1, -(-len(self._places) // PROBES))]  # a slice may have no photos
        probes = [(absolute(place), stat_of(place)) for place in sampled]
        actor = self.cluster.ray.remote(self._kind).options(
            num_cpus=min(1.0, portion.cpus),  # Ray need not find several cores in one machine
            num_gpus=portion.gpus,
            max_restarts=0,
            max_task_retries=0,  # a lost unit is sent again from here, where its deaths are counted
            max_concurrency=2 * DEPTH + 1,
            scheduling_strategy="SPREAD",
        )

        cpus = max(1, int(portion.cpus))
        # Networks on CPUs compute with the threads of one process, even where workers share cores: on other numbers,
        # one confidence of thousands differs in its last digit.
        cpu_threads = device.cpu_threads() if self._kind.computes and not portion.gpus else cpus

        def start() -> tuple[Any, Any]:
            worker = actor.remote(settings, self._load, cpus, cpu_threads)
            return worker, worker.introduce.remote(probes)

        return Pool(self.cluster.ray, start, portion.workers)

    @property
    def capacity(self) -> Capacity:
        """What the workers are and have."""
        memory, cluster = self.pool.call("peak_memory"), self.cluster
        return Capacity(self.size, len(self.pool.hosts), cluster.cpus, cluster.gpus, memory)

    @property
    def notes(self) -> Sequence[str]:
        """How many workers there were, and who read the photos."""
        if "pool" not in self.__dict__:
            return ()
        note = f"Ray: {count(self.size, 'worker')} on {count(len(self.pool.hosts), 'machine')}. "
        if self._sent_bytes:
            rate = data_size(round(self._sent_bytes / self._sent_seconds))
            note += f"Photos were read here and sent to them: {data_size(self._sent_bytes)}, {rate} a second."
        else:
            note += "They read the photos themselves."
        if self.pool.deaths:
            note += f" Died and replaced: {count(self.pool.deaths, 'worker')}."
        return (note,)

    def filled(self, requests: Sequence[Request]) -> Sequence[Request]:
        """Return requests with the bytes of the photos, which this process reads."""
        began, filled = time.monotonic(), []
        for request in requests:
            try:
                data = arrival.read(request.place, self._max_bytes)
                filled.append(replace(request, data=data))
                self._sent_bytes += len(data)
            except PhotoError as error:
                filled.append(replace(request, fault=error))
        self._sent_seconds += time.monotonic() - began
        return filled

    def close(self) -> None:
        """End the workers, if any were started."""
        if "pool" in self.__dict__:
            self.pool.close()


@contextmanager
def gathered(
    kind: type[Member], settings: Any, load: Callable[[Any], Any], places: Sequence[Place], max_bytes: float = math.inf
) -> Iterator[Crew]:
    """Yield a crew; the cluster is connected to when there is work for it, and left at the end. See Crew."""
    with ExitStack() as stack:
        crew = Crew(
            kind, settings, load, places, lambda: stack.enter_context(connected(settings.ray_address)), max_bytes
        )
        try:
            yield crew
        finally:
            crew.close()


def absolute(place: Place) -> Place:
    """Return a place that does not depend on the current folder of a process."""
    return place.absolute() if isinstance(place, Path) else place


def everywhere(settings: Any) -> Any:
    """Return settings whose paths do not depend on the current folder of a process."""
    names = ("segmenter", "captioner", "tokenizer", "palette")
    paths = {name: Path(getattr(settings, name)) for name in names if getattr(settings, name, "")}
    absolute: dict[str, Any] = {name: str(path.absolute()) for name, path in paths.items() if path.exists()}
    return replace(settings, **absolute)


def share(settings: Any, cluster: Cluster) -> Share:
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
