"""Predict the outcome of a build in seconds, from the real photos and networks, without writing anything."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from segkit.build import forecast, tools
from segkit.build import supply as supplies
from segkit.build.arrival import Candidate, Place, source_name
from segkit.build.engines import Capacity
from segkit.build.history import History
from segkit.build.intake import Intake
from segkit.build.outcome import Outcome, gone_notes, size_note, vanished_note
from segkit.build.pipeline import examine
from segkit.build.settings import BuildSettings
from segkit.build.supply import limits
from segkit.build.target import open_existing
from segkit.build.tools import Networks
from segkit.dataset import Dataset
from segkit.dataset.prompts import recorded_style
from segkit.dataset.prune import Pruned
from segkit.photos.stored import encode_photo
from segkit.progress import Progress, silent

TRIAL = 3
"""Photos segmented and captioned to measure time and size; see forecast.measure."""

SAMPLE = 120
"""Photos that are opened: of more, every n-th, from which the counts are extrapolated."""

ENCODED = 24_000_000
"""Pixels of photos that are encoded to measure their size, spread over the photos."""

RECORD_BYTES = 1_900
"""A line of metadata.jsonl."""

REPORT_BYTES, REPORT_TRIPLES = 26_000, 60
"""A triple's pictures in report.html, and the highest number of triples that it shows."""


@dataclass(frozen=True)
class Plan:
    """The predicted outcome of a build.

    Attributes:
        found, made, kept, rejected, skipped: see outcome.Outcome.
        sizes: number of photos by stored size, "width x height", most frequent first.
        seconds: estimated run time, on this machine or the cluster; None if the networks are unavailable.
        megabytes: estimated size of the dataset on disk, in 10^6 bytes; without the maps if the networks are
            unavailable.
        reason: why the networks are unavailable.
        inodes: files that the dataset will have.
        memory: megabytes that the process which writes the dataset will need for what it knows of photos, without
            networks.
        capacity: the workers of a cluster on which the networks were tried; None for this process.
        photo_seconds: measured time of one worker to segment and caption a photo; None if the networks are unavailable.
        opened: how many photos were opened; the counts are extrapolated if it is fewer than were found.
        notes: see outcome.Outcome.
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
    opened: int = 0
    notes: tuple[str, ...] = ()
    inodes: int = 0
    memory: float = 0.0
    capacity: Capacity | None = None
    photo_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the plan as values that JSON can represent."""
        return {**asdict(self), "notes": list(self.notes)}


@dataclass
class _Survey:
    """What is measured while photos are opened; encoded bytes and pixels are those of a part of the photos."""

    photo_format: str
    total: int
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    encoded_bytes: int = 0
    encoded_pixels: int = 0
    trial: list[Candidate] = field(default_factory=list)

    def add(self, candidate: Candidate, seen: int) -> None:
        """Measure the new photo that is the last of `seen` photos."""
        image = candidate.image
        self.sizes[image.size] += 1
        if self.encoded_pixels <= ENCODED * seen / self.total:
            self.encoded_bytes += len(encode_photo(image, self.photo_format))
            self.encoded_pixels += image.width * image.height
        if len(self.trial) * self.total <= TRIAL * seen and len(self.trial) < TRIAL:
            self.trial.append(candidate)

    @property
    def trial_pixels(self) -> int:
        """Pixels of the photos that the networks are tried with."""
        return sum(candidate.image.width * candidate.image.height for candidate in self.trial)

    @property
    def pixels(self) -> int:
        """Pixels of all new photos."""
        return sum(width * height * number for (width, height), number in self.sizes.items())

    def photo_bytes(self) -> float:
        """Estimated bytes of all new photos as they are stored."""
        return self.encoded_bytes / max(self.encoded_pixels, 1) * self.pixels


