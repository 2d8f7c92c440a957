"""build_dataset(): turn a folder of photos into triples. The order of the steps is defined here only."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from segkit import dataset, photos
from segkit.build import intake, tools
from segkit.build.annotate import Finished, finish, record_models
from segkit.build.intake import Arrival, Candidate, Kept
from segkit.build.settings import BuildSettings
from segkit.build.survey import survey
from segkit.build.tools import Networks
from segkit.build.writer import Writer
from segkit.dataset import Dataset, Rejection, splits
from segkit.dataset.formats import layouts
from segkit.dataset.info import Info
from segkit.errors import DatasetError, UsageError
from segkit.palette import protocol
from segkit.progress import Progress, silent
from segkit.words import quote

UNIT = 32
"""Photos recorded together: the most work that a kill can lose."""

FIXED = ("protocol", "size", "min_confidence", "photo_format")
"""Settings that must be the same for all triples of a dataset."""


@dataclass
class Outcome:
    """Counts of a build: made + kept + rejected + skipped = found.

    Attributes:
        found: files in the folder of photos.
        made: triples created by this run.
        kept: photos that the dataset already had a triple for.
        rejected: photos without a triple, by reason (photos.REASONS), including those rejected by earlier runs.
        skipped: files that were not examined, by reason: "limit", or one of photos.SKIPPED.
        seconds: wall-clock duration.
    """

    found: int
    made: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Number of photos examined so far."""
        return self.made + self.kept + self.rejected.total()

    def count(self, arrival: Arrival) -> None:
        """Count the decision about one photo, or a file that was passed over."""
        if isinstance(arrival, Candidate):
            self.made += 1
        elif isinstance(arrival, Kept):
            self.kept += 1
        elif arrival.reason not in photos.SKIPPED:  # find_photos counted those
            self.rejected[arrival.reason] += 1

    def report(self, progress: Progress) -> None:
        """Report how many of the photos that are not skipped have been examined."""
        progress("photos", self.done, self.found - self.skipped.total())

    def to_json(self) -> dict[str, Any]:
        """Return the counts as values that JSON can represent."""
        return {**vars(self), "rejected": dict(self.rejected.most_common()), "skipped": dict(self.skipped)}


def build_dataset(
    folder: Path,
    output: Path,
    settings: BuildSettings,
    progress: Progress = silent,
    load: Callable[[BuildSettings], Networks] = tools.load,
) -> Outcome:
    """Turn a folder of photos into a dataset, or update a dataset with the photos that are new.

    Args:
        folder: the photos, searched recursively and never changed.
        output: a new or empty folder, or a dataset built with the same segmenter and the same FIXED settings.
        settings: see BuildSettings.
        progress: see segkit.progress.
        load: loads the networks. It is called when the first new photo needs them.

    Returns:
        How many photos became triples, and what happened to the others.

    Raises:
        UsageError: the folder holds no photos, or the settings differ from those the dataset was built with.
        LockedError: another process is writing the dataset.
        DatasetError: the output folder is neither empty nor a dataset, or another segmenter or palette was used in it.
        ModelError: a network is missing or damaged, or the segmenter's labels do not fit the palette.
        StorageError: the disk is full; finished triples remain.
    """
    started = time.monotonic()
    paths, passed, outcome = find_photos(folder, output, settings)
    tools = cache(lambda: load(settings))
    with dataset.locked(output):
        target = open_or_create(output, settings, tools)
        target.recover()
        history = intake.History(target, settings.keep_duplicates, settings.retry_rejected)
        shares = splits.shares(settings.split or target.info.settings.get("split", ""))
        with Writer(target) as writer:
            passed_over = history.pass_over(folder, passed)
            arrivals = examine(folder, paths, settings, history, progress)
            for unit in units(chain(passed_over, arrivals), history, outcome, progress):
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
        target.keep_rejections(history.still_rejected)
        splits.apply(target, settings.split)
    outcome.seconds = time.monotonic() - started
    return outcome


def find_photos(
    folder: Path, output: Path, settings: BuildSettings
) -> tuple[list[Path], list[photos.PassedOver], Outcome]:
    """Find the photos to examine.

    Returns:
        Their paths; the files that are passed over; and an Outcome that counts all files found and those skipped.

    Raises:
        UsageError: the folder does not exist, cannot be read, is a dataset, or holds no photos.
        DatasetError: the folder holds the list of another tool's dataset, which is damaged.
    """
    if not folder.is_dir():
        actual = "a file" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {actual}. Expected a folder of photos.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be read (permission denied). Check its permissions.")
    if (folder / ".segkit").is_dir():
        raise UsageError(f"{folder} is a segkit dataset. Expected a folder of photos.")
    if layout := layouts.detect(folder):
        raise UsageError(
            f"{folder} already has control maps (layout {layout}), which are not photos. Train on it as it is: "
            f"segkit train {quote(folder)}; or pass the folder of its photos."
        )
    paths, passed = photos.search(folder, output, settings.follow_links)
    if not paths and output.resolve() == folder.resolve():
        raise UsageError(f"{folder} is both the folder of photos and the output. Choose another output folder.")
    if not paths:
        raise UsageError(
            f"{folder} contains no photos. Expected files named .jpg, .png, .webp, .tiff, .heic or the like."
            + _example(folder, passed)
        )
    outcome = Outcome(found=len(paths) + len(passed))
    outcome.skipped.update(item.reason for item in passed if item.reason in photos.SKIPPED)
    if settings.limit and len(paths) > settings.limit:
        outcome.skipped["limit"] = len(paths) - settings.limit
        paths = paths[: settings.limit]
    return paths, passed, outcome


