"""build_dataset(): a folder of photos becomes triples. The only place that knows the order of the steps."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from segkit.progress import Progress, silent
from segkit import dataset, photos
from segkit.build import intake
from segkit.palette import protocol
from segkit.dataset import splits
from segkit.dataset import Dataset, Rejection
from segkit.errors import DatasetError, UsageError
from segkit.dataset.info import Info
from segkit.build.intake import Arrival, Candidate, Kept
from segkit.build import tools
from segkit.build.tools import Networks
from segkit.build.settings import BuildSettings
from segkit.build.annotate import Finished, finish, record_models
from segkit.build.writer import Writer

UNIT = 32
"""Photos whose record is written together: the most work that a kill can cost."""

FIXED = ("protocol", "size", "min_confidence", "photo_format")
"""Settings that all triples of a dataset share."""


@dataclass
class Outcome:
    """What became of the photos: made + kept + rejected + skipped = found.

    Attributes:
        found: photos in the folder.
        made: triples new in this run.
        kept: photos whose triple was there already.
        rejected: photos left out, by reason (photos.REASONS); those of earlier runs too.
        skipped: photos not looked at, by reason ("limit").
        seconds: how long it took.
    """

    found: int
    made: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Photos looked at so far."""
        return self.made + self.kept + self.rejected.total()

    def count(self, arrival: Arrival) -> None:
        """Add one photo's fate."""
        if isinstance(arrival, Candidate):
            self.made += 1
        elif isinstance(arrival, Kept):
            self.kept += 1
        else:
            self.rejected[arrival.reason] += 1

    def report(self, progress: Progress) -> None:
        """Report how many of the photos that are not skipped were looked at."""
        progress("photos", self.done, self.found - self.skipped.total())

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return {**vars(self), "rejected": dict(self.rejected.most_common()), "skipped": dict(self.skipped)}


def build_dataset(
    folder: Path,
    output: Path,
    settings: BuildSettings,
    progress: Progress = silent,
    load: Callable[[BuildSettings], Networks] = tools.load,
) -> Outcome:
    """Turn a folder of photos into a dataset, or bring one up to date: only new photos are worked on.

    Args:
        folder: the photos, searched recursively. Never changed.
        output: the dataset: a new or empty folder, or one made before with the same FIXED settings and segmenter.
        settings: see there.
        progress: see segkit.progress.
        load: loads the networks, when the first new photo needs them.

    Raises:
        UsageError: no photos, or settings that differ from the dataset's.
        LockedError: another process is writing the dataset.
        DatasetError: the output holds other things.
        ModelError: a network is missing or does not fit.
        StorageError: the disk is full; what was finished is kept.
    """
    started = time.monotonic()
    paths, outcome = find_photos(folder, output, settings)
    tools = cache(lambda: load(settings))
    with dataset.locked(output):
        target = open_or_create(output, settings, tools)
        target.recover()
        memory = intake.Memory(target, settings.keep_duplicates, settings.retry_rejected)
        shares = splits.shares(settings.split or target.info.settings.get("split", ""))
        with Writer(target) as writer:
            for unit in units(intake.arrivals(folder, paths, limits(settings), memory), memory, outcome, progress):
                finished: list[Finished] = []
                if unit.candidates:
                    require_same_segmenter(target, tools())
                    if drafting := tools().drafting:
                        record_models(target, drafting.identities)
                    for batch in finish(unit.candidates, tools(), settings, shares):
                        finished += batch
                        outcome.made += len(batch)
                        outcome.report(progress)
                writer.write(finished, unit.rejections)
        target.fold()
        target.keep_rejections(memory.still_rejected)
        splits.apply(target, settings.split)
    outcome.seconds = time.monotonic() - started
    return outcome


