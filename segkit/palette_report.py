"""What check-palette finds: in a palette table, a control map, a folder of maps or a dataset."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from segkit import collisions, palette, problem, tables
from segkit.errors import PaletteError
from segkit.palette import Palette
from segkit.problem import Problem
from segkit.tables import Swatch

Kind = Literal["palette", "map", "folder", "dataset"]
TABLES = (".csv", ".tsv")
MAPS = (".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")


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
        return problem.counts(self.findings)

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


def examine(target: str | None, min_distance: float = collisions.MIN_DISTANCE) -> PaletteReport:
    """Look at whatever the target is.

    Args:
        target: None or a shipped palette's name, a table, a control map, a folder of maps, a dataset.
        min_distance: RGB L2; nearer colours are reported.

    Raises:
        PaletteError: the target is none of these.
    """
    if target is None or target in palette.SHIPPED:
        return _table(target or "ade20k", palette.folder() / f"{target or 'ade20k'}.csv", min_distance)
    path = Path(target)
    if path.suffix.lower() in TABLES and not path.is_dir():
        return _table(target, path, min_distance)
    if (path / ".segkit").is_dir():
        return _dataset(target, path)
    if path.is_dir():
        files = sorted(found for found in path.rglob("*") if found.suffix.lower() in MAPS and found.is_file())
        if not files:
            raise PaletteError(f"{path} holds no control maps. Looked for {', '.join(MAPS)}.")
        return _maps(target, "folder", path, files, palette.load("ade20k"))
    if path.suffix.lower() in MAPS and path.is_file():
        return _maps(target, "map", path.parent, [path], palette.load("ade20k"))
    found = "no such file" if not path.exists() else f"{path.suffix or 'a file without ending'} is neither"
    raise PaletteError(
        f"{target}: {found}. Expected a palette table (.csv, .tsv), a control map, a folder or a dataset."
    )


def _table(target: str, path: Path, min_distance: float) -> PaletteReport:
    swatches, findings = tables.read(path)
    findings += collisions.within(swatches, path.stem, min_distance)
    for name in palette.SHIPPED:
        if name != path.stem:
            findings += collisions.between(swatches, path.stem, palette.load(name), min_distance)
    return PaletteReport(target, "palette", path.stem, findings, swatches)


def _dataset(target: str, path: Path) -> PaletteReport:
    from segkit.dataset import Dataset

    dataset = Dataset.open(path)
    files = [path / triple.conditioning_image_file_name for triple in dataset.triples()]
    return _maps(target, "dataset", path, files, dataset.info.palette)


def _maps(target: str, kind: Kind, folder: Path, files: list[Path], table: Palette) -> PaletteReport:
    findings: list[Problem] = []
    maps = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        found = _map(file, name, table)
        if isinstance(found, Problem):
            findings.append(found)
            continue
        maps.append(found)
        if found.off_pixels:
            message = f"{name}: {found.off_pixels:,} pixels ({found.off_palette:.1%}) are off the palette {table.name}."
            cure = "Make the map anew; never resize one smoothly or save it as JPEG."
            findings.append(Problem("off-palette", "error", name, message, cure))
    return PaletteReport(target, kind, table.name, findings, maps=maps)


def _map(file: Path, name: str, table: Palette) -> MapReport | Problem:
    from PIL import Image

    from segkit import control

    try:
        with Image.open(file) as image:
            labels, off = control.read(image, table)
    except Exception as error:  # Pillow raises anything on damaged files
        message = f"{name} does not open ({type(error).__name__}: {error})."
        return Problem("unreadable-map", "error", name, message, "Make the map anew.")
    pixels = Counter(dict(enumerate(control.count(labels))))
    shares = {table[i].name: round(n / labels.size, 4) for i, n in pixels.most_common() if n and i < len(table)}
    return MapReport(name, off / labels.size, off, shares)
