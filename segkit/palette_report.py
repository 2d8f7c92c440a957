"""What check-palette finds: in a palette table, a control map, a folder of maps or a dataset."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from segkit import collisions, palette, problem, tables
from segkit.errors import PaletteError, UsageError
from segkit.palette import Palette
from segkit.problem import Problem
from segkit.tables import Swatch

Kind = Literal["palette", "map", "folder", "dataset"]
TABLES = (".csv", ".tsv")
FORMATS = ("PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG")
"""What a control map may be saved as, well or badly."""
EXPECTED = "a palette table (.csv, .tsv), a control map (.png), a folder of maps or a dataset"

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Opens a progress display of a name; it is told the number done and the total."""


@dataclass(frozen=True)
class MapReport:
    """One control map: its file, share of pixels off the palette (0 to 1), number of those, classes by share."""

    file: str
    off_palette: float
    off_pixels: int
    classes: dict[str, float]


@dataclass(frozen=True)
class PaletteReport:
    """What was looked at, what it was taken for, and what was found.

    Attributes:
        target: as given; "ade20k" without one.
        kind: what it was taken for.
        palette: the palette that maps were compared with, or the table itself.
        findings: problems, "known" ones too.
        swatches: the table's classes; empty for maps.
        maps: one report a map; empty for tables.
    """

    target: str
    kind: Kind
    palette: str
    findings: list[Problem]
    swatches: list[Swatch] = field(default_factory=list)
    maps: list[MapReport] = field(default_factory=list)

    @property
    def has_findings(self) -> bool:
        """Whether anything but known quirks was found."""
        return problem.fails(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        findings = [found.to_json() for found in self.findings]
        return {
            "target": self.target,
            "kind": self.kind,
            "palette": self.palette,
            "classes": len(self.swatches),
            "findings": findings,
            "maps": [asdict(found) for found in self.maps],
        }


@contextmanager
def _silent(label: str) -> Iterator[Callable[[int, int], None]]:
    yield lambda done, total: None


def examine(
    target: str | None, min_distance: float = collisions.MIN_DISTANCE, progress: Progress = _silent
) -> PaletteReport:
    """Look at whatever the target is. One map at a time is held in memory.

    Args:
        target: None or a shipped palette's name, a table, a control map, a folder of maps, a dataset.
        min_distance: RGB L2, 0 to 442; nearer colours of a table are reported.
        progress: shows how many maps were read.

    Raises:
        PaletteError: the target is none of these.
        DatasetError: the target is a damaged dataset.
        UsageError: the distance is out of its range.
    """
    if not 0 <= min_distance <= 442:
        raise UsageError(f"--min-distance {min_distance:g}: expected 0 to 442, the distance of black and white.")
    if target is None or target in palette.SHIPPED:
        return _table(target or "ade20k", palette.folder() / f"{target or 'ade20k'}.csv", min_distance)
    path = _there(target)
    if path.suffix.lower() in TABLES and not path.is_dir():
        return _table(target, path, min_distance)
    kind, folder, files, table = _find_maps(target, path)
    with progress("maps") as advance:
        findings, maps = _read_maps(folder, files, table, advance)
    return PaletteReport(target, kind, table.name, findings, maps=maps)


def _there(target: str) -> Path:
    if not target:
        raise PaletteError(f"The target's name is empty. Expected {EXPECTED}.")
    path = Path(target)
    try:
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise PaletteError(f"{target}: {reason}. Expected {EXPECTED}.") from None
    return path


def _table(target: str, path: Path, min_distance: float) -> PaletteReport:
    swatches, findings = tables.read(path)
    findings += collisions.within(swatches, path.stem, min_distance)
    for name in palette.SHIPPED:
        if name != target:
            findings += collisions.between(swatches, path.stem, palette.load(name), min_distance)
    return PaletteReport(target, "palette", path.stem, findings, swatches)


def _find_maps(target: str, path: Path) -> tuple[Kind, Path, list[Path], Palette]:
    """Return what the target is, the folder that file names are relative to, the maps, and their palette."""
    from segkit import photos
    from segkit.dataset import Dataset

    if (path / ".segkit").is_dir():
        dataset = Dataset.open(path)
        names = dict.fromkeys(triple.conditioning_image_file_name for triple in dataset.triples())
        return "dataset", path, [path / name for name in names], dataset.info.palette
    if path.is_dir():
        files = list(photos.find(path))
        if not files:
            raise PaletteError(f"{path} holds no control maps: no picture was found in it.")
        return "folder", path, files, palette.load("ade20k")
    if path.suffix.lower() in photos.SUFFIXES and path.is_file():
        return "map", path.parent, [path], palette.load("ade20k")
    raise PaletteError(f"{target}: neither table nor picture by its name. Expected {EXPECTED}.")


def _read_maps(
    folder: Path, files: Sequence[Path], table: Palette, advance: Callable[[int, int], None]
) -> tuple[list[Problem], list[MapReport]]:
    findings: list[Problem] = []
    maps = []
    for done, file in enumerate(files, 1):
        name = file.relative_to(folder).as_posix()
        found = _read_map(file, name, table)
        advance(done, len(files))
        if isinstance(found, Problem):
            findings.append(found)
            continue
        maps.append(found)
        if found.off_pixels:
            message = f"{name}: {found.off_pixels:,} pixels ({found.off_palette:.1%}) are off the palette {table.name}."
            cure = "Make the map anew; never resize one smoothly or save it as JPEG."
            findings.append(Problem("off-palette", "error", name, message, cure))
    return findings, maps


def _read_map(file: Path, name: str, table: Palette) -> MapReport | Problem:
    from PIL import Image

    from segkit import control

    def unreadable(reason: str) -> Problem:
        return Problem("unreadable-map", "error", name, f"{name} {reason}.", "Make the map anew.")

    if not file.is_file():  # opening a named pipe would block for ever
        return unreadable("is no file" if file.exists() else "is not there")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            labels, off = control.read(image, table)
    except Exception as error:  # Pillow raises anything on damaged files
        return unreadable(f"does not open ({type(error).__name__}: {error})")
    pixels = control.count(labels)[: len(table)]
    present = sorted((index for index, number in enumerate(pixels) if number), key=lambda index: -pixels[index])
    shares = {table[index].name: round(pixels[index] / labels.size, 4) for index in present}
    return MapReport(name, off / labels.size, off, shares)