def find_photos(folder: Path, output: Path, settings: BuildSettings) -> tuple[list[Path], Outcome]:
    """Return the photos to look at, and the outcome so far: how many were found, how many --limit skips.

    Raises:
        UsageError: there is no such folder, it is a dataset, or it holds no photos.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {found}. Expected a folder of photos.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be listed. Ask for the right to read it.")
    if (folder / ".segkit").is_dir():
        raise UsageError(f"{folder} is a segkit dataset, not a folder of photos.")
    paths = list(photos.find(folder, exclude=output))
    if not paths:
        raise UsageError(f"{folder} holds no photos. Looked for {', '.join(sorted(photos.SUFFIXES)[:8])} and more.")
    outcome = Outcome(found=len(paths))
    if settings.limit and len(paths) > settings.limit:
        outcome.skipped["limit"] = len(paths) - settings.limit
        paths = paths[: settings.limit]
    return paths, outcome


def limits(settings: BuildSettings) -> photos.Limits:
    """Return what a photo must be like."""
    return photos.Limits(settings.min_size, settings.max_megapixels, settings.size)


@dataclass
class Unit:
    """New photos whose record is written together."""

    candidates: list[Candidate] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


def units(arrivals: Iterable[Arrival], memory: intake.Memory, outcome: Outcome, progress: Progress) -> Iterator[Unit]:
    """Gather what is new into units, in order, so that a resumed run forms the same ones; count the rest."""
    unit = Unit()
    for arrival in arrivals:
        if isinstance(arrival, Candidate):
            unit.candidates.append(arrival)  # counted when it is finished
        else:
            outcome.count(arrival)
            outcome.report(progress)
        if isinstance(arrival, Rejection) and arrival != memory.rejections.get((arrival.source, arrival.sha256)):
            unit.rejections.append(arrival)
        if len(unit.candidates) + len(unit.rejections) == UNIT:
            yield unit
            unit = Unit()
    yield unit


def open_or_create(output: Path, settings: BuildSettings, tools: Callable[[], Networks]) -> Dataset:
    """Open the dataset if there is one, else make it. Needs the lock. See open_same for the errors."""
    target = open_same(output, settings)
    if target:
        return target
    recorded = {name: getattr(settings, name) for name in (*FIXED, "palette", "split")}
    return Dataset.create(output, Info(tools().palette, tools().identities, recorded))


def open_same(output: Path, settings: BuildSettings) -> Dataset | None:
    """Open the dataset that a build would go on with; None where it would make one.

    Raises:
        UsageError: the settings differ from those that the dataset was made with.
        DatasetError: the output holds other things than a dataset.
    """
    if not (output / ".segkit" / "dataset.toml").exists():
        dataset.refuse_other_folder(output)
        return None
    target = Dataset.open(output)
    for name in FIXED:
        before, now = target.info.settings.get(name, getattr(BuildSettings, name)), getattr(settings, name)
        if before != now:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{output} was built with {option} {before}, not {now}. Type {option} {before}, or name another folder."
            )
    own = protocol.load(settings.protocol, settings.palette)
    if target.info.palette.hash != own.hash and (settings.palette or target.info.settings.get("palette")):
        before = target.info.settings.get("palette") or target.info.palette.name
        raise UsageError(
            f"{output} was built with the palette {before}, not {settings.palette or own.name}. "
            "Pass the same --palette, or name another folder."
        )
    return target


def require_same_segmenter(target: Dataset, tools: Networks) -> None:
    """Refuse to mix the maps of two segmenters in one dataset.

    Raises:
        DatasetError: the dataset's maps were made by another one, or its palette was changed.
    """
    if target.info.palette.hash != tools.palette.hash:
        raise DatasetError(
            f"{target.folder} has another palette than {tools.palette.name}; one colour would mean two classes. "
            f"See: segkit check {target.folder}"
        )
    before = target.info.models["segmenter"]
    if before["revision"] != tools.revision:
        raise DatasetError(
            f"{target.folder} was segmented by {before['name']} ({before['revision']}), not by {tools.model} "
            f"({tools.revision}). Pass the same --segmenter, or name another folder."
        )
