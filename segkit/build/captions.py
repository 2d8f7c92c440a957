"""Draft the prompts of a dataset with a captioner. Drafts never replace prompts that a person wrote."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice

from msgspec.structs import replace

from segkit.build.annotate import record_models, with_draft
from segkit.build.engines import captioning
from segkit.build.settings import DraftingSettings
from segkit.build.target import record
from segkit.build.tools import Drafter, require_known_captioner
from segkit.dataset import Dataset, emptiness, prompts
from segkit.dataset.prompts import Count, Style
from segkit.dataset.triple import Triple, digest
from segkit.errors import DatasetError
from segkit.progress import NOTICE, Progress, silent
from segkit.words import quote

PROBED = 8
"""Photos that workers look for, to find out whether they see the dataset."""

UNIT = 32
"""Prompts recorded together: the most work that a kill can lose."""

RESTYLED = 1000
"""Drafts composed again that are recorded together."""

UNFINISHED = "restyling"
"""Setting of dataset.toml while drafts are composed again, so that a killed process is made up for."""


@dataclass(frozen=True)
class Drafted:
    """What happened to the drafts of a dataset.

    Attributes:
        drafted: prompts drafted by the captioner.
        restyled: stored captions composed again, because prefix, suffix or template changed.
        unstyled: drafts that keep their text although the style changed: earlier versions did not store their captions.
    """

    drafted: int = 0
    restyled: int = 0
    unstyled: int = 0


def draft(
    dataset: Dataset,
    settings: DraftingSettings,
    load: Callable[[DraftingSettings], Drafter],
    *,
    redo: bool = False,
    progress: Progress = silent,
) -> Drafted:
    """Draft prompts for the triples without one, and compose the others again if the style changed.

    Args:
        dataset: the dataset to change. If the process is killed, at most UNIT drafts are lost.
        settings: captioner, prompt style and engine.
        load: loads the captioner; not called when there is nothing to draft.
        redo: also replace earlier drafts, but never a prompt written by a person.
        progress: see segkit.progress.

    Raises:
        DatasetError: there are no triples; or some photos cannot be opened, and all other prompts are drafted.
        LockedError: another process is writing the dataset.
        ModelError: the captioner is missing or damaged; an unknown name is refused although nothing is to be drafted.
        EngineError: Ray is missing, or its cluster fails; the drafts that are recorded are kept.
    """
    with dataset.writing(), ExitStack() as stack:
        emptiness.require_triples(dataset)
        require_known_captioner(settings, dataset.info.settings)
        style = settings.style(prompts.recorded_style(dataset.info.settings))
        total = sum(1 for _ in _pending(dataset, redo))
        probed = islice(_pending(dataset, redo), 0, None, max(1, total // PROBED))
        engine = stack.enter_context(captioning.opened(settings, load, [*probed]))
        drafting = engine.drafter() if total else None  # before anything is written
        restyled = restyle(dataset, style, settings.tokenizer)
        if not drafting:
            return restyled
        record(dataset, settings, drafting.identities)
        broken: list[str] = []
        done = 0
        for unit, captions in engine.caption(_units(_pending(dataset, redo), UNIT)):
            pairs = [*zip(unit, captions, strict=True)]
            broken += [triple.file_name for triple, caption in pairs if caption is None]
            dataset.commit(with_draft(triple, text, drafting, style) for triple, text in pairs if text is not None)
            dataset.publish()
            done += len(unit)
            progress("prompts", done, total)
        dataset.fold()
        for note in engine.notes:
            progress(NOTICE, 0, 0, note)
    if broken:
        raise DatasetError(
            f"{len(broken)} of {total} photos cannot be opened, such as {broken[0]}; all other prompts are "
            f"drafted. Run: segkit check {quote(dataset.folder)}"
        )
    return Drafted(total) if redo else Drafted(total, restyled.restyled, restyled.unstyled)


def _pending(dataset: Dataset, redo: bool) -> Iterator[Triple]:
    return (triple for triple in dataset.triples() if not triple.by_person and (redo or not triple.text))


def _units(triples: Iterable[Triple], size: int) -> Iterator[list[Triple]]:
    remaining = iter(triples)
    while unit := list(islice(remaining, size)):
        yield unit


def restyle(dataset: Dataset, style: Style, tokenizer: str) -> Drafted:
    """Remember a style, and compose stored captions with it where it differs from the remembered one.

    No captioner runs, and what a person typed stays. The caller must hold the dataset's lock.

    Args:
        dataset: the dataset to change. If the process is killed, the next call completes its work.
        style: prefix, suffix and template.
        tokenizer: folder of CLIP's tokenizer; see models.tokens.counter.

    Raises:
        ModelError: the folder does not hold a CLIP tokenizer.
    """
    before = dataset.info.settings
    if style == prompts.recorded_style(before) and not before.get(UNFINISHED):
        return Drafted()
    drafts = known = 0
    for triple in dataset.triples():
        drafts += _is_draft(triple)
        known += _is_composed(triple)
    settings = {**before, **asdict(style)}
    if known:
        from segkit.models import tokens

        counter = tokens.counter(tokenizer)
        settings["tokenizer"] = tokenizer
        dataset.save_info(replace(dataset.info, settings={**settings, UNFINISHED: True}))
        record_models(dataset, {"tokenizer": {"name": counter.name}})
        for unit in _units((triple for triple in dataset.triples() if _is_composed(triple)), RESTYLED):
            composed = [_composed(triple, style, counter.count) for triple in unit]
            dataset.commit(new for new, old in zip(composed, unit, strict=True) if new != old)
            dataset.publish()
        dataset.fold()
    settings.pop(UNFINISHED, None)
    dataset.save_info(replace(dataset.info, settings=settings))
    return Drafted(0, known, drafts - known)


def _is_draft(triple: Triple) -> bool:
    return triple.prompt.by == "model" and not triple.by_person


def _is_composed(triple: Triple) -> bool:
    """Return whether a draft can be composed again: earlier versions did not store captions."""
    return _is_draft(triple) and bool(triple.prompt.caption or "prompt-empty" in triple.problems)


def _composed(triple: Triple, style: Style, count: Count) -> Triple:
    """Return a triple whose draft is composed again from its caption, with the author that it has."""
    text, tokens, problems = prompts.draft(triple.prompt.caption, triple.classes, style, count)
    author = replace(triple.prompt, digest=digest(text))
    return replace(triple, text=text, tokens=tokens, problems=problems, prompt=author)
