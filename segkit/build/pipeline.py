"""build_dataset(): turn a folder of photos into triples. The order of the steps is defined here only."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from msgspec.structs import replace

from segkit import dataset
from segkit.build import captions, engines, held, intake, repainted, tools
from segkit.build import supply as supplies
from segkit.build.annotate import Encoded, Finished, rebuilt
from segkit.build.arrival import Arrival
from segkit.build.engines import Engine, Job, Results
from segkit.build.history import History
from segkit.build.intake import Intake
from segkit.build.outcome import Outcome, draft_note, gone_notes, size_note, vanished_note
from segkit.build.settings import BuildSettings
from segkit.build.supply import Supply
from segkit.build.survey import survey
from segkit.build.target import open_or_create, record, require_same_segmenter
from segkit.build.tools import Networks
from segkit.build.units import Unit, units
from segkit.build.vanished import is_gone, require_rest
from segkit.build.writer import Writer
from segkit.dataset import Dataset, Rejection, prompts, splits
from segkit.dataset.prune import Pruned, prune, resume
from segkit.dataset.triple import Triple, key_of
from segkit.palette import Palette
from segkit.palette.tables import renumbered
from segkit.progress import Progress, silent
from segkit.words import listed, quote

MAX_REFUSED = 5
"""Changed maps that are listed if they cannot be taken over."""


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
        EngineError: Ray is missing, or its cluster fails; finished triples remain.
        LocationError: a URL cannot be read, or the folder of photos is gone; finished triples remain.
    """
    supply = supplies.find(source, output, settings)
    with engines.opened(settings, load, supply.paths) as engine:
        return update(supply, output, settings, engine, progress)


def update(
    supply: Supply, output: Path, settings: BuildSettings, engine: Engine, progress: Progress = silent
) -> Outcome:
    """Create or update a dataset with photos that were found; see build_dataset.

    Args:
        supply: the photos.
        output: the dataset.
        settings: see BuildSettings.
        engine: reads the photos, and turns new ones into triples.
        progress: see segkit.progress.
    """
    started, outcome = time.monotonic(), supply.outcome
    with (
        dataset.locked(output) as was_killed,
        supply.known(output / ".segkit", settings.rehash) as known,
    ):
        target = open_or_create(output, settings, engine.networks)
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
        passed_over = history.pass_over(supply.folder, supply.passed)
        read = supply.intake(settings, known, engine.read)
        arrivals = chain(passed_over, examine(read, history, settings, progress, target.hidden))
        pending = _prepared(units(arrivals, history, outcome, progress), target, engine, settings, outcome)
        job = Job(target.info.palette, settings, prompts.recorded_style(target.info.settings), supply.paths)
        _write(target, _complete(engine.finish(pending, job), supply), history, outcome, progress)
        record(target, settings)
        target.fold()
        try:
            _follow(target, history, settings, outcome)
        finally:  # a refusal to remove triples must not leave new ones without a split
            outcome.changed |= splits.apply(target, settings.split)
        if not settings.limit and not outcome.vanished:  # otherwise the slice may lack photos
            supply.record(target)
    outcome.changed |= outcome.examined
    outcome.notes = list(filter(None, [*outcome.notes, *engine.notes, *_closing_notes(target, settings, outcome)]))
    outcome.seconds = time.monotonic() - started
    return outcome


def _closing_notes(target: Dataset, settings: BuildSettings, outcome: Outcome) -> Iterator[str]:
    if settings.palette:
        yield renumbered(settings.palette, Palette.load(settings.palette).swatches)
    yield vanished_note(outcome.vanished)
    yield size_note(outcome.short_sides, settings.size)
    yield from repainted.unseen_classes(target)


def _prepared(
    pending: Iterable[Unit], target: Dataset, engine: Engine, settings: BuildSettings, outcome: Outcome
) -> Iterator[Unit]:
    """Pass units on, after the networks that their photos need are compared with the dataset's and recorded."""
    for unit in pending:
        if unit.candidates:
            networks = engine.networks()
            require_same_segmenter(target, networks)
            record(target, settings, networks.identities)
            outcome.measure(unit.candidates)
        yield unit


def _complete(
    finished: Iterable[tuple[Unit, Iterable[Results]]], supply: Supply
) -> Iterator[tuple[Unit, Iterable[Results]]]:
    """Pass the results of units on, unless the folder of photos vanished before a worker read them again.

    Raises:
        LocationError: it did.
    """
    for unit, parts in finished:
        yield unit, _rest(unit, parts, supply)


def _rest(unit: Unit, parts: Iterable[Results], supply: Supply) -> Iterator[Results]:
    positions = {candidate.source: candidate.position for candidate in unit.candidates}
    for part in parts:
        for result in part:
            if isinstance(result, Rejection) and result.source in positions:
                require_rest(result, positions[result.source], supply.paths, supply.folder)
        yield part


def _write(
    target: Dataset,
    finished: Iterable[tuple[Unit, Iterable[Results]]],
    history: History,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """Store what became of the photos of each unit, and count it."""
    palette = target.info.palette
    with Writer(target) as writer:
        for unit, parts in finished:
            triples: list[Finished | Encoded] = []
            rejections = list(unit.rejections)
            lost = {candidate.key: candidate.lost for candidate in unit.candidates if candidate.lost}
            for part in parts:
                for result in part:
                    if isinstance(result, Rejection):
                        rejections += [] if is_gone(result) else [history.reject(result)]
                        outcome.count(result)
                    else:
                        triples.append(_restored(result, lost.get(result.triple.key), palette))
                        outcome.made += 1
                outcome.report(progress)
            outcome.examined |= bool(triples or rejections)
            writer.write(triples, rejections)


def _restored(result: Finished | Encoded, lost: Triple | None, palette: Palette) -> Finished | Encoded:
    """Return a new triple with the decisions about the one whose files are lost; None for none."""
    if lost is None:
        return result
    return rebuilt(result if isinstance(result, Finished) else result.decoded(palette), lost)


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
    source_photos: Intake,
    history: History,
    settings: BuildSettings,
    progress: Progress,
    scratch: Path | None = None,
) -> Iterator[Arrival]:
    """Yield the decision about each photo, in the order of the paths; of near-duplicates the best is accepted.

    With keep_duplicates there is nothing to choose, so photos are decided about as they come; and in a slice nothing is
    compared, because the best may be in another one. Photos whose stamps are known are not read again; see
    `intake.load_all`.

    Args:
        source_photos: the photos.
        history: earlier decisions.
        settings: keep_duplicates and shard are read.
        progress: see segkit.progress.
        scratch: folder for the pixels of many photos, between the comparison of all and the decisions; None: photos
            whose pixels do not fit in memory are decoded twice.
    """
    if settings.keep_duplicates or settings.shard:
        yield from intake.arrivals(source_photos, history, compares=not settings.shard)
        return
    report = partial(progress, "comparing photos", total=len(source_photos.paths))
    with held.opened(scratch) as pixels:
        surveyed = survey(source_photos, history, report, pixels)
        yield from intake.arrivals(source_photos, history, surveyed)
