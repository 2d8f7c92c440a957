"""What check-palette finds in control maps: the cause of wrong colours, the classes, the cure."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segkit import control, fingerprint, maps
from segkit.dataset import Dataset
from segkit.errors import MapError
from segkit.fingerprint import CAUSES
from segkit.palette import Palette
from segkit.problem import Problem

Kind = Literal["map", "folder", "dataset"]


@dataclass(frozen=True)
class MapReport:
    """One control map.

    Attributes:
        file: its name in the folder.
        cause: a member of fingerprint.CAUSES.
        evidence: what tells so.
        possible: other causes that its pixels do not exclude.
        off_palette: share of the pixels off the palette, 0 to 1.
        off_pixels: number of those.
        classes: share of the pixels by class name, by the map's exact colours.
        cure: the command that mends it; "" for an exact map.
    """

    file: str
    cause: str
    evidence: str
    possible: tuple[str, ...]
    off_palette: float
    off_pixels: int
    classes: dict[str, float]
    cure: str


def find(path: Path, table: Palette, expected: str) -> tuple[Kind, Path, list[Path], Palette]:
    """Return what a path is, the folder that file names are relative to, the maps, and what they are painted with.

    Args:
        path: a map, a folder of maps or a dataset.
        table: the palette of maps; a dataset has its own.
        expected: what an error says a target may be.

    Raises:
        MapError: it is neither map, folder nor dataset.
        DatasetError: it is a damaged dataset.
    """
    if (path / ".segkit").is_dir():
        dataset = Dataset.open(path)
        names = dict.fromkeys(triple.conditioning_image_file_name for triple in dataset.triples())
        return "dataset", path, [path / name for name in names], dataset.info.palette
    folder, files = maps.find(path, expected)
    return "folder" if path.is_dir() else "map", folder, files, table


def read(
    folder: Path, files: Sequence[Path], table: Palette, advance: Callable[[int, int], None]
) -> tuple[list[Problem], list[MapReport]]:
    """Look at maps, one at a time.

    Returns:
        What is wrong, and a report of each map that opens.
    """
    findings: list[Problem] = []
    reports = []
    for done, file in enumerate(files, 1):
        name = file.relative_to(folder).as_posix()
        found = _read_map(file, name, table)
        advance(done, len(files))
        if isinstance(found, Problem):
            findings.append(found)
            continue
        reports.append(found)
        if found.cause != "exact":
            off = f"{found.off_pixels:,} pixels ({found.off_palette:.1%}) are off the palette {table.name}"
            message = f"{name}: {off}; {CAUSES[found.cause]} ({found.evidence})."
            findings.append(Problem("off-palette", "error", name, message, found.cure))
    return findings, reports


def _read_map(file: Path, name: str, table: Palette) -> MapReport | Problem:
    try:
        image = maps.read(file)
    except MapError as error:
        return Problem("unreadable-map", "error", name, f"{name} {error}.", "Make the map anew.")
    found = fingerprint.identify(image, table)
    labels, off = control.read(image, table)
    pixels = control.count(labels)[: len(table)]
    present = sorted((index for index, number in enumerate(pixels) if number), key=lambda index: -pixels[index])
    shares = {table[index].name: round(pixels[index] / labels.size, 4) for index in present}
    cure = _cure(file, found.cause)
    return MapReport(name, found.cause, found.evidence, found.possible, off / labels.size, off, shares, cure)


def _cure(file: Path, cause: str) -> str:
    if cause == "exact":
        return ""
    if cause in ("unknown", "greyscale"):
        return "Make the map anew: segkit build-dataset PHOTOS"
    words = ["segkit", "snap", str(file), "-o", str(Path("mended") / file.with_suffix(".png").name)]
    return shlex.join(words + (["--to", "ade20k"] if cause == "coco" else []))
