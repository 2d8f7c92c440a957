"""What a person corrected, as a file that another copy of the dataset takes over: several people share the work.

A line is a JSON object for one triple. Masks are runs of pixels by the name of their class, so that they fit any
palette that has it. Nothing that a person did is overwritten: where both differ, the conflict is listed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct, structs

from segkit import rows, storage
from segkit.dataset import history as histories
from segkit.dataset import saving, splits
from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import PERSON, REVIEWS, SPLITS, Triple
from segkit.errors import DatasetError, PaletteError, UsageError
from segkit.maps import strokes as pixels
from segkit.maps.strokes import Run, Stroke
from segkit.palette import UNLABELLED, Palette
from segkit.words import quote

_UNIT = 32
"""Triples that are recorded together."""

_UNLABELLED = "unlabelled"


class Mask(Struct, frozen=True, forbid_unknown_fields=True):
    """Pixels that a person gave a class.

    Attributes:
        name: of the class, or "unlabelled".
        runs: start and length of consecutive pixels in row-major order.
    """

    name: str
    runs: tuple[Run, ...]


class Correction(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of the file: what a person changed in one triple; "" and () for what nobody changed.

    Attributes:
        key, source, width, height, text, tokens, review, split: see Triple.
        time: of the last change.
        masks: disjoint areas of the map.
    """

    key: str
    source: str
    width: int
    height: int
    time: str = ""
    masks: tuple[Mask, ...] = ()
    text: str = ""
    tokens: int = 0
    review: str = ""
    split: str = ""


@dataclass(frozen=True)
class Conflict:
    """Something that was not taken over.

    Attributes:
        key, source: of the triple.
        what: "map", "prompt", "decision", "split" or "triple".
        reason: as a sentence without its full stop.
    """

    key: str
    source: str
    what: str
    reason: str


@dataclass
class Imported:
    """What an import changed.

    Attributes:
        maps, prompts, decisions, splits: numbers of triples.
        unchanged: number of triples that are as the file says already.
        conflicts: what was not taken over.
    """

    maps: int = 0
    prompts: int = 0
    decisions: int = 0
    splits: int = 0
    unchanged: int = 0
    conflicts: list[Conflict] = field(default_factory=list)


def export_corrections(dataset: Dataset, path: Path) -> int:
    """Write everything that a person changed in a dataset: maps, prompts, decisions, splits.

    Args:
        dataset: the dataset.
        path: a new file.

    Returns:
        The number of triples in the file.

    Raises:
        UsageError: the file exists.
        DatasetError: a map is missing.
    """
    if path.exists():
        raise UsageError(f"{path} already exists. Choose another name.")
    corrections = [correction for triple in dataset.triples() if (correction := correction_of(dataset, triple))]
    storage.write(path, b"".join(msgspec.json.encode(one) + b"\n" for one in corrections))
    return len(corrections)


def correction_of(dataset: Dataset, triple: Triple) -> Correction | None:
    """Return what persons changed in a triple; None if nothing.

    Raises:
        DatasetError: its map is missing.
    """
    changes: dict[str, Any] = {}
    if triple.map_by_person:
        changes["masks"] = _masks(dataset, triple)
    if triple.by_person:
        changes |= {"text": triple.text, "tokens": triple.tokens}
    if triple.review != "open":
        changes["review"] = triple.review
    if triple.drawn and splits.is_by_hand(triple):
        changes["split"] = triple.split
    if not changes:
        return None
    return Correction(triple.key, triple.source, triple.width, triple.height, triple.edits.time, **changes)


def _masks(dataset: Dataset, triple: Triple) -> tuple[Mask, ...]:
    palette, history = dataset.info.palette, histories.read(triple)
    if history:
        labels, touched = history.replay(palette)
    else:  # painted outside segkit, or its original was forgotten
        labels = triple.labels
        touched = np.ones(labels.shape, bool)
    present = np.unique(labels[touched]).tolist()
    return tuple(Mask(class_name(label, palette), pixels.runs(touched & (labels == label))) for label in present)


def class_name(label: int, palette: Palette) -> str:
    """Return the name of a label's class; that of 255 is "unlabelled"."""
    return _UNLABELLED if label == UNLABELLED else palette[label].name


def import_corrections(dataset: Dataset, path: Path) -> Imported:
    """Take over the corrections of another copy of the dataset. Each map is one edit, which can be undone.

    Args:
        dataset: the dataset to change.
        path: a file of `export_corrections`.

    Returns:
        What was changed, and what was not because a person decided otherwise here.

    Raises:
        UsageError: the file cannot be read, or a line is damaged; nothing is changed.
        LockedError: another process is writing the dataset.
    """
    corrections = list(_read(path))
    report = Imported()
    with dataset.writing():
        for start in range(0, len(corrections), _UNIT):
            unit = corrections[start : start + _UNIT]
            known = dataset.known([one.key for one in unit])
            report.conflicts += [
                Conflict(one.key, one.source, "triple", "the dataset has no such photo")
                for one in unit
                if one.key not in known
            ]
            changes = (take_over(dataset, known[one.key], one, report) for one in unit if one.key in known)
            dataset.commit(list({triple.key: triple for change in changes for triple in change}.values()))
        dataset.fold_if_small()
    return report


