"""What a build would do: counted and measured on the real photos and networks, nothing written."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segkit.build import intake, tools
from segkit.build.annotate import finish
from segkit.build.intake import Candidate
from segkit.build.pipeline import find_photos, limits, open_same
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.errors import ModelError
from segkit.progress import Progress, silent

TRIAL = 3
"""Photos that are really segmented and captioned to measure the time: the first warms up."""


@dataclass(frozen=True)
class Plan:
    """What a build would do.

    Attributes:
        found, made, kept, rejected, skipped: as in build.Outcome.
        sizes: number of photos by stored size, "width x height", most often first.
        seconds: how long it would take on this machine; None where the networks are not here.
        megabytes: what photos and maps would take on disk.
        reason: why there are no seconds.
    """

    found: int
    made: int
    kept: int
    rejected: dict[str, int]
    skipped: dict[str, int]
    sizes: dict[str, int]
    seconds: float | None
    megabytes: float
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self)


def plan(
    folder: Path,
    output: Path,
    settings: BuildSettings,
    progress: Progress = silent,
    load: Callable[[BuildSettings], Networks] = tools.load,
) -> Plan:
    """Read and judge every photo as a build would, try the networks on a few, and extrapolate.

    Raises:
        UsageError: no photos, or settings that differ from the dataset's.
        DatasetError: the output holds other things.
    """
    paths, outcome = find_photos(folder, output, settings)
    memory = intake.Memory(open_same(output, settings), settings.keep_duplicates, settings.retry_rejected)
    sizes: Counter[str] = Counter()
    trial: list[Candidate] = []
    started = time.monotonic()
    for arrival in intake.arrivals(folder, paths, limits(settings), memory):
        outcome.count(arrival)
        if isinstance(arrival, Candidate):
            sizes[f"{arrival.photo.image.width} x {arrival.photo.image.height}"] += 1
            trial = trial if len(trial) == TRIAL else [*trial, arrival]
        outcome.report(progress)
    reading = time.monotonic() - started
    seconds, size, reason = _measure(trial, settings, load)
    return Plan(
        found=outcome.found,
        made=outcome.made,
        kept=outcome.kept,
        rejected=dict(outcome.rejected.most_common()),
        skipped=dict(outcome.skipped),
        sizes=dict(sizes.most_common()),
        seconds=None if seconds is None else round(max(reading, outcome.made * seconds), 1),
        megabytes=round(outcome.made * size / 1e6, 2),
        reason=reason,
    )


def _measure(
    trial: list[Candidate], settings: BuildSettings, load: Callable[[BuildSettings], Networks]
) -> tuple[float | None, float, str]:
    """Return seconds and bytes a photo, and why there are no seconds."""
    if not trial:
        return 0.0, 0.0, ""
    try:
        tools = load(settings)
    except ModelError as error:
        return None, 0.0, str(error)
    times = []
    stored = 0
    for candidate in trial:
        started = time.monotonic()
        for batch in finish([candidate], tools, settings, {}):
            stored += sum(len(each.photo_bytes()) + len(each.map_bytes()) for each in batch)
        times.append(time.monotonic() - started)
    return min(times), stored / len(trial), ""
