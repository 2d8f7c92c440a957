"""Copy some triples of a dataset into a new one, by hard links where the file system has them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from segkit import storage
from segkit.dataset import confidences, emptiness, history
from segkit.dataset.dataset import Dataset
from segkit.dataset.info import FIXED, Info
from segkit.dataset.locking import locked
from segkit.dataset.triple import Triple
from segkit.dataset.where import Conditions
from segkit.errors import DatasetError, UsageError
from segkit.progress import Progress, silent
from segkit.words import quote

_UNIT = 1000
"""Triples recorded together: the most work that a kill can lose."""


@dataclass(frozen=True)
class Copied:
    """What became of the triples that meet a condition.

    Attributes:
        copied: number of triples that are new in the subset.
        present: number of them that it had already.
        total: number of triples that it has now, also those that meet other conditions.
        linked: whether their pictures are hard links, which cost no space.
    """

    copied: int
    present: int
    total: int
    linked: bool


def subset(
    dataset: Dataset, output: Path, condition: Conditions | None, *, copy: bool = False, progress: Progress = silent
) -> Copied:
    """Copy the triples that meet a condition, without those left out. Run again, it copies those that are missing.

    Args:
        dataset: the dataset to copy from.
        output: a new or empty folder, or an earlier subset of the same dataset.
        condition: see where.parse; None for all triples.
        copy: copy pictures, so that an edit in place of one dataset's does not change the other's.
        progress: called with ("triples", done, total).

    Raises:
        UsageError: the output is the dataset itself or lies inside it, or no triple meets the condition.
        DatasetError: there are no triples, or the output contains something else, or a dataset with another palette or
            other settings.
        LockedError: another process is writing the output.
        StorageError: the disk is full.
    """
    inside, outside = output.resolve(), dataset.folder.resolve()
    if inside == outside or outside in inside.parents or inside in outside.parents:
        raise UsageError(f"{output} is the dataset itself, or one lies in the other. Choose another output folder.")
    emptiness.require_triples(dataset)
    total = sum(condition is None or condition(triple) for triple in dataset)
    if condition:
        condition.require_columns()
    if not total:
        raise UsageError("No triple meets the conditions, so nothing was copied.")
    matches = (triple for triple in dataset if condition is None or condition(triple))
    done = copied = 0
    linked = not copy
    with locked(output) as was_killed:
        target = _open_or_create(dataset, output)
        target.recover(was_killed)
        for unit in _units(matches):
            known = target.known(triple.key for triple in unit)
            new = [triple for triple in unit if triple.key not in known]
            for triple in new:
                linked &= _place(triple, output, copy)
            target.commit(new)
            target.publish()
            done += len(unit)
            copied += len(new)
            progress("triples", done, total)
        target.fold()
        return Copied(copied, done - copied, len(target), linked)


def _open_or_create(dataset: Dataset, output: Path) -> Dataset:
    if not (output / ".segkit" / "dataset.toml").exists():
        return Dataset.create(output, dataset.info)
    target = Dataset.open(output)
    if _identity(target.info) != _identity(dataset.info):
        raise DatasetError(
            f"{output} is a dataset with another palette, segmenter or size than {dataset.folder}. Choose a new folder."
        )
    return target


def _identity(info: Info) -> object:
    """Return what all triples of one dataset share."""
    settings = [info.settings.get(name) or None for name in FIXED]  # what an earlier version did not record was off
    return info.palette.hash, info.models["segmenter"]["revision"], settings


def _units(triples: Iterator[Triple]) -> Iterator[list[Triple]]:
    while unit := list(islice(triples, _UNIT)):
        yield unit


def _place(triple: Triple, output: Path, copy: bool) -> bool:
    """Link or copy a triple's pictures, the history of its map and its confidence map; return whether all are links.

    Raises:
        DatasetError: a picture is missing.
    """
    linked = True
    pictures = (triple.file_name, triple.conditioning_image_file_name)
    hidden = [place(triple.folder, triple.key) for place in (history.original_path, history.path, confidences.path)]
    kept = [file.relative_to(triple.folder).as_posix() for file in hidden if file.is_file()]
    for name in (*kept, *pictures):
        source, target = triple.folder / name, output / name
        if not source.is_file():
            raise DatasetError(f"{source} is missing. Run: segkit check {quote(triple.folder)}")
        storage.make_folder(target.parent)
        target.unlink(missing_ok=True)  # of a run that was killed before its record
        linked &= not copy and _link(source, target)
        if not target.exists():
            storage.write(target, source.read_bytes())
    return linked


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, one without links, or too many links to one file
        return False
    return True