def plan(
    source: Path | str,
    output: Path,
    settings: BuildSettings,
    progress: Progress = silent,
    load: Callable[[BuildSettings], Networks] = tools.load,
) -> Plan:
    """Open photos as a build would, at most SAMPLE of them, run the networks on a few, and extrapolate.

    The arguments are those of pipeline.build_dataset.

    Raises:
        UsageError: the folder holds no photos, or the settings differ from those the dataset was built with.
        DatasetError: the output folder is neither empty nor a dataset.
        UnknownModelError: a network's name is mistyped.
    """
    supply = supplies.find(source, output, settings)
    folder, paths, outcome = supply.folder, supply.paths, supply.outcome
    existing = open_existing(output, settings)
    history = History(existing, settings.keep_duplicates, settings.retry_rejected)
    sample, recorded = _sample(folder, paths, existing)
    survey = _Survey(settings.photo_format, len(sample))
    started, cpu, photos = time.monotonic(), time.process_time(), Intake(folder, sample, limits(settings))
    examined = examine(photos, history, settings, progress)
    for arrival in chain(history.pass_over(folder, supply.passed), examined):
        outcome.count(arrival)
        if isinstance(arrival, Candidate):
            outcome.measure([arrival])
            survey.add(arrival, outcome.done)
        progress("photos", outcome.done, len(sample))
    if existing is not None and len(sample) == len(paths) and not settings.limit:
        gone = history.gone()
        left = [triple.source for triple in existing.triples() if triple.sha256 in gone]
        outcome.notes += gone_notes(Pruned((), ()), left)
    scale = (len(paths) - recorded) / max(len(sample), 1)
    reading, reading_cpu = (time.monotonic() - started) * scale, (time.process_time() - cpu) * scale
    style = settings.style(recorded_style(existing.info.settings) if existing is not None else None)
    trial = forecast.measure(survey.trial, sample, settings, style, load)
    map_bytes = trial.map_bytes / max(survey.trial_pixels, 1) * survey.pixels
    _extrapolate(outcome, scale, len(paths), recorded)
    seconds = forecast.seconds(trial, len(paths) - recorded, outcome.made, reading, reading_cpu)
    stored = (survey.photo_bytes() + map_bytes) * scale + outcome.made * RECORD_BYTES
    stored += min(outcome.made, REPORT_TRIPLES) * REPORT_BYTES
    notes = *outcome.notes, vanished_note(outcome.vanished), size_note(outcome.short_sides, settings.size)
    return Plan(
        found=outcome.found,
        made=outcome.made,
        kept=outcome.kept,
        rejected=dict(outcome.rejected.most_common()),
        skipped=dict(outcome.skipped),
        sizes={f"{width} x {height}": round(number * scale) for (width, height), number in survey.sizes.most_common()},
        seconds=None if seconds is None else round(seconds, 1),
        megabytes=round(stored / 1e6, 2),
        reason=trial.reason,
        inodes=outcome.made * (forecast.FILES + bool(settings.shard)),
        memory=round(len(paths) * forecast.KNOWN_BYTES / 1e6, 1),
        capacity=trial.capacity,
        photo_seconds=None if trial.seconds is None else round(trial.seconds, 4),
        opened=len(sample),
        notes=tuple(filter(None, notes)),
    )


def _sample(folder: Path, paths: Sequence[Place], existing: Dataset | None) -> tuple[Sequence[Place], int]:
    """Return the photos to open, and how many others the dataset has a triple of, as their names tell."""
    if len(paths) <= SAMPLE:
        return list(paths), 0
    sources = {triple.source for triple in existing.triples()} if existing is not None else set()
    new = [path for path in paths if source_name(path, folder) not in sources]
    step = max(1, len(new) / SAMPLE)
    return [new[int(number * step)] for number in range(min(SAMPLE, len(new)))], len(paths) - len(new)


def _extrapolate(outcome: Outcome, scale: float, total: int, recorded: int) -> None:
    """Turn the counts of a sample into those of all photos, so that they still add up."""
    for reason in outcome.rejected:
        outcome.rejected[reason] = round(outcome.rejected[reason] * scale)
    kept = round(outcome.kept * scale)
    if scale > 1 or recorded:
        outcome.kept = kept + recorded
        outcome.made = max(0, total - outcome.kept - outcome.rejected.total())
