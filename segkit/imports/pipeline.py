"""import_data(): bring data of other tools, and of segkit, into a dataset. The order of the steps is defined here."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from msgspec import structs

from segkit import dataset
from segkit.build import tools, units
from segkit.build.annotate import Finished, record_models
from segkit.build.arrival import Arrival, Candidate
from segkit.build.history import History
from segkit.build.settings import BuildSettings, CaptionSettings
from segkit.build.target import require_same_segmenter
from segkit.build.tools import Drafter, Networks
from segkit.build.units import Unit
from segkit.build.writer import Writer
from segkit.dataset import Dataset, prompts, splits
from segkit.dataset.formats.items import Collection
from segkit.dataset.prompts import BUDGET
from segkit.errors import UsageError
from segkit.imports import hints
from segkit.imports import target as targets
from segkit.imports.assembling import Assembler
from segkit.imports.job import Job, Phrase
from segkit.imports.judging import Judge
from segkit.imports.merging import Merger
from segkit.imports.outcome import Outcome
from segkit.imports.prompting import Prompts
from segkit.imports.reading import Incoming, Reader
from segkit.imports.settings import ImportSettings
from segkit.imports.sources import Photos
from segkit.imports.target import remove_empty
from segkit.progress import Progress, silent
from segkit.words import count

UNIT = 4
"""New photos recorded together where no network needs larger batches: the most work that a kill can lose."""

KNOWN = 32
"""Known photos that are merged and recorded together."""

SHOWN = 5
"""Leaks that an error message names."""


@dataclass(frozen=True)
class Loaders:
    """What loads networks; each is called when the first item needs it."""

    networks: Callable[[BuildSettings], Networks] = tools.load
    drafting: Callable[[CaptionSettings], Drafter] = tools.load_drafting


LOADERS = Loaders()


def import_data(
    collections: Sequence[Collection],
    output: Path,
    settings: ImportSettings,
    progress: Progress = silent,
    loaders: Loaders = LOADERS,
    phrase: Phrase = str,
) -> Outcome:
    """Import collections into a dataset, new or not. Run again, it adds only what is new.

    Args:
        collections: what is imported, from sources.open_all; of two that hold the same photo, the first counts.
        output: a new or empty folder, or a dataset with the same settings.
        settings: see ImportSettings.
        progress: see segkit.progress.
        loaders: load networks if they are needed.
        phrase: words the messages that are recorded, such as settings as options of a command.

    Returns:
        What became of each item.

    Raises:
        UsageError: the settings differ from the dataset's, a source lacks classes, or photos in different splits look
            alike and on_leak is "error"; nothing is changed.
        DatasetError: the output is neither empty nor a dataset.
        LockedError: another process is writing the dataset.
        ModelError: a network is missing or damaged.
        StorageError: the disk is full; finished triples remain.
    """
    started = time.monotonic()
    job, outcome = prepare(collections, output, settings, phrase)
    if settings.on_leak == "error":
        _require_no_leak(rehearse(job, progress))
    with dataset.locked(output) as was_killed:
        target = job.target.created()
        target.recover(was_killed)
        target.fold()
        _import(job, target, outcome, progress, loaders)
        if outcome.is_fruitless and job.target.dataset is None:
            remove_empty(target)
    outcome.notes += hints.of_outcome(outcome, job)
    outcome.seconds = time.monotonic() - started
    return outcome


def plan(
    collections: Sequence[Collection],
    output: Path,
    settings: ImportSettings,
    progress: Progress = silent,
    phrase: Phrase = str,
) -> Outcome:
    """Return what an import would do: all items are read and judged, without networks, and nothing is written.

    Raises:
        UsageError, DatasetError: see import_data.
    """
    started = time.monotonic()
    job, prepared = prepare(collections, output, settings, phrase)
    outcome = rehearse(job, progress)
    outcome.notes += [*prepared.notes, *hints.of_outcome(outcome, job)]
    outcome.seconds = time.monotonic() - started
    return outcome


def prepare(
    collections: Sequence[Collection], output: Path, settings: ImportSettings, phrase: Phrase = str
) -> tuple[Job, Outcome]:
    """Return what is to be done, and an outcome that counts all items found; nothing is read or written.

    Raises:
        UsageError, DatasetError: see import_data.
    """
    target = targets.find(output, settings, collections)
    targets.require_fitting(target, collections)
    items = Photos(collections, target.limits, target.photo_format)
    outcome = Outcome(output, len(items))
    rules = []
    for collection in collections:
        rules.append(targets.rules(target, settings, collection))
        outcome.notes += collection.notes
    by_person = [collection.by_person or settings.maps_by_person for collection in collections]
    return Job(items, rules, by_person, target, settings, phrase), outcome


def rehearse(job: Job, progress: Progress = silent) -> Outcome:
    """Read and judge all items as an import would, without networks and without writing anything."""
    outcome = Outcome(job.target.folder, len(job.items))
    _, judge, reader = _readers(job, job.target.dataset)
    for incoming in reader.read_all():
        arrival = judge.judge(incoming)
        outcome.count(arrival)
        if isinstance(arrival, Candidate):
            job.note(outcome, incoming, judge.moved)
        outcome.report(progress)
    outcome.leaks = judge.leaks
    return outcome


def _readers(job: Job, existing: Dataset | None) -> tuple[History, Judge, Reader]:
    history = History(existing, job.settings.keep_duplicates, imports=True)
    history.expect_sources(job.items, job.target.limits)
    judge = Judge(job.items, history, existing, job.settings, job.phrase)
    return history, judge, Reader(job.items, job.rules, history, job.draws)


def _require_no_leak(outcome: Outcome) -> None:
    if outcome.leaks:
        shown = "; ".join(
            f"{leak.source} ({leak.split}) like {leak.other} ({leak.other_split})" for leak in outcome.leaks[:SHOWN]
        )
        number = count(len(outcome.leaks), "photo")
        raise UsageError(
            f"{number} in one split look like one in another: {shown}. Nothing was changed. on_leak=drop leaves them "
            "out, on_leak=move moves them."
        )


def _import(job: Job, target: Dataset, outcome: Outcome, progress: Progress, loaders: Loaders) -> None:
    """Import everything; the lock is held."""
    history, judge, reader = _readers(job, target)
    counter = _prompts(job)
    waiting: dict[int, Incoming] = {}

    def arrivals() -> Iterator[Arrival]:
        for incoming in reader.read_all():
            arrival = judge.judge(incoming)
            if isinstance(arrival, Candidate):
                waiting[incoming.position] = incoming
            yield arrival

    assembler = _assembler(job, target, counter, loaders)
    with Writer(target) as writer:
        needs_batches = job.draws or job.settings.captioner
        size = units.UNIT if needs_batches else min(UNIT, units.UNIT)
        for unit in units.units(arrivals(), history, outcome, progress, size):
            finished = _finished(unit, job, waiting, judge, assembler, outcome)
            outcome.report(progress)
            writer.write(finished, unit.rejections)
    if outcome.imported and "tokenizer" not in target.info.models:
        record_models(target, {"tokenizer": {"name": counter.tokenizer}})
    target.fold()
    merger = Merger(target, job.items, reader, counter, job.by_person, outcome)
    known = list(judge.merged.items())
    for start in range(0, len(known), KNOWN):
        merger.merge(dict(known[start : start + KNOWN]))
        progress("known photos", min(start + KNOWN, len(known)), len(known))
    outcome.leaks += judge.leaks
    target.fold()
    target.keep_rejections(history.still_rejected)
    _draw(target, job.settings.split)


def _draw(target: Dataset, split: str) -> None:
    """Draw the splits of photos that came without one. Those that came with the data, and earlier draws, stay."""
    if split and split != target.info.settings.get("split", ""):
        target.save_info(structs.replace(target.info, settings={**target.info.settings, "split": split}))
    splits.apply(target, "")


def _prompts(job: Job) -> Prompts:
    from segkit.models import tokens

    counter = tokens.counter(job.settings.tokenizer)
    settings = job.settings
    return Prompts(counter.count, settings.prompts_by_model, counter.name, settings.shorten_prompts)


def _assembler(job: Job, target: Dataset, counter: Prompts, loaders: Loaders) -> Callable[[bool, bool], Assembler]:
    """Return what makes an assembler for a unit that lacks maps, or prompts."""
    load_segmenter = cache(lambda: loaders.networks(job.settings.for_segmenter(job.target.info.settings)))
    load_drafter = cache(lambda: loaders.drafting(job.settings))

    def make(lacks_maps: bool, lacks_prompts: bool) -> Assembler:
        segmenter = load_segmenter() if lacks_maps else None
        drafter = load_drafter() if lacks_prompts and job.settings.captioner else None
        if segmenter:
            require_same_segmenter(target, segmenter)
            record_models(target, segmenter.identities)
            segmenter = replace(segmenter, palette=target.info.palette)
        if drafter:
            record_models(target, drafter.identities)
        style = prompts.recorded_style(target.info.settings)
        return Assembler(target.info.palette, job.target.photo_format, counter, segmenter, drafter, style)

    return make


def _finished(
    unit: Unit,
    job: Job,
    waiting: dict[int, Incoming],
    judge: Judge,
    assembler: Callable[[bool, bool], Assembler],
    outcome: Outcome,
) -> list[Finished]:
    """Return the triples of a unit, counted."""
    if not unit.candidates:
        return []
    incoming = {candidate.position: waiting.pop(candidate.position) for candidate in unit.candidates}
    by_person = {position: job.by_person[job.items.number(position)] for position in incoming}
    lacks_maps = any(one.labels is None for one in incoming.values())
    lacks_prompts = any(not (one.record or one.item.text.strip()) for one in incoming.values())
    finished = list(assembler(lacks_maps, lacks_prompts).assemble(unit.candidates, incoming, by_person, judge.moved))
    for candidate, done in zip(unit.candidates, finished, strict=True):
        outcome.count(candidate)
        job.note(outcome, incoming[candidate.position], judge.moved)
        outcome.without_prompt += not done.triple.text
        outcome.drafted += bool(done.triple.text) and not (
            incoming[candidate.position].record or incoming[candidate.position].item.text.strip()
        )
        outcome.too_long += done.triple.by_person and done.triple.tokens > BUDGET
    return finished
