"""What a network is trained on: photos, control maps and prompts, of a dataset or of other tools' folders."""

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

_ORIENTATION = 0x0112  # EXIF 2.32
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
        width, height: pixels of the photo.
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
    """What is trained on.

    Attributes:
        layout: "segkit", "fill50k", "imagefolder" or "kohya".
        train: the examples.
        val: those held out; none where the folder knows no splits.
        palette: what the maps are painted with; None for control pictures that are no maps.
        hash: SHA-256 over names, prompts, photos, and the maps' hashes or sizes: another one, other examples.
    """

    layout: str
    train: list[Example]
    val: list[Example]
    palette: Palette | None
    hash: str


def find(folder: Path, painted_with: str = "", any_control: bool = False) -> Examples:
    """Read the examples of a folder: a dataset, or the layouts of fill50k, HF's imagefolder and kohya's scripts.

    Args:
        folder: the dataset.
        painted_with: palette of the maps; "" for the dataset's own, or ADE20K.
        any_control: whether control pictures may be no segmentation maps.

    Raises:
        DatasetError: it is none, is being written, has errors, or holds nothing to train on.
        MapError: a list names files outside the folder.
        PaletteError: the palette is none.
    """
    if (folder / ".segkit").is_dir():
        return _own(folder, painted_with)
    read = ((layout, [_example(entry) for entry in way(folder)]) for layout, way in _LAYOUTS.items() if folder.is_dir())
    layout, found = next(((layout, found) for layout, found in read if found), ("", []))
    if not found:
        what = "no such folder" if not folder.exists() else "a file" if not folder.is_dir() else "none of these"
        raise DatasetError(
            f"{folder}: {what}. Expected a dataset (segkit build-dataset), fill50k's prompt.json, an imagefolder's "
            "metadata.jsonl, or kohya's img/ and cond/."
        )
    table = None if any_control else Palette.load(painted_with or "ade20k")
    found = [_measured(each) for each in found]
    if table:
        _require_clean(folder, found, table)
    return Examples(layout, found, [], table, _hash(found, {}))


def _own(folder: Path, painted_with: str) -> Examples:
    with dataset.locked(folder):  # nobody is writing it
        own = Dataset.open(folder)
        table = Palette.load(painted_with) if painted_with else None
        checked = checks.check(own, own=table)
        triples = list(own.triples())
    errors = [each for each in checked.problems if each.severity == "error"]
    _refuse(folder, errors, f"segkit check {folder}")
    found: dict[str, list[Example]] = {"train": [], "val": [], "test": []}
    for each in triples:
        if each.review != "rejected":
            photo, control_map = folder / each.file_name, folder / each.conditioning_image_file_name
            found[each.split].append(Example(photo, control_map, each.text, each.width, each.height, each.photo_sha256))
    if not found["train"]:
        raise DatasetError(f"{folder}: no triple to train on. Add photos with segkit build-dataset, or lift --split.")
    stored = {each.file_name: each.photo_sha256 + each.map_sha256 for each in triples}
    return Examples("segkit", found["train"], found["val"], own.info.palette, _hash(found["train"], stored))


def _refuse(folder: Path, problems: list[Problem], look: str) -> None:
    if problems:
        first = problems[0]
        raise DatasetError(
            f"{folder}: {len(problems)} errors, so nothing was trained. {first.message} {first.cure} See all: {look}"
        )


def _example(entry: Entry) -> Example:
    for path in (entry.photo, entry.control_map):
        if not path.is_file():
            raise DatasetError(f"{path} does not exist; {entry.source} names it.")
    return Example(entry.photo, entry.control_map, entry.text)


def _require_clean(folder: Path, found: list[Example], table: Palette) -> None:
    sources = [map_sources.Source(each.control_map.name, each.control_map) for each in found]
    problems, _ = map_findings.read(sources, table, silent)
    _refuse(
        folder, problems, f"segkit check-palette {folder}. For control pictures that are no maps: --allow-any-control"
    )


def _measured(example: Example) -> Example:
    """Return the example with its photo's hash and upright size; its map must have the same shape."""
    width, height = _size(example.photo)
    across, down = _size(example.control_map)
    if abs(width * down - height * across) > max(width, height, across, down):
        raise DatasetError(
            f"{example.control_map}: {across} x {down} pixels, the photo {width} x {height}. Expected the same shape."
        )
    with example.photo.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return replace(example, width=width, height=height, photo_hash=digest)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path, formats=maps.FORMATS) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            return (image.height, image.width) if turned else image.size
    except Exception as error:  # Pillow raises anything on damaged files
        raise DatasetError(
            f"{path} does not open ({type(error).__name__}: {error}). Mend it or leave it out."
        ) from None


def _hash(found: list[Example], stored: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for each in found:
        tail = "/".join(each.photo.parts[-3:])
        known = stored.get(tail, f"{each.photo_hash} {each.control_map.stat().st_size}")
        digest.update(json.dumps([each.photo.name, each.control_map.name, each.text, known]).encode())
    return digest.hexdigest()
