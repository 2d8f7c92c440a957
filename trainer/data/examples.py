"""What a network is trained on: photos, control maps and prompts of a dataset or of another tool's folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segkit.dataset import Dataset, checks, saving, splits
from segkit.dataset.formats import layouts
from segkit.dataset.formats.listing import Entry
from segkit.dataset.info import Info
from segkit.dataset.triple import SPLITS, UNDRAWN, Triple
from segkit.errors import DatasetError, UsageError
from segkit.palette import Palette
from segkit.photos import Geometry
from segkit.problem import Problem
from segkit.progress import Progress, silent
from segkit.settings import Check
from segkit.words import count, quote
from trainer.data import shards, verify
from trainer.data.members import Source
from trainer.data.shard_check import ShardCheck
from trainer.data.shards import NO_CACHE, Cache, Data, Shards
from trainer.settings import TrainSettings


@dataclass(frozen=True)
class Example:
    """One photo with its control map and prompt.

    Attributes:
        photo, control_map: the two pictures.
        text: the prompt.
        width, height: size of the upright photo in pixels.
        photo_hash, map_hash: SHA-256 of the two pictures.
        geometry: how the photo was scaled and cropped from its source; None if that is unknown.
    """

    photo: Source
    control_map: Source
    text: str
    width: int = 0
    height: int = 0
    photo_hash: str = ""
    map_hash: str = ""
    geometry: Geometry | None = None


@dataclass(frozen=True)
class Examples:
    """The training and validation data of a folder.

    Attributes:
        layout: "segkit", "shards", "fill50k", "imagefolder" or "kohya".
        train: training examples.
        val: held-out examples.
        palette: palette of the control maps; None for control pictures that are not segmentation maps.
        notes: what a user should know about the data, as sentences.
        segmenter: what drew the maps, as Info.models records it; empty if that is unknown.
    """

    layout: str
    train: list[Example]
    val: list[Example]
    palette: Palette | None
    notes: tuple[str, ...] = ()
    segmenter: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """SHA-256 over file names, prompts, photos and maps in order; changes with the training data."""
        digest = hashlib.sha256()
        for example in self.train:
            content = example.photo_hash + example.map_hash
            digest.update(json.dumps([example.photo.name, example.control_map.name, example.text, content]).encode())
        return digest.hexdigest()

    @property
    def empty_prompts(self) -> int:
        """Number of training examples whose prompt is empty."""
        return sum(not example.text.strip() for example in self.train)


def find(
    dataset: Data,
    palette: str = "",
    any_control: bool = False,
    progress: Progress = silent,
    check: Check = "full",
    reviewed: bool = False,
) -> Examples:
    """Read the examples of a dataset, of its shards, or of a layout: fill50k's, HF's imagefolder or kohya's scripts.

    A dataset is read as it is now, also while a build is adding to it; what was recorded about its photos and maps is
    compared with the files, or with the members of shards. Those of other layouts are all opened, since nothing is
    recorded about them.

    Args:
        dataset: the folder, or the URL of shards.
        palette: name or file of the control maps' palette; "" for the dataset's own, or ADE20K for other layouts.
        any_control: accept control pictures that are not segmentation maps (other layouts only).
        progress: called with ("photos and maps", done, total), or as dataset.checks does.
        check: which files of a dataset or shards are read; see dataset.checked and shard_check. Those that are not are
            compared with their recorded hashes when they are first used; see crops.
        reviewed: use only the triples of a dataset that a person accepted.

    Raises:
        DatasetError: the folder is not a dataset, has errors, or contains nothing to train on; its `problems` list all
            errors.
        PaletteError: the palette is not valid.
        SegkitError: the URL is unavailable.
    """
    folder = Path(dataset)
    if (folder / ".segkit").is_dir():
        return _from_dataset(folder, palette, progress, check, reviewed)
    if location := shards.find(dataset):
        return _from_shards(shards.open_shards(location), palette, progress, check, reviewed)
    if reviewed:
        raise UsageError(f"{folder} is not a segkit dataset, so nobody has accepted its triples. {_NOT_REVIEWED}")
    return _from_layout(folder, palette, any_control, progress)


def _from_layout(folder: Path, palette: str, any_control: bool, progress: Progress) -> Examples:
    listing = layouts.read(folder)
    map_palette = None if any_control else Palette.load(palette or "ade20k")
    entries = [entry for entry in listing.entries if entry.split != "test"]
    measured, problems = verify.measure(entries, map_palette, progress)
    problems, advice = _with_repair(problems, listing.layout, folder)
    _refuse(folder, problems, advice)
    by_split: dict[str, list[Example]] = {"train": [], "val": []}
    for entry, size in zip(entries, measured, strict=True):
        by_split[entry.split].append(_example(entry, size))
    if not by_split["train"]:
        raise DatasetError(f"{folder}: no triple to train on; held out: all {len(listing.entries):,}.")
    _require_apart(by_split["train"], by_split["val"])
    notes = list(listing.notes)
    if tested := len(listing.entries) - len(entries):
        notes.append(f"Triples of the test split, left alone: {tested:,}.")
    return Examples(listing.layout, by_split["train"], by_split["val"], map_palette, tuple(notes))


def _with_repair(problems: list[Problem], layout: str, folder: Path) -> tuple[list[Problem], str]:
    """Return the problems without a command for each map, and the one command that repairs all maps of a folder."""
    if not any(problem.rule == "off-palette" for problem in problems):
        return problems, ""
    where = "--in-place" if layout == "kohya" else "-o repaired"
    then = "which keeps the originals" if layout == "kohya" else "and let the list name the repaired maps"
    command = f"segkit snap {quote(folder)} {where}"
    advice = f"Repair the maps with: {command} , {then}. For control pictures that are not maps: {_ANY_CONTROL}"
    return [replace(problem, cure="") if "segkit snap" in problem.cure else problem for problem in problems], advice


def _require_apart(train: Sequence[Example], val: Sequence[Example]) -> None:
    """Refuse a photo that is both trained on and held out.

    Raises:
        DatasetError: the photo is named.
    """
    held_out = {example.photo_hash: example for example in val}
    for example in train:
        if other := held_out.get(example.photo_hash):
            raise DatasetError(
                f"{example.photo} is trained on, but also held out as {other.photo}. Keep it in one split."
            )


def load(dataset: Data, settings: TrainSettings, progress: Progress = silent, cache: Cache = NO_CACHE) -> Examples:
    """Read the examples of a training; see `find`.

    Args:
        dataset: the folder, or the URL of shards.
        settings: of the training.
        progress: as for `find`.
        cache: where copies of remote shards are kept.

    Raises:
        DatasetError: as `find`, or every prompt is empty: a network trained like that ignores prompts.
        PaletteError: the palette is not valid.
    """
    if location := shards.find(dataset):
        opened, checked = shards.open_shards(location, cache), (settings.check, settings.require_reviewed)
        examples = _from_shards(opened, settings.palette, progress, *checked, cache.stamps)
    else:
        examples = find(
            dataset, settings.palette, settings.allow_any_control, progress, settings.check, settings.require_reviewed
        )
    if examples.empty_prompts == len(examples.train) and not settings.allow_empty_prompts:
        is_dataset = examples.layout == "segkit"
        draft = f"segkit caption {quote(dataset)}" if is_dataset else _WHERE_PROMPTS[examples.layout]
        raise DatasetError(
            f"{dataset}: every prompt is empty. Write some: {draft}. To train without prompts: allow_empty_prompts=True"
        )
    return examples


_ANY_CONTROL = "allow_any_control=True"
_WHERE_PROMPTS = {
    "fill50k": "the key prompt in prompt.json",
    "imagefolder": "the column text in the metadata",
    "kohya": "NAME.txt beside each photo in img/",
    "shards": "segkit caption in the dataset that was exported, and export it again",
}


def _example(entry: Entry, size: verify.Measured) -> Example:
    return Example(entry.photo, entry.control_map, entry.text, size.width, size.height, size.photo_hash, size.map_hash)


_NOT_REVIEWED = "To train on it as it is: require_reviewed=False"


def _from_dataset(folder: Path, palette: str, progress: Progress, check: Check, reviewed: bool) -> Examples:
    opened = Dataset.open(folder)
    chosen, damage = _Chosen(opened.info, reviewed), None
    # Read before the check, so that all examples are checked although a build may be adding triples.
    try:
        for triple in saving.triples(opened):
            chosen.add(triple, folder / triple.file_name, folder / triple.conditioning_image_file_name)
    except DatasetError as error:
        damage = error  # the check reports all damaged lines
    required = Palette.load(palette) if palette else None
    report = checks.check(opened, progress=progress, palette=required, scope=checks.Scope(check, strays=False))
    errors = [problem for problem in report.problems if problem.severity == "error"]
    _refuse(folder, errors, f"See all: segkit check {quote(folder)}" if len(errors) > 1 else "")
    if damage:
        raise damage
    cures = f"segkit review {quote(folder)}", "Add photos with segkit build-dataset, or change split."
    return chosen.examples("segkit", folder, *cures)


def _from_shards(
    opened: Shards, palette: str, progress: Progress, check: Check, reviewed: bool, remembered: Path | None = None
) -> Examples:
    chosen, checker = _Chosen(opened.index.info, reviewed), ShardCheck(opened, check, remembered, progress)
    for shard, samples in checker.samples():
        for sample in samples:
            chosen.add(sample.triple, *opened.pictures(shard, sample))
    _refuse(opened, checker.finish(Palette.load(palette) if palette else None), "")
    again = "in the dataset that was exported, and export it again"
    return chosen.examples("shards", opened, f"segkit review {again}", f"Add photos {again}.")


class _Chosen:
    """The triples of a dataset that a training uses, by their split.

    Args:
        info: what the triples share.
        reviewed: use only those that a person accepted.
    """

    def __init__(self, info: Info, reviewed: bool) -> None:
        self._palette, self._segmenter, self._reviewed = info.palette, info.models["segmenter"], reviewed
        self._reviews = ("accepted",) if reviewed else ("accepted", "open")
        self._held_out = any(splits.shares(info.settings.get("split", "")).values())
        self._by_split: dict[str, list[Example]] = {split: [] for split in (*SPLITS, UNDRAWN)}

    def add(self, triple: Triple, photo: Source, control_map: Source) -> None:
        """Add a triple with its pictures, if it is to be used."""
        if triple.review in self._reviews and triple.split in SPLITS:
            split = UNDRAWN if self._held_out and triple.drawn == UNDRAWN else triple.split
            facts = triple.width, triple.height, triple.photo_sha256, triple.map_sha256, triple.geometry
            example = Example(photo, control_map, triple.text, *facts)
            self._by_split[split].append(example)

    def examples(self, layout: str, place: object, review: str, add: str) -> Examples:
        """Return all examples.

        Args:
            layout: their layout.
            place: the dataset, for error messages.
            review: how triples are accepted, for an error message.
            add: how they are added, for an error message.

        Raises:
            DatasetError: there is nothing to train on.
        """
        by_split = self._by_split
        number = len(by_split[UNDRAWN])
        undrawn = f"Triples that may yet be held out by a build that has not finished, left alone: {number:,}."
        if self._reviewed and not by_split["train"]:
            raise DatasetError(
                f"{place}: no triple of the split train is accepted. Accept some with: {review} . {_NOT_REVIEWED}"
            )
        if not by_split["train"]:
            more = f" {undrawn}" if by_split[UNDRAWN] else ""
            raise DatasetError(f"{place}: no triple to train on. {add}{more}")
        notes = (undrawn,) if by_split[UNDRAWN] else ()
        return Examples(layout, by_split["train"], by_split["val"], self._palette, notes, self._segmenter)


def _refuse(place: object, problems: Sequence[Problem], advice: str) -> None:
    if problems:
        first = problems[0]
        message = (
            f"{place}: {count(len(problems), 'error')}, so nothing was trained. {first.message} {first.cure} {advice}"
        )
        raise DatasetError(message.strip(), problems)
