"""What runs in the worker processes of a cluster: photos are read, segmented and captioned. Nothing is written."""

import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from segkit import __version__, photos, storage, threads
from segkit.build import arrival
from segkit.build.annotate import Encoded, finish
from segkit.build.arrival import Candidate, Loaded, Place
from segkit.build.engines.opening import load_photo
from segkit.build.history import first_bits
from segkit.build.remote_photos import RemotePhoto
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Rejection, stamps
from segkit.dataset.prompts import Style
from segkit.errors import EngineError, PhotoError, SegkitError
from segkit.palette import Palette
from segkit.photos import Limits, Measured, Photo
from segkit.photos.quiet import quiet_pillow

Stat = tuple[int, int]
"""Bytes of a file, and a number that changes with its content: its time in nanoseconds, or a hash of its version."""


@dataclass(frozen=True, slots=True)
class Request:
    """A photo for a worker.

    Attributes:
        place: where it is.
        source: the name that the dataset records.
        data: its bytes, if they are sent along.
        fault: why it could not be read to be sent along.
        candidate: what was decided about it; None before that.
        position: among the photos that are sent together.
    """

    place: Place
    source: str
    data: bytes | None = None
    fault: PhotoError | None = None
    candidate: Candidate | None = None
    position: int = 0

    def read(self, max_bytes: float) -> bytes:
        """Return the photo's bytes; see arrival.read."""
        if self.fault:
            raise self.fault
        return self.data if self.data is not None else arrival.read(self.place, max_bytes)


@dataclass(frozen=True)
class Introduction:
    """What a worker says when it has started.

    Attributes:
        version: of its segkit.
        host: the name of its machine.
        reads: whether it sees the photos that this process sees.
    """

    version: str
    host: str
    reads: bool


@dataclass(frozen=True)
class Identity:
    """Networks that run in workers; see engines.Identified."""

    palette: Palette
    identities: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Task:
    """How units become triples, see engines.Job; and the networks that all workers must have."""

    palette: Palette
    settings: BuildSettings
    style: Style
    limits: Limits
    identities: dict[str, dict[str, str]]


class Member:
    """A process that works for another one. Its methods may run in several threads at once.

    Args:
        settings: of the work, with paths that lead to the same files from everywhere.
        load: loads what it needs, when that is needed.
        cpus: threads for pictures.
        cpu_threads: threads of PyTorch on a CPU, the same in all workers, since the last bits depend on them.
    """

    computes: ClassVar[bool] = True
    """Whether it runs networks."""

    def __init__(self, settings: Any, load: Callable[[Any], Any], cpus: int, cpu_threads: int) -> None:
        self._settings, self._load = settings, load
        self._working = threading.Lock()  # networks serve one unit at a time, while photos of the next are decoded
        self._process = ExitStack()  # for the life of this process, which belongs to the worker
        self._process.enter_context(threads.limited(cpus, cpu_threads))
        self._process.enter_context(quiet_pillow())

    def introduce(self, probes: Sequence[tuple[Place, Stat | None]]) -> Introduction:
        """Return who this is.

        Args:
            probes: some of the photos, with what the process with the lock knows of them.
        """
        reads = all(stat_of(place) == stat for place, stat in probes)
        return Introduction(__version__, socket.gethostname(), reads)

    def peak_memory(self) -> int:
        """Return the most bytes that this process has taken."""
        from resource import RUSAGE_SELF, getrusage  # Windows lacks it, and has no Ray clusters of several nodes

        unit = 1 if sys.platform == "darwin" else 1024
        return getrusage(RUSAGE_SELF).ru_maxrss * unit


class Worker(Member):
    """Reads photos and turns them into triples, with the networks of a build. See Member."""

    @cached_property
    def _networks(self) -> Networks:
        networks: Networks = self._load(self._settings)
        return networks

    def identify(self) -> Identity:
        """Load the networks, and return what identifies them."""
        with self._working:
            return Identity(self._networks.palette, self._networks.identities)

    def read(self, requests: Sequence[Request], limits: Limits, known: NDArray[np.uint64]) -> list[Loaded]:
        """Read and decode photos.

        Args:
            requests: the photos.
            limits: sizes to accept and to produce.
            known: first_bits of photos that an earlier run has decided about, sorted: they are not decoded.

        Returns:
            For each photo what it is, without pixels, and its position.
        """

        def is_decided(source: str, sha256: str) -> bool:
            wanted = first_bits(sha256)
            place = int(np.searchsorted(known, wanted))
            return place < len(known) and int(known[place]) == wanted

        def load(request: Request) -> Loaded:
            loaded = load_photo(lambda: request.read(limits.max_bytes), request.source, limits, is_decided)
            return replace(measured(loaded), position=request.position)

        with threads.pool() as pool:
            return [*pool.map(load, requests)]

    def finish(self, requests: Sequence[Request], task: Task) -> list[Encoded | Rejection]:
        """Turn the photos of a unit into triples; those that cannot be read any more are rejected.

        Raises:
            EngineError: the networks differ from those of the other workers.
        """
        with threads.pool() as pool:
            opened = [*pool.map(lambda request: _opened(request, task.limits), requests)]
        candidates = [photo for photo in opened if isinstance(photo, Candidate)]
        with self._working:
            networks = replace(self._networks, palette=task.palette)
            require_same(networks.identities, task.identities)
            batches = finish(candidates, networks, task.settings, task.style)
            finished = [one for batch in batches for one in batch]
        with threads.pool() as pool:
            encoded = [*pool.map(lambda one: one.encoded(), finished)]
        return [*encoded, *(photo for photo in opened if isinstance(photo, Rejection))]


def require_same(identities: dict[str, dict[str, str]], expected: dict[str, dict[str, str]]) -> None:
    """Require that networks are those of the other workers.

    Raises:
        EngineError: their weights or precision differ.
    """
    for role, identity in identities.items():
        for name, value in identity.items():
            if (other := expected.get(role, {}).get(name)) != value:
                raise EngineError(
                    f"The worker on {socket.gethostname()} has a {role} whose {name} is {value}, and another worker's "
                    f"is {other}. All workers need the same weights, and GPUs for the same precision, such as fp32."
                )


def _opened(request: Request, limits: Limits) -> Candidate | Rejection:
    """Return a candidate with its pixels."""
    candidate = request.candidate
    assert candidate is not None
    try:
        data = request.read(limits.max_bytes)
        if storage.sha256(data) != candidate.sha256:
            raise PhotoError("unreadable", "the file was changed while the dataset was built; the next build takes it")
        return replace(candidate, photo=photos.open_photo(data, limits))
    except PhotoError as error:
        return Rejection(candidate.source, candidate.sha256, error.reason, str(error))


def measured(loaded: Loaded) -> Loaded:
    """Return what is known of a photo without its pixels."""
    photo = loaded.outcome
    if not isinstance(photo, Photo):
        return loaded
    return replace(loaded, outcome=Measured(photo.source_size, photo.coarseness))


def stat_of(place: Place) -> Stat | None:
    """Return what a photo's store says about it now; None if it is missing or unreadable."""
    if isinstance(place, RemotePhoto):
        try:
            entry = place.place.stat()
        except SegkitError:
            return None
        return (entry.size, stamps.hash64(entry.version.encode())) if entry else None
    status = stamps.status(str(place))
    return (status.st_size, status.st_mtime_ns) if status else None
