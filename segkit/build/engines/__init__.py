"""Engines: where photos are read, and where networks turn them into triples. All give the same bytes.

What every engine does, in this order: photos are read, decoded and hashed in parallel; the process that holds the
dataset's lock judges them in the order of their names, and forms units; units are segmented and captioned in parallel;
the process that holds the lock stores them. Values go in, values come out, and nothing is written here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from segkit.build.annotate import Encoded, Finished
from segkit.build.arrival import Loaded, Place
from segkit.build.history import History
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.build.units import Unit
from segkit.dataset import Rejection
from segkit.dataset.prompts import Style
from segkit.palette import Palette
from segkit.photos import Limits


@dataclass(frozen=True)
class Opening:
    """How photos are opened.

    Attributes:
        limits: sizes to accept and to produce.
        name: returns the name that the dataset records as a photo's source.
        history: knows which photos an earlier run has decided about, which are not decoded; see History.verdict.
    """

    limits: Limits
    name: Callable[[Place], str]
    history: History


Read = Callable[[Iterable[Place | Loaded], Opening], Iterator[Loaded]]
"""Reads photos, and yields the results in order; what is loaded already is passed on in its place. The outcome of a
photo that the history knows is None."""


@dataclass(frozen=True)
class Job:
    """How new photos become triples.

    Attributes:
        palette: of the dataset, in which a person may have added classes to the segmenter's.
        settings: of the build.
        style: of the prompts.
        paths: the photos of the run, for which candidates name their position.
    """

    palette: Palette
    settings: BuildSettings
    style: Style
    paths: Sequence[Place]


class Identified(Protocol):
    """Networks, wherever they run."""

    @property
    def palette(self) -> Palette:
        """The classes that the segmenter's labels were matched to."""

    @property
    def identities(self) -> dict[str, dict[str, str]]:
        """The networks, in the form of Info.models."""


Results = Sequence[Finished | Encoded | Rejection]
"""What became of new photos: triples, and rejections of those that could not be opened."""


@dataclass(frozen=True)
class Capacity:
    """What an engine can use.

    Attributes:
        workers: processes that run networks.
        machines: that they are on.
        cpus, gpus: of all machines.
        worker_bytes: the most memory that a worker has taken so far.
    """

    workers: int
    machines: int
    cpus: float
    gpus: float
    worker_bytes: int


class Engine(Protocol):
    """Reads photos, and turns units into triples."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know about the work, as sentences."""

    @property
    def capacity(self) -> Capacity | None:
        """What there is to work with; None if it is this process only."""

    def read(self, places: Iterable[Place | Loaded], opening: Opening) -> Iterator[Loaded]:
        """Read photos; see Read."""

    def networks(self) -> Identified:
        """Load the networks, if they are not loaded yet, and return what identifies them."""

    def finish(self, units: Iterable[Unit], job: Job) -> Iterator[tuple[Unit, Iterable[Results]]]:
        """Turn the photos of units into triples; yields the units in order, each with its results in parts."""


def opened(
    settings: BuildSettings, load: Callable[[BuildSettings], Networks], paths: Sequence[Place]
) -> AbstractContextManager[Engine]:
    """Return the engine that the settings name, as a context.

    Args:
        settings: of the build.
        load: loads the networks.
        paths: the photos of the run.
    """
    if settings.engine == "ray":
        from segkit.build.engines import ray

        return ray.opened(settings, load, paths)
    from segkit.build.engines import inline

    return nullcontext(inline.Inline(settings, load))