def _read(path: Path) -> Iterator[Correction]:
    decoder = msgspec.json.Decoder(Correction)
    if not path.is_file():
        raise UsageError(f"{path} {'is not a file' if path.exists() else 'does not exist'}.")
    seen = set()
    for number, _, line in rows.numbered(path):
        try:
            correction = decoder.decode(line)
            _require_valid(correction)
        except (msgspec.DecodeError, ValueError) as error:
            raise UsageError(
                f"{path}, line {number} is damaged: {error}. Nothing was changed. Export it again with: segkit review "
                "DATASET --export-corrections FILE"
            ) from None
        if correction.key in seen:
            raise UsageError(f"{path}, line {number}: {correction.key} appears twice. Nothing was changed.")
        seen.add(correction.key)
        yield correction


def _require_valid(correction: Correction) -> None:
    if correction.review not in ("", *REVIEWS) or correction.split not in ("", *SPLITS):
        raise ValueError(f"review {correction.review!r}, split {correction.split!r}")
    if len(correction.key) != 16 or set(correction.key) - set("0123456789abcdef"):
        raise ValueError(f"key {correction.key!r}")


def take_over(dataset: Dataset, triple: Triple, new: Correction, report: Imported) -> list[Triple]:
    """Return the records that a correction changes; its map is written. The caller must hold the dataset's lock.

    Args:
        dataset: the dataset to change.
        triple: the triple as it is.
        new: what a person changed elsewhere.
        report: counts the changes; conflicts are added to it.
    """
    before = len(report.conflicts)

    def conflict(what: str, reason: str) -> None:
        report.conflicts.append(Conflict(triple.key, triple.source, what, reason))

    changes: dict[str, Any] = {}
    if new.text and not (triple.by_person and new.text == triple.text):
        if triple.by_person:
            conflict("prompt", f"it is {triple.text!r} here and {new.text!r} in the file, both written by a person")
        else:
            changes |= {"text": new.text, "tokens": new.tokens, "prompt": PERSON, "problems": ()}
            report.prompts += 1
    if new.review and new.review != triple.review:
        if triple.review != "open":
            conflict("decision", f"it is {triple.review} here and {new.review} in the file")
        else:
            changes["review"] = new.review
            report.decisions += 1
    record = _with_map(dataset, triple, new, report)
    moved = _moved(dataset, triple, new, report)
    if changes:
        record = structs.replace(record, **changes) if record is not triple else triple.edited(**changes)
    if moved:
        record = structs.replace(record, split=new.split) if record is not triple else triple.edited(split=new.split)
    report.unchanged += record is triple and len(report.conflicts) == before
    return [*moved, record] if record is not triple else moved


def _moved(dataset: Dataset, triple: Triple, new: Correction, report: Imported) -> list[Triple]:
    """Return the other triples of a group that moves into another split, and the triple itself."""
    if not new.split or new.split == triple.split:
        return []
    if triple.drawn and splits.is_by_hand(triple):
        reason = f"it was moved to {triple.split} here and to {new.split} in the file"
        report.conflicts.append(Conflict(triple.key, triple.source, "split", reason))
        return []
    report.splits += 1
    return [member.edited(split=new.split) for member in dataset.group(triple.group) if member.split != new.split]


def _with_map(dataset: Dataset, triple: Triple, new: Correction, report: Imported) -> Triple:
    """Return the record after the masks were applied; the triple itself if they were not."""
    if not new.masks:
        return triple
    try:
        save = _map_save(dataset, triple, new)
    except (DatasetError, PaletteError, UsageError) as error:
        report.conflicts.append(Conflict(triple.key, triple.source, "map", str(error).rstrip(".")))
        return triple
    if save is None:
        return triple
    report.maps += 1
    return saving.store(dataset, save)


def _map_save(dataset: Dataset, triple: Triple, new: Correction) -> saving.Save | None:
    """Return what to store for the masks of a correction; None if the map shows them already.

    Raises:
        UsageError: the size differs, or a person gave the pixels other classes here.
        PaletteError: a class is unknown.
        DatasetError: the map was changed outside segkit.
    """
    palette = dataset.info.palette
    if (new.width, new.height) != (triple.width, triple.height):
        raise UsageError(f"it is {triple.width}x{triple.height} here and {new.width}x{new.height} in the file")
    strokes = tuple(Stroke(_label(mask.name, dataset), mask.runs) for mask in new.masks)
    pixels.require_valid(strokes, triple.width * triple.height, palette)
    history = saving.opened(dataset, triple)
    labels, touched = history.replay(palette)
    before, by_file = labels.copy(), np.zeros(labels.shape, bool)
    pixels.apply(strokes, labels, by_file)
    if differing := int((by_file & touched & (before != labels)).sum()):
        raise UsageError(f"{differing:,} pixels were given other classes by a person here than in the file")
    painted = _without(strokes, touched) if touched.any() else strokes
    if not painted or (np.array_equal(before, labels) and touched[by_file].all()):
        return None
    return saving.saved(dataset, triple, history, saving.new_entry(history, painted, "imported corrections"))


def _without(strokes: Sequence[Stroke], touched: "np.typing.NDArray[np.bool_]") -> tuple[Stroke, ...]:
    """Return strokes without the pixels that a person set already."""
    left = []
    for stroke in strokes:
        places = pixels.positions(stroke.runs)
        mask = np.zeros(touched.size, bool)
        mask[places] = ~touched.ravel()[places]
        if mask.any():
            left.append(Stroke(stroke.label, pixels.runs(mask)))
    return tuple(left)


def _label(name: str, dataset: Dataset) -> int:
    if name == _UNLABELLED:
        return UNLABELLED
    for swatch in dataset.info.palette:
        if swatch.name == name:
            return swatch.index
    command = f"segkit relabel {quote(dataset.folder)} --add-class {quote(name)}"
    raise PaletteError(f"the palette here has no class {name}. Add it: {command}")
