"""What a network is trained on: photos, control maps and prompts of a dataset or of another tool's folder."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from segkit import dataset, maps
from segkit.dataset import Dataset, checks, map_sources
from segkit.dataset.formats import fill50k, imagefolder, kohya
from segkit.dataset.formats.listing import Entry
from segkit.errors import DatasetError
from segkit.palette import Palette
from segkit.problem import Problem
from segkit.progress import silent
from segkit.reports import map_findings

_ORIENTATION = 0x0112  # EXIF 2.32; values from 5 swap width and height
_LAYOUTS: dict[str, Callable[[Path], Iterator[Entry]]] = {
    "fill50k": fill50k.read,
    "imagefolder": imagefolder.read,
    "kohya": kohya.read,
}


@dataclass(frozen=True)
class Example:
    """One photo with its control map and prompt.

    Attributes:
        photo, control_map: the two files.
        text: the prompt.
        width, height: size of the upright photo in pixels.
        photo_hash: SHA-256 of the photo's file.
    """

    photo: Path
    control_map: Path
    text: str
    width: int = 0
    height: int = 0
    photo_hash: str = ""


@dataclass(frozen=True)
class Examples:
    """The training and validation data of a folder.

    Attributes:
        layout: "segkit", "fill50k", "imagefolder" or "kohya".
        train: training examples.
        val: held-out examples; empty for layouts without splits.
        palette: palette of the control maps; None for control pictures that are not segmentation maps.
        hash: SHA-256 over file names, prompts, photos and the maps' hashes (or sizes); changes with the training data.
    """

    layout: str
    train: list[Example]
    val: list[Example]
    palette: Palette | None
    hash: str


def find(folder: Path, palette: str = "", any_control: bool = False) -> Examples:
    """Read the examples of a folder: a dataset, or the layout of fill50k, HF's imagefolder or kohya's scripts.

    Args:
        folder: the dataset.
        palette: name or file of the control maps' palette; "" for the dataset's own, or ADE20K for other layouts.
        any_control: accept control pictures that are not segmentation maps (other layouts only).

    Raises:
        DatasetError: the folder is not a dataset, is being written, has errors, or contains nothing to train on.
        PaletteError: the palette is not valid.
    """
    if (folder / ".segkit").is_dir():
        return _from_dataset(folder, palette)
    by_layout = (
        (layout, [_example(entry) for entry in read(folder)]) for layout, read in _LAYOUTS.items() if folder.is_dir()
    )
    layout, examples = next(((layout, examples) for layout, examples in by_layout if examples), ("", []))
    if not examples:
        reason = "does not exist" if not folder.exists() else "is a file" if not folder.is_dir() else "is not a dataset"
        raise DatasetError(
            f"{folder} {reason}. Expected a dataset (segkit build-dataset), fill50k's prompt.json, an imagefolder's "
            "metadata.jsonl or metadata.csv, or kohya's img/ and cond/."
        )
    map_palette = None if any_control else Palette.load(palette or "ade20k")
    examples = [_measured(example) for example in examples]
    if map_palette:
        _require_exact_maps(folder, examples, map_palette)
    return Examples(layout, examples, [], map_palette, _hash(examples, {}))


def _from_dataset(folder: Path, palette: str) -> Examples:
    with dataset.reading(folder):  # refuses a dataset that is being written
        opened = Dataset.open(folder)
        report = checks.check(opened, palette=Palette.load(palette) if palette else None)
        triples = list(opened.triples())
    errors = [problem for problem in report.problems if problem.severity == "error"]
    _refuse(folder, errors, f"segkit check {folder}")
    splits: dict[str, list[Example]] = {"train": [], "val": [], "test": []}
    for triple in triples:
        if triple.review != "rejected":
            photo, control_map = folder / triple.file_name, folder / triple.conditioning_image_file_name
            splits[triple.split].append(
                Example(photo, control_map, triple.text, triple.width, triple.height, triple.photo_sha256)
            )
    if not splits["train"]:
        raise DatasetError(f"{folder}: no triple to train on. Add photos with segkit build-dataset, or change split.")
    stored = {triple.file_name: triple.photo_sha256 + triple.map_sha256 for triple in triples}
    return Examples("segkit", splits["train"], splits["val"], opened.info.palette, _hash(splits["train"], stored))


def _refuse(folder: Path, problems: list[Problem], command: str) -> None:
    if problems:
        first = problems[0]
        raise DatasetError(
            f"{folder}: {len(problems)} errors, so nothing was trained. {first.message} {first.cure} See all: {command}"
        )


def _example(entry: Entry) -> Example:
    for path in (entry.photo, entry.control_map):
        if not path.is_file():
            raise DatasetError(f"{path} does not exist; {entry.source} names it.")
    return Example(entry.photo, entry.control_map, entry.text)


def _require_exact_maps(folder: Path, examples: list[Example], palette: Palette) -> None:
    sources = [map_sources.Source(example.control_map.name, example.control_map) for example in examples]
    problems, _ = map_findings.read(sources, palette, silent)
    command = f"segkit check-palette {folder}. For control pictures that are not maps: allow_any_control=True"
    _refuse(folder, problems, command)


def _measured(example: Example) -> Example:
    """Return the example with its photo's hash and upright size; photo and control map must have the same shape."""
    width, height = _size(example.photo)
    map_width, map_height = _size(example.control_map)
    # equal aspect ratios, up to one pixel of rounding when one of the two was scaled
    if abs(width * map_height - height * map_width) > max(width, height, map_width, map_height):
        raise DatasetError(
            f"{example.control_map}: {map_width} x {map_height} pixels, but its photo has {width} x {height}. "
            "Expected the same shape."
        )
    with example.photo.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return replace(example, width=width, height=height, photo_hash=digest)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path, formats=maps.FORMATS) as image:
            is_rotated = image.getexif().get(_ORIENTATION, 1) >= 5
            return (image.height, image.width) if is_rotated else image.size
    except Exception as error:  # Pillow raises any exception on damaged files
        raise DatasetError(
            f"{path}: cannot be opened ({type(error).__name__}: {error}). Replace or remove it."
        ) from None


def _hash(examples: list[Example], stored: dict[str, str]) -> str:
    """Return the hash of the training data, which run.toml records: its input must not change.

    Args:
        examples: the training examples.
        stored: hashes of photo and map by the photo's name in a dataset (images/kk/key.jpg); other layouts use the
            photo's hash and the map's size in bytes, so that not every map must be read.
    """
    digest = hashlib.sha256()
    for example in examples:
        name = "/".join(example.photo.parts[-3:])
        content = stored.get(name, f"{example.photo_hash} {example.control_map.stat().st_size}")
        digest.update(json.dumps([example.photo.name, example.control_map.name, example.text, content]).encode())
    return digest.hexdigest()