def _example(folder: Path, passed: list[photos.PassedOver]) -> str:
    """Return a sentence about one of the files that were passed over, preferably one that its owner can repair."""
    if not passed:
        return ""
    item = min(passed, key=lambda item: photos.SKIPPED.index(item.reason) if item.reason in photos.SKIPPED else -1)
    number = f"{len(passed):,} other files were" if len(passed) > 1 else "1 other file was"
    return f" {number} passed over, such as {intake.source_name(item.path, folder)}: {item.message}."


def examine(
    folder: Path, paths: Sequence[Path], settings: BuildSettings, history: intake.History, progress: Progress
) -> Iterator[Arrival]:
    """Yield the decision about each photo, in the order of the paths; of near-duplicates the best is accepted.

    With keep_duplicates there is nothing to choose, so photos are decided about as they come.
    """
    surveyed = None
    if not settings.keep_duplicates:
        report = partial(progress, "comparing photos", total=len(paths))
        surveyed = survey(folder, paths, limits(settings), history, report)
    yield from intake.arrivals(folder, paths, limits(settings), history, surveyed)


def limits(settings: BuildSettings) -> photos.Limits:
    """Return the size limits of photos, and the size to fit them to."""
    return photos.Limits(settings.min_size, settings.max_megapixels, settings.size)


@dataclass
class Unit:
    """New photos and rejections that are recorded together."""

    candidates: list[Candidate] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


def units(arrivals: Iterable[Arrival], history: intake.History, outcome: Outcome, progress: Progress) -> Iterator[Unit]:
    """Group new photos and new rejections into units of UNIT, in order. Everything but new photos is counted here.

    Kept photos do not occupy a place in a unit, so a resumed run forms the same units as an uninterrupted one.
    """
    unit = Unit()
    for arrival in arrivals:
        if isinstance(arrival, Candidate):
            unit.candidates.append(arrival)  # counted once it is finished
        else:
            outcome.count(arrival)
            outcome.report(progress)
        if isinstance(arrival, Rejection) and arrival != history.rejections.get((arrival.source, arrival.sha256)):
            unit.rejections.append(arrival)
        if len(unit.candidates) + len(unit.rejections) == UNIT:
            yield unit
            unit = Unit()
    yield unit


def open_or_create(output: Path, settings: BuildSettings, tools: Callable[[], Networks]) -> Dataset:
    """Open the dataset, or create it. The caller must hold its lock. See open_existing for the errors."""
    target = open_existing(output, settings)
    if target:
        return target
    recorded = {name: getattr(settings, name) for name in (*FIXED, "palette", "split")}
    return Dataset.create(output, Info(tools().palette, tools().identities, recorded))


def open_existing(output: Path, settings: BuildSettings) -> Dataset | None:
    """Open the dataset that a build would update; None if the build would create it.

    Raises:
        UsageError: the settings differ from those the dataset was built with.
        DatasetError: the output folder is neither empty nor a dataset.
    """
    if not (output / ".segkit" / "dataset.toml").exists():
        dataset.refuse_other_folder(output)
        return None
    target = Dataset.open(output)
    for name in FIXED:
        before, now = target.info.settings.get(name, getattr(BuildSettings, name)), getattr(settings, name)
        if before != now:
            raise UsageError(
                f"{output} was built with {name}={before}, not {now}. Pass {name}={before} or another output folder."
            )
    palette = protocol.load(settings.protocol, settings.palette)
    # Without a palette file on either side, the dataset's own palette was edited: require_same_segmenter reports that.
    if target.info.palette.hash != palette.hash and (settings.palette or target.info.settings.get("palette")):
        before = target.info.settings.get("palette") or target.info.palette.name
        raise UsageError(
            f"{output} was built with the palette {before}, not {settings.palette or palette.name}. "
            "Pass the same palette or another output folder."
        )
    return target


def require_same_segmenter(target: Dataset, tools: Networks) -> None:
    """Refuse to mix maps of two segmenters or two palettes in one dataset.

    Raises:
        DatasetError: the dataset was segmented by another model or revision, or has another palette.
    """
    if target.info.palette.hash != tools.palette.hash:
        raise DatasetError(
            f"The palette of {target.folder} differs from {tools.palette.name}, so one colour could mean two classes. "
            f"Run: segkit check {quote(target.folder)}"
        )
    before = target.info.models["segmenter"]
    if before["revision"] != tools.revision:
        raise DatasetError(
            f"{target.folder} was segmented by {before['name']} ({before['revision']}), not by {tools.model} "
            f"({tools.revision}). Pass the same segmenter or another output folder."
        )
