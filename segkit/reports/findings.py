"""What check-palette finds: in palette tables, and in control maps wherever they are kept."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segkit import problem
from segkit.errors import PaletteError, UsageError
from segkit.palette import SHIPPED, Palette, collisions, jpeg, repair_joined_names, shipped_folder, tables
from segkit.palette.collisions import Pair
from segkit.palette.tables import Swatch
from segkit.problem import Problem
from segkit.progress import Progress, silent

if TYPE_CHECKING:
    from segkit.palette import google_sheets
    from segkit.palette.free_colors import FreeColor
    from segkit.reports.map_findings import MapReport

Kind = Literal["palette", "sheet", "map", "folder", "dataset", "shard", "imagefolder"]
TABLES = (".csv", ".tsv", ".json", ".gpl")
EXPECTED = (
    "a palette table (.csv, .tsv, .json, .gpl), a Google Sheet, a control map (.png), a folder of maps, a dataset, "
    "a WebDataset shard (.tar) or an imagefolder"
)


@dataclass(frozen=True)
class PaletteReport:
    """What was looked at, what it was taken for, and what was found.

    Attributes:
        target: as given; "ade20k" without one.
        kind: what it was taken for.
        palette: the palette that maps were compared with, or the table itself.
        findings: problems, "known" ones too.
        swatches: the table's classes; empty for maps.
        pairs: classes of like colours, in the table and between it and other palettes.
        maps: one report a map; empty for tables.
        suggestions: colours for new classes, where they were asked for.
        table: the palette of maps; None for tables.
    """

    target: str
    kind: Kind
    palette: str
    findings: list[Problem]
    swatches: list[Swatch] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    maps: list["MapReport"] = field(default_factory=list)
    suggestions: list["FreeColor"] = field(default_factory=list)
    table: Palette | None = None

    @property
    def has_findings(self) -> bool:
        """Whether anything but known quirks was found."""
        return problem.fails(self.findings)

    @property
    def jpeg_quality(self) -> int | None:
        """The lowest JPEG quality at which areas of one colour keep their class (see jpeg.lowest_quality)."""
        known = jpeg.LOWEST.get(self.target)
        return known or (jpeg.lowest_quality([swatch.rgb for swatch in self.swatches]) if self.swatches else None)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        findings = [found.to_json() for found in self.findings]
        return {
            "target": self.target,
            "kind": self.kind,
            "palette": self.palette,
            "classes": len(self.swatches),
            "findings": findings,
            "pairs": [pair.to_json() for pair in self.pairs],
            "jpeg_quality": self.jpeg_quality,
            "maps": [found.to_json() for found in self.maps],
            "suggestions": [{"colour": free.hex, "distance": free.distance} for free in self.suggestions],
        }


def examine(
    target: str | None,
    min_distance: float = collisions.MIN_DISTANCE,
    progress: Progress = silent,
    against: Sequence[str] = SHIPPED,
    painted_with: str = "ade20k",
) -> PaletteReport:
    """Look at whatever the target is. One map at a time is held in memory.

    Args:
        target: None or a shipped palette's name, a table, a control map, a folder of maps, a dataset, a shard
            (.tar) or an imagefolder.
        min_distance: RGB L2, 0 to 442; nearer colours of a table are reported.
        progress: see segkit.progress.
        against: shipped palettes or tables with whose colours those of a table must not be confused.
        painted_with: what a map or a folder of maps should be painted with: a shipped palette's name or a table.

    Raises:
        PaletteError: the target is none of these, or a palette is none.
        DatasetError: the target is a damaged dataset.
        UsageError: the distance is out of its range.
    """
    if not 0 <= min_distance <= 442:
        raise UsageError(f"--min-distance {min_distance:g}: expected 0 to 442, the distance of black and white.")
    if target is None or target in SHIPPED:
        name = target or "ade20k"
        return _table(name, shipped_folder() / f"{name}.csv", min_distance, against)
    path = _there(target)
    if path.suffix.lower() in TABLES and not path.is_dir():
        return _table(target, path, min_distance, against)
    from segkit.dataset import map_sources  # with numpy, which a table has no need of
    from segkit.reports import map_findings

    kind, sources, table = map_sources.find(path, Palette.load(painted_with), EXPECTED)
    findings, maps = map_findings.read(sources, table, progress)
    return PaletteReport(target, kind, table.name, findings, maps=maps, table=table)


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


def _table(target: str, path: Path, min_distance: float, against: Sequence[str]) -> PaletteReport:
    others = [name for name in against if name != target]
    return _judged(target, "palette", path.stem, tables.read(path), min_distance, others)


def _judged(
    target: str,
    kind: Kind,
    name: str,
    table: tuple[list[Swatch], list[Problem]],
    min_distance: float,
    against: Sequence[str],
) -> PaletteReport:
    """Return what a table holds, joined names mended, and all that is wrong with it."""
    swatches = repair_joined_names(table[0])
    clashes = collisions.check(swatches, name, against, min_distance)
    return PaletteReport(target, kind, name, table[1] + clashes.problems, swatches, clashes.pairs)


def examine_sheet(
    sheet: "google_sheets.Address", access: "google_sheets.Access", min_distance: float, against: Sequence[str]
) -> PaletteReport:
    """Look at the palette table in a Google Sheet.

    Raises:
        SheetError: the sheet cannot be read.
        PaletteError: it holds no palette table.
    """
    from segkit.palette import google_sheets

    title, rows = google_sheets.rows(sheet, access)
    return _judged(sheet.key, "sheet", title, tables.from_rows(rows, title), min_distance, against)


def push(report: PaletteReport, sheet: "google_sheets.Address", access: "google_sheets.Access") -> int:
    """Write what was found in a sheet into it, each finding beside its row; those of the whole table stand first.

    Returns:
        The number of findings written; known quirks are not.

    Raises:
        SheetError: it cannot be written.
    """
    from segkit.palette import google_sheets

    first = min((swatch.line for swatch in report.swatches), default=2)
    lines = {f"{report.palette}: {swatch.name}": swatch.line for swatch in report.swatches}
    told: dict[int, list[str]] = {}
    mine = [found for found in report.findings if found.severity != "known"]
    for found in mine:
        named = re.fullmatch(r".*, line (\d+)", found.place)
        line = int(named[1]) if named else lines.get(found.place, first)
        told.setdefault(line, []).append(f"{found.message} {found.cure}".strip())
    google_sheets.push(sheet, access, {line: "\n".join(texts) for line, texts in told.items()})
    return len(mine)


def save(report: PaletteReport, path: Path) -> None:
    """Write the table that was read as CSV.

    Raises:
        UsageError: the report is of maps, the table has errors, the file is no .csv, or it is there already.
    """
    from segkit import storage
    from segkit.palette import extend

    swatches = _swatches(report)
    free(path, "--save")
    errors = sum(found.severity == "error" for found in report.findings)
    if errors:
        raise UsageError(f"--save: {report.target} has {errors} errors, so nothing was kept. Mend them first.")
    storage.write(path, extend.encode(Palette(path.stem, tuple(swatches))))


def free(path: Path, option: str, ending: str = ".csv") -> None:
    """Refuse a name for a new file that is taken, or ends in another way.

    Raises:
        UsageError: so.
    """
    if path.suffix.lower() != ending:
        raise UsageError(f"{option} {path}: expected a name that ends in {ending}.")
    if path.exists():
        raise UsageError(f"{option}: {path} is there already. Name another file, or remove it.")


def with_suggestions(report: PaletteReport, number: int) -> PaletteReport:
    """Return the report with colours for new classes beside those of its palette; with 0 it stays as it is.

    Raises:
        UsageError: it is of maps.
    """
    if not number:
        return report
    from segkit.palette import extend

    return replace(report, suggestions=extend.suggest(_swatches(report), number))


def write_extended(report: PaletteReport, path: Path, names: Sequence[str]) -> None:
    """Write the palette of a report with new classes, as a table.

    Raises:
        UsageError: the report is of maps, the file is no .csv, or it is there already.
        PaletteError: the table has faults, or a name does not do.
    """
    from segkit import storage
    from segkit.palette import extend

    free(path, "--extend")
    table = Palette(report.palette, tuple(_swatches(report)))
    storage.write(path, extend.encode(extend.extended(table, names, path.stem)))


def _swatches(report: PaletteReport) -> list[Swatch]:
    if report.kind not in ("palette", "sheet"):
        raise UsageError(f"{report.target} is a {report.kind}. Name a palette table, or none.")
    return report.swatches
