"""Predict the outcome of a build from the real photos and networks, without writing anything."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from segkit.build import intake, tools
from segkit.build.annotate import finish
from segkit.build.intake import Candidate
from segkit.build.pipeline import examine, find_photos, open_existing
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.errors import ModelError
from segkit.progress import Progress, silent

TRIAL = 3
"""Photos segmented and captioned to measure time and size. The first call warms up, so the fastest photo counts."""


@dataclass(frozen=True)
class Plan:
    """The predicted outcome of a build.

    Attributes:
        found, made, kept, rejected, skipped: see pipeline.Outcome.
        sizes: number of photos by stored size, "width x height", most frequent first.
        seconds: estimated run time on this machine; None if the networks are unavailable.
        megabytes: estimated size of photos and maps on disk, in 10^6 bytes; 0 if the networks are unavailable.
        reason: why the networks are unavailable.
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
        """Return the plan as values that JSON can represent."""
        return asdict(self)


def plan(
    folder: Path,
    output: Path,
    settings: BuildSettings,
    progress: Progress = silent,
    load: Callable[[BuildSettings], Networks] = tools.load,
) -> Plan:
    """Read and check every photo as a build would, run the networks on a few, and extrapolate.

    The arguments are those of pipeline.build_dataset.

    Raises:
        UsageError: the folder holds no photos, or the settings differ from those the dataset was built with.
        DatasetError: the output folder is neither empty nor a dataset.
    """
    paths, passed, outcome = find_photos(folder, output, settings)
    history = intake.History(open_existing(output, settings), settings.keep_duplicates, settings.retry_rejected)
    sizes: Counter[str] = Counter()
    trial: list[Candidate] = []
    started = time.monotonic()
    for arrival in chain(history.pass_over(folder, passed), examine(folder, paths, settings, history, progress)):
        outcome.count(arrival)
        if isinstance(arrival, Candidate):
            sizes[f"{arrival.photo.image.width} x {arrival.photo.image.height}"] += 1
            trial = trial if len(trial) == TRIAL else [*trial, arrival]
        outcome.report(progress)
    reading_seconds = time.monotonic() - started
    seconds_per_photo, bytes_per_photo, reason = _measure(trial, settings, load)
    # Decoding runs in threads beside the networks, so the slower of the two determines the time.
    seconds = None if seconds_per_photo is None else max(reading_seconds, outcome.made * seconds_per_photo)
    return Plan(
        found=outcome.found,
        made=outcome.made,
        kept=outcome.kept,
        rejected=dict(outcome.rejected.most_common()),
        skipped=dict(outcome.skipped),
        sizes=dict(sizes.most_common()),
        seconds=None if seconds is None else round(seconds, 1),
        megabytes=round(outcome.made * bytes_per_photo / 1e6, 2),
        reason=reason,
    )


def _measure(
    trial: list[Candidate], settings: BuildSettings, load: Callable[[BuildSettings], Networks]
) -> tuple[float | None, float, str]:
    """Return seconds per photo, bytes per photo, and why the networks are unavailable; then the seconds are None."""
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
            stored += sum(len(finished.photo_bytes()) + len(finished.map_bytes()) for finished in batch)
        times.append(time.monotonic() - started)
    return min(times), stored / len(trial), ""
