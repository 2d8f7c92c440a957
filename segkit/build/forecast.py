"""How long a build will take, and what it needs: measured with a few photos, computed for all of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from segkit.build import engines
from segkit.build.arrival import Candidate, Place
from segkit.build.engines import Capacity, Engine, Job
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.build.units import Unit
from segkit.dataset import Rejection
from segkit.dataset.prompts import Style
from segkit.errors import ModelError, UnknownModelError
from segkit.photos import Measured

JUDGING = 0.001
"""Seconds that comparing a photo with the others takes, in one process; see docs/scale.md."""

KNOWN_BYTES = 540
"""Memory that the process with the lock needs for each photo; see docs/scale.md."""

FILES = 2
"""Files of a triple; that of a slice has one more."""


@dataclass(frozen=True)
class Trial:
    """What was measured with a few photos.

    Attributes:
        seconds: that segmenting and captioning a photo takes one worker; None if the networks are unavailable.
        map_bytes: of all maps together.
        reason: why the networks are unavailable.
        capacity: the workers of a cluster; None for this process.
    """

    seconds: float | None
    map_bytes: int = 0
    reason: str = ""
    capacity: Capacity | None = None


def measure(
    candidates: Sequence[Candidate], paths: Sequence[Place], settings: BuildSettings, style: Style,
    load: Callable[[BuildSettings], Networks],
) -> Trial:  # fmt: skip
    """Segment and caption photos one by one, where the settings say.

    Args:
        candidates: the photos. The first one warms up, so it counts only if it is alone.
        paths: the photos of the run, for which candidates name their position.
        settings: of the build.
        style: of the prompts.
        load: loads the networks.

    Raises:
        EngineError: Ray is missing, or its cluster fails.
        UnknownModelError: a network's name is mistyped.
    """
    if not candidates:
        return Trial(0.0)
    try:
        with engines.opened(settings, load, paths) as engine:
            return _measured(candidates, Job(engine.networks().palette, settings, style, paths), engine)
    except UnknownModelError:  # a mistyped name, unlike weights that are elsewhere
        raise
    except ModelError as error:
        return Trial(None, reason=str(error))


def _measured(candidates: Sequence[Candidate], job: Job, engine: Engine) -> Trial:
    times, map_bytes = [], 0
    for candidate in candidates:
        if engine.capacity is not None and not isinstance(candidate.photo, Measured):  # workers open it themselves
            candidate = replace(candidate, photo=Measured(candidate.photo.source_size, candidate.photo.coarseness))
        started = time.monotonic()
        results = [one for _, parts in engine.finish([Unit([candidate])], job) for part in parts for one in part]
        times.append(time.monotonic() - started)
        map_bytes += sum(len(one.encoded().control_map) for one in results if not isinstance(one, Rejection))
    warm = times[1:] or times
    return Trial(sum(warm) / len(warm), map_bytes, capacity=engine.capacity)


def seconds(trial: Trial, photos: int, made: int, reading: float, reading_cpu: float) -> float | None:
    """Return how long the build takes; None if the networks are unavailable.

    Args:
        trial: what was measured.
        photos: how many are read.
        made: how many are segmented and captioned.
        reading: seconds to read all photos in this process.
        reading_cpu: seconds that one core needs for that.
    """
    if trial.seconds is None:
        return None
    networks, capacity = made * trial.seconds, trial.capacity
    if capacity is None:
        return max(reading, networks)  # photos are decoded in threads beside the networks
    work = networks / capacity.workers, reading_cpu / max(capacity.cpus, 1)
    return max(JUDGING * photos, max(work) if capacity.gpus else sum(work))
