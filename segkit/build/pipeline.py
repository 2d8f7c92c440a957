"""build_dataset(): turn a folder of photos into triples. The order of the steps is defined here only."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from segkit import dataset, photos
from segkit.build import captions, intake, repainted, tools
from segkit.build.annotate import Finished, finish
from segkit.build.arrival import Arrival, Candidate, Place
from segkit.build.find import find_photos, folder_of
from segkit.build.history import History
from segkit.build.outcome import Outcome, draft_note, gone_notes, size_note
from segkit.build.settings import BuildSettings
from segkit.build.survey import survey
from segkit.build.target import open_or_create, record, require_same_segmenter
from segkit.build.tools import Networks
from segkit.build.writer import Writer
from segkit.dataset import Dataset, Rejection, prompts, splits, stamps
from segkit.dataset.prune import Pruned, prune, resume
from segkit.dataset.stamps import Stamps
from segkit.dataset.triple import key_of
from segkit.palette import Palette
from segkit.palette.tables import renumbered
from segkit.progress import Progress, silent
from segkit.words import listed, quote

UNIT = 32
"""Photos recorded together: the most work that a kill can lose."""

MAX_REFUSED = 5
"""Changed maps that are listed if they cannot be taken over."""


@dataclasses.dataclass
class Unit:
    """New photos and rejections that are recorded together."""

    candidates: list[Candidate] = dataclasses.field(default_factory=list)
    rejections: list[Rejection] = dataclasses.field(default_factory=list)


def build_dataset(
    source: Path | str,
    output: Path,
    settings: BuildSettings,
    progress: Progress = silent,
    load: Callable[[BuildSettings], Networks] = tools.load,
) -> Outcome:
    """Turn a folder of photos into a dataset, or update a dataset with the photos that are new.

    Args:
        source: the photos, which are never changed: a folder that is searched recursively, or a URL, tar files or a
            list, see remote_photos.search.
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
        LocationError: a URL cannot be read; finished triples remain.
    """
    started = time.monotonic()
    paths, passed, outcome = find_photos(source, output, settings)
    folder = folder_of(source)
    tools = cache(lambda: load(settings))
    with dataset.locked(output) as was_killed, stamps.of_sources(output / ".segkit", settings.rehash) as known:
        target = open_or_create(output, settings, tools)
        target.recover(was_killed)
        target.fold()
        resume(target)
        style = settings.style(prompts.recorded_style(target.info.settings))
        _take_over(
            target,
            captions.restyle(target, style, settings.tokenizer),
            repainted.adopt(target, settings.rehash),
            outcome,
        )
        history = History(target, settings.keep_duplicates, settings.retry_rejected)
        passed_over = history.pass_over(folder, passed)
        arrivals = chain(passed_over, examine(folder, paths, settings, history, progress, known))
        _write(target, units(arrivals, history, outcome, progress), tools, settings, outcome, progress)
        record(target, settings)
        target.fold()
        try:
            _follow(target, history, settings, outcome)
        finally:  # a refusal to remove triples must not leave new ones without a split
            outcome.changed |= splits.apply(target, settings.split)
    outcome.changed |= outcome.examined
    if settings.palette:
        outcome.notes.append(renumbered(settings.palette, Palette.load(settings.palette).swatches))
    outcome.notes += [size_note(outcome.short_sides, settings.size), *repainted.unseen_classes(target)]
    outcome.notes = list(filter(None, outcome.notes))
    outcome.seconds = time.monotonic() - started
    return outcome


def _write(
    target: Dataset,
    pending: Iterable[Unit],
    tools: Callable[[], Networks],
    settings: BuildSettings,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """Turn the photos of each unit into triples, and record them."""
    style = prompts.recorded_style(target.info.settings)
    with Writer(target) as writer:
        for unit in pending:
            finished: list[Finished] = []
            if unit.candidates:
                require_same_segmenter(target, tools())
                record(target, settings, tools().identities)
                outcome.measure(unit.candidates)
                # a person may have added classes to the dataset's palette
                networks = dataclasses.replace(tools(), palette=target.info.palette)
                for batch in finish(unit.candidates, networks, settings, style):
                    finished += batch
                    outcome.made += len(batch)
                    outcome.report(progress)
            outcome.examined |= bool(finished or unit.rejections)
            writer.write(finished, unit.rejections)


def _take_over(target: Dataset, drafted: captions.Drafted, changed: repainted.Repainted, outcome: Outcome) -> None:
    """Note what a new style and a person's brush changed."""
    outcome.changed |= bool(drafted.restyled or drafted.unstyled or changed.adopted)
    outcome.notes.append(draft_note(drafted))
    if changed.adopted:
        outcome.notes.append(f"Repainted maps taken over: {len(changed.adopted):,} ({listed(changed.adopted)}).")
    outcome.notes += changed.refused[:MAX_REFUSED]
    if (more := len(changed.refused) - MAX_REFUSED) > 0:
        outcome.notes.append(f"... and {more:,} more; see segkit check {quote(target.folder)}")


def _follow(target: Dataset, history: History, settings: BuildSettings, outcome: Outcome) -> None:
    """Record new names of photos, drop obsolete rejections, and count or remove triples whose photos are gone.

    A run with a limit has not seen all photos, so it does neither follow nor miss any.
    """
    if settings.limit:
        return target.keep_rejections(history.still_rejected)
    renamed = history.renamed()
    outcome.renamed = len(renamed)
    outcome.admit(history.admit(renamed))
    if renamed:
        outcome.notes.append(f"Photos found under another name: {len(renamed):,} ({listed(sorted(renamed.values()))}).")
    moved = zip(target.get([key_of(digest) for digest in renamed]), renamed.values(), strict=True)
    target.commit(replace(triple, source=source) for triple, source in moved)
    target.fold()
    target.keep_rejections(history.still_rejected)
    gone = history.gone()
    pruned = prune(target, gone, settings.force) if settings.prune else Pruned((), ())
    left = [] if settings.prune else [triple.source for triple in target.triples() if triple.sha256 in gone]
    outcome.gone, outcome.pruned = len(left) + len(pruned.kept), len(pruned.removed)
    outcome.notes += gone_notes(pruned, left)
    outcome.changed |= bool(renamed or pruned.removed)
    return None


def examine(
    folder: Path,
    paths: Sequence[Place],
    settings: BuildSettings,
    history: History,
    progress: Progress,
    known: Stamps | None = None,
) -> Iterator[Arrival]:
    """Yield the decision about each photo, in the order of the paths; of near-duplicates the best is accepted.

    With keep_duplicates there is nothing to choose, so photos are decided about as they come. Photos whose stamps are
    known are not read again; see `intake.load_all`.
    """
    surveyed = None
    if not settings.keep_duplicates:
        report = partial(progress, "comparing photos", total=len(paths))
        surveyed = survey(folder, paths, limits(settings), history, report, known)
    yield from intake.arrivals(folder, paths, limits(settings), history, surveyed, known)


def limits(settings: BuildSettings) -> photos.Limits:
    """Return the size limits of photos, and the size to fit them to."""
    return photos.Limits(settings.min_size, settings.max_megapixels, settings.size)


class Tally(Protocol):
    """Counts what becomes of photos."""

    def count(self, arrival: Arrival) -> None:
        """Count a photo that is no new one."""

    def report(self, progress: Progress) -> None:
        """Report how many have been counted."""


def units(arrivals: Iterable[Arrival], history: History, outcome: Tally, progress: Progress) -> Iterator[Unit]:
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
